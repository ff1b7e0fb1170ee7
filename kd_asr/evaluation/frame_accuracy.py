"""Frame accuracy and cross-entropy of log-posteriors against hard labels, counted per utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Counts of a set, utterance by utterance, so that they can be resampled.

    Attributes:
        utterance_ids: Ids in the order of the arrays.
        correct: (utterances,) int64, frames whose most probable pdf is the hard label.
        frames: (utterances,) int64, frames scored.
        cross_entropy_sum: (utterances,) float64, sum over frames of -log posterior of the hard label, in nats.
    """

    utterance_ids: tuple[str, ...]
    correct: NDArray[np.int64]
    frames: NDArray[np.int64]
    cross_entropy_sum: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {len(self.utterance_ids), len(self.correct), len(self.frames), len(self.cross_entropy_sum)}
        if len(lengths) != 1:
            raise ValueError(f"one entry per utterance in each field expected, got lengths {sorted(lengths)}")

    @property
    def frame_accuracy(self) -> float:
        """Share of the frames classified as their hard label; NaN without frames."""
        frames = int(self.frames.sum())
        return float(self.correct.sum()) / frames if frames else float("nan")

    @property
    def cross_entropy(self) -> float:
        """Mean over frames of -log posterior of the hard label, in nats; NaN without frames."""
        frames = int(self.frames.sum())
        return float(self.cross_entropy_sum.sum()) / frames if frames else float("nan")

    def select(self, utterance_ids: Sequence[str]) -> FrameScores:
        """Scores of some utterances, in the given order; an unknown utterance is a `KeyError`."""
        position = {utterance_id: index for index, utterance_id in enumerate(self.utterance_ids)}
        rows = np.array([position[utterance_id] for utterance_id in utterance_ids], dtype=np.int64)
        return FrameScores(tuple(utterance_ids), self.correct[rows], self.frames[rows], self.cross_entropy_sum[rows])

    def to_json(self) -> dict[str, Any]:
        """One plain list per field, as `from_json` reads them."""
        return {
            "utterance_ids": list(self.utterance_ids),
            "correct": self.correct.tolist(),
            "frames": self.frames.tolist(),
            "cross_entropy_sum": self.cross_entropy_sum.tolist(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> FrameScores:
        """The inverse of `to_json`; a missing field is a `KeyError`."""
        return cls(
            tuple(fields["utterance_ids"]),
            np.asarray(fields["correct"], dtype=np.int64),
            np.asarray(fields["frames"], dtype=np.int64),
            np.asarray(fields["cross_entropy_sum"], dtype=np.float64),
        )


def score_frames(
    utterance_id: str, log_posteriors: NDArray[np.floating[Any]], hard_labels: NDArray[np.integer[Any]]
) -> FrameScores:
    """Count one utterance.

    Args:
        utterance_id: id of the utterance, part of the result.
        log_posteriors: (frames, pdfs) natural logarithms. Among equal posteriors the lowest pdf is the choice.
        hard_labels: (frames,) pdf of each frame.

    Raises:
        ValueError: shapes do not fit, a label is no pdf, or a log-posterior is NaN.
    """
    if log_posteriors.ndim != 2 or hard_labels.shape != log_posteriors.shape[:1]:
        raise ValueError(
            f"{utterance_id}: expected log_posteriors (frames, pdfs) and hard_labels (frames,), "
            f"got {log_posteriors.shape} and {hard_labels.shape}"
        )
    frames, pdfs = log_posteriors.shape
    if frames and not (hard_labels.min() >= 0 and hard_labels.max() < pdfs):
        raise ValueError(
            f"{utterance_id}: hard labels go from {hard_labels.min()} to {hard_labels.max()}, but there are {pdfs} pdfs"
        )
    if np.isnan(log_posteriors).any():
        raise ValueError(f"{utterance_id}: the network gave NaN")
    of_label = log_posteriors[np.arange(frames), hard_labels]
    correct = int((log_posteriors.argmax(axis=1) == hard_labels).sum()) if frames else 0
    return FrameScores(
        (utterance_id,),
        np.array([correct], dtype=np.int64),
        np.array([frames], dtype=np.int64),
        # Zero minus, not a minus sign: an utterance without frames has cross-entropy 0, not -0.
        np.array([0.0 - of_label.sum(dtype=np.float64)]),
    )


def join_scores(scores: Sequence[FrameScores]) -> FrameScores:
    """Scores of several sets, concatenated."""
    return FrameScores(
        tuple(utterance_id for part in scores for utterance_id in part.utterance_ids),
        np.concatenate([part.correct for part in scores] or [np.zeros(0, np.int64)]),
        np.concatenate([part.frames for part in scores] or [np.zeros(0, np.int64)]),
        np.concatenate([part.cross_entropy_sum for part in scores] or [np.zeros(0)]),
    )
