"""Frames of a user's own audio: read with every guard, long files in pieces, normalised, in a frame store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_asr.console import say
from kd_asr.corpora.sound import UnusableAudio
from kd_asr.features.frames import frames_of_file, is_live, normalise
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.text import shown

# Scores of so much speech are in memory at a time, for each process.
PIECE_SECONDS = 120.0
# Frames over which loudness is smoothed to find a pause.
_SMOOTHED = 21


@dataclass(frozen=True)
class Failure:
    """A file that gave nothing, and why."""

    file: Path
    reason: str


@dataclass(frozen=True)
class Piece:
    """A part of a file, an utterance of the store: its name there, its first frame in the file, its frames."""

    name: str
    first_frame: int
    frames: int


@dataclass(frozen=True)
class OwnAudio:
    """A file whose frames are in the store, in one piece or several.

    Attributes:
        file: the audio.
        seconds: its length.
        pieces: in order, without gaps.
    """

    file: Path
    seconds: float
    pieces: tuple[Piece, ...]


def store_frames(
    files: Sequence[Path],
    folder: Path,
    settings: FeatureSettings,
    *,
    usual: UsualSpeaker | None,
    one_speaker: bool,
    channel: int | None = None,
    piece_seconds: float = PIECE_SECONDS,
) -> tuple[list[OwnAudio], list[Failure]]:
    """Write a frame store of the files that can be read; the others, and why not.

    Args:
        files: in any format that soundfile reads, at any rate.
        folder: of the store, made here.
        settings: of the features.
        usual: of the training set, for files with little speech; None: it is not known.
        one_speaker: normalise the frames of all files together, otherwise each file for itself.
        channel: the one that is used, counted from 1; None: the mean of all.
        piece_seconds: longer files are cut in the quietest place of the second half of each piece.
    """
    audio: list[OwnAudio] = []
    blocks: list[NDArray[np.float32]] = []
    failed: list[Failure] = []
    for number, file in enumerate(files):
        try:
            found = frames_of_file(file, settings, channel)
        except UnusableAudio as error:
            failed.append(Failure(file, str(error)))
            continue
        if not len(found.frames):
            failed.append(Failure(file, "shorter than one frame"))
        elif not is_live(found.frames).any():
            failed.append(Failure(file, "nothing but digital silence"))
        else:
            if found.channels > 1 and channel is None:
                say(f"{shown(file)}: {found.channels} channels, mixed; --channel takes one of them")
            ends = cuts(found.frames, int(piece_seconds / settings.frame_shift))
            pieces = tuple(
                Piece(f"{number:06d}-{place:04d}", start, end - start)
                for place, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
            )
            audio.append(OwnAudio(file, found.seconds, pieces))
            blocks.append(found.frames)
    if audio:
        pieces = tuple(piece for item in audio for piece in item.pieces)
        create_store(folder, [piece.name for piece in pieces], [piece.frames for piece in pieces], settings)
        store = FrameStore(folder, writable=True)
        normalised = normalise(blocks, usual) if one_speaker else [normalise([block], usual)[0] for block in blocks]
        for item, block in zip(audio, normalised, strict=True):
            for piece in item.pieces:
                store.write(piece.name, block[piece.first_frame : piece.first_frame + piece.frames])
    return audio, failed


def cuts(frames: NDArray[np.float32], longest: int) -> list[int]:
    """Where pieces of `longest` frames at most end, the last one at the end of the file.

    Args:
        frames: (frames, bins) log-mel, not normalised.
        longest: frames of a piece; each but the last one has half of them at least.
    """
    loudness = np.convolve(frames.mean(axis=1), np.full(_SMOOTHED, 1 / _SMOOTHED), mode="same")
    ends: list[int] = []
    start = 0
    while len(frames) - start > longest:
        earliest = start + longest // 2
        start = earliest + int(loudness[earliest : start + longest].argmin()) + 1
        ends.append(start)
    return [*ends, len(frames)]
