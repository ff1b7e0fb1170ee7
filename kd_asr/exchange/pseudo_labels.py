"""Pseudo-labels: the words that a recogniser hears in audio without transcripts, as a table to train on.

What was heard is kept in `OUT.RECOGNISER.jsonl`, piece by piece: an interrupted command goes on from there, and one
with other filters does not listen again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import torch

from kd_asr.console import SPEECH, say
from kd_asr.corpora.audio import check_audio
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.sound import UnusableAudio, open_sound
from kd_asr.corpora.spelling import normalise_words
from kd_asr.corpora.unlabelled import UnlabelledSettings, list_audio
from kd_asr.errors import UserError
from kd_asr.evaluation.wer import score_words
from kd_asr.features.frames import frames_of_file, read_audio
from kd_asr.features.settings import FeatureSettings
from kd_asr.fingerprints import canonical
from kd_asr.parallel import parallel_map
from kd_asr.pretrained.base import Heard, Pretrained, Samples, checked, identity, open_model
from kd_asr.registry import Named, named
from kd_asr.settings.ranges import Above, AtLeast, AtMost, OfKind, Unit
from kd_asr.stages.own_frames import cuts
from kd_asr.text import shown, table_line

HEADER = ("path", "start", "duration", "speaker", "text", "confidence")
_TOGETHER = 20
_SHORTEST = 0.3


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Words that recognisers hear in audio without transcripts.

    Attributes:
        recogniser: Who writes the words: `whisper`, `pocketsphinx`, `huggingface`, `torchaudio`, or the folder of a
            trained system (RUN/distil/student-00, RUN/ensemble, or what `kd-asr export` wrote).
        second: Another recogniser, with which the first must agree; null: none.
        least_confidence: Pieces that the first recogniser is less sure of are left out; what it measures depends on the
            recogniser.
        most_difference: Largest share of the words in which both may differ: word errors of the second, with the words
            of the first as reference.
        longest_seconds: Longer audio is cut where it is quietest.
        speaker: Regular expression whose group is the speaker in a file's path below its folder, as of
            `unlabelled.speaker`; empty: each file is a speaker.
        spelling: Tokens that are no words.
    """

    recogniser: Annotated[Named, OfKind("pretrained")] = field(default_factory=lambda: named("pretrained", "whisper"))
    second: Annotated[Named | None, OfKind("pretrained")] = None
    least_confidence: Annotated[float, AtLeast(0), AtMost(1)] = 0.0
    most_difference: Annotated[float, AtLeast(0)] = 0.1
    longest_seconds: Annotated[float, Above(1), Unit("seconds")] = 25.0
    speaker: str = ""
    spelling: SpellingSettings = field(default_factory=SpellingSettings)


@dataclass(frozen=True)
class Piece:
    """Audio of which the words are wanted.

    Attributes:
        path: Absolute path of its file.
        speaker: Of the file.
        start: Seconds.
        seconds: Length.
        whole: Whether it is the whole file.
    """

    path: str
    speaker: str
    start: float
    seconds: float
    whole: bool


@dataclass(frozen=True)
class Counts:
    """What became of the pieces, and the seconds of those kept and of all."""

    pieces: int
    kept: int
    left_out: dict[str, int]
    seconds: float
    kept_seconds: float


def pseudo_label(folders: Sequence[Path], out: Path, settings: PseudoLabelSettings, *, jobs: int = 0) -> Counts:
    """Write the table `out`: path, start, duration, speaker, text and confidence of each piece that is kept.

    Args:
        folders: with audio in any layout.
        out: the table; beside it lies what was heard.
        settings: recognisers and filters.
        jobs: processes, 0 for one per core.

    Raises:
        UserError: a recogniser cannot be loaded, there is no audio, or nothing is kept.
    """
    models = [settings.recogniser, *([settings.second] if settings.second else [])]
    for model in models:
        checked(model, "words")
    pieces, unusable = _pieces(folders, settings, jobs)
    heard = [_heard(model, pieces, out, jobs) for model in models]
    left_out = Counter(unusable)
    out.parent.mkdir(parents=True, exist_ok=True)
    kept, seconds = 0, 0.0
    with out.open("w", encoding="utf-8") as file:
        file.write(table_line(HEADER))
        for piece, first, *others in zip(pieces, *heard, strict=True):
            reason = fault(first, others[0] if others else None, settings)
            if reason:
                left_out[reason] += 1
                continue
            kept, seconds = kept + 1, seconds + piece.seconds
            place = ("", "") if piece.whole else (f"{piece.start:.3f}", f"{piece.seconds:.3f}")
            file.write(table_line((piece.path, *place, piece.speaker, first.text, f"{first.confidence:.4f}")))
    if not kept:
        raise UserError(f"nothing of {len(pieces)} pieces is kept: {_listed(left_out)}")
    return Counts(len(pieces), kept, dict(left_out), sum(one.seconds for one in pieces), seconds)


def fault(first: Heard, second: Heard | None, settings: PseudoLabelSettings) -> str:
    """Why a piece is left out; empty: it is kept."""
    words = normalise_words(first.text, settings.spelling)
    if not words:
        return "no words"
    if first.confidence < settings.least_confidence:
        return "not sure enough"
    if second is not None:
        other = normalise_words(second.text, settings.spelling)
        if score_words(words, other).wer > settings.most_difference:
            return "recognisers differ"
    return ""


