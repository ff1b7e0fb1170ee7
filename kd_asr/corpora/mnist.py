"""Handwritten digits: MNIST's four IDX files, or scikit-learn's bundled 8 x 8 digits where there is nothing else.

MNIST: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 60,000 images to train on and 10,000
to test on, 28 x 28, by disjoint sets of writers. The IDX format: two zero bytes, a byte for the type (8: unsigned
byte), a byte for the number of dimensions, each dimension as a big-endian 32-bit integer, then the values, the last
dimension running fastest.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kd_asr.corpora.download import RemoteFile, download, network_reachable
from kd_asr.errors import UserError

Source = Literal["mnist", "digits"]
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
COUNTS = {"train": 60_000, "test": 10_000}
SIDE = 28  # pixels
CLASSES = 10
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


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The array of a gzipped IDX file of unsigned bytes.

    Args:
        path: the file.
        magic: its first four bytes as a number, `IMAGES_MAGIC` or `LABELS_MAGIC`.

    Raises:
        UserError: the file is missing, not gzip, cut short, of another kind, or longer or shorter than its header says.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged or cut short ({error}): get it again") from error
    dimensions = magic % 256
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise UserError(f"{path} is too short for an IDX file ({len(content)} bytes unpacked): get it again")
    found, *shape = struct.unpack(f">{1 + dimensions}I", content[:header])
    if found != magic:
        other = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
        if found in other:
            raise UserError(f"{path} holds {other[found]}, not {other[magic]}: files are swapped")
        raise UserError(f"{path} has the magic number {found} instead of {magic}: it is not MNIST's {other[magic]}")
    expected = header + int(np.prod(shape))
    if len(content) != expected:
        raise UserError(f"{path} holds {len(content)} bytes, but its header announces {expected}: get it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load_mnist(root: Path) -> Digits:
    """Read and check the four files in `root`.

    Raises:
        UserError: one is missing, damaged, or not what its name says.
    """
    arrays: dict[tuple[str, str], np.ndarray] = {}
    for (part, kind), file in FILES.items():
        path = root / file.name
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
        missing = [file.name for file in FILES.values() if not (named / file.name).is_file()]
        if missing:
            raise UserError(f"{named} lacks {', '.join(missing)}")
        return DigitsChoice("mnist", named.resolve(), f"digits: MNIST in {named}")
    root = (data_dir / "mnist").resolve()
    if source != "digits" and all((root / file.name).is_file() for file in FILES.values()):
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
        download(file, root / file.name, mirrors=mirrors)
