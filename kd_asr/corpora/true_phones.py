"""The phoneme times that espeak-ng reports, as CMUdict phones: the truth that an aligner can be checked against.

A subset of the embedded corpus has a file `phones.tsv`: a header line, then utterance id, start and duration in
seconds, phone. Phones are CMUdict's with stress (AA1, not AA), `SIL` is silence; those of an utterance follow one
another without a gap and fill all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kd_asr.corpora.text_files import decimal
from kd_asr.errors import UserError

SILENCE = "SIL"
FILE_NAME = "phones.tsv"
HEADER = "utterance_id\tstart_seconds\tduration_seconds\tphone\n"

# espeak-ng's ASCII phoneme names for American English, stress marks taken off. Where CMUdict has two phones for one of
# them, it is cut in the middle. `;` is a glide between two vowels that CMUdict has no phone for.
CONSONANTS = {
    "b": "B", "d": "D", "dZ": "JH", "D": "DH", "f": "F", "g": "G", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M",
    "n": "N", "n-": "N", "N": "NG", "p": "P", "r": "R", "r-": "R", "s": "S", "S": "SH", "t": "T", "t#": "T", "t2": "T",
    "?": "T", "tS": "CH", "T": "TH", "v": "V", "w": "W", "z": "Z", "Z": "ZH", "x": "K", "R": "R",
}  # fmt: skip
VOWELS = {
    "0": "AA", "0#": "AA", "A:": "AA", "A": "AA", "A#": "AA", "a": "AE", "aa": "AE", "a#": "AH", "@": "AH", "@2": "AH",
    "@5": "AH", "@-": "AH", "V": "AH", "V2": "AH", "O": "AO", "O:": "AO", "O2": "AO", "O#": "AO", "aU": "AW",
    "aI": "AY", "E": "EH", "E2": "EH", "E#": "EH", "3": "ER", "3:": "ER", "eI": "EY", "I": "IH", "I2": "IH", "I#": "IH",
    "i": "IY", "i:": "IY", "oU": "OW", "oU#": "OW", "OI": "OY", "U": "UH", "u": "UW", "u:": "UW",
}  # fmt: skip
PAIRS = {
    "A@": ("AA", "R"), "e@": ("EH", "R"), "i@3": ("IH", "R"), "i@": ("IY", "AH"), "o@": ("AO", "R"), "O@": ("AO", "R"),
    "U@": ("UH", "R"), "aI3": ("AY", "ER"), "aI@": ("AY", "AH"), "aU@": ("AW", "ER"), "@L": ("AH", "L"),
}  # fmt: skip
GLIDE = ";"


@dataclass(frozen=True)
class TruePhone:
    """One phone of an utterance, in seconds from its first sample."""

    phone: str
    start: float
    duration: float


def cmudict_phones(name: str) -> tuple[str, ...]:
    """CMUdict phones of one espeak-ng phoneme; an empty tuple for the glide, `SIL` for pauses.

    Raises:
        KeyError: the phoneme is not one of American English.
    """
    if name.startswith("_"):
        return (SILENCE,)
    if name == GLIDE:
        return ()
    stress = {"'": "1", ",": "2"}.get(name[:1], "0")
    plain = name.lstrip("',%=|")
    if plain in CONSONANTS:
        return (CONSONANTS[plain],)
    parts = PAIRS[plain] if plain in PAIRS else (VOWELS[plain],)
    first = parts[0] + stress
    return (first, *(part if part in ("R", "L") else part + "0" for part in parts[1:]))


def phone_times(events: Sequence[tuple[str, int]], num_samples: int) -> list[tuple[str, float, float]]:
    """(phone, first sample, end) of espeak-ng's events over `num_samples`; neighbouring silences are one."""
    found: list[tuple[str, float, float]] = []
    starts = [sample for _, sample in events]
    for (name, start), end in zip(events, [*starts[1:], num_samples], strict=True):
        phones = cmudict_phones(name)
        if end <= start:
            continue
        if not phones or (phones == (SILENCE,) and found and found[-1][0] == SILENCE):
            if found:
                found[-1] = (found[-1][0], found[-1][1], end)
            continue
        cuts = [start + (end - start) * part / len(phones) for part in range(len(phones) + 1)]
        found += [(phone, *bounds) for phone, bounds in zip(phones, pairwise(cuts), strict=True)]
    return found


def write_true_phones(path: Path, utterances: Iterable[tuple[str, Sequence[TruePhone]]]) -> None:
    """Write the phones of (utterance id, phones) pairs, times to the microsecond."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for utterance_id, phones in utterances:
            for item in phones:
                file.write(f"{utterance_id}\t{item.start:.6f}\t{item.duration:.6f}\t{item.phone}\n")


def read_true_phones(path: Path) -> dict[str, list[TruePhone]]:
    """Phones of every utterance id, in order of time; what `write_true_phones` wrote.

    Raises:
        UserError: a line is malformed; it is named.
    """
    found: dict[str, list[TruePhone]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line == HEADER:
                continue
            try:
                utterance_id, start, duration, phone = line.rstrip("\n").split("\t")
                found.setdefault(utterance_id, []).append(TruePhone(phone, decimal(start), decimal(duration)))
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not `utterance start duration phone` ({error})") from error
    return found