def _listed(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()) or "none left out"


def summary(counts: Counts, out: Path) -> str:
    """What became of the audio, in a sentence."""
    return (
        f"{counts.kept} of {counts.pieces} pieces, {counts.kept_seconds / 60:.1f} of {counts.seconds / 60:.1f} "
        f"minutes, are in {shown(out)}; left out: {_listed(Counter(counts.left_out))}"
    )


def _pieces(folders: Sequence[Path], settings: PseudoLabelSettings, jobs: int) -> tuple[list[Piece], Counter[str]]:
    """The audio of some folders in pieces, and why files are left out."""
    listing = list_audio(list(folders), UnlabelledSettings(speaker=settings.speaker))
    unusable = Counter(one.reason for one in listing.rejected)
    files = [(item.audio_path, item.speaker_id.split(" ", 1)[-1]) for item in listing.utterances]
    found: list[Piece] = []
    for one in parallel_map(
        partial(_cut, longest=settings.longest_seconds), files, description="look at the audio", unit="files", jobs=jobs
    ):
        if isinstance(one, str):
            unusable[one] += 1
        else:
            found += one
    if not found:
        raise UserError(f"{listing.place} holds no audio that can be used: {_listed(unusable)}")
    return found, unusable


def _cut(file: tuple[str, str], *, longest: float) -> list[Piece] | str:
    path, speaker = file
    checked_audio = check_audio(path, _SHORTEST, float("inf"))
    if isinstance(checked_audio, str):
        return checked_audio
    rate, samples = checked_audio
    if samples <= longest * rate:
        return [Piece(path, speaker, 0.0, samples / rate, True)]
    features = FeatureSettings(sample_rate=min(16000, rate), num_mel_bins=20)
    try:
        frames = frames_of_file(path, features).frames
    except UnusableAudio as error:
        return str(error)
    ends = [round(end * features.frame_shift, 3) for end in cuts(frames, int(longest / features.frame_shift))[:-1]]
    starts, ends = [0.0, *ends], [*ends, samples / rate]
    return [Piece(path, speaker, start, end - start, False) for start, end in zip(starts, ends, strict=True)]


_model: Pretrained


def _load(model: Named) -> None:
    global _model  # noqa: PLW0603 - one per process
    torch.set_num_threads(1)
    _model = open_model(model, "words")


def _listen(pieces: Sequence[Piece]) -> list[Heard]:
    samples = []
    for piece in pieces:
        try:
            samples.append(_read(piece))
        except UnusableAudio as error:
            raise UserError(f"{piece.path} has changed while it was read ({error})") from error
    return _model.recognise_all(samples)


def _read(piece: Piece) -> Samples:
    if piece.whole:
        return read_audio(piece.path, _model.sample_rate)
    rate, samples = _rate(piece.path)
    first = round(piece.start * rate)
    return read_audio(
        piece.path,
        _model.sample_rate,
        first_sample=first,
        num_samples=min(round(piece.seconds * rate), samples - first),
    )


def _rate(path: str) -> tuple[int, int]:
    with open_sound(path) as file:
        return file.samplerate, file.frames


def _heard(model: Named, pieces: Sequence[Piece], out: Path, jobs: int) -> Iterator[Heard]:
    """What a model hears in each piece; what it has heard before is read from its file."""
    who = json.loads(json.dumps(canonical(identity(model))))
    path = out.with_name(f"{out.name}.{model.name.rpartition(':')[2]}.jsonl")
    before = _before(path, who)
    missing = [one for one in pieces if _key(one) not in before]
    if before:
        say(f"{shown(path)}: {len(pieces) - len(missing)} of {len(pieces)} pieces were heard before")
    groups = [missing[first : first + _TOGETHER] for first in range(0, len(missing), _TOGETHER)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if before else "w", encoding="utf-8") as file:
        if not before:
            file.write(json.dumps(who, ensure_ascii=False) + "\n")
        found = parallel_map(
            _listen,
            groups,
            description=f"{model.name.rpartition(':')[2]} listens",
            unit=SPEECH,
            jobs=jobs,
            amount=lambda group: sum(one.seconds for one in group),
            initializer=_load,
            initargs=(model,),
        )
        for group, heard in zip(groups, found if groups else (), strict=True):
            for piece, one in zip(group, heard, strict=True):
                before[_key(piece)] = one
                file.write(json.dumps([*_key(piece), *asdict(one).values()], ensure_ascii=False) + "\n")
            file.flush()
    return iter([before[_key(one)] for one in pieces])


def _key(piece: Piece) -> tuple[str, float, float]:
    return piece.path, round(piece.start, 3), round(piece.seconds, 3)


def _before(path: Path, who: object) -> dict[tuple[str, float, float], Heard]:
    """What the same recogniser has heard before; a line that was cut off is heard again.

    Raises:
        UserError: the file is none of these, or another recogniser's.
    """
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    try:
        rows = [json.loads(line) for line in whole]
        if rows and rows[0] != who:
            raise UserError(f"{shown(path)} was heard by another recogniser: delete it, or name another --out")
        return {(row[0], row[1], row[2]): Heard(row[3], row[4]) for row in rows[1:]}
    except (ValueError, IndexError, TypeError) as error:
        raise UserError(f"{shown(path)} does not hold what a recogniser heard ({error}): delete it") from error
