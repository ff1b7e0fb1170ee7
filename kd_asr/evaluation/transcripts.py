"""Reference and hypothesis files in the field's formats: Kaldi's text, NIST's trn and CTM, and plain lines."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from kd_asr.corpora.spelling import is_text
from kd_asr.corpora.text_files import decimal
from kd_asr.errors import UserError

FileFormat = Literal["trn", "kaldi", "text", "ctm"]
TextFormat = Literal["auto", "trn", "kaldi", "text", "ctm"]
TEXT_FORMATS: tuple[TextFormat, ...] = get_args(TextFormat)
READ_AS: dict[FileFormat, str] = {
    "trn": "trn (words, then the utterance id in parentheses)",
    "kaldi": "kaldi (utterance id, then words)",
    "text": "text (words alone, line by line)",
    "ctm": "ctm (utterance id, channel, start, duration, word)",
}
# What a file is seen to be; `either` could be Kaldi's or plain lines, `nothing` has no words.
_Seen = Literal["trn", "kaldi", "text", "ctm", "either", "nothing"]
_SUFFIXES: dict[str, FileFormat] = {".trn": "trn", ".ctm": "ctm"}
_TRN = re.compile(r"\([^()\s]+\)")
_TIME = re.compile(r"\d*\.\d+|\d+\.")
# A number, a sum, a time of day, an ordinal: words of a text rather than ids.
_NUMERAL = re.compile(r"\W?\d[\d.,:]*(st|nd|rd|th|s|%)?\W?", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One line of a file: its number, from 1, and its words."""

    path: Path
    number: int
    words: tuple[str, ...]

    def error(self, wrong: str) -> UserError:
        """The error for what is wrong with this line."""
        return UserError(f"{self.path}, line {self.number}: {wrong}")


