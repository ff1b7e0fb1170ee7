"""The posterior store: a teacher's top-k log-posteriors of every frame, on disk.

A store is a folder: `header.json`, `utterances.txt`, `layout.npy` (first row and number of frames of each utterance),
`tail_prior.npy` ((classes,) float32, the average probability of each class where it is outside the top k) and shards
`shard-00000.u16`, `shard-00001.u16`, ... Each shard is a matrix of uint16 with one row per frame: k class numbers, then
k log-probabilities as float16 bits (most probable first), then the logarithm of the probability of all other classes
together as float16 bits: 4 k + 2 bytes per frame. A frame is one contiguous piece, so a random gather touches one place
per frame.

The header has the fingerprints of the models, features and alignment that the posteriors belong to; a reader that
expects others is refused. `kd_asr.distillation.signal.SoftTargets` defines how the mass outside the top k is treated at
T != 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kd_asr.artifacts import damaged, read_array, read_json, read_layout, read_names, write_array, write_json
from kd_asr.device import HOST, Device, Movable
from kd_asr.distillation.signal import SoftTargets
from kd_asr.errors import UserError

FORMAT = "kd_asr.posteriors.2"


def encode(targets: SoftTargets) -> np.ndarray:
    """(frames, 2 k + 1) uint16 rows of a shard."""
    values = torch.cat([targets.log_probs, targets.log_tail_mass[:, None]], dim=1)
    # float16 ends at -65504; what is impossible stays so.
    held = torch.where(values == -torch.inf, values, values.clamp_min(-60000.0))
    bits = HOST.put(held.to(torch.float16)).numpy().view(np.uint16)
    return np.concatenate([HOST.put(targets.classes).numpy().astype(np.uint16), bits], axis=1)


def decode(rows: np.ndarray, tail_prior: Tensor) -> SoftTargets:
    """The soft targets that `encode` was given, rounded to float16."""
    k = rows.shape[1] // 2
    values = torch.from_numpy(np.ascontiguousarray(rows[:, k:]).view(np.float16)).float()
    classes = torch.from_numpy(rows[:, :k].astype(np.int64))
    return SoftTargets(classes, values[:, :k], values[:, k], tail_prior)


def decode_bits(bits: Tensor, tail_prior: Tensor) -> SoftTargets:
    """`decode` of (frames, 2 k + 1) int16 rows, the bits of a shard's, on the device where they lie."""
    k = bits.shape[1] // 2
    values = bits[:, k:].contiguous().view(torch.float16).float()
    # Two's complement back to 0..65535.
    classes = bits[:, :k].long() & 0xFFFF
    return SoftTargets(classes, values[:, :k], values[:, k], tail_prior)


def write_shard(folder: Path, number: int, blocks: Iterable[np.ndarray]) -> None:
    """Write one shard, block by block, under a temporary name and rename it, so that an existing shard is always whole.

    Args:
        folder: folder of the store.
        number: of the shard.
        blocks: rows as `encode` gives them, one block after the other.
    """
    path = folder / f"shard-{number:05d}.u16"
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        for rows in blocks:
            file.write(np.ascontiguousarray(rows).data)  # not `tofile`, whose errors do not say that a disk is full
    temporary.replace(path)


