"""Text files that list a corpus: their lines by number, and the folder that relative paths in them start from."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from kd_asr.corpora.base import Listing
from kd_asr.errors import UserError

# Of the relative paths so many are tried: the first file may be missing.
FIRST_PATHS = 100
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def read_lines(path: Path, listing: Listing) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a UTF-8 file, gzipped if it ends in .gz; lines that are not UTF-8 are rejected.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.split(maxsplit=1)[0].decode("ascii", "replace")
            listing.reject(name, path, f"malformed line {number}: not UTF-8")


def decimal(text: str) -> float:
    """The number that a field of a text file holds.

    Raises:
        ValueError: it holds none. Python's own reader also takes `1_0`, `nan`, `inf` and digits of other scripts.
    """
    if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def start_of_paths(
    manifest: Path, files: Iterable[str], given: str, candidates: Iterable[Path], *, setting: str
) -> Path:
    """The folder that relative paths in a file start from.

    Args:
        manifest: the file that names them, for the message.
        files: paths, absolute ones among them.
        given: the one folder to try that the settings name; empty: none.
        candidates: folders to try, in this order, until one of the first paths leads to a file.
        setting: the one that names it, for the message.

    Raises:
        UserError: no path leads to a file from any of the candidates, or the given folder is not there.
    """
    if given and not Path(given).is_dir():
        raise UserError(f"there is no folder {given}, which --{setting} names")
    relative = [file for file in files if file and not Path(file).is_absolute()][:FIRST_PATHS]
    folders = [Path(given).absolute()] if given else list(candidates)
    found = next((folder for folder in folders if any((folder / file).is_file() for file in relative)), None)
    if relative and found is None:
        raise UserError(
            f"{manifest}: {relative[0]} and its other paths lead to no files from {', '.join(map(str, folders))}; "
            f"name the folder that they start from with --{setting}"
        )
    return found or manifest.parent
