import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kd_asr.artifacts import write_array
from kd_asr.corpora import mnist
from kd_asr.corpora.mnist import (
    FILES,
    IMAGES_MAGIC,
    LABELS_MAGIC,
    choose_digits,
    load_bundled_digits,
    load_mnist,
    obtain_mnist,
    read_idx,
)
from kd_asr.errors import UserError
from kd_asr.tasks.digits import DigitArrays

TRAIN_IMAGES = FILES["train", "images"].name
TRAIN_LABELS = FILES["train", "labels"].name
TEST_IMAGES = FILES["test", "images"].name


def write_idx(path: Path, array: np.ndarray, magic: int | None = None) -> None:
    """An IDX file as the format's description has it; by default with the right magic number."""
    head = struct.pack(">I", 0x800 + array.ndim if magic is None else magic)
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(head + shape + array.tobytes(), compresslevel=1))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """MNIST in miniature: the four files, with 60 and 20 images."""
    monkeypatch.setattr(mnist, "COUNTS", {"train": 60, "test": 20})
    rng = np.random.default_rng(0)
    for (part, kind), file in FILES.items():
        count = mnist.COUNTS[part]
        array = rng.integers(0, 256, (count, 28, 28)) if kind == "images" else rng.integers(0, 10, count)
        write_idx(tmp_path / file.name, array.astype(np.uint8))
    return tmp_path


def test_an_idx_file_by_hand(tmp_path) -> None:
    # Two images of 2 x 3 pixels: magic 0x00000803, three dimensions, pixels row by row.
    content = bytes.fromhex("00000803 00000002 00000002 00000003 000102030405 0a0b0c0d0e0f")
    (tmp_path / "images.gz").write_bytes(gzip.compress(content))
    images = read_idx(tmp_path / "images.gz", IMAGES_MAGIC)
    assert images.tolist() == [[[0, 1, 2], [3, 4, 5]], [[10, 11, 12], [13, 14, 15]]]
    assert images.dtype == np.uint8


def test_the_four_files_are_read(folder) -> None:
    digits = load_mnist(folder)
    assert digits.train_images.shape == (60, 28, 28)
    assert digits.test_images.shape == (20, 28, 28)
    rng = np.random.default_rng(0)
    assert np.array_equal(digits.train_images, rng.integers(0, 256, (60, 28, 28)))
    assert np.array_equal(digits.train_labels, rng.integers(0, 10, 60))


@pytest.mark.parametrize("damage", ["cut", "cut late", "not gzip", "empty"])
def test_damaged_files_are_named(folder, damage: str) -> None:
    path = folder / TRAIN_IMAGES
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:5000], "cut late": whole[:-6], "not gzip": b"<html>" * 99, "empty": b""}[damage])
    with pytest.raises(UserError, match=rf"{TRAIN_IMAGES} (is damaged or cut short|is too short|has the magic number)"):
        load_mnist(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0", "too short for an IDX file"),
        (struct.pack(">II", LABELS_MAGIC, 60) + bytes(59), "holds 67 bytes, but its header announces 68"),
        (struct.pack(">II", LABELS_MAGIC, 60) + bytes(61), "holds 69 bytes or more, but its header announces 68"),
        (struct.pack(">II", 2052, 60) + bytes(60), "magic number 2052 instead of 2049"),
        (struct.pack(">II", LABELS_MAGIC, 59) + bytes(59), "holds 59 labels instead of 60$"),
        (struct.pack(">II", LABELS_MAGIC, 20) + bytes(20), "holds 20 labels instead of 60: train and test are swapped"),
        (struct.pack(">II", LABELS_MAGIC, 60) + bytes(59) + b"\x0a", "holds the label 10"),
    ],
)
def test_files_that_are_not_what_their_name_says(folder, content: bytes, message: str) -> None:
    (folder / TRAIN_LABELS).write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=message) as caught:
        load_mnist(folder)
    assert TRAIN_LABELS in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (TRAIN_IMAGES, TRAIN_LABELS, "holds labels, not images: files are swapped"),
        (TRAIN_IMAGES, TEST_IMAGES, "train and test are swapped"),
    ],
)
def test_swapped_files_are_told_apart(folder, first: str, second: str, message: str) -> None:
    (folder / first).rename(folder / "other")
    (folder / second).rename(folder / first)
    (folder / "other").rename(folder / second)
    with pytest.raises(UserError, match=message):
        load_mnist(folder)


