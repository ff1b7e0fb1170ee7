"""Weighted transducers as arrays: vectorised surgery on graphs of millions of arcs, and OpenFst's files of them."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError

_MAGIC = 2125659606
_CONST_VERSION = 2
_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("input_epsilons", "<u4"), ("output_epsilons", "<u4")]
)
ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("nextstate", "<i4")])
# OpenFst's kExpanded: the only property that a file must state; whatever else is needed, OpenFst finds out itself.
_EXPANDED = 0x1


@dataclass(frozen=True)
class FstArrays:
    """A transducer over the tropical semiring (weights are costs: smaller is better).

    Attributes:
        start: number of the start state.
        finals: (states,) float32, cost of ending in the state, inf where it is not final.
        sources: (arcs,) int32, the state that each arc leaves.
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
    ilabel: NDArray[np.int32] | int,
    olabel: NDArray[np.int32] | int,
    weight: NDArray[np.float32] | float,
    nextstate: NDArray[np.int32],
) -> NDArray[np.void]:
    """Records of arcs, one for each `nextstate`; scalars stand for all of them."""
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
        file.write(header)
        states.tofile(file)
        arcs.tofile(file)


def read_fst(path: Path) -> FstArrays:
    """Read a ConstFst file, such as `write_fst` writes.

    Raises:
        UserError: the file is missing, cut short or of another format.
    """
    problem = f"{path} is not a whole graph file: delete it and build the graph again"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): build the graph first") from error
    try:
        at = 4
        for expected in (b"const", b"standard"):
            (length,) = struct.unpack_from("<i", content, at)
            if struct.unpack_from("<i", content)[0] != _MAGIC or content[at + 4 : at + 4 + length] != expected:
                raise UserError(problem)
            at += 4 + length
        version, flags, _, start, num_states, num_arcs = struct.unpack_from("<iiQqqq", content, at)
        at += struct.calcsize("<iiQqqq")
        if version != _CONST_VERSION or flags or len(content) != at + 20 * num_states + 16 * num_arcs:
            raise UserError(problem)
    except struct.error as error:
        raise UserError(problem) from error
    states = np.frombuffer(content, _STATE, num_states, at)
    arcs = np.frombuffer(content, ARC, num_arcs, at + states.nbytes)
    counts = states["arcs"].astype(np.int64)
    sources = np.repeat(np.arange(num_states, dtype=np.int32), counts)
    targets = arcs["nextstate"]
    if counts.sum() != num_arcs or not 0 <= start < num_states:
        raise UserError(problem)
    if num_arcs and not (targets.min() >= 0 and targets.max() < num_states):
        raise UserError(problem)
    return FstArrays(start, states["final"].copy(), sources, arcs.copy())


def to_kaldifst(fst: FstArrays) -> kaldifst.StdVectorFst:
    """The same transducer as a mutable one of kaldifst."""
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as folder:
        path = Path(folder) / "const.fst"
        write_fst(path, fst)
        return kaldifst.StdVectorFst(kaldifst.StdConstFst.read(str(path)))


def from_kaldifst(fst: kaldifst.StdVectorFst) -> FstArrays:
    """The arrays of one of kaldifst's transducers."""
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as folder:
        path = Path(folder) / "const.fst"
        if not kaldifst.StdConstFst(fst).write(str(path)):
            raise UserError(f"cannot write {path}: there is no room in the folder for temporary files (TMPDIR)")
        return read_fst(path)
