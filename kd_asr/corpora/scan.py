"""What a corpus lists, checked and spelt: every audio file is decoded from end to end before it is trusted.

A truncated file is so found here and not hours later. Bad utterances are listed with the reason and left out; only what
leaves nothing to work with is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path

from kd_asr.corpora.audio import check_audio, check_segments
from kd_asr.corpora.base import ListedUtterance, Listing
from kd_asr.corpora.copies import KnownRecordings, Listener, Place, SoundPrint, place_of
from kd_asr.corpora.manifest import SETS, Rejected, Utterance
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.sound import file_of
from kd_asr.corpora.spelling import STANDARD, Spelt, spell
from kd_asr.errors import UserError
from kd_asr.parallel import parallel_map

# Recordings in one item of work.
TOGETHER = 16


@dataclass(frozen=True)
class SpokenNumber:
    """A number in a transcript: as it is written there, and the words that were made of it."""

    utterance_id: str
    written: str
    spoken: str


@dataclass(frozen=True)
class Scan:
    """What was found in one set.

    Attributes:
        utterances: In the order of their ids.
        rejected: What was left out, and why.
        numbers: Of the utterances' transcripts, in the same order.
        contents: Checksum of every audio file that could be read, by its path.
        prints: Of the utterances, by where their audio lies.
    """

    utterances: list[Utterance]
    rejected: list[Rejected]
    numbers: list[SpokenNumber] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    prints: dict[Place, SoundPrint] = field(default_factory=dict)


def scan(
    listings: Sequence[Listing],
    *,
    min_seconds: float = 0.0,
    max_seconds: float = float("inf"),
    spelling: SpellingSettings = STANDARD,
    jobs: int = 0,
) -> list[Scan]:
    """Check the listed utterances of several sets on all cores.

    Args:
        listings: of the sets.
        min_seconds: shorter utterances are rejected.
        max_seconds: longer ones are.
        spelling: tokens of their transcripts that are no words.
        jobs: processes, 0 for one per core.

    Raises:
        UserError: every utterance of a set was rejected.
    """
    batches = [_batches(listing.utterances) for listing in listings]
    results = parallel_map(
        partial(_check, min_seconds=min_seconds, max_seconds=max_seconds, spelling=spelling),
        [batch for group in batches for batch in group],
        description="prepare",
        unit="MB",
        jobs=jobs,
        amount=_megabytes,
    )
    found = [[next(results) for _ in group] for group in batches]
    next(results, None)  # lets the workers and the bar come to their end
    return [_join(listing, scans) for listing, scans in zip(listings, found, strict=True)]


def listing_digest(listing: Listing) -> str:
    """A digest of all that is listed."""
    total = hashlib.sha256()
    for item in sorted(listing.utterances, key=lambda item: (item.utterance_id, item.audio_path)):
        total.update(f"{item!r}\n".encode())
    for entry in sorted(listing.rejected, key=lambda entry: (entry.utterance_id, entry.path, entry.reason)):
        total.update(f"{entry!r}\n".encode())
    return total.hexdigest()[:16]


def stamps(listing: Listing) -> dict[str, tuple[int, int]]:
    """Size and time of change in nanoseconds of every audio file that is there, by its path."""
    found = {}
    for file in sorted({file_of(item.audio_path)[0] for item in listing.utterances}):
        try:
            status = Path(file).stat()
        except OSError:
            continue  # rejected as unreadable when it is scanned
        found[file] = (status.st_size, status.st_mtime_ns)
    return found


def content_of(file: str) -> str:
    """Checksum of the bytes of a file; empty if it cannot be read."""
    try:
        status = Path(file).stat()
        return _checksum(file, status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=4)  # the utterances of an archive follow each other
def _checksum(file: str, size: int, changed_ns: int) -> str:
    total = hashlib.blake2b(digest_size=8)
    with Path(file).open("rb") as raw:
        while block := raw.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _batches(utterances: Sequence[ListedUtterance]) -> list[list[ListedUtterance]]:
    """Groups of a few recordings; the utterances of one recording stay together."""
    ordered = sorted(utterances, key=lambda item: (item.audio_path, item.utterance_id))
    recordings = [list(group) for _, group in groupby(ordered, lambda item: item.audio_path)]
    return [
        [item for recording in recordings[first : first + TOGETHER] for item in recording]
        for first in range(0, len(recordings), TOGETHER)
    ]


def _megabytes(batch: Sequence[ListedUtterance]) -> float:
    total = 0
    for name in {file_of(item.audio_path)[0] for item in batch}:
        path = Path(name)
        total += path.stat().st_size if path.is_file() else 0
    return total / 1e6


def _check(
    batch: Sequence[ListedUtterance], *, min_seconds: float, max_seconds: float, spelling: SpellingSettings
) -> Scan:
    """Utterances and rejected ones of one batch."""
    found = Scan([], [])
    for path, group in groupby(batch, lambda item: item.audio_path):
        said = [(item, spell(item.text, spelling)) for item in group]
        texts = {id(item): text for item, text in said}
        items = [item for item, text in said if _fit(item, text, found)]
        if not items:
            continue  # the path may be none
        parts = [item for item in items if item.segment is not None]
        listeners = {id(item): Listener() for item in items}
        segments, heard = [item.segment for item in parts if item.segment], [listeners[id(item)] for item in parts]
        outcomes = check_segments(path, segments, min_seconds, max_seconds, heard)
        file = file_of(path)[0]
        found.contents[file] = content_of(file)
        of_part = dict(zip([id(item) for item in parts], outcomes, strict=True))
        for item in items:
            listener = listeners.pop(id(item))
            if item.segment is not None:
                outcome: tuple[int, ...] | str = of_part[id(item)]
            else:
                outcome = check_audio(path, min_seconds, max_seconds, listener)
            if isinstance(outcome, str):
                _reject(item, outcome, found)
                continue
            rate, *first, samples = outcome
            made = Utterance(
                item.utterance_id,
                item.speaker_id,
                item.chapter_id,
                path,
                rate,
                samples,
                texts[id(item)].words,
                first[0] if first else None,
            )
            found.utterances.append(made)
            found.prints[place_of(made)] = listener.sound_print()
            found.numbers.extend(SpokenNumber(item.utterance_id, *number) for number in texts[id(item)].numbers)
    return found


def _fit(item: ListedUtterance, text: Spelt, found: Scan) -> bool:
    """Whether id, path and words of an utterance can be used; otherwise it is rejected."""
    if not f"{item.utterance_id}{item.audio_path}".isprintable() or len(item.utterance_id.split()) != 1:
        # A tab, a line break or bytes that are not UTF-8 would spoil every table the name comes into.
        reason = f"unprintable name or white space in the id{_place(item)}"
        found.rejected.append(Rejected(ascii(item.utterance_id), ascii(item.audio_path), reason, "prepare"))
        return False
    if not text.words:
        _reject(item, "empty transcript", found)
    return bool(text.words)


def _reject(item: ListedUtterance, reason: str, found: Scan) -> None:
    found.rejected.append(Rejected(item.utterance_id, item.audio_path, reason + _place(item), "prepare"))


def _place(item: ListedUtterance) -> str:
    return f"; {item.place}" if item.place else ""


def _join(listing: Listing, scans: Sequence[Scan]) -> Scan:
    """All batches of one set together."""
    rejected = [*listing.rejected, *(entry for one in scans for entry in one.rejected)]
    utterances, repeated = _unique([item for one in scans for item in one.utterances])
    rejected += repeated
    rejected.sort(key=lambda entry: (entry.utterance_id, entry.path))
    if not utterances:
        first = f": {rejected[0].utterance_id}: {rejected[0].reason}" if rejected else ""
        raise UserError(f"{listing.place} has no usable utterance; {len(rejected)} were rejected{first}")
    numbers: dict[str, list[SpokenNumber]] = {}
    for number in (number for one in scans for number in one.numbers):
        numbers.setdefault(number.utterance_id, []).append(number)
    of_kept = [one for item in utterances for one in numbers.get(item.utterance_id, ())]
    contents = {file: content for one in scans for file, content in one.contents.items()}
    prints = {place: one for scan in scans for place, one in scan.prints.items()}
    return Scan(utterances, rejected, of_kept, contents, prints)


def without_copies(scans: Mapping[str, Scan]) -> dict[str, Scan]:
    """The sets without utterances whose audio is also in test or, of train, in dev: they would make results too good.

    The same audio is found by the bytes of its file, and the same recording in another file by its sound.

    Args:
        scans: of train, dev and test.
    """
    contents = {file: content for scan in scans.values() for file, content in scan.contents.items() if content}
    taken: dict[tuple[object, ...], str] = {}
    kept: dict[str, Scan] = {}
    heard: list[tuple[Utterance, SoundPrint]] = []
    called: dict[Place, str] = {}
    for name in reversed(SETS):
        scan, utterances, rejected = scans[name], [], []
        recordings = KnownRecordings(heard)
        mine: dict[tuple[object, ...], str] = {}
        for item in scan.utterances:
            file, place = file_of(item.audio_path)
            key = contents.get(file, file), place, item.first_sample, item.num_samples
            own = scan.prints.get(place_of(item))
            reason = f"the same audio as {taken[key]}" if key in taken else ""
            other = recordings.find(item, own) if own is not None and not reason else None
            if other is not None:
                reason = f"the same audio as {called[place_of(other)]}, encoded in another way"
            if reason:
                rejected.append(Rejected(item.utterance_id, item.audio_path, reason, "prepare"))
            else:
                utterances.append(item)
                mine[key] = f"'{item.utterance_id}' of {name}"
        if not utterances:
            raise UserError(f"all utterances of {name} are also in {' or '.join(kept)}: choose other speech")
        taken |= mine
        ids = {item.utterance_id for item in utterances}
        heard += [(item, scan.prints[place_of(item)]) for item in utterances if place_of(item) in scan.prints]
        called |= {place_of(item): f"'{item.utterance_id}' of {name}" for item in utterances}
        numbers = [number for number in scan.numbers if number.utterance_id in ids]
        kept[name] = Scan(utterances, [*scan.rejected, *rejected], numbers, scan.contents, scan.prints)
    return {name: kept[name] for name in scans}


def _unique(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Rejected]]:
    """Sorted by id; of several with the same id the first path is kept and the others are rejected."""
    kept: dict[str, Utterance] = {}
    rejected = []
    for item in sorted(utterances, key=lambda item: (item.utterance_id, item.audio_path, item.first_sample or 0)):
        if item.utterance_id in kept:
            reason = f"duplicate utterance id, also in {kept[item.utterance_id].audio_path}"
            rejected.append(Rejected(item.utterance_id, item.audio_path, reason, "prepare"))
        else:
            kept[item.utterance_id] = item
    return list(kept.values()), rejected