def finish_store(
    folder: Path,
    utterance_ids: Sequence[str],
    frame_counts: Sequence[int],
    *,
    shard_frames: Sequence[int],
    top_k: int,
    tail_prior: Tensor,
    fingerprints: Mapping[str, str],
) -> None:
    """Write the index of a store whose shards are complete and hold the frames of `utterance_ids` in order.

    Args:
        folder: folder of the store.
        utterance_ids: utterances, in the order of their frames.
        frame_counts: number of frames of each utterance.
        shard_frames: number of frames of each shard.
        top_k: classes kept per frame.
        tail_prior: (classes,) sums of `tail_sum` over all frames; a class with a sum of 0 gets a tiny share.
        fingerprints: fingerprints of the models, features and alignment that the posteriors were made with.
    """
    shares = tail_prior.double() / tail_prior.double().sum().clamp_min(1e-30)
    shares = (shares + 1e-9).float()
    write_array(folder / "tail_prior.npy", HOST.put(shares / shares.sum()).numpy())
    counts = np.asarray(frame_counts, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    write_array(folder / "layout.npy", np.stack([starts, counts], axis=1))
    (folder / "utterances.txt").write_text("".join(f"{name}\n" for name in utterance_ids), encoding="utf-8")
    header = {
        "format": FORMAT,
        "top_k": top_k,
        "num_classes": len(tail_prior),
        "shard_frames": list(shard_frames),
        "fingerprints": dict(fingerprints),
    }
    write_json(folder / "header.json", header)


class PosteriorStore(Movable):
    """Read access to a posterior store.

    Attributes:
        utterance_ids: utterances, in the order in which they are stored.
        num_classes: number of classes of the distributions.
        top_k: classes kept per frame.
        bytes_per_frame: bytes of a frame on disk.
        tail_prior: (num_classes,) float32, summing to one; see `SoftTargets`.
    """

    def __init__(self, folder: Path, *, expect: Mapping[str, str] | None = None) -> None:
        """Map the store in `folder`.

        Args:
            folder: the store.
            expect: fingerprints the reader relies on, for example `{"align": "9f..."}`.

        Raises:
            UserError: a fingerprint differs from the one the store was made with, or a shard is incomplete.
        """
        header = read_json(folder / "header.json")
        if header.get("format") != FORMAT:
            raise UserError(
                f"{folder} holds posteriors in the format {header.get('format')!r}, not {FORMAT!r}: make them again"
            )
        try:
            self.top_k, self.num_classes = int(header["top_k"]), int(header["num_classes"])
            shard_frames = [int(frames) for frames in header["shard_frames"]]
            fingerprints = dict(header["fingerprints"])
            if not 0 < self.top_k <= self.num_classes or min(shard_frames, default=0) < 0:
                raise ValueError("numbers out of their range")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(folder / "header.json", error) from error
        for name, fingerprint in (expect or {}).items():
            stored = fingerprints.get(name)
            if stored != fingerprint:
                raise UserError(
                    f"{folder} holds posteriors made with {name} {stored}, but {name} is now {fingerprint}: "
                    "make the posteriors again"
                )
        self.utterance_ids = read_names(folder / "utterances.txt")
        prior = read_array(folder / "tail_prior.npy")
        if prior.shape != (self.num_classes,) or prior.dtype != np.float32 or not np.isfinite(prior).all():
            raise damaged(folder / "tail_prior.npy", f"not the probabilities of {self.num_classes} classes")
        self.tail_prior = torch.from_numpy(prior)
        self._layout = read_layout(folder / "layout.npy", len(self.utterance_ids), sum(shard_frames))
        self._number = {name: number for number, name in enumerate(self.utterance_ids)}
        self._folder = folder
        columns = 2 * self.top_k + 1
        self.bytes_per_frame = 2 * columns
        self._shards: list[np.ndarray] = []
        for number, frames in enumerate(shard_frames):
            path = folder / f"shard-{number:05d}.u16"
            expected = frames * columns * 2
            if not path.exists() or path.stat().st_size != expected:
                raise UserError(f"{path} is missing or does not have its {expected} bytes: make the posteriors again")
            shape = frames, columns
            # Nothing cannot be mapped: a shard is empty where all its frames were left out.
            mapped = np.memmap(path, dtype=np.uint16, mode="r", shape=shape) if frames else np.zeros(shape, np.uint16)
            self._shards.append(mapped)
        self._shard_starts = np.concatenate([[0], np.cumsum(shard_frames)]).astype(np.int64)

    def rows(self, utterance_id: str) -> range:
        """Rows of the utterance's frames, for `targets`.

        Raises:
            UserError: the utterance is not in the store.
        """
        if utterance_id not in self._number:
            raise UserError(f"{self._folder} holds no posteriors of utterance {utterance_id}")
        start, count = self._layout[self._number[utterance_id]]
        return range(int(start), int(start + count))

    def mean_mass_kept(self) -> float:
        """Mean over frames of the probability of the top k, 0..1."""
        frames = int(self._shard_starts[-1])
        tail = sum(float(np.exp(shard[:, -1].view(np.float16).astype(np.float64)).sum()) for shard in self._shards)
        return 1.0 - tail / frames if frames else 1.0

    def targets(self, rows: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 rows, in any order.

        Raises:
            UserError: a row has a class that there is none of, or a probability that is no number.
        """
        return decode(self._gathered(rows), self.tail_prior)

    def bits(self, rows: Tensor) -> Tensor:
        """What `decode_bits` makes soft targets of: (batch, 2 k + 1) int16 for (batch,) int64 rows.

        Raises:
            UserError: as `targets`.
        """
        return torch.from_numpy(self._gathered(rows).view(np.int16))

    def _gathered(self, rows: Tensor) -> np.ndarray:
        """(batch, 2 k + 1) uint16 rows of the shards, checked."""
        numbers = rows.numpy()
        if len(self._shards) == 1:
            return self._checked(self._shards[0][numbers])
        gathered = np.empty((len(numbers), 2 * self.top_k + 1), dtype=np.uint16)
        shard_of = np.searchsorted(self._shard_starts, numbers, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(shard_of[order])) + 1) if len(order) else ():
            number = shard_of[here[0]]
            gathered[here] = self._shards[number][numbers[here] - self._shard_starts[number]]
        return self._checked(gathered)

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        # What is out of bounds would be read from beyond the logits, on a graphics card without a word. Of float16 all
        # that is no number has these bits of the exponent, of which the logarithm of 0 alone is a log-probability.
        values = rows[:, self.top_k :]
        odd = (values & 0x7C00) == 0x7C00
        if rows[:, : self.top_k].max(initial=0) >= self.num_classes or (values[odd] != 0xFC00).any():
            raise damaged(self._folder / "shard-*.u16", "classes or probabilities out of their range")
        return rows

    def put_on(self, device: Device) -> ResidentPosteriors:
        """The posteriors of all frames in a device's memory."""
        rows = torch.from_numpy(self._checked(np.concatenate(self._shards)).view(np.int16))
        return ResidentPosteriors(device.put(rows), device.put(self.tail_prior))


class ResidentPosteriors(Movable):
    """A posterior store in memory, read where it lies: `targets` are those of the store."""

    def __init__(self, rows: Tensor, tail_prior: Tensor) -> None:
        """`rows`: (frames, 2 k + 1) int16, the bits of a shard's; `tail_prior`: (classes,) float32."""
        self._rows = rows
        self.tail_prior = tail_prior

    def targets(self, rows: Tensor) -> SoftTargets:
        """Soft targets of (batch,) int64 rows, in any order."""
        return decode_bits(self.bits(rows), self.tail_prior)

    def bits(self, rows: Tensor) -> Tensor:
        """(batch, 2 k + 1) int16 for (batch,) int64 rows, as those of the store."""
        return self._rows[rows]
