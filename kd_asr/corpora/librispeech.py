"""A corpus in LibriSpeech's layout: `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac` beside `*.trans.txt`.

Every file is decoded from end to end before it is trusted, so that a truncated one is found here and not hours later.
Bad utterances are listed with the reason and left out; only what leaves nothing to work with is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from kd_asr.corpora.manifest import Rejected, Utterance
from kd_asr.corpora.transcripts import read_transcripts
from kd_asr.errors import UserError
from kd_asr.parallel import parallel_map

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg")
TRANSCRIPT_SUFFIX = ".trans.txt"
# An utterance none of whose samples reaches this level (full scale is 1; this is -60 dB) holds no speech.
SILENCE_LEVEL = 1e-3
# Below this rate the filterbank would have to be fed with frequencies that were never recorded.
MIN_SAMPLE_RATE = 8000
BLOCK_FRAMES = 1 << 18
# libsndfile reports the largest number there is where a header lacks the length, as that of a FLAC written to a pipe.
UNKNOWN_LENGTH = 1 << 48


@dataclass(frozen=True)
class Scan:
    """What was found in one subset: utterances in the order of their ids, and what was left out and why."""

    utterances: list[Utterance]
    rejected: list[Rejected]


@dataclass(frozen=True)
class Chapter:
    """One folder of audio and its transcripts."""

    speaker_id: str
    chapter_id: str
    path: Path
    num_bytes: int


def subset_names(root: Path) -> list[str]:
    """Folders below `root` that look like subsets: `SPEAKER/CHAPTER` folders with audio or transcripts in them."""
    if not root.is_dir():
        return []
    return sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and next(path.glob(f"*/*/*{TRANSCRIPT_SUFFIX}"), None)
    )


def check_subset(root: Path, subset: str) -> Path:
    """The folder of a subset.

    Raises:
        UserError: there is no such folder, or no transcripts in it; the subsets that are there are named.
    """
    if not root.is_dir():
        raise UserError(f"there is no corpus folder {root}")
    folder = root / subset
    others = ", ".join(subset_names(root)) or "none"
    if not folder.is_dir():
        raise UserError(f"{root} has no subset {subset!r}; subsets there: {others}")
    if next(folder.glob(f"*/*/*{TRANSCRIPT_SUFFIX}"), None) is None:
        raise UserError(
            f"{folder} has no transcripts (SPEAKER/CHAPTER/SPEAKER-CHAPTER{TRANSCRIPT_SUFFIX}); subsets there: {others}"
        )
    return folder


def list_files(folder: Path) -> list[tuple[str, int, int]]:
    """(relative path, bytes, time of change in ns) of every transcript and audio file of a subset, sorted by path."""
    listing = []
    for chapter in _chapter_folders(folder):
        for path in chapter.iterdir():
            if _is_audio(path) or path.name.endswith(TRANSCRIPT_SUFFIX):
                try:
                    status = path.stat()
                except OSError:
                    continue  # a dangling link: it is rejected as unreadable when its chapter is scanned
                listing.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(listing)


def _chapter_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_dir())


def _chapters(folder: Path) -> list[Chapter]:
    """All chapters of a subset, in order of their names."""
    chapters = []
    for path in _chapter_folders(folder):
        files = list(path.iterdir())
        if any(_is_audio(file) or file.name.endswith(TRANSCRIPT_SUFFIX) for file in files):
            num_bytes = sum(file.stat().st_size for file in files if file.is_file())
            chapters.append(Chapter(path.parent.name, path.name, path, num_bytes))
    return chapters


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def check_audio(path: Path, min_seconds: float, max_seconds: float) -> tuple[int, int] | str:
    """(sample rate, samples) of a file that was decoded from end to end, or the reason why it cannot be used.

    Any number of channels will do: the stage `features` averages them.
    """
    try:
        if path.stat().st_size == 0:
            return "empty file"
        with soundfile.SoundFile(path) as file:
            rate, expected = file.samplerate, file.frames
            if rate < MIN_SAMPLE_RATE:
                return f"sample rate {rate} Hz is below {MIN_SAMPLE_RATE} Hz"
            if expected > UNKNOWN_LENGTH:
                return "its header does not tell its length: encode the file again"
            if expected < min_seconds * rate:
                return f"shorter than corpus.min_seconds = {min_seconds:g}"
            if expected > max_seconds * rate:
                return f"longer than corpus.max_seconds = {max_seconds:g}"
            decoded, peak = 0, 0.0
            for block in file.blocks(blocksize=BLOCK_FRAMES, dtype="float32"):
                decoded += len(block)
                # NaN and infinity both survive this sum; a maximum could lose the NaN.
                if not np.isfinite(np.sum(block, dtype=np.float64)):
                    return "audio holds samples that are not finite"
                peak = max(peak, float(np.max(np.abs(block), initial=0.0)))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return f"unreadable audio: {_one_line(error)}"
    if decoded != expected:
        return f"truncated audio: {decoded} of {expected} samples"
    if peak < SILENCE_LEVEL:
        return "silence only"
    return rate, decoded


def _one_line(error: Exception) -> str:
    """The library's own words, without the path that the table of rejected utterances names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text.rsplit(": ", maxsplit=1)[-1] if ": " in text else text


