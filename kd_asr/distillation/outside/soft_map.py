"""A map from another model's classes to ours that is learnt: how often each of our classes is aligned to a frame, given
the class that the model takes it for.

A model that names a class in every frame is counted frame by frame. A CTC network (Graves and others 2006) names a
class in a single frame, some time after it was heard, and leaves the others blank: what counts there is its own
alignment, the class that it names next and the one that it has named last, each with the time that lies between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from kd_asr.distillation.outside.maps import nearest_frames
from kd_asr.distillation.signal import SoftTargets

Floats = NDArray[np.float64]
# Frames that are added to the counts of a class, shared as all frames are, so that nothing is impossible.
_UNSEEN = 2.0
# Frames of ours up to which times between a frame and a named class are told apart.
FARTHEST = 15


@dataclass(frozen=True)
class Sparse:
    """Posteriors of a model's most probable classes.

    Attributes:
        classes: (frames, k) int64.
        probabilities: (frames, k) float64, those of a frame sum to 1.
        num_classes: How many classes there are.
    """

    classes: NDArray[np.int64]
    probabilities: Floats
    num_classes: int

    def at(self, frames: NDArray[np.int64]) -> Sparse:
        """Those of some frames."""
        return Sparse(self.classes[frames], self.probabilities[frames], self.num_classes)

    def told_apart(self, kinds: NDArray[np.int64], count: int) -> Sparse:
        """Classes that are others in frames of another kind, (frames,) int64 below `count`."""
        return Sparse(self.classes * count + kinds[:, None], self.probabilities, self.num_classes * count)


def views_of(
    targets: SoftTargets, blanks: Sequence[int], frames: int, *, shift: float, their_shift: float, slack: float
) -> list[Sparse]:
    """What a model says of each of our frames: its posteriors, or of a CTC network those of the classes it names next
    and has named last.

    Args:
        targets: of its frames, the most probable classes.
        blanks: classes that mean no sound; with any it is a CTC network.
        frames: ours.
        shift: seconds from one of our frames to the next.
        their_shift: the same, of the model.
        slack: difference in seconds that is allowed at the end.

    Raises:
        Misfit: they end at other times.
    """
    count = len(targets.classes)
    chosen = nearest_frames(frames, count, shift=shift, their_shift=their_shift, slack=slack)
    if not blanks:
        return [_sparse(targets, blanks).at(chosen)]
    named = _named(targets, blanks)
    times = (named + 0.5) * their_shift
    middles = (np.arange(frames) + 0.5) * shift
    posteriors = _sparse(targets, blanks)
    found = []
    after = np.searchsorted(times, middles)
    for place in (np.minimum(after, len(named) - 1), np.maximum(after - 1, 0)):
        distance = np.rint((times[place] - middles) / shift).astype(np.int64).clip(-FARTHEST, FARTHEST) + FARTHEST
        found.append(posteriors.at(named[place]).told_apart(distance, 2 * FARTHEST + 1))
    return found


def _named(targets: SoftTargets, blanks: Sequence[int]) -> NDArray[np.int64]:
    """The frames where the best path of a CTC network names a class; the first one where it names none."""
    best = targets.classes[:, 0].numpy()
    first = np.concatenate([[True], best[1:] != best[:-1]])
    found = np.flatnonzero(first & ~np.isin(best, blanks))
    return found if len(found) else np.zeros(1, dtype=np.int64)


def _sparse(targets: SoftTargets, blanks: Sequence[int]) -> Sparse:
    """The top k of some soft targets without blanks, scaled up to 1."""
    classes = targets.classes.numpy()
    logs = targets.log_probs.double().numpy().copy()
    logs[np.isin(classes, blanks)] = -np.inf
    best = logs.max(axis=1, keepdims=True)
    known = np.isfinite(best)
    values = np.where(known, np.exp(logs - np.where(known, best, 0.0)), 1.0)
    return Sparse(classes, values / values.sum(axis=1, keepdims=True), targets.num_classes)


@dataclass(frozen=True)
class SoftMap:
    """What the classes of a model mean.

    Attributes:
        matrices: Of each view, (its classes, our classes) probabilities; rows sum to 1.
        prior: (our classes,) probabilities.
    """

    matrices: tuple[Floats, ...]
    prior: Floats

    def apply(self, views: Sequence[Sparse]) -> Floats:
        """(frames, our classes) probabilities; several views count as if they were independent given our class."""
        logs = -(len(views) - 1) * np.log(self.prior)
        for view, matrix in zip(views, self.matrices, strict=True):
            mean = np.zeros((len(view.classes), len(self.prior)))
            for place in range(view.classes.shape[1]):
                mean += view.probabilities[:, place, None] * matrix[view.classes[:, place]]
            logs = logs + np.log(mean)
        joint = np.exp(logs - logs.max(axis=1, keepdims=True))
        found: Floats = joint / joint.sum(axis=1, keepdims=True)
        return found


def learn_map(utterances: Sequence[Sequence[Sparse]], labels: Sequence[NDArray[np.int64]], our_classes: int) -> SoftMap:
    """The map of the classes that occur together.

    Args:
        utterances: views of each.
        labels: of each, (frames,) int64, our classes.
        our_classes: how many.
    """
    frames = np.bincount(np.concatenate(labels), minlength=our_classes) + 1.0
    prior: Floats = frames / frames.sum()
    matrices = []
    for number, first in enumerate(utterances[0]):
        counts = np.zeros((first.num_classes, our_classes)) + _UNSEEN * prior
        for views, of_frames in zip(utterances, labels, strict=True):
            view = views[number]
            columns = np.broadcast_to(of_frames[:, None], view.classes.shape)
            pairs = (view.classes.ravel(), columns.ravel())
            joint = coo_array((view.probabilities.ravel(), pairs), shape=counts.shape).tocsr().tocoo()
            counts[joint.row, joint.col] += joint.data
        matrices.append(counts / counts.sum(axis=1, keepdims=True))
    return SoftMap(tuple(matrices), prior)