@dataclass(frozen=True)
class TranscriptPair:
    """Reference and hypothesis of the same utterances.

    Attributes:
        reference_format: how the reference was read.
        hypothesis_format: how the hypothesis was.
        references: words of each utterance, in the order of the reference; keys are utterance ids or line numbers.
        hypotheses: the same keys in the same order; a missing hypothesis is an empty one.
        missing: keys of the reference that the hypothesis lacks: all their words count as deletions.
        unused: keys of the hypothesis that the reference lacks: not scored.
    """

    reference_format: FileFormat
    hypothesis_format: FileFormat
    references: dict[str, tuple[str, ...]]
    hypotheses: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def read_lines(path: Path) -> list[Line]:
    """The lines of a text file, or of all `*.trans.txt` below a folder, in Unicode NFC, split at white space.

    Raises:
        UserError: the file is missing or not UTF-8 text, or the folder holds no transcripts.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.trans.txt") if file.is_file())
        if not files:
            raise UserError(f"{path} is a folder without *.trans.txt files below it: name a text file")
        return [line for file in files for line in read_lines(file)]
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    lines = []
    for number, raw in enumerate(content.splitlines(), start=1):
        try:
            # A byte order mark, as some editors write, is no part of the first word.
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not UTF-8 text; convert the file, as with iconv") from error
        if not is_text(text):
            raise UserError(f"{path}, line {number}: control characters: not a text file, or a damaged one")
        lines.append(Line(path, number, tuple(unicodedata.normalize("NFC", text).split())))
    return lines


def detect(path: Path, lines: Sequence[Line]) -> _Seen:
    """What a file is seen to be by its name and its lines.

    CTM: five fields or more on every line, of which the third and the fourth are times with a decimal point. trn: every
    line ends in one word in parentheses. Kaldi: every line begins with what can only be an id: it holds letters and
    digits (`u1`, `84-1-0000`) or an underscore. Lines that begin with the same word again are plain.
    """
    if path.is_dir() or path.name.endswith(".trans.txt"):
        return "kaldi"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    filled = [line for line in lines if line.words and not line.words[0].startswith(";;")]
    if not filled:
        return "nothing"
    if all(len(line.words) >= 5 and all(map(_TIME.fullmatch, line.words[2:4])) for line in filled):
        return "ctm"
    if all(_TRN.fullmatch(line.words[-1]) for line in filled):
        return "trn"
    firsts = [line.words[0] for line in filled]
    if all(map(_is_id, firsts)):
        return "kaldi"
    return "either" if len(set(firsts)) == len(firsts) else "text"


def _is_id(word: str) -> bool:
    """Whether a word cannot be one of a sentence."""
    if _NUMERAL.fullmatch(word):
        return False
    has_digit, has_other = (re.search(pattern, word) is not None for pattern in (r"\d", r"[^\d\W]|[-/.]"))
    return "_" in word or (has_digit and has_other)


def _formats(
    reference: tuple[Path, Sequence[Line]], hypothesis: tuple[Path, Sequence[Line]]
) -> tuple[FileFormat, FileFormat]:
    """How two files are read when nothing is said; a `UserError` where that cannot be told."""
    seen = detect(*reference), detect(*hypothesis)
    if seen == ("either", "either"):
        firsts, others = ({line.words[0] for line in lines if line.words} for _, lines in (reference, hypothesis))
        # First words that are never said twice, and the same in both files: ids, or short texts.
        if all(map(_NUMERAL.fullmatch, firsts | others)) or 2 * len(firsts & others) >= len(firsts):
            raise UserError(
                f"it cannot be told whether the lines of {reference[0]} and {hypothesis[0]} begin with utterance ids "
                f"(such as {min(firsts)!r}) or with words: say --format kaldi or --format text"
            )
    found = _settled(seen[0], seen[1]), _settled(seen[1], seen[0])
    if found.count("text") == 1:
        raise UserError(
            f"{reference[0]} looks like {READ_AS[found[0]]}, but {hypothesis[0]} like {READ_AS[found[1]]}: give both "
            "utterance ids, or say --format text if both are words alone"
        )
    return found


def _settled(seen: _Seen, other: _Seen) -> FileFormat:
    """The format of a file that alone could have several, beside another one."""
    if seen == "either" or seen == "nothing":  # noqa: PLR1714 - mypy does not see through `in`
        return "kaldi" if other in ("kaldi", "trn", "ctm") else "text"
    return seen


def _by_id(lines: Sequence[Line], form: FileFormat) -> dict[str, tuple[str, ...]]:
    """Words by utterance id. Blank lines are left out, and so are the comments of CTM.

    Raises:
        UserError: a line is not of this format, or an utterance id stands twice; names the line.
    """
    if form == "ctm":
        return _by_id_in_time(lines)
    found: dict[str, Line] = {}
    words: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if not line.words or (form == "trn" and line.words[0].startswith(";;")):
            continue
        if form == "trn":
            if not _TRN.fullmatch(line.words[-1]):
                raise line.error("a line of trn ends in the utterance id in parentheses, as `the cat sat (s1-u1)`")
            if "{" in line.words:
                raise line.error("alternatives `{ a / b }` are not read: keep one of them")
            utterance_id, said = line.words[-1][1:-1], line.words[:-1]
        else:
            utterance_id, said = line.words[0], line.words[1:]
        first = found.setdefault(utterance_id, line)
        if first is not line:
            raise line.error(
                f"utterance {utterance_id} stands already in {first.path}, line {first.number}; keep one of them"
            )
        words[utterance_id] = said
    return words


def _by_id_in_time(lines: Sequence[Line]) -> dict[str, tuple[str, ...]]:
    """The words of CTM lines by utterance id, in the order of their times."""
    found: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, str] = {}
    for line in lines:
        if not line.words or line.words[0].startswith(";;"):
            continue
        try:
            utterance_id, channel, start, _, word = line.words[:5]
            time = decimal(start)
        except ValueError:
            time = math.nan
        if not 0 <= time < math.inf or len(line.words) > 8:
            raise line.error("not `utterance channel start duration word [confidence]`, as CTM has it")
        if "<ALT" in word:
            raise line.error("alternatives <ALT> are not read: keep one of them")
        if channels.setdefault(utterance_id, channel) != channel:
            raise line.error(f"{utterance_id} has the channels {channels[utterance_id]} and {channel}: score one")
        if word != "<eps>":
            found.setdefault(utterance_id, []).append((time, word))
        else:
            found.setdefault(utterance_id, [])
    # Sorting is stable: words of the same time stay in the order of the file.
    return {key: tuple(word for _, word in sorted(words, key=lambda pair: pair[0])) for key, words in found.items()}


def read_pair(reference: Path, hypothesis: Path, text_format: TextFormat = "auto") -> TranscriptPair:
    """Read a reference and a hypothesis file.

    Args:
        reference: text file, or folder with LibriSpeech's `*.trans.txt` below it.
        hypothesis: the same.
        text_format: of both files; `READ_AS` says what each is. Utterances are matched by id, those of `text` by
            line number, where a blank line is an empty utterance. `auto`: each file as `detect` sees it.

    Raises:
        UserError: a file cannot be read, its format cannot be told, an id stands twice, fewer than half of the
            reference's utterances are in the hypothesis, or plain files differ in their numbers of lines.
    """
    lines = read_lines(reference), read_lines(hypothesis)
    forms: tuple[FileFormat, FileFormat]
    if text_format == "auto":
        forms = _formats((reference, lines[0]), (hypothesis, lines[1]))
    else:
        forms = (text_format, text_format)
    if forms == ("text", "text"):
        if len(lines[0]) != len(lines[1]):
            raise UserError(
                f"{reference} has {len(lines[0])} lines and {hypothesis} has {len(lines[1])}, and they were read as "
                "words alone: give both the same number of lines, or begin each line with an utterance id"
            )
        # Lines are counted through over all files of a folder.
        wanted, given = ({str(n): line.words for n, line in enumerate(one, start=1)} for one in lines)
        return TranscriptPair(*forms, wanted, given, missing=(), unused=())
    references, found = _by_id(lines[0], forms[0]), _by_id(lines[1], forms[1])
    shared = len(references.keys() & found.keys())
    if references and 2 * shared < len(references):
        example, other = next(iter(references)), next(iter(found), "nothing")
        raise UserError(
            f"{reference} and {hypothesis} share {shared or 'no'} utterance id{'s' * (shared > 1)} of "
            f"{len(references)} (the first are {example} and {other}), fewer than half: check that they belong "
            "together, or say --format text for lines without ids"
        )
    return TranscriptPair(
        *forms,
        references=references,
        hypotheses={utterance_id: found.get(utterance_id, ()) for utterance_id in references},
        missing=tuple(utterance_id for utterance_id in references if utterance_id not in found),
        unused=tuple(utterance_id for utterance_id in found if utterance_id not in references),
    )