def scan_chapter(chapter: Chapter, *, min_seconds: float, max_seconds: float) -> Scan:
    """Utterances and rejected ones of one chapter."""
    words: dict[str, tuple[str, ...]] = {}
    rejected: list[Rejected] = []
    for path in sorted(chapter.path.glob(f"*{TRANSCRIPT_SUFFIX}")):
        try:
            found, bad = read_transcripts(path)
        except OSError as error:
            rejected.append(Rejected(path.name, str(path), f"unreadable transcripts: {error.strerror}", "prepare"))
            continue
        words |= found
        rejected += bad
    told = {entry.utterance_id for entry in rejected}
    utterances = []
    with_audio: dict[str, Path] = {}
    for path in sorted(file for file in chapter.path.iterdir() if _is_audio(file)):
        utterance_id = path.stem
        if not str(path).isprintable():
            # A tab, a line break or bytes that are not UTF-8 would spoil every table the name comes into.
            rejected.append(Rejected(ascii(utterance_id), ascii(str(path)), "unprintable file name", "prepare"))
            continue
        if utterance_id in with_audio:
            rejected.append(Rejected(utterance_id, str(path), "second audio file for one utterance id", "prepare"))
            continue
        with_audio[utterance_id] = path
        if utterance_id not in words:
            if utterance_id not in told:
                rejected.append(Rejected(utterance_id, str(path), "no transcript line", "prepare"))
            continue
        if not words[utterance_id]:
            if utterance_id not in told:
                rejected.append(Rejected(utterance_id, str(path), "empty transcript", "prepare"))
            continue
        outcome = check_audio(path, min_seconds, max_seconds)
        if isinstance(outcome, str):
            rejected.append(Rejected(utterance_id, str(path), outcome, "prepare"))
            continue
        rate, samples = outcome
        utterances.append(
            Utterance(
                utterance_id,
                chapter.speaker_id,
                chapter.chapter_id,
                str(path.absolute()),
                rate,
                samples,
                words[utterance_id],
            )
        )
    for utterance_id in sorted(words.keys() - with_audio.keys() - told):
        reason = "transcript line without audio"
        rejected.append(Rejected(utterance_id, str(chapter.path), reason, "prepare"))
    return Scan(utterances, rejected)


def scan_subset(
    root: Path, subset: str, *, min_seconds: float = 0.0, max_seconds: float = float("inf"), jobs: int = 0
) -> Scan:
    """`scan_subsets` of a single one."""
    return scan_subsets(root, [subset], min_seconds=min_seconds, max_seconds=max_seconds, jobs=jobs)[0]


def scan_subsets(
    root: Path, subsets: Sequence[str], *, min_seconds: float = 0.0, max_seconds: float = float("inf"), jobs: int = 0
) -> list[Scan]:
    """Scan subsets on all cores; one item of work is one chapter.

    Args:
        root: folder that holds the subsets.
        subsets: their names.
        min_seconds: shorter utterances are rejected.
        max_seconds: longer ones are.
        jobs: processes, 0 for one per core.

    Raises:
        UserError: a subset is missing, has no transcripts, or every utterance of it was rejected.
    """
    chapters = [_chapters(check_subset(root, subset)) for subset in subsets]
    results = parallel_map(
        partial(scan_chapter, min_seconds=min_seconds, max_seconds=max_seconds),
        [chapter for group in chapters for chapter in group],
        description="prepare",
        unit="MB",
        jobs=jobs,
        amount=lambda chapter: chapter.num_bytes / 1e6,
    )
    scans = [[next(results) for _ in group] for group in chapters]
    next(results, None)  # lets the workers and the bar come to their end
    return [_join(root / subset, found) for subset, found in zip(subsets, scans, strict=True)]


def _join(folder: Path, scans: Sequence[Scan]) -> Scan:
    """The chapters of one subset together."""
    rejected = [entry for scan in scans for entry in scan.rejected]
    utterances, repeated = _unique([item for scan in scans for item in scan.utterances])
    rejected += repeated
    if not utterances:
        first = f": {rejected[0].utterance_id}: {rejected[0].reason}" if rejected else ""
        raise UserError(f"{folder} has no usable utterance; {len(rejected)} were rejected{first}")
    return Scan(utterances, sorted(rejected, key=lambda entry: (entry.utterance_id, entry.path)))


def _unique(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Rejected]]:
    """Sorted by id; of several with the same id the first path is kept and the others are rejected."""
    kept: dict[str, Utterance] = {}
    rejected = []
    for item in sorted(utterances, key=lambda item: (item.utterance_id, item.audio_path)):
        if item.utterance_id in kept:
            reason = f"duplicate utterance id, also in {kept[item.utterance_id].audio_path}"
            rejected.append(Rejected(item.utterance_id, item.audio_path, reason, "prepare"))
        else:
            kept[item.utterance_id] = item
    return list(kept.values()), rejected


def check_speakers(sets: dict[str, list[Utterance]]) -> None:
    """Refuse speakers that are in more than one of train, dev and test.

    Raises:
        UserError: names the two sets and the speakers.
    """
    names = list(sets)
    speakers = {name: {item.speaker_id for item in sets[name]} for name in names}
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            shared = sorted(speakers[first] & speakers[second])
            if shared:
                shown = ", ".join(shared[:10]) + (f" and {len(shared) - 10} more" if len(shared) > 10 else "")
                raise UserError(
                    f"{first} and {second} share speakers ({shown}): results would be too good; "
                    "choose subsets whose speakers differ"
                )
