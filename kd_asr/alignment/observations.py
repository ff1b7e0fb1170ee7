"""What the Gaussian mixtures see: cepstra of the log-mel frames with their derivatives, or a linear discriminant of them.

Everything is a linear map of the normalised log-mel frames, made on the fly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_CEPSTRA = 13
_DELTA = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=np.float32) / 10.0

Array = NDArray[np.float32]


def cosine_transform(num_mel_bins: int, num_cepstra: int = NUM_CEPSTRA) -> Array:
    """(num_mel_bins, num_cepstra): the first rows of the orthonormal DCT-II, transposed."""
    position = (np.arange(num_mel_bins) + 0.5) * np.pi / num_mel_bins
    basis = np.cos(np.outer(position, np.arange(num_cepstra))) * np.sqrt(2.0 / num_mel_bins)
    basis[:, 0] /= np.sqrt(2.0)
    return basis.astype(np.float32)


def deltas(frames: Array) -> Array:
    """Regression slopes over five frames, edges repeated: the deltas of HTK and Kaldi. Shape as `frames`."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    return sum(weight * padded[shift : shift + len(frames)] for shift, weight in enumerate(_DELTA))  # type: ignore[return-value]


def cepstra_with_deltas(log_mel: Array) -> Array:
    """(frames, 39): cepstra, first and second derivatives."""
    cepstra = log_mel @ cosine_transform(log_mel.shape[1])
    first = deltas(cepstra)
    return np.concatenate([cepstra, first, deltas(first)], axis=1)


def spliced(frames: Array, context: int) -> Array:
    """(frames, (2 context + 1) dimensions): each frame with its neighbours, edges repeated."""
    padded = np.pad(frames, ((context, context), (0, 0)), mode="edge")
    return np.concatenate([padded[shift : shift + len(frames)] for shift in range(2 * context + 1)], axis=1)


def linear_discriminants(within: NDArray[np.float64], total: NDArray[np.float64], dimension: int) -> Array:
    """Linear discriminant analysis: the directions in which classes differ most, whitened within classes.

    Args:
        within: (d, d) mean covariance within the classes.
        total: (d, d) covariance of all frames.
        dimension: number of directions.

    Returns:
        (d, dimension) projection; within-class covariance becomes the identity (Haeb-Umbach & Ney 1992).
    """
    values, vectors = np.linalg.eigh(within + 1e-4 * np.trace(within) / len(within) * np.eye(len(within)))
    whiten = vectors / np.sqrt(values)
    _, rotation = np.linalg.eigh(whiten.T @ total @ whiten)
    return np.ascontiguousarray((whiten @ rotation[:, ::-1])[:, :dimension], dtype=np.float32)
