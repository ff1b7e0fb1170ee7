"""From another program's classes and frames to ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kd_asr.errors import UserError

# What a row of probabilities may be away from a sum of 1; half precision rounds.
SUM_TOLERANCE = 0.02
# A frame that the class map leaves less than this of is not known.
LEAST_MASS = 0.01
DROPPED = "-"


class Misfit(ValueError):
    """An array that does not fit; the message says why, without the name of utterance and file."""


def as_probabilities(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """(frames, classes) probabilities, whose rows sum to 1, of an array of probabilities or their natural logarithms.

    Raises:
        Misfit: the array is neither.
    """
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        raise Misfit(f"not a matrix of frames by classes: {array.dtype} of shape {array.shape}")
    values = array.astype(np.float64)
    if np.isnan(values).any() or (values == np.inf).any():
        raise Misfit("it holds values that are not numbers")
    if values.min() >= 0:
        sums, what = values.sum(axis=1), "probabilities"
    else:
        with np.errstate(over="ignore"):
            values = np.exp(values)
        sums, what = values.sum(axis=1), "logarithms of probabilities"
    worst = int(np.argmax(np.abs(sums - 1)))
    if not abs(sums[worst] - 1) <= SUM_TOLERANCE:
        raise Misfit(
            f"frame {worst} sums to {sums[worst]:.4g} as {what}: store log-softmax or softmax outputs, not logits or "
            "likelihoods"
        )
    found: NDArray[np.float64] = values / sums[:, None]
    return found


@dataclass(frozen=True)
class ClassMap:
    """Which of our classes each class of the teacher means.

    Attributes:
        matrix: (teacher's classes, our classes) shares; a row sums to 1, or to 0 for a class that is left out.
    """

    matrix: csr_array

    def apply(self, probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(frames, our classes) probabilities, and (frames,) whether a frame is known: what is left out is shared among
        the other classes, unless it is nearly everything."""
        mapped = np.asarray(probabilities @ self.matrix)
        sums = mapped.sum(axis=1)
        known = sums >= LEAST_MASS
        return mapped / np.where(known, sums, 1.0)[:, None], known


def read_class_map(path: Path, teacher_classes: int | None = None, our_classes: int | None = None) -> ClassMap:
    """Read a table of two columns: a class of the teacher and ours, by number from 0.

    Several classes of the teacher may mean one of ours, whose probability is their sum. One that means several
    (`7 3,4,5`) is shared evenly among them, and one that means `-` is left out. Lines that begin with `#`, and a first
    line without a number, are skipped.

    Args:
        path: the table, its columns apart by tabs or spaces.
        teacher_classes: every one of which must be there once.
        our_classes: none may be beyond them.

    Raises:
        UserError: names line and fault.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the class map {path} cannot be read: {error}") from error
    rows: dict[int, list[int]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#") or (not rows and not fields[0].isdecimal()):
            continue
        place = f"{path}, line {number}"
        ours = [] if fields[1:] == [DROPPED] else fields[-1].split(",")
        if len(fields) != 2 or not all(one.isdecimal() for one in (fields[0], *ours)):
            raise UserError(f"{place}: not a class of the teacher and one of ours, by number from 0: {line!r}")
        if int(fields[0]) in rows:
            raise UserError(f"{place}: class {fields[0]} of the teacher is there twice")
        rows[int(fields[0])] = [int(one) for one in ours]
        beyond = next((one for one in rows[int(fields[0])] if our_classes is not None and one >= our_classes), None)
        if beyond is not None:
            raise UserError(f"{place}: there is no class {beyond}; the student has {our_classes}, from 0")
    count = max(rows, default=-1) + 1 if teacher_classes is None else teacher_classes
    if not rows or len(rows) < count or max(rows) >= count:
        missing = next((one for one in range(count) if one not in rows), None)
        fault = f"class {missing} is missing" if missing is not None else f"class {max(rows, default=0)} is too much"
        raise UserError(f"the class map {path} must have each of the teacher's {count} classes once: {fault}")
    pairs = [(theirs, one, 1 / len(ours)) for theirs, ours in rows.items() for one in ours]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    row, column = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    width = our_classes if our_classes is not None else int(column.max(initial=0)) + 1
    return ClassMap(csr_array((table[:, 2], (row, column)), shape=(count, width)))


def nearest_frames(
    frames: int, theirs: int, *, shift: float, their_shift: float, first: int = 0, whole: bool = True, slack: float
) -> NDArray[np.int64]:
    """(frames,) int64: the frame of the teacher in whose time the middle of each of ours lies; the last one is repeated
    where it ends a little before.

    Args:
        frames: ours.
        theirs: the teacher's.
        shift: seconds from one of our frames to the next.
        their_shift: the same, of the teacher.
        first: our first frame, where the teacher's begin earlier.
        whole: whether both end together.
        slack: difference in seconds that is allowed at the end.

    Raises:
        Misfit: they end at other times.
    """
    end, their_end = (first + frames) * shift, theirs * their_shift
    if end - their_end > slack + 1e-9 or (whole and their_end - end > slack + 1e-9):
        raise Misfit(f"they last {their_end:.3f} s and ours end at {end:.3f} s")
    middle = (first + np.arange(frames) + 0.5) * shift
    return np.minimum((middle / their_shift + 1e-9).astype(np.int64), theirs - 1)
