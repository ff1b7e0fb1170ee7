"""Reference and hypothesis files: utterance ids with words, or plain lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_asr.errors import UserError

TextFormat = Literal["auto", "ids", "plain"]


@dataclass(frozen=True)
class Line:
    """One line of a file: its number, from 1, and its words."""

    path: Path
    number: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class TranscriptPair:
    """Reference and hypothesis of the same utterances.

    Attributes:
        text_format: how the files were read.
        references: words of each utterance, in the order of the reference; keys are utterance ids or line numbers.
        hypotheses: the same keys in the same order; a missing hypothesis is an empty one.
        missing: keys of the reference that the hypothesis lacks: all their words count as deletions.
        unused: keys of the hypothesis that the reference lacks: not scored.
    """

    text_format: Literal["ids", "plain"]
    references: dict[str, tuple[str, ...]]
    hypotheses: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def read_lines(path: Path) -> list[Line]:
    """The lines of a text file, or of all `*.trans.txt` below a folder, split into words at white space.

    Raises:
        UserError: the file is missing or not UTF-8 text, or the folder holds no transcripts.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.trans.txt"))
        if not files:
            raise UserError(f"{path} is a folder without *.trans.txt files below it: name a text file")
        return [line for file in files for line in read_lines(file)]
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    lines = []
    for number, raw in enumerate(content.splitlines(), start=1):
        try:
            # A byte order mark, as some editors write, is no part of the first word.
            words = raw.decode("utf-8-sig" if number == 1 else "utf-8").split()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not UTF-8 text; convert the file, as with iconv") from error
        lines.append(Line(path, number, tuple(words)))
    return lines


def by_utterance_id(lines: Sequence[Line]) -> dict[str, tuple[str, ...]]:
    """Read lines as Kaldi's `text` and LibriSpeech's `*.trans.txt`: utterance id, then words. Blank lines are left out.

    Raises:
        UserError: an utterance id stands twice; names the second line.
    """
    found: dict[str, Line] = {}
    for line in lines:
        if not line.words:
            continue
        utterance_id = line.words[0]
        first = found.setdefault(utterance_id, line)
        if first is not line:
            raise UserError(
                f"{line.path}, line {line.number}: utterance {utterance_id} stands already in "
                f"{first.path}, line {first.number}; keep one of them"
            )
    return {utterance_id: line.words[1:] for utterance_id, line in found.items()}


def have_utterance_ids(reference: Sequence[Line], hypothesis: Sequence[Line]) -> bool:
    """Whether two files are read by utterance id when nothing else is said.

    They are when each line of the reference that is not blank begins with a token that holds a digit, and the two
    files share at least one such token.
    """
    ids = [line.words[0] for line in reference if line.words]
    others = {line.words[0] for line in hypothesis if line.words}
    return all(re.search(r"\d", utterance_id) for utterance_id in ids) and not others.isdisjoint(ids)


def read_pair(reference: Path, hypothesis: Path, text_format: TextFormat = "auto") -> TranscriptPair:
    """Read a reference and a hypothesis file.

    Args:
        reference: text file, or folder with LibriSpeech's `*.trans.txt` below it.
        hypothesis: the same.
        text_format: `ids`: each line is an utterance id and words, and lines are matched by id. `plain`: each line
            is words only, and line n is matched with line n; a blank line is an empty utterance. `auto`: as
            `have_utterance_ids` says.

    Raises:
        UserError: a file cannot be read, an id stands twice, no id is shared, or plain files differ in their numbers
            of lines.
    """
    reference_lines, hypothesis_lines = read_lines(reference), read_lines(hypothesis)
    guessed = ""
    if text_format == "auto":
        text_format = "ids" if have_utterance_ids(reference_lines, hypothesis_lines) else "plain"
        guessed = "they were taken as plain lines, as they share no utterance ids; "
    if text_format == "plain":
        if len(reference_lines) != len(hypothesis_lines):
            raise UserError(
                f"{reference} has {len(reference_lines)} lines and {hypothesis} has {len(hypothesis_lines)}: {guessed}"
                "give both the same number of lines, or begin each line with an utterance id"
            )
        return TranscriptPair(
            text_format="plain",
            references={str(line.number): line.words for line in _numbered(reference_lines)},
            hypotheses={str(line.number): line.words for line in _numbered(hypothesis_lines)},
            missing=(),
            unused=(),
        )
    references, found = by_utterance_id(reference_lines), by_utterance_id(hypothesis_lines)
    if references.keys().isdisjoint(found):
        example, other = next(iter(references), "nothing"), next(iter(found), "nothing")
        raise UserError(
            f"{reference} and {hypothesis} share no utterance id (the first begin with {example} and {other}): "
            "check that they belong together, or choose the format `plain` for lines without ids"
        )
    return TranscriptPair(
        text_format="ids",
        references=references,
        hypotheses={utterance_id: found.get(utterance_id, ()) for utterance_id in references},
        missing=tuple(utterance_id for utterance_id in references if utterance_id not in found),
        unused=tuple(utterance_id for utterance_id in found if utterance_id not in references),
    )


def _numbered(lines: Sequence[Line]) -> list[Line]:
    """Lines counted through over all files of a folder."""
    return [Line(line.path, number, line.words) for number, line in enumerate(lines, start=1)]
