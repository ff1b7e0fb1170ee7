"""Weighted transducers as arrays, for vectorised changes to graphs of millions of arcs, and OpenFst's files."""

from __future__ import annotations

import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kd_asr.errors import UserError

_MAGIC = 2125659606
_CONST_VERSION = 2
_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("input_epsilons", "<u4"), ("output_epsilons", "<u4")]
)
ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("nextstate", "<i4")])
# OpenFst's kExpanded: the only property that a file must state; OpenFst computes all others.
_EXPANDED = 0x1
_CHECKED_ARCS = 1 << 16
_FLOAT_EXPONENT = 0x7F800000  # all of these bits are set where a float32 is no finite number


@dataclass(frozen=True)
class FstArrays:
    """A transducer over the tropical semiring (weights are costs: smaller is better).

    Attributes:
        start: Number of the start state.
        finals: (states,) float32, cost of ending in each state; inf where it is not final.
        sources: (arcs,) int32, state that each arc leaves.
        arcs: (arcs,) records of ilabel, olabel, nextstate (int32) and weight (float32); label 0 is epsilon.
    """

    start: int
    finals: NDArray[np.float32]
    sources: NDArray[np.int32]
    arcs: NDArray[np.void]

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.finals)

    @property
    def num_arcs(self) -> int:
        """Number of arcs."""
        return len(self.arcs)


def make_arcs(
    ilabel: NDArray[np.integer] | int,
    olabel: NDArray[np.integer] | int,
    weight: NDArray[np.floating] | float,
    nextstate: NDArray[np.integer],
) -> NDArray[np.void]:
    """Records of arcs, one for each `nextstate`; scalars apply to all arcs."""
    arcs = np.zeros(len(nextstate), dtype=ARC)
    arcs["ilabel"], arcs["olabel"], arcs["weight"], arcs["nextstate"] = ilabel, olabel, weight, nextstate
    return arcs


def write_fst(path: Path, fst: FstArrays) -> None:
    """Write in OpenFst's binary format of a ConstFst; a state's arcs keep their order."""
    order = np.argsort(fst.sources, kind="stable")
    arcs = fst.arcs[order]
    states = np.zeros(fst.num_states, dtype=_STATE)
    counts = np.bincount(fst.sources, minlength=fst.num_states)
    states["final"] = fst.finals
    states["arcs"] = counts
    states["first"] = np.cumsum(counts) - counts
    for name, label in (("input_epsilons", "ilabel"), ("output_epsilons", "olabel")):
        states[name] = np.bincount(fst.sources[fst.arcs[label] == 0], minlength=fst.num_states)
    kind, arc_kind = b"const", b"standard"
    header = struct.pack("<i", _MAGIC)
    header += struct.pack("<i", len(kind)) + kind + struct.pack("<i", len(arc_kind)) + arc_kind
    header += struct.pack("<iiQqqq", _CONST_VERSION, 0, _EXPANDED, fst.start, fst.num_states, fst.num_arcs)
    with path.open("wb") as file:
        for part in (header, states.data, arcs.data):  # not `tofile`, whose errors do not say that a disk is full
            file.write(part)


@dataclass(frozen=True)
class _Layout:
    """Layout of a file: start state, and the tables of states and arcs."""

    start: int
    num_states: int
    num_arcs: int
    offset: int

    @property
    def arcs_offset(self) -> int:
        return self.offset + _STATE.itemsize * self.num_states


def _layout(path: Path) -> _Layout:
    """Read and check the header of a ConstFst file, and that the file is as long as it says."""
    problem = f"{path} is not a whole graph file: delete it and build the graph again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): build the graph first") from error
    try:
        (magic,) = struct.unpack_from("<i", head)
        at = 4
        for expected in (b"const", b"standard"):
            (length,) = struct.unpack_from("<i", head, at)
            if magic != _MAGIC or head[at + 4 : at + 4 + length] != expected:
                raise UserError(problem)
            at += 4 + length
        version, flags, _, start, num_states, num_arcs = struct.unpack_from("<iiQqqq", head, at)
    except struct.error as error:
        raise UserError(problem) from error
    layout = _Layout(start, num_states, num_arcs, at + struct.calcsize("<iiQqqq"))
    if version != _CONST_VERSION or flags or size != layout.arcs_offset + ARC.itemsize * num_arcs:
        raise UserError(problem)
    return layout


