"""A teacher from outside: its posteriors, stored by another program, are read from files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from kd_asr.checksums import content_of
from kd_asr.console import say
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.outside.files import files_of, read_posteriors
from kd_asr.distillation.outside.maps import ClassMap, Misfit, as_probabilities, nearest_frames, read_class_map
from kd_asr.distillation.posterior_store import ResidentPosteriors, encode
from kd_asr.distillation.signal import Signal, SoftTargets, tail_sum, top_k_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.errors import UserError
from kd_asr.features.settings import FeatureSettings
from kd_asr.registry import teacher
from kd_asr.settings.ranges import Above, AtLeast, AtMost, DecidesNothing, Unit

# A part of an utterance, as unlabelled audio has them.
_PART = re.compile(r"(.+)@(\d+)")
_NAMED = 3


@dataclass(frozen=True)
class PosteriorsSettings:
    """Posteriors of any model, stored by another program.

    Attributes:
        path: File with a matrix of frames by classes for each utterance, of probabilities or their natural logarithms:
            .scp or .ark (Kaldi), .npz or .safetensors.
        classes: Table of two columns, the teacher's classes and ours, by number from 0; several may mean one, `-` none,
            and `3,4,5` are several that share. Empty: they are the same. `kd-asr dump` lists ours.
        frame_shift: Seconds from one frame of the teacher to the next, such as 0.02 of wav2vec 2.0; null: as ours.
        slack: Difference in seconds that is allowed between the ends of an utterance.
        top_k: Posteriors to keep per frame.
        most_missing: Share of the frames that may have no posteriors, and are learnt from their hard labels alone.
        content: Digest of the files, which is found where a run is configured: other posteriors, other students.
    """

    path: Annotated[str, DecidesNothing()] = ""
    classes: Annotated[str, DecidesNothing()] = ""
    frame_shift: Annotated[float | None, Above(0), AtMost(1), Unit("seconds")] = None
    slack: Annotated[float, AtLeast(0), Unit("seconds")] = 0.04
    top_k: Annotated[int, AtLeast(1), AtMost(65535)] = 20
    most_missing: Annotated[float, AtLeast(0), AtMost(1)] = 0.1
    content: str = ""


@teacher("posteriors")
class PosteriorsTeacher(Teacher):
    """Teacher that looks up stored posteriors, whatever model they are of."""

    Settings = PosteriorsSettings
    gives = frozenset({"posteriors"})
    source = "nothing"

    def __init__(self, posteriors: ResidentPosteriors) -> None:
        """`posteriors` has a row for each frame; one without a possible class is not known."""
        self._posteriors = posteriors

    @classmethod
    def settled(cls, settings: PosteriorsSettings) -> PosteriorsSettings:
        """The settings with absolute paths and the digest of the files.

        Raises:
            UserError: a file is missing, of an unknown kind, or no class map.
        """
        if not settings.path:
            raise UserError("distil.teacher.posteriors.path is empty: name the file of the teacher's posteriors")
        path = Path(settings.path).absolute()
        files = files_of(path)
        if settings.classes:
            classes = Path(settings.classes).absolute()
            read_class_map(classes)
            settings, files = replace(settings, classes=str(classes)), [*files, classes]
        return replace(settings, path=str(path), content=content_of(files))

    @classmethod
    def open(cls, lesson: Lesson, settings: PosteriorsSettings) -> PosteriorsTeacher:
        """The top k of all frames of the lesson, in memory.

        Raises:
            UserError: the files have changed, an array does not fit its utterance, or too much is missing.
        """
        now = cls.settled(settings)
        if settings.content not in ("", now.content):
            raise UserError(
                f"{now.path} or its class map has changed since the run was configured: run `kd-asr configure` again"
            )
        return cls(_Reader(lesson, now).posteriors())

    def read(self, numbers: Tensor) -> Signal:
        """Soft targets of (labels,) int64 frame numbers."""
        return Signal(self._posteriors.targets(numbers))

    def answer(self, batch: Batch) -> Signal:
        """What was read; where nothing is known, the hard label has the probability 1."""
        targets = batch.signal.targets
        assert targets is not None
        return Signal(with_hard_labels(targets, batch.hard_labels))


def with_hard_labels(targets: SoftTargets, hard_labels: Tensor) -> SoftTargets:
    """Soft targets in which frames without a possible class have (labels,) int64 hard labels with the probability 1."""
    unknown = (targets.log_probs == -torch.inf).all(dim=1) & (hard_labels >= 0)
    label = hard_labels.clamp_min(0)
    # Classes of such a frame are 0 to k - 1, each of them once.
    place = torch.where(label < targets.classes.shape[1], label, 0)[:, None]
    classes = torch.where(unknown[:, None], targets.classes.scatter(1, place, label[:, None]), targets.classes)
    log_probs = torch.where(unknown[:, None], targets.log_probs.scatter(1, place, 0.0), targets.log_probs)
    return SoftTargets(classes, log_probs, targets.log_tail_mass, targets.tail_prior)


class _Reader:
    """Reads the posteriors of a lesson and checks them."""

    def __init__(self, lesson: Lesson, settings: PosteriorsSettings) -> None:
        self._lesson, self._settings = lesson, settings
        self._path = Path(settings.path)
        header = dict(lesson.header)
        self._shift = FeatureSettings(**header).frame_shift if "sample_rate" in header else 1.0  # type: ignore[arg-type]
        if settings.frame_shift is not None and "sample_rate" not in header:
            raise UserError("distil.teacher.posteriors.frame_shift: these examples are not frames in time")
        self._classes = lesson.num_classes
        self._map: ClassMap | None = None
        self._tail = torch.zeros(self._classes, dtype=torch.float64)
        self._unknown = 0

    def posteriors(self) -> ResidentPosteriors:
        """Rows of all frames, in the order of the lesson."""
        lesson = self._lesson
        starts = np.concatenate([[0], np.cumsum(lesson.frames)]).astype(np.int64)
        k = min(self._settings.top_k, self._classes)
        rows = np.empty((int(starts[-1]), 2 * k + 1), dtype=np.uint16)
        rows[:] = _no_class_possible(k, self._classes)
        # An array may serve several parts of an utterance.
        places: dict[str, list[tuple[int, int]]] = {}
        for number, name in enumerate(lesson.utterance_ids):
            part = _PART.fullmatch(name)
            places.setdefault(name, []).append((number, 0))
            if part:
                places.setdefault(part[1], []).append((number, int(part[2])))
        found: set[int] = set()
        for name, array in read_posteriors(self._path, places.keys()):
            for number, first in places[name]:
                if number in found:
                    continue
                found.add(number)
                rows[starts[number] : starts[number + 1]] = self._rows(
                    name, array, lesson.frames[number], k, first=first, whole=name == lesson.utterance_ids[number]
                )
        self._report_missing(found)
        shares = self._tail / self._tail.sum().clamp_min(1e-30) + 1e-9
        return ResidentPosteriors(torch.from_numpy(rows.view(np.int16)), (shares / shares.sum()).float())

    def _rows(self, name: str, array: np.ndarray, frames: int, k: int, *, first: int, whole: bool) -> np.ndarray:
        """Rows of an utterance or, from frame `first` on, of a part of it.

        Raises:
            UserError: the array does not fit; names utterance and file, and both shapes.
        """
        try:
            probabilities = as_probabilities(array)
            known = np.ones(len(probabilities), dtype=bool)
            if self._settings.classes:
                if self._map is None or self._map.matrix.shape[0] != array.shape[1]:
                    self._map = read_class_map(Path(self._settings.classes), array.shape[1], self._classes)
                probabilities, known = self._map.apply(probabilities)
            elif array.shape[1] != self._classes:
                raise Misfit("other classes than ours: give a table of both as distil.teacher.posteriors.classes")
            chosen = nearest_frames(
                frames,
                len(array),
                shift=self._shift,
                their_shift=self._settings.frame_shift or self._shift,
                first=first,
                whole=whole,
                slack=self._settings.slack if self._shift != 1.0 else 0.0,
            )
        except Misfit as fault:
            raise UserError(
                f"{self._path}: the posteriors of {name}, of shape {tuple(array.shape)}, do not fit the "
                f"{(frames, self._classes)} frames and classes of ours: {fault}"
            ) from fault
        with np.errstate(divide="ignore"):
            logs = torch.from_numpy(np.log(probabilities[chosen])).float()
        targets = top_k_targets(logs, k)
        known = known[chosen]
        self._unknown += int((~known).sum())
        self._tail += tail_sum(logs[torch.from_numpy(known)], targets.classes[torch.from_numpy(known)])
        return np.where(known[:, None], encode(targets), _no_class_possible(k, self._classes))

    def _report_missing(self, found: set[int]) -> None:
        """Say what is missing.

        Raises:
            UserError: it is too much, or what is missing has no hard labels either.
        """
        names, frames = self._lesson.utterance_ids, self._lesson.frames
        missing = [number for number in range(len(names)) if number not in found]
        lacking = sum(frames[number] for number in missing) + self._unknown
        if not lacking:
            return
        listed = _listed([names[number] for number in missing])
        what = f"{self._path} has no posteriors of {len(missing)} of {len(names)} utterances{listed}"
        if self._unknown:
            what += f"; the class map leaves nothing of {self._unknown} further frames"
        unlabelled = [names[number] for number in missing if number >= self._lesson.labelled]
        if unlabelled:
            raise UserError(f"{what}; those without a transcript{_listed(unlabelled)} cannot be learnt from")
        share = lacking / max(1, sum(frames))
        if share > self._settings.most_missing:
            raise UserError(
                f"{what}: {100 * share:.1f} % of the frames, more than distil.teacher.posteriors.most_missing, "
                f"{self._settings.most_missing:g}"
            )
        say(f"{what}: {100 * share:.1f} % of the frames are learnt from hard labels alone")


def _listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''})"


def _no_class_possible(k: int, num_classes: int) -> np.ndarray:
    """(1, 2 k + 1) uint16 row of a frame of which nothing is known: no class is possible."""
    impossible = torch.full((1, k), -torch.inf)
    classes = torch.arange(k)[None]
    return encode(SoftTargets(classes, impossible, impossible[:, 0], torch.ones(num_classes)))