def test_images_of_another_size_are_refused(folder) -> None:
    write_idx(folder / TEST_IMAGES, np.zeros((20, 32, 32), np.uint8))
    with pytest.raises(UserError, match="32 x 32 pixels, not 28 x 28"):
        load_mnist(folder)


def test_a_missing_file_is_named(folder) -> None:
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(UserError, match=f"there is no file .*{TRAIN_LABELS}"):
        load_mnist(folder)


def test_unpacked_files_are_read_under_both_usual_names(folder) -> None:
    """The same arrays as from the gzipped files."""
    expected = load_mnist(folder)
    for number, file in enumerate(FILES.values()):
        path = folder / file.name
        plain = file.name.removesuffix(".gz")
        name = plain.replace("-idx", ".idx") if number % 2 else plain
        (folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    found = load_mnist(folder)
    assert np.array_equal(found.train_images, expected.train_images)
    assert np.array_equal(found.test_labels, expected.test_labels)
    choice = choose_digits("auto", folder, folder / "none", environment={}, reachable=lambda: False)
    assert choice.root == folder.resolve()
    obtain_mnist(folder, mirrors=("http://nowhere.invalid",))


@pytest.mark.parametrize("zipped", [True, False])
def test_sizes_that_are_only_announced_or_only_unpacked_take_no_memory(folder, zipped: bool) -> None:
    """A header of 2^31 x 2^31 and 400 MB of zeros, which gzip packs into 400 kB, are refused at once."""
    huge = struct.pack(">IIII", IMAGES_MAGIC, 2**31, 2**31, 2**31)
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(huge) if zipped else huge)
    with pytest.raises(UserError, match="2147483648 x 2147483648 x 2147483648 bytes, far more than MNIST"):
        load_mnist(folder)
    bomb = struct.pack(">IIII", IMAGES_MAGIC, 60, 28, 28) + bytes(40_000_000)
    (folder / TRAIN_IMAGES).write_bytes(gzip.compress(bomb, 1) if zipped else bomb)
    tracemalloc.start()
    with pytest.raises(UserError, match="holds 47057 bytes or more, but its header announces 47056"):
        load_mnist(folder)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["train_images", "dev"])
def test_arrays_of_a_run_that_are_cut_short_are_named(tmp_path, name: str) -> None:
    digits = load_bundled_digits()
    for one in ("train_images", "train_labels", "test_images", "test_labels"):
        write_array(tmp_path / f"{one}.npy", getattr(digits, one))
    write_array(tmp_path / "dev.npy", np.arange(5))
    assert len(DigitArrays.load(tmp_path).dev) == 5
    whole = (tmp_path / f"{name}.npy").read_bytes()
    for cut in (0, 60, len(whole) - 3):
        (tmp_path / f"{name}.npy").write_bytes(whole[:cut])
        with pytest.raises(UserError, match=rf"{name}.npy is damaged"):
            DigitArrays.load(tmp_path)


def test_the_bundled_digits() -> None:
    digits = load_bundled_digits()
    assert digits.train_images.shape == (1500, 8, 8)
    assert digits.test_images.shape == (297, 8, 8)
    assert digits.train_images.max() == 255
    assert set(digits.test_labels.tolist()) == set(range(10))


def test_where_the_digits_come_from(folder, tmp_path_factory) -> None:
    data = tmp_path_factory.mktemp("data")

    def choose(source="auto", given=None, environment=None, online=False):
        return choose_digits(source, given, data, environment=environment or {}, reachable=lambda: online)

    assert choose(given=folder).root == folder.resolve()
    assert choose(environment={"MNIST": str(folder)}).source == "mnist"
    offline = choose()
    assert offline.source == "digits"
    assert "NOT MNIST" in offline.sentence
    online = choose(online=True)
    assert (online.source, online.root) == ("mnist", (data / "mnist").resolve())
    assert "downloaded" in online.sentence
    assert choose("digits", given=folder).source == "digits"
    with pytest.raises(UserError, match="there is no MNIST"):
        choose("mnist")
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(UserError, match=f"lacks {TRAIN_LABELS}"):
        choose(given=folder, online=True)


def test_what_is_there_is_not_downloaded(folder) -> None:
    obtain_mnist(folder, mirrors=("http://nowhere.invalid",))
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(UserError, match=f"cannot download {TRAIN_LABELS}"):
        obtain_mnist(folder, mirrors=("file:///nowhere",))
