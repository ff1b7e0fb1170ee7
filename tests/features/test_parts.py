import numpy as np
import pytest

from kd_asr.errors import UserError
from kd_asr.features.parts import Part, read_parts, without_long_silence, write_parts
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import MARGIN, FrameStore, create_store


@pytest.mark.parametrize(
    ("silence", "left"),
    [
        ("", []),
        ("....", [(0, 4)]),
        ("..####..", [(0, 8)]),  # no longer than allowed
        ("..######..", [(0, 4), (6, 10)]),  # two frames stay at each end
        ("#####..", [(3, 7)]),  # nothing is kept at the border of the file
        (".#####", [(0, 3)]),
        ("######", []),
        ("#..#.#####.#", [(0, 7), (8, 12)]),
    ],
)
def test_the_middle_of_long_silences_is_left_out(silence: str, left: list[tuple[int, int]]) -> None:
    assert without_long_silence(np.array([mark == "#" for mark in silence], dtype=bool), 4) == left


def test_parts_are_utterances_of_the_same_matrix_with_their_real_neighbours(tmp_path) -> None:
    create_store(tmp_path / "store", ["a", "b"], [5, 7], FeatureSettings())
    writable = FrameStore(tmp_path / "store", writable=True)
    rng = np.random.default_rng(1)
    frames = {name: rng.normal(size=(count, 40)).astype(np.float16) for name, count in (("a", 5), ("b", 7))}
    for name, block in frames.items():
        writable.write(name, block)
    store = FrameStore.open(tmp_path / "store")
    parts = store.with_parts([Part("b@2", "b", 2, 3), Part("a@0", "a", 0, 5)])
    assert parts.utterance_ids == ["b@2", "a@0"]
    assert [parts.num_frames(name) for name in parts.utterance_ids] == [3, 5]
    assert np.array_equal(parts.frames("b@2"), frames["b"][2:5].astype(np.float32))
    rows = parts.rows("b@2")
    assert np.array_equal(parts.matrix[rows.start - 2 : rows.stop + 2], frames["b"])
    assert np.array_equal(parts.matrix[rows.stop + 2], frames["b"][-1])  # then the margin of the whole
    assert MARGIN > 2
    assert store.utterance_ids == ["a", "b"]


def test_the_list_of_parts_is_read_as_it_was_written(tmp_path) -> None:
    parts = [Part("x-0000@7", "x-0000", 7, 12), Part("y+1@0", "y+1", 0, 1)]
    write_parts(tmp_path / "parts.tsv", parts)
    assert read_parts(tmp_path / "parts.tsv") == parts
    (tmp_path / "parts.tsv").write_text("name\nx\ty\n")
    with pytest.raises(UserError, match=r"parts\.tsv is damaged"):
        read_parts(tmp_path / "parts.tsv")
    with pytest.raises(UserError, match=r"parts\.tsv is damaged"):
        read_parts(tmp_path / "none" / "parts.tsv")
