import kaldifst
import numpy as np
import pytest

from kd_asr.decoding.fst_arrays import (
    _STATE,
    ARC,
    FstArrays,
    add_to_words,
    from_kaldifst,
    highest_labels,
    make_arcs,
    read_fst,
    to_kaldifst,
    write_fst,
)
from kd_asr.errors import UserError


def random_fst(seed: int, states: int = 30, arcs: int = 200) -> FstArrays:
    rng = np.random.default_rng(seed)
    finals = np.where(rng.random(states) < 0.3, rng.random(states), np.inf).astype(np.float32)
    return FstArrays(
        3,
        finals,
        rng.integers(0, states, arcs).astype(np.int32),
        make_arcs(
            rng.integers(0, 5, arcs), rng.integers(0, 4, arcs), rng.random(arcs), rng.integers(0, states, arcs)
        ),
    )


def by_source(fst: FstArrays) -> FstArrays:
    order = np.argsort(fst.sources, kind="stable")
    return FstArrays(fst.start, fst.finals, fst.sources[order], fst.arcs[order])


def assert_same(one: FstArrays, other: FstArrays) -> None:
    one, other = by_source(one), by_source(other)
    assert one.start == other.start
    np.testing.assert_array_equal(one.finals, other.finals)
    np.testing.assert_array_equal(one.sources, other.sources)
    np.testing.assert_array_equal(one.arcs, other.arcs)


def test_a_file_is_read_by_openfst_arc_by_arc(tmp_path) -> None:
    fst = random_fst(1)
    write_fst(tmp_path / "a.fst", fst)
    read = kaldifst.StdConstFst.read(str(tmp_path / "a.fst"))
    assert read.start == 3
    ordered = by_source(fst)
    for state in range(fst.num_states):
        assert float(read.final(state).value) == fst.finals[state]
        expected = [tuple(row) for row in ordered.arcs[ordered.sources == state].tolist()]
        found = [
            (arc.ilabel, arc.olabel, float(arc.weight.value), arc.nextstate)
            for arc in kaldifst.ArcIterator(read, state)
        ]
        assert found == expected


def test_files_and_kaldifst_give_back_what_they_were_given(tmp_path) -> None:
    fst = random_fst(2)
    write_fst(tmp_path / "a.fst", fst)
    assert_same(read_fst(tmp_path / "a.fst"), fst)
    assert_same(from_kaldifst(to_kaldifst(fst)), fst)


def test_openfst_composes_what_was_written_as_it_composes_its_own(tmp_path) -> None:
    text = "0 1 1 2 0.5\n1 2 0 1 0.25\n2 0.125\n"
    own = kaldifst.compile(text)
    written = to_kaldifst(from_kaldifst(own))
    loop = kaldifst.compile("0 0 2 7 1\n0 0 1 8 2\n0 0\n")
    one = from_kaldifst(kaldifst.compose(own, loop))
    assert_same(one, from_kaldifst(kaldifst.compose(written, loop)))


def test_a_cost_is_added_to_the_arcs_that_write_words_and_to_no_others(tmp_path) -> None:
    fst = by_source(random_fst(3))
    write_fst(tmp_path / "a.fst", fst)
    add_to_words(tmp_path / "a.fst", tmp_path / "b.fst", 0.75)
    after = read_fst(tmp_path / "b.fst")
    writes = fst.arcs["olabel"] != 0
    expected = fst.arcs["weight"] + np.where(writes, np.float32(0.75), np.float32(0))
    np.testing.assert_array_equal(after.arcs["weight"], expected)
    np.testing.assert_array_equal(after.finals, fst.finals)
    assert_same(read_fst(tmp_path / "a.fst"), fst)


