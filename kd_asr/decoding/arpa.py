"""N-gram language models in ARPA format: reading with every check, writing, and perplexity.

The format is SRILM's `ngram-format(5)`: a `\\data\\` header that announces the number of n-grams of each order, one
section per order of lines `log10-probability word ... [log10-back-off weight]`, and `\\end\\`.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import STANDARD, is_text, listed_word, upper_word
from kd_asr.errors import UserError

BEGIN = "<s>"
END = "</s>"
UNKNOWN = ("<unk>", "<UNK>")
NOT_WORDS = frozenset((BEGIN, END, *UNKNOWN))
# log10 of a probability that is none: what SRILM writes, and the least that is written here.
NEVER = -99.0
# Numbers of more digits are no counts of n-grams.
_ANNOUNCED = re.compile(r"ngram\s+(\d{1,15})\s*=\s*(\d{1,15})$", re.ASCII)
# Python's own reader also takes 1_0 and digits of other scripts.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|-inf(inity)?", re.ASCII | re.IGNORECASE)
# What separates words; other white space is part of them.
_BLANKS = re.compile("[ \t]+")


@dataclass(frozen=True)
class ArpaModel:
    """A back-off n-gram model.

    Attributes:
        log_probabilities: for each order n (at index n - 1), log10 p(last word | words before it) by n-gram, its words
            joined by single spaces.
        backoffs: log10 of the weight with which a history backs off, by n-gram; one that is not here has weight 1.
    """

    log_probabilities: tuple[dict[str, float], ...]
    backoffs: dict[str, float]

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.log_probabilities)

    def cut(self, order: int) -> ArpaModel:
        """The model without its n-grams longer than `order`; itself if it has none."""
        if order >= self.order:
            return self
        longest = self.log_probabilities[order - 1]
        backoffs = {ngram: weight for ngram, weight in self.backoffs.items() if ngram.count(" ") < order - 1}
        return ArpaModel((*self.log_probabilities[: order - 1], longest), backoffs)

    def log10_probability(self, word: str, history: Sequence[str]) -> float:
        """log10 p(word | history), backing off to shorter histories where the model lacks the n-gram.

        Raises:
            KeyError: the word is not among the unigrams.
        """
        words = tuple(history)[max(0, len(history) - self.order + 1) :]
        weight = 0.0
        while words:
            context = " ".join(words)
            found = self.log_probabilities[len(words)].get(f"{context} {word}")
            if found is not None:
                return weight + found
            weight += self.backoffs.get(context, 0.0)
            words = words[1:]
        return weight + self.log_probabilities[0][word]


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text.

    Attributes:
        log10_probability: of all tokens that were predicted.
        tokens: words in the vocabulary, and one end of sentence each.
        words: words of the text, known or not.
        unknown_words: those that the vocabulary lacks; they are not predicted.
    """

    log10_probability: float
    tokens: int
    words: int
    unknown_words: int

    @property
    def value(self) -> float:
        """10 to the mean negative log10 probability of a token; infinite where a token is impossible."""
        mean = -self.log10_probability / self.tokens if self.tokens else math.inf
        return 10.0**mean if mean < 300 else math.inf

    @property
    def unknown_rate(self) -> float:
        """Share of the words that the vocabulary lacks."""
        return self.unknown_words / self.words if self.words else 0.0


