"""Posteriors of phones, frame by frame and at several temperatures, small enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE
from kd_asr.alignment.tree import leaves
from kd_asr.alignment.tying import base_phone
from kd_asr.decoding.context import AnyTopology, pdfs_of

# Those that Hinton, Vinyals and Dean tried on speech (2015, section 4.1).
TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
LOWEST = -12.0  # nats; the smallest log-posterior that is kept


def phones_of_pdfs(topology: AnyTopology) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Phones without stress and position in the word, and the number of each pdf's phone, (pdfs,)."""
    owner: dict[int, str] = {}
    if topology.tree is None:
        for phone in topology.phones:
            owner |= dict.fromkeys(pdfs_of(topology, SILENCE, phone, SILENCE), base_phone(phone))
    else:
        for root in topology.tree.roots:
            name = base_phone(root.phones[0])
            owner |= {leaf.pdf: name for node in root.states for leaf in leaves(node)}
    names = tuple(dict.fromkeys(owner[pdf] for pdf in range(topology.num_pdfs)))
    return names, np.array([names.index(owner[pdf]) for pdf in range(topology.num_pdfs)], dtype=np.int64)


def phone_posteriors(
    log_posteriors: NDArray[np.float32], owners: NDArray[np.int64], temperature: float
) -> NDArray[np.float32]:
    """Posteriors of phones at a temperature: those of the pdfs are softened, then summed.

    Args:
        log_posteriors: (frames, pdfs) natural logarithms at temperature 1.
        owners: (pdfs,) number of each pdf's phone.
        temperature: T in softmax(z / T) (Hinton, Vinyals, Dean 2015, equation 1); a log-posterior is a logit.

    Returns:
        (frames, phones) that sum to 1 in each frame.
    """
    scaled = np.asarray(log_posteriors, dtype=np.float32) / np.float32(temperature)
    soft = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    of_phone = np.zeros((len(owners), int(owners.max()) + 1), dtype=np.float32)
    of_phone[np.arange(len(owners)), owners] = 1.0
    found: NDArray[np.float32] = soft @ of_phone
    return found


def quantised(posteriors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Logarithms of posteriors as bytes: 255 is probability 1, 0 is exp(`LOWEST`) or less; a step is 0.047 nats."""
    logs = np.log(np.maximum(posteriors, np.exp(LOWEST)))
    return np.rint(255 * (1 - np.minimum(logs, 0) / LOWEST)).astype(np.uint8)


def packed(array: NDArray[np.uint8]) -> str:
    """Bytes in row order as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def aligned_phones(segments: Sequence[PhoneSegment], names: Sequence[str]) -> NDArray[np.int64]:
    """(frames,) number in `names` of the aligned phone."""
    each = [names.index(base_phone(one.phone)) for one in segments]
    return np.repeat(np.array(each, dtype=np.int64), [one.num_frames for one in segments])


class Confusions:
    """Mean posteriors of phones over the frames of each aligned phone."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._sums = np.zeros((len(names), len(names)))
        self._frames = np.zeros(len(names), dtype=np.int64)

    def add(self, aligned: NDArray[np.int64], posteriors: NDArray[np.float32]) -> None:
        """Count frames: (frames,) aligned phones and (frames, phones) posteriors."""
        np.add.at(self._sums, aligned, posteriors)
        self._frames += np.bincount(aligned, minlength=len(self.names))

    @property
    def frames(self) -> NDArray[np.int64]:
        """(phones,) frames aligned with each."""
        return self._frames

    @property
    def means(self) -> NDArray[np.float64]:
        """(phones, phones) mean posterior of each phone, by aligned phone; 0 for a phone without frames."""
        found: NDArray[np.float64] = self._sums / np.maximum(self._frames, 1)[:, None]
        return found

    def alike(self, most: int) -> list[tuple[str, str, float]]:
        """Pairs of an aligned phone and another one with the largest mean posteriors, the largest first."""
        means = self.means.copy()
        np.fill_diagonal(means, 0.0)
        order = np.argsort(-means, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(self.names)) for place in order]
        return [(self.names[row], self.names[column], float(means[row, column])) for row, column in pairs]