def test_every_way_to_cut_a_file_short_is_noticed(tmp_path) -> None:
    write_fst(tmp_path / "a.fst", random_fst(4, states=5, arcs=6))
    content = (tmp_path / "a.fst").read_bytes()
    for length in range(len(content)):
        (tmp_path / "b.fst").write_bytes(content[:length])
        with pytest.raises(UserError, match="not a whole graph file"):
            highest_labels(tmp_path / "b.fst")
    (tmp_path / "b.fst").write_bytes(content + b"x")
    with pytest.raises(UserError, match="not a whole graph file"):
        read_fst(tmp_path / "b.fst")


def test_arcs_that_lead_nowhere_and_missing_files_are_refused(tmp_path) -> None:
    fst = random_fst(5)
    fst.arcs["nextstate"][7] = 30
    write_fst(tmp_path / "a.fst", fst)
    with pytest.raises(UserError, match="damaged"):
        read_fst(tmp_path / "a.fst")
    with pytest.raises(UserError, match="cannot be read"):
        read_fst(tmp_path / "none.fst")
    with pytest.raises(UserError, match="cannot write"):
        write_fst(tmp_path / "c.fst", random_fst(6))
        add_to_words(tmp_path / "c.fst", tmp_path / "no-folder" / "d.fst", 1.0)


DAMAGES = {
    "an arc to nowhere": lambda states, arcs: arcs["nextstate"].__setitem__(7, len(states)),
    "an arc to before the first state": lambda states, arcs: arcs["nextstate"].__setitem__(7, -1),
    "a label below epsilon": lambda states, arcs: arcs["ilabel"].__setitem__(7, -2),
    "a word below epsilon": lambda states, arcs: arcs["olabel"].__setitem__(7, -1),
    "a weight that is no number": lambda states, arcs: arcs["weight"].__setitem__(7, np.nan),
    "an endless weight": lambda states, arcs: arcs["weight"].__setitem__(7, -np.inf),
    "arcs of another state": lambda states, arcs: states["first"].__setitem__(5, 10**6),
    "more arcs than there are": lambda states, arcs: states["arcs"].__setitem__(5, 10**6),
    "an end that is no number": lambda states, arcs: states["final"].__setitem__(5, np.nan),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_would_lead_out_of_a_graph_is_refused_before_openfst_sees_it(tmp_path, damage: str) -> None:
    path = tmp_path / "a.fst"
    fst = random_fst(4)
    write_fst(path, fst)
    tables = 20 * fst.num_states + 16 * fst.num_arcs
    content = bytearray(path.read_bytes())
    states = np.frombuffer(content, _STATE, fst.num_states, len(content) - tables)
    arcs = np.frombuffer(content, ARC, fst.num_arcs, len(content) - 16 * fst.num_arcs)
    DAMAGES[damage](states, arcs)
    path.write_bytes(content)
    for read in (read_fst, highest_labels):
        with pytest.raises(UserError, match=r"a\.fst is damaged: delete it and build the graph again"):
            read(path)


@pytest.mark.parametrize("states", [(5,), (5, 6), (5, 9, 2)])
def test_a_circle_of_arcs_that_take_no_frame_is_refused(tmp_path, states: tuple[int, ...]) -> None:
    """Of negative cost, a search would go round it for ever."""
    arcs = make_arcs(1, 1, 0.5, np.arange(1, 10))
    sources = np.arange(9, dtype=np.int32)
    ways = make_arcs(0, 0, -0.5, np.array([*states[1:], states[0]]))
    finals = np.full(10, 0.0, np.float32)


    def graph(number: int) -> FstArrays:
        """With so many of the arcs of the circle."""
        leaving = np.array(states[:number], np.int32)
        return FstArrays(0, finals, np.concatenate([sources, leaving]), np.concatenate([arcs, ways[:number]]))

    write_fst(tmp_path / "a.fst", graph(len(states) - 1))
    assert highest_labels(tmp_path / "a.fst") == (1, 1)
    write_fst(tmp_path / "a.fst", graph(len(states)))
    with pytest.raises(UserError, match="a circle of arcs that take no frame"):
        highest_labels(tmp_path / "a.fst")
