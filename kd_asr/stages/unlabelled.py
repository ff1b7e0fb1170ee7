"""Stage `unlabelled`: frames of audio without transcripts, for the students' transfer set.

Files are read with the guards of all audio: what cannot be used is listed and left out, and so are recordings of train,
dev and test, whatever their encoding. Long files are cut at pauses.
Short ones are normalised with the usual speaker of the training set, as a user's own audio is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import SPEECH, say
from kd_asr.corpora.audio import check_audio
from kd_asr.corpora.base import ListedUtterance, Listing
from kd_asr.corpora.copies import KnownRecordings, Listener, SoundPrint, place_of, sound_print_of
from kd_asr.corpora.manifest import SETS, Rejected, Utterance, read_manifest, write_manifest, write_rejected
from kd_asr.corpora.scan import listing_digest
from kd_asr.corpora.sound import UnusableAudio
from kd_asr.corpora.unlabelled import KnownAudio, list_audio
from kd_asr.errors import UserError
from kd_asr.features.frames import frames_of_file, normalise, num_frames
from kd_asr.features.perturbation import Perturbation, copied_frames, draw, perturb
from kd_asr.features.store import FrameStore, create_store
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.parallel import parallel_map
from kd_asr.stages.copies import spread_of_copies
from kd_asr.stages.features import USUAL_SPEAKER_FILE
from kd_asr.stages.own_frames import cuts
from kd_asr.stages.settings import Settings

_STAGE = "unlabelled"
# Of a folder or speaker, so much audio is normalised together and is in memory at a time.
_TOGETHER_SECONDS = 3600.0


@dataclass(frozen=True)
class _File:
    """A file that can be used: where its pieces end, in frames."""

    item: ListedUtterance
    sample_rate: int
    num_samples: int
    ends: tuple[int, ...]
    sound_print: SoundPrint

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def pieces(self) -> list[tuple[str, int, int]]:
        """(id, first frame, end) of each piece."""
        starts = (0, *self.ends[:-1])
        return [
            (f"{self.item.utterance_id}-{number:04d}", start, end)
            for number, (start, end) in enumerate(zip(starts, self.ends, strict=True))
        ]


def unlabelled(run_dir: Path, settings: Settings) -> Artifact | None:
    """Write `unlabelled/frames`, `files.jsonl` and `rejected.tsv`; nothing where no folder is named.

    Raises:
        UserError: a folder is missing or holds no audio that can be used.
    """
    if not settings.unlabelled_folders:
        return None
    prepared, extracted = load_artifact(run_dir, "prepare"), load_artifact(run_dir, "features")
    own = settings.unlabelled
    listing = list_audio(settings.unlabelled_folders, own)

    def work(folder: Path) -> dict[str, Any]:
        sets = {name: read_manifest(prepared.path / f"{name}.jsonl") for name in SETS}
        files, rejected = _without_known(*_usable(listing, KnownAudio(sets), settings), sets, settings)
        write_rejected(folder / "rejected.tsv", rejected)
        if not files:
            raise _no_usable_audio(listing, rejected)
        write_manifest(folder / "files.jsonl", _manifest(files))
        names, counts = [], []
        for file in files:
            for name, start, end in file.pieces:
                names += [name, *(f"{name}+{number}" for number in range(1, own.copies + 1))]
                copies = (copied_frames(end - start, one) for one in _perturbations(name, settings))
                counts += [end - start, *copies]
        create_store(folder / "frames", names, counts, settings.features)
        usual_file = extracted.path / USUAL_SPEAKER_FILE
        usual = UsualSpeaker.load(usual_file) if usual_file.exists() else None
        groups = _groups(files)
        for _ in parallel_map(
            partial(_write, folder=folder / "frames", settings=settings, usual=usual),
            groups,
            description="features of unlabelled audio",
            unit=SPEECH,
            jobs=settings.jobs,
            amount=lambda group: sum(file.seconds for file in group),
        ):
            pass
        seconds = sum(file.seconds for file in files)
        say(f"unlabelled audio: {len(files)} files, {seconds / 60:.1f} minutes; {len(rejected)} left out")
        return {
            "files": len(files),
            "pieces": sum(len(file.ends) for file in files),
            "seconds": round(seconds, 3),
            "normalised_together": len({file.item.speaker_id for file in files}),
            "copies": own.copies,
            "stated": stated(settings),
            "frames": sum(counts),
            "rejected": len(rejected),
        }

    return build_artifact(
        run_dir,
        _STAGE,
        code=__name__,
        settings={"audio": listing_digest(listing), **decides(settings)},
        inputs=[prepared, extracted],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact, besides the files that are listed."""
    own = settings.unlabelled
    copies = {"seed": settings.seed, "copies": own.copies, "spread": spread_of_copies(settings)}
    return {
        "longest_seconds": own.longest_seconds,
        "min_seconds": settings.prepare.min_seconds,
        "features": settings.features,
        **(copies if own.copies else {}),
    }


def stated(settings: Settings) -> dict[str, Any]:
    """Settings that tell which audio the artifact is of, to be compared where the audio itself may be gone."""
    own = settings.unlabelled
    return {
        "unlabelled.folders": list(map(str, settings.unlabelled_folders)),
        "unlabelled.speaker": own.speaker,
        "unlabelled.normalisation": own.normalisation,
        "unlabelled.copies": own.copies,
    }


def _no_usable_audio(listing: Listing, rejected: Sequence[Rejected]) -> UserError:
    first = f", such as {rejected[0].path}: {rejected[0].reason}" if rejected else ""
    return UserError(f"{listing.place} holds no audio that can be used; {len(rejected)} files were left out{first}")


