"""Handwritten digits: MNIST's four IDX files, or scikit-learn's bundled 8 x 8 digits where there is nothing else.

MNIST: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 60,000 images to train on and 10,000
to test on, 28 x 28, by disjoint sets of writers. The IDX format: two zero bytes, a byte for the type (8: unsigned
byte), a byte for the number of dimensions, each dimension as a big-endian 32-bit integer, then the values, the last
dimension running fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from kd_asr.corpora.download import RemoteFile, download, network_reachable
from kd_asr.errors import UserError

Source = Literal["mnist", "digits"]
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
COUNTS = {"train": 60_000, "test": 10_000}
SIDE = 28  # pixels
CLASSES = 10
_GZIP = b"\x1f\x8b"
# Six times the larger of MNIST's files, unpacked.
_MOST_BYTES = 300_000_000
# MD5 sums as torchvision has them.
FILES = {
    ("train", "images"): RemoteFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
    ("train", "labels"): RemoteFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
    ("test", "images"): RemoteFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
    ("test", "labels"): RemoteFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
}


@dataclass(frozen=True)
class Digits:
    """Images and labels.

    Attributes:
        train_images: (images, side, side) uint8, 0 (paper) to 255 (ink).
        train_labels: (images,) uint8, 0..9.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class DigitsChoice:
    """Digits of a run: source, folder (perhaps yet to be filled), and a sentence that explains the choice."""

    source: Source
    root: Path
    sentence: str


def idx_file(root: Path, file: RemoteFile) -> Path:
    """Where one of MNIST's files lies in a folder: gzipped as it is distributed, or unpacked under either usual name.

    The first of these that is there; the gzipped one if none is.
    """
    plain = file.name.removesuffix(".gz")
    names = (file.name, plain, plain.replace("-idx", ".idx"))
    return next((root / name for name in names if (root / name).is_file()), root / file.name)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The array of an IDX file of unsigned bytes, gzipped or not; no more is read than its header announces.

    Args:
        path: the file.
        magic: its first four bytes as a number, `IMAGES_MAGIC` or `LABELS_MAGIC`.

    Raises:
        UserError: the file is missing, neither IDX nor gzip, cut short, of another kind, longer or shorter than its
            header says, or far larger than MNIST.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
            raw.seek(0)
            if not zipped:
                return _read_idx(path, raw, magic)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read_idx(path, unpacked, magic)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged or cut short ({error}): get it again") from error


def _read_idx(path: Path, file: IO[bytes] | gzip.GzipFile, magic: int) -> np.ndarray:
    """The array of an open file."""
    dimensions = magic % 256
    start = file.read(4 + 4 * dimensions)
    if len(start) < 4 + 4 * dimensions:
        raise UserError(f"{path} is too short for an IDX file ({len(start)} bytes unpacked): get it again")
    found, *shape = struct.unpack(f">{1 + dimensions}I", start)
    if found != magic:
        other = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
        if found in other:
            raise UserError(f"{path} holds {other[found]}, not {other[magic]}: files are swapped")
        raise UserError(f"{path} has the magic number {found} instead of {magic}: it is not MNIST's {other[magic]}")
    announced = math.prod(shape)
    if announced > _MOST_BYTES:
        raise UserError(f"{path} announces {' x '.join(map(str, shape))} bytes, far more than MNIST has: get it again")
    content = file.read(announced + 1)
    if len(content) != announced:
        beyond = " or more" if len(content) > announced else ""
        raise UserError(
            f"{path} holds {len(start) + len(content)} bytes{beyond}, but its header announces "
            f"{len(start) + announced}: get it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def load_mnist(root: Path) -> Digits:
    """Read and check the four files in `root`.

    Raises:
        UserError: one is missing, damaged, or not what its name says.
    """
    arrays: dict[tuple[str, str], np.ndarray] = {}
    for (part, kind), file in FILES.items():
        path = idx_file(root, file)
        array = read_idx(path, IMAGES_MAGIC if kind == "images" else LABELS_MAGIC)
        if len(array) != COUNTS[part]:
            hint = ": train and test are swapped" if len(array) in COUNTS.values() else ""
            raise UserError(f"{path} holds {len(array)} {kind} instead of {COUNTS[part]}{hint}")
        if kind == "images" and array.shape[1:] != (SIDE, SIDE):
            raise UserError(f"{path} holds images of {array.shape[1]} x {array.shape[2]} pixels, not {SIDE} x {SIDE}")
        if kind == "labels" and int(array.max()) >= CLASSES:
            raise UserError(f"{path} holds the label {int(array.max())}, but digits are 0 to 9")
        arrays[part, kind] = array
    return Digits(
        arrays["train", "images"], arrays["train", "labels"], arrays["test", "images"], arrays["test", "labels"]
    )


def load_bundled_digits() -> Digits:
    """scikit-learn's 1797 digits of 8 x 8 pixels: the last 297 for test, the values 0..16 scaled to 0..255.

    E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998. They are
    part of the package, so that everything runs without a network; their figures cannot be compared with MNIST's.
    """
    from sklearn.datasets import load_digits  # slow to import

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    classes = labels.astype(np.uint8)
    train = len(classes) - 297
    return Digits(pixels[:train], classes[:train], pixels[train:], classes[train:])


def choose_digits(
    source: Literal["auto", "mnist", "digits"],
    folder: Path | None,
    data_dir: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    reachable: Callable[[], bool] = lambda: network_reachable(mirrors=MIRRORS, probe=FILES["test", "labels"]),
) -> DigitsChoice:
    """Choose the digits: `folder`, else $MNIST, else `data_dir`/mnist, else a download to there, else (without a
    network) the bundled digits.

    Raises:
        UserError: a file is missing in `folder` or $MNIST, or with `source` `mnist` there is nothing to read or fetch.
    """
    named = folder or (Path(environment["MNIST"]) if environment.get("MNIST") else None)
    if source != "digits" and named is not None:
        missing = [file.name for file in FILES.values() if not idx_file(named, file).is_file()]
        if missing:
            raise UserError(f"{named} lacks {', '.join(missing)} (unpacked files will do)")
        return DigitsChoice("mnist", named.resolve(), f"digits: MNIST in {named}")
    root = (data_dir / "mnist").resolve()
    if source != "digits" and all(idx_file(root, file).is_file() for file in FILES.values()):
        return DigitsChoice("mnist", root, f"digits: MNIST in {root}")
    if source != "digits" and reachable():
        return DigitsChoice("mnist", root, f"digits: MNIST, to be downloaded to {root} (11.6 MB)")
    if source == "mnist":
        raise UserError("there is no MNIST: name its folder with --data or $MNIST, or connect to a network")
    why = "as asked for" if source == "digits" else "there is no MNIST (--data, $MNIST) and no network"
    return DigitsChoice(
        "digits",
        root,
        f"digits: NOT MNIST but scikit-learn's 1797 images of 8 x 8 pixels, {why}; figures mean little",
    )


def obtain_mnist(root: Path, *, mirrors: tuple[str, ...] = MIRRORS) -> None:
    """Download those of the four files that are missing in `root`, and check their MD5 sums."""
    for file in FILES.values():
        if idx_file(root, file) != root / file.name:
            continue  # unpacked
        download(file, root / file.name, mirrors=mirrors)