def perplexity(model: ArpaModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Perplexity per token, ends of sentences included, as `ngram -ppl` of SRILM counts it.

    A word outside the vocabulary is counted, not predicted, and the words after it do not see past it. The words for
    unknown words (`<unk>`) are outside of it too.
    """
    total = 0.0
    tokens = words = unknown = 0
    vocabulary = model.log_probabilities[0].keys() - UNKNOWN - {BEGIN}
    for sentence in sentences:
        history: list[str] = [BEGIN]
        for word in (*sentence, END):
            words += word is not END
            if word in vocabulary:
                total += model.log10_probability(word, history)
                tokens += 1
                history.append(word)
            else:
                unknown += 1
                history.clear()
    return Perplexity(total, tokens, words, unknown)


def respell(model: ArpaModel, settings: SpellingSettings = STANDARD) -> tuple[ArpaModel, list[str]]:
    """A model in the spelling of transcripts and lexicon, and its words that are left out.

    Left out are words that no transcript can hold (`corpora.spelling.listed_word`), with their n-grams, and n-grams
    that have `<s>` or `</s>` inside. What a reader of ARPA files may rely on is added where it lacks: `<s>`, and the
    beginnings of all n-grams, with the probability that the model gives them.

    Raises:
        UserError: two of its words differ in case only.
    """
    spelling_of = spellings(model.log_probabilities[0], settings)
    left_out = sorted(model.log_probabilities[0].keys() - spelling_of.keys())

    def rename(ngrams: dict[str, float]) -> dict[str, float]:
        found = {}
        for ngram, number in ngrams.items():
            words = ngram.split(" ")
            if BEGIN not in words[1:] and END not in words[:-1]:
                renamed = [spelling_of.get(word) for word in words]
                if None not in renamed:
                    found[" ".join(filter(None, renamed))] = number
        return found

    sections = [rename(section) for section in model.log_probabilities]
    sections[0].setdefault(BEGIN, NEVER)
    while len(sections) > 1 and not sections[-1]:
        sections.pop()
    renamed = ArpaModel(tuple(sections), rename(model.backoffs))
    for order in range(len(sections) - 1, 0, -1):
        for ngram in sections[order]:
            *history, word = ngram.rsplit(" ", maxsplit=1)[0].split(" ")
            if " ".join((*history, word)) not in sections[order - 1]:
                sections[order - 1][" ".join((*history, word))] = renamed.log10_probability(word, history)
    return renamed, left_out


def spellings(words: Iterable[str], settings: SpellingSettings = STANDARD) -> dict[str, str]:
    """The spelling of each word of a language model that stays.

    Of several words with one spelling the one that has it but for case and apostrophes stays (`us`, not `u.s.`).
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    listed = {word: listed_word(word, settings) for word in words}
    for word in sorted(listed, key=lambda word: (upper_word(word) != listed[word], word.lower() != word, word)):
        spelling = word.lower() if word.lower() in (BEGIN, END) else listed[word]
        if spelling is None:
            continue
        other = taken.setdefault(spelling, word)
        if other is word:
            found[word] = spelling
        elif spelling not in NOT_WORDS and upper_word(word) == spelling:
            raise UserError(
                f"the language model has both {other!r} and {word!r}, which are one word where case does not count: "
                "keep one of them"
            )
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without surrounding blanks; a file that cannot be read to its end is a `UserError`."""
    number = 0
    try:
        with path.open("rb") as raw:
            packed = path.suffix == ".gz" or raw.peek(2)[:2] == b"\x1f\x8b"
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            # Lines may end as on any system; a byte order mark is no text.
            for number, line in enumerate(io.TextIOWrapper(source, encoding="utf-8-sig"), start=1):
                if not is_text(line):
                    raise UserError(f"{path}, line {number}: control characters: not a text file, or a damaged one")
                yield number, line.strip(" \t\n")
    except FileNotFoundError as error:
        raise UserError(f"there is no language model {path}") from error
    except EOFError as error:
        raise UserError(f"{path}, after line {number}: the gzip file is cut short; fetch it again") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}, after line {number}: not a sound gzip file ({error}); fetch it again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, after line {number}: not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise UserError(f"the language model {path} cannot be read ({error.strerror or error})") from error


def _read_announced(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[list[int], tuple[int, str]]:
    """Number of n-grams of each order, and the first line of the first section."""
    for _, line in lines:
        if line == "\\data\\":
            break
    else:
        raise UserError(f"{path} has no line \\data\\: it is not an ARPA language model")
    counts: list[int] = []
    for number, line in lines:
        if not line:
            continue
        if line.startswith("\\"):
            if not counts:
                raise UserError(f"{path}, line {number}: no `ngram 1=...` between \\data\\ and {line}")
            return counts, (number, line)
        announced = _ANNOUNCED.match(line)
        if announced is None or int(announced[1]) != len(counts) + 1:
            raise UserError(f"{path}, line {number}: {line!r} is not `ngram {len(counts) + 1}=count`")
        counts.append(int(announced[2]))
    raise UserError(f"{path} ends in its header, before \\1-grams:; fetch it again")


def _number(path: Path, number: int, text: str, what: str) -> float:
    if not _NUMBER.fullmatch(text) or float(text) > -NEVER:
        raise UserError(f"{path}, line {number}: {text!r} is not a {what}")
    return float(text)


def read_arpa(path: Path) -> ArpaModel:
    """Read a model, gzipped (`.gz`) or not, and check all of it.

    Raises:
        UserError: names the file and the line of what is wrong: a truncated file, a number that is none, a
            probability above 1, fewer or more n-grams than announced, sections out of order, an n-gram twice or with a
            word that is not among the unigrams, no `</s>`.
    """
    lines = _lines(path)
    counts, (number, line) = _read_announced(path, lines)
    log_probabilities: list[dict[str, float]] = []
    backoffs: dict[str, float] = {}
    for order, count in enumerate(counts, start=1):
        if line != f"\\{order}-grams:":
            raise UserError(f"{path}, line {number}: {line!r} stands where \\{order}-grams: should")
        section, number, line = _read_section(path, lines, order, log_probabilities, backoffs)
        if len(section) != count:
            raise UserError(
                f"{path}, line {number}: {len(section)} n-grams of order {order}, but the header announces {count}"
            )
        log_probabilities.append(section)
    if line != "\\end\\":
        raise UserError(f"{path}, line {number}: {line!r} stands where \\end\\ should")
    for _ in lines:
        pass  # to the end, where a gzip file has its checksum
    if END not in log_probabilities[0]:
        raise UserError(f"{path}: {END} is not among the unigrams, so no sentence could end")
    return ArpaModel(tuple(log_probabilities), backoffs)


def _read_section(
    path: Path,
    lines: Iterator[tuple[int, str]],
    order: int,
    lower: Sequence[dict[str, float]],
    backoffs: dict[str, float],
) -> tuple[dict[str, float], int, str]:
    """The n-grams of one order, and the line that ends the section with its number; fills `backoffs`."""
    section: dict[str, float] = {}
    unigrams = lower[0] if lower else None
    number = 0
    for number, line in lines:
        if not line:
            continue
        if line[0] == "\\":
            return section, number, line
        fields = _BLANKS.split(line)
        if len(fields) not in (order + 1, order + 2):
            raise UserError(
                f"{path}, line {number}: {line!r} is not `log10-probability, {order} word{'s' * (order > 1)}, "
                "perhaps a back-off weight`"
            )
        value = _number(path, number, fields[0], "log10 probability")
        if value > 0:
            raise UserError(f"{path}, line {number}: the log10 probability {fields[0]} is above 0")
        words = fields[1 : order + 1]
        ngram = " ".join(words)
        if ngram in section:
            raise UserError(f"{path}, line {number}: the n-gram {ngram!r} stands there twice")
        if unigrams is not None:
            for word in words:
                if word not in unigrams:
                    raise UserError(f"{path}, line {number}: the word {word!r} is not among the unigrams")
        section[ngram] = value
        if len(fields) == order + 2:
            weight = _number(path, number, fields[-1], "log10 back-off weight")
            if weight:
                backoffs[ngram] = weight
    raise UserError(f"{path}, after line {number}: the file ends among the {order}-grams: fetch it again")


def read_vocabulary(path: Path) -> list[str]:
    """The words of the unigrams, sorted, without `<s>`, `</s>` and `<unk>`; reads no further than those.

    Raises:
        UserError: as `read_arpa`, for what comes before the bigrams.
    """
    lines = _lines(path)
    counts, (number, line) = _read_announced(path, lines)
    if line != "\\1-grams:":
        raise UserError(f"{path}, line {number}: {line!r} stands where \\1-grams: should")
    section, number, _ = _read_section(path, lines, 1, [], {})
    if len(section) != counts[0]:
        raise UserError(f"{path}, line {number}: {len(section)} unigrams, but the header announces {counts[0]}")
    return sorted(section.keys() - NOT_WORDS)


def write_arpa(path: Path, model: ArpaModel) -> None:
    """Write a model, gzipped if the name ends in `.gz`; the same model gives the same bytes.

    Numbers have seven significant digits, and none is below -99. The longest n-grams and those that end a sentence have
    no back-off weights, others have one unless it is 0.
    """
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # No name and time in the header: they would differ from run to run.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                _write(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"), model)
        else:
            _write(io.TextIOWrapper(raw, encoding="utf-8", newline="\n"), model)


def _write(file: io.TextIOWrapper, model: ArpaModel) -> None:
    file.write("\\data\\\n")
    for order, section in enumerate(model.log_probabilities, start=1):
        file.write(f"ngram {order}={len(section)}\n")
    for order, section in enumerate(model.log_probabilities, start=1):
        file.write(f"\n\\{order}-grams:\n")
        longest = order == model.order
        for ngram, value in section.items():
            weight = 0.0 if longest or ngram.endswith(END) else max(model.backoffs.get(ngram, 0.0), NEVER)
            line = f"{max(value, NEVER):.7g}\t{ngram}"
            file.write(f"{line}\t{weight:.7g}\n" if weight else f"{line}\n")
    file.write("\n\\end\\\n")
    file.flush()
    file.detach()
