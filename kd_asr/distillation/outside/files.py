"""Files of posteriors by other programs: Kaldi's .scp and .ark, .npz, .safetensors, an array for each utterance."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from kd_asr.errors import UserError

SUFFIXES = (".scp", ".ark", ".npz", ".safetensors")
Array = NDArray[np.floating]
# What the readers of these files raise where one is damaged; kaldiio asserts what it expects.
_FAULTS = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError),
    *(MemoryError, OverflowError, struct.error, zlib.error, SafetensorError, zipfile.BadZipFile),
)


def read_posteriors(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Array]]:
    """The arrays of wanted utterances that a file holds, each as it is stored, one after the other.

    Args:
        path: `.scp`, which names archives, or `.ark`, as Kaldi writes matrices (with kaldiio); `.npz` and
            `.safetensors` with an array for each utterance, by its name.
        wanted: names of utterances.

    Raises:
        UserError: the file is of another kind or cannot be read, or kaldiio is missing.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                yield from ((name, arrays[name]) for name in arrays.files if name in wanted)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np") as tensors:
                yield from ((name, tensors.get_tensor(name)) for name in tensors.keys() if name in wanted)  # noqa: SIM118
        elif path.suffix == ".ark":
            yield from ((name, array) for name, array in _kaldiio().load_ark(str(path)) if name in wanted)
        else:
            kaldiio = _kaldiio()
            for name, file, place in scp_entries(path):
                if name in wanted:
                    yield name, kaldiio.load_mat(f"{file}{place}")
    except UserError:
        raise
    except _FAULTS as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as posteriors: {text}") from error


def scp_entries(path: Path) -> list[tuple[str, Path, str]]:
    """Utterance, archive and place in it (`:1234`) of each line of a .scp file.

    Relative paths start from the working directory, as in Kaldi, or else from the folder of the file.

    Raises:
        UserError: a line is malformed or holds a command, which is not run.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a table of archives: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not name:
            continue
        if not rest or rest.endswith("|") or rest.startswith("|"):
            why = "a command, which is not run" if "|" in rest else "not `utterance archive.ark:place`"
            raise UserError(f"{path}, line {number}: {why}: {line!r}")
        file, colon, place = rest.rpartition(":")
        file, place = (file, colon + place) if file else (rest, "")
        given = Path(file)
        found.append((name, given if given.is_file() else path.parent / given, place))
    return found


def files_of(path: Path) -> list[Path]:
    """The files whose bytes are the posteriors: that one, and of a .scp its archives.

    Raises:
        UserError: one is not there, or of a kind that cannot be read.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: posteriors are read from files that end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"there is no file of posteriors {path}")
    named = [file for _, file, _ in scp_entries(path)] if path.suffix == ".scp" else []
    missing = next((file for file in named if not file.is_file()), None)
    if missing is not None:
        raise UserError(f"{path} names {missing}, which is not there")
    if path.suffix in (".scp", ".ark"):
        _kaldiio()
    return [path, *dict.fromkeys(named)]


def _kaldiio() -> ModuleType:
    try:
        import kaldiio
    except ImportError as error:
        raise UserError("Kaldi's archives are read by kaldiio, which is not installed: pip install kaldiio") from error
    module: ModuleType = kaldiio
    return module