def _tables(path: Path) -> tuple[_Layout, NDArray[np.void], NDArray[np.void]]:
    """Layout, states and arcs of a ConstFst file, memory-mapped; all that leads out of them is refused.

    OpenFst's own code believes a file: an arc to nowhere ends the process.
    """
    layout = _layout(path)
    problem = UserError(f"{path} is damaged: delete it and build the graph again")
    if not 0 <= layout.start < layout.num_states:
        raise problem
    states: NDArray[np.void] = np.memmap(path, _STATE, "r", layout.offset, (layout.num_states,))
    counts = states["arcs"].astype(np.int64)
    ends = np.cumsum(counts)
    if (counts < 0).any() or ends[-1] != layout.num_arcs or not np.array_equal(states["first"], ends - counts):
        raise problem
    if np.isnan(states["final"]).any() or (states["final"] == -np.inf).any():
        raise problem
    arcs: NDArray[np.void] = np.zeros(0, ARC)
    if layout.num_arcs:
        arcs = np.memmap(path, ARC, "r", layout.arcs_offset, (layout.num_arcs,))
    for start in range(0, layout.num_arcs, _CHECKED_ARCS):
        # As four numbers an arc, which is ten times as fast as by its fields.
        part = np.asarray(arcs[start : start + _CHECKED_ARCS]).view(np.int32).reshape(-1, 4)
        lowest, highest = part.min(axis=0), part.max(axis=0)
        endless = (part[:, 2] & _FLOAT_EXPONENT == _FLOAT_EXPONENT).any()
        if lowest[[0, 1, 3]].min() < 0 or highest[3] >= layout.num_states or endless:
            raise problem
    return layout, states, arcs


def _has_silent_circle(states: NDArray[np.void], arcs: NDArray[np.void]) -> bool:
    """Whether arcs that take no frame lead back to where they began: of negative cost, such a circle has no end."""
    silent = np.flatnonzero(arcs["ilabel"] == 0)
    sources = np.searchsorted(np.cumsum(states["arcs"], dtype=np.int64), silent, side="right")
    targets, size = arcs["nextstate"][silent], len(states)
    if not len(silent) or (sources == targets).any():
        return bool(len(silent))
    edges = csr_array((np.ones(len(silent), np.int8), (sources, targets)), shape=(size, size))
    return bool(connected_components(edges, connection="strong")[0] < size)


def highest_labels(path: Path) -> tuple[int, int]:
    """The highest input and output label of a ConstFst file, which is checked to be sound for a search.

    Raises:
        UserError: the file is missing, truncated, of another format or damaged, or a search in it might never end.
    """
    _, states, arcs = _tables(path)
    if _has_silent_circle(states, arcs):
        raise UserError(f"{path} is damaged (a circle of arcs that take no frame): delete it and build the graph again")
    return int(arcs["ilabel"].max(initial=0)), int(arcs["olabel"].max(initial=0))


def read_fst(path: Path) -> FstArrays:
    """Read a ConstFst file, such as `write_fst` writes.

    Raises:
        UserError: the file is missing, truncated, of another format, or damaged.
    """
    layout, states, arcs = _tables(path)
    sources = np.repeat(np.arange(layout.num_states, dtype=np.int32), states["arcs"])
    return FstArrays(layout.start, np.array(states["final"]), sources, np.array(arcs))


def add_to_words(source: Path, target: Path, cost: float) -> None:
    """Copy a ConstFst file, adding `cost` to the weight of every arc that outputs a word.

    Raises:
        UserError: `source` is not complete, or there is no room for `target`.
    """
    layout = _layout(source)
    try:
        shutil.copyfile(source, target)
        arcs = np.memmap(target, ARC, "r+", layout.arcs_offset, (layout.num_arcs,))
        arcs["weight"][arcs["olabel"] != 0] += np.float32(cost)
        arcs.flush()
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror}): make room and run the command again") from error


def to_kaldifst(fst: FstArrays) -> kaldifst.StdVectorFst:
    """The transducer as a mutable kaldifst object."""
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as folder:
        path = Path(folder) / "const.fst"
        write_fst(path, fst)
        return kaldifst.StdVectorFst(kaldifst.StdConstFst.read(str(path)))


def from_kaldifst(fst: kaldifst.StdVectorFst) -> FstArrays:
    """Arrays of a kaldifst transducer."""
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as folder:
        path = Path(folder) / "const.fst"
        if not kaldifst.StdConstFst(fst).write(str(path)):
            raise UserError(f"cannot write {path}: there is no room in the folder for temporary files (TMPDIR)")
        return read_fst(path)