def _usable(listing: Listing, known: KnownAudio, settings: Settings) -> tuple[list[_File], list[Rejected]]:
    """Files in the order of their ids, and those left out."""
    rejected, items = list(listing.rejected), []
    for item in sorted(listing.utterances, key=lambda item: item.utterance_id):
        set_name = known.set_of(Path(item.audio_path))
        if set_name is None:
            items.append(item)
        else:
            rejected.append(Rejected(item.utterance_id, item.audio_path, f"it belongs to {set_name}", _STAGE))
    found = parallel_map(
        partial(_check, settings=settings),
        items,
        description="check unlabelled audio",
        unit="MB",
        jobs=settings.jobs,
        amount=lambda item: Path(item.audio_path).stat().st_size / 1e6 if Path(item.audio_path).is_file() else 0.0,
    )
    files: dict[str, _File] = {}
    for item, outcome in zip(items, found, strict=True):
        if isinstance(outcome, str):
            rejected.append(Rejected(item.utterance_id, item.audio_path, outcome, _STAGE))
        elif item.utterance_id in files:  # a.wav and a.flac, or paths that differ in white space alone
            reason = f"the same name as {files[item.utterance_id].item.audio_path}"
            rejected.append(Rejected(item.utterance_id, item.audio_path, reason, _STAGE))
        else:
            files[item.utterance_id] = outcome
    rejected.sort(key=lambda entry: (entry.utterance_id, entry.path))
    return list(files.values()), [replace(entry, stage=_STAGE) for entry in rejected]


def _check(item: ListedUtterance, *, settings: Settings) -> _File | str:
    """A file that was decoded from end to end, with its cuts, or the reason why it cannot be used."""
    listener = Listener()
    found = check_audio(item.audio_path, settings.prepare.min_seconds, float("inf"), listener)
    if isinstance(found, str):
        return found
    rate, samples = found
    sound = listener.sound_print()
    count = num_frames(samples, rate, settings.features)
    longest = int(settings.unlabelled.longest_seconds / settings.features.frame_shift)
    if count == 0:
        return "shorter than one frame"
    if count <= longest:
        return _File(item, rate, samples, (count,), sound)
    try:
        frames = frames_of_file(item.audio_path, settings.features).frames
    except UnusableAudio as error:
        return str(error)
    return _File(item, rate, samples, tuple(cuts(frames, longest)), sound)


def _without_known(
    files: Sequence[_File], rejected: Sequence[Rejected], sets: Mapping[str, Sequence[Utterance]], settings: Settings
) -> tuple[list[_File], list[Rejected]]:
    """The files that are no recordings of the sets, and all that are left out."""
    set_of = {place_of(item): name for name, items in sets.items() for item in items}
    utterances = [item for items in sets.values() for item in items]
    prints = parallel_map(
        sound_print_of,
        utterances,
        description="recordings of the sets",
        unit=SPEECH,
        jobs=settings.jobs,
        amount=lambda item: item.seconds,
    )
    known = KnownRecordings((item, one) for item, one in zip(utterances, prints, strict=True) if one is not None)
    kept, further = [], []
    for file, item in zip(files, _manifest(files), strict=True):
        other = known.find(item, file.sound_print)
        if other is None:
            kept.append(file)
            continue
        reason = f"the same audio as '{other.utterance_id}' of {set_of[place_of(other)]}, encoded in another way"
        further.append(Rejected(item.utterance_id, item.audio_path, reason, _STAGE))
    return kept, sorted([*rejected, *further], key=lambda entry: (entry.utterance_id, entry.path))


def _manifest(files: Sequence[_File]) -> list[Utterance]:
    """The files as a manifest without words."""
    return [
        Utterance(
            one.item.utterance_id, one.item.speaker_id, "", one.item.audio_path, one.sample_rate, one.num_samples, ()
        )
        for one in files
    ]


def _groups(files: Sequence[_File]) -> list[list[_File]]:
    """Files whose frames are normalised together."""
    groups: list[list[_File]] = []
    ordered = sorted(files, key=lambda file: (file.item.speaker_id, file.item.utterance_id))
    for _, alike in groupby(ordered, lambda file: file.item.speaker_id):
        seconds = float("inf")
        for file in alike:
            if seconds + file.seconds > _TOGETHER_SECONDS:
                groups.append([])
                seconds = 0.0
            groups[-1].append(file)
            seconds += file.seconds
    return groups


def _perturbations(piece: str, settings: Settings) -> list[Perturbation]:
    """The perturbation of each copy of a piece."""
    spread = spread_of_copies(settings)
    return [
        draw(spread, seed=settings.seed, utterance_id=piece, copy=number)
        for number in range(1, settings.unlabelled.copies + 1)
    ]


def _write(group: Sequence[_File], *, folder: Path, settings: Settings, usual: UsualSpeaker | None) -> None:
    """Compute, normalise together, and write the frames of some files, and their copies."""
    store = FrameStore(folder, writable=True)
    blocks = [_frames(file, settings) for file in group]
    for file, frames in zip(group, normalise(blocks, usual), strict=True):
        for name, start, end in file.pieces:
            piece = frames[start:end]
            store.write(name, piece)
            for number, perturbation in enumerate(_perturbations(name, settings), start=1):
                store.write(f"{name}+{number}", perturb(piece, perturbation, settings.features)[0])


def _frames(file: _File, settings: Settings) -> NDArray[np.float32]:
    """(frames, bins) of a file that was checked before."""
    try:
        frames = frames_of_file(file.item.audio_path, settings.features).frames
    except UnusableAudio as error:
        raise UserError(
            f"{file.item.audio_path} has changed while it was read ({error}): run the stage again"
        ) from error
    if len(frames) != file.ends[-1]:
        raise UserError(f"{file.item.audio_path} has changed while it was read: run the stage again")
    return frames
