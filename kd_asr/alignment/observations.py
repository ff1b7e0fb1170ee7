"""Inputs of the Gaussian mixtures: cepstra with derivatives at first, linear discriminants of spliced frames later.

Both are linear maps of the normalised log-mel frames, computed on the fly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.gmm import Doubles, Floats

NUM_CEPSTRA = 13
# Three neighbours on each side and 40 directions: more of either aligned worse, compared with a triphone system.
CONTEXT = 3
DISCRIMINANTS = 40
_DELTA = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=np.float32) / 10.0


def cosine_transform(num_mel_bins: int, num_cepstra: int = NUM_CEPSTRA) -> Floats:
    """(num_mel_bins, num_cepstra): the first rows of the orthonormal DCT-II, transposed."""
    position = (np.arange(num_mel_bins) + 0.5) * np.pi / num_mel_bins
    basis = np.cos(np.outer(position, np.arange(num_cepstra))) * np.sqrt(2.0 / num_mel_bins)
    basis[:, 0] /= np.sqrt(2.0)
    return np.asarray(basis, dtype=np.float32)


def deltas(frames: Floats) -> Floats:
    """Regression slopes over five frames with repeated edges, as in HTK and Kaldi; same shape as `frames`."""
    slopes = np.zeros_like(frames)
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    for shift, weight in enumerate(_DELTA):
        slopes += weight * padded[shift : shift + len(frames)]
    return slopes


def cepstra_with_deltas(log_mel: Floats) -> Floats:
    """(frames, 39) cepstra with first and second derivatives."""
    cepstra = log_mel @ cosine_transform(log_mel.shape[1])
    first = deltas(cepstra)
    return np.concatenate([cepstra, first, deltas(first)], axis=1)


def spliced(log_mel: Floats, context: int = CONTEXT) -> Floats:
    """(frames, (2 context + 1) bins), each frame with its neighbours; edges are repeated."""
    padded = np.pad(log_mel, ((context, context), (0, 0)), mode="edge")
    return np.concatenate([padded[shift : shift + len(log_mel)] for shift in range(2 * context + 1)], axis=1)


@dataclass
class ClassMoments:
    """Moments from which linear discriminants are computed.

    Attributes:
        counts: (classes,) frames of each class.
        sums: (classes, dimension).
        square: (dimension, dimension) second moment of all frames.
    """

    counts: Doubles
    sums: Doubles
    square: Doubles

    @classmethod
    def zeros(cls, classes: int, dimension: int) -> ClassMoments:
        """Moments of no frames."""
        return cls(np.zeros(classes), np.zeros((classes, dimension)), np.zeros((dimension, dimension)))

    def add(self, frames: Floats, classes: NDArray[np.integer]) -> None:
        """Add (frames, dimension) float32 with the class of each frame."""
        order = np.argsort(classes, kind="stable")
        present, first = np.unique(classes[order], return_index=True)
        self.counts += np.bincount(classes, minlength=len(self.counts))
        self.sums[present] += np.add.reduceat(frames[order], first, axis=0)
        self.square += frames.T @ frames

    def __iadd__(self, other: ClassMoments) -> ClassMoments:
        self.counts += other.counts
        self.sums += other.sums
        self.square += other.square
        return self


def linear_discriminants(moments: ClassMoments, dimension: int = DISCRIMINANTS) -> Floats:
    """Linear discriminant analysis: the directions in which classes differ most, with unit variance within classes.

    The covariance within the classes becomes the identity, and the covariance between them diagonal, in decreasing
    order (Haeb-Umbach & Ney 1992, "Linear discriminant analysis for improved large vocabulary speech recognition").

    Args:
        moments: moments of all frames.
        dimension: number of directions.

    Returns:
        (dimension of the frames, `dimension`) float32 projection; fewer columns when the frames have fewer.
    """
    frames = moments.counts.sum()
    mean = moments.sums.sum(axis=0) / frames
    total = moments.square / frames - np.outer(mean, mean)
    seen = moments.counts > 0
    means = moments.sums[seen] / moments.counts[seen, None] - mean
    between = (means * moments.counts[seen, None]).T @ means / frames
    within = total - between
    # Neighbouring filters are nearly collinear, and a covariance of few frames has directions without any variance,
    # in which every new frame would look impossible: the fewer frames, the more weight the diagonal gets.
    lean = len(within) / (len(within) + frames)
    within = (1 - lean) * within + lean * np.diag(np.diag(total))
    within += 1e-4 * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    _, rotation = np.linalg.eigh(whiten.T @ between @ whiten)
    return np.ascontiguousarray((whiten @ rotation[:, ::-1])[:, :dimension], dtype=np.float32)
