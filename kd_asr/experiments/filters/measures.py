"""How alike two networks are: filters matched to each other, their modulation responses, and layers by linear CKA."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

# Points of a modulation response over half of the frequencies of an axis.
POINTS = 32


def centred_gram(features: Tensor) -> Tensor:
    """(n, n) float64 products of the examples' features, centred: H X X^T H with H = I - 1/n.

    Args:
        features: (n, width) outputs of a layer for n examples.
    """
    centred = (features - features.mean(dim=0)).float()
    return (centred @ centred.T).double()


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment, 0..1, of two layers by their `centred_gram` (Kornblith, Norouzi, Lee, Hinton,
    ICML 2019, arXiv 1905.00414, section 3).

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X^T, L = Y Y^T, which is |Y^T X|^2 / (|X^T X| |Y^T Y|) with
    Frobenius norms. It does not change when features are rotated or scaled. 0 where a layer is the same for all
    examples. With more features than examples it is above 0 for independent layers; pairs that are compared have the
    same widths and examples.
    """
    norms = float(first.norm() * second.norm())
    return float((first * second).sum()) / norms if norms > 0 else 0.0


def correlations(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """(rows of the first, rows of the second) Pearson correlations of rows; 0 for a row that is constant."""

    def normed(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        centred = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True, dtype=np.float64)
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        found: NDArray[np.float64] = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
        return found

    found: NDArray[np.float64] = normed(first) @ normed(second).T
    return found


def match(table: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The assignment of rows to different columns with the largest sum (Kuhn's Hungarian method, 1955).

    Args:
        table: (rows, columns) correlations, no more rows than columns.

    Returns:
        (rows,) column of each row, and its correlation.
    """
    if table.shape[0] > table.shape[1]:
        raise ValueError(f"{table.shape[0]} filters cannot be matched to {table.shape[1]}")
    rows, columns = linear_sum_assignment(table, maximize=True)
    return columns.astype(np.int64), table[rows, columns]


def modulation_responses(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Magnitude of each filter's Fourier transform over both axes, for filters of unit energy.

    Args:
        filters: (filters, height, width); height is time on speech, width the mel bins.

    Returns:
        (filters, POINTS + 1, 2 POINTS + 1): along the height 0 to 1/2 cycles per step, along the width -1/2 to 1/2. A
        filter is real, so that the other half says the same. On speech the sign tells falling from rising patterns.
    """
    energy = np.sqrt((filters.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
    unit = np.divide(filters, energy, out=np.zeros(filters.shape), where=energy > 0)
    upper = np.fft.fft2(unit, s=(2 * POINTS, 2 * POINTS), axes=(1, 2))[:, : POINTS + 1]
    shifted = np.fft.fftshift(upper, axes=2)  # from -1/2; 1/2 is the same frequency
    found: NDArray[np.float64] = np.abs(np.concatenate([shifted, shifted[:, :, :1]], axis=2))
    return found


def height_frequencies() -> NDArray[np.float64]:
    """(POINTS + 1,) cycles per step along the height."""
    return np.linspace(0.0, 0.5, POINTS + 1)


def width_frequencies() -> NDArray[np.float64]:
    """(2 POINTS + 1,) cycles per step along the width."""
    return np.linspace(-0.5, 0.5, 2 * POINTS + 1)


def matched_filters(student: NDArray[np.floating], teacher: NDArray[np.floating]) -> tuple[float, float]:
    """How alike first layers are: mean correlation of a student's filters, matched to the teacher's, and the same of
    their modulation responses, which know neither sign nor place of a pattern within the filter.

    Args:
        student: (filters, height, width).
        teacher: at least as many of the same size.
    """

    def mean(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
        _, found = match(correlations(first.reshape(len(first), -1), second.reshape(len(second), -1)))
        return float(found.mean())

    return mean(student, teacher), mean(modulation_responses(student), modulation_responses(teacher))

