"""Growing trees, against sums over the frames themselves: all questions tried, all likelihoods computed directly."""

from itertools import combinations

import numpy as np
import pytest

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.tree import Leaf, Node, Split, StateTree, leaves
from kd_asr.alignment.tying import (
    Moments,
    context_statistics,
    frame_contexts,
    grow_tree,
    phone_questions,
    tied_path,
)
from kd_asr.alignment.viterbi import BestPath

PHONES = ("SIL", "SPN", "A0", "A1", "B", "K", "M", "P")


def frames(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Observations whose mean depends on phone, state and neighbours, and their contexts."""
    rng = np.random.default_rng(seed)
    contexts = np.stack([*rng.integers(0, len(PHONES), (3, count)), rng.integers(0, 3, count)], axis=1)
    parts = [rng.standard_normal((size, 4)) * scale for size, scale in ((8, 0.9), (8, 0.6), (8, 0.9), (3, 1.0))]
    mean = sum(part[column] for part, column in zip(parts, contexts.T, strict=True))
    return (mean + rng.standard_normal((count, 4))).astype(np.float32), contexts


def direct_log_likelihood(observations: np.ndarray, floor: np.ndarray) -> float:
    """Sum over frames of the log-density of the Gaussian with their own mean and (floored) variances."""
    if not len(observations):
        return 0.0
    x = observations.astype(np.float64)
    variance = np.maximum(x.var(axis=0), floor)
    return float(-0.5 * (np.log(2 * np.pi * variance) + (x - x.mean(axis=0)) ** 2 / variance).sum())


def test_likelihoods_are_those_of_the_frames() -> None:
    observations, contexts = frames(1, 500)
    statistics = context_statistics(observations, contexts, PHONES)
    np.testing.assert_allclose(statistics.variance_floor, 0.01 * observations.var(axis=0), rtol=1e-4)
    for floor in (statistics.variance_floor, np.full(4, 2.0)):
        found = statistics.moments.log_likelihoods(floor)
        for row, value in zip(statistics.contexts, found, strict=True):
            mine = observations[(contexts == row).all(axis=1)]
            assert value == pytest.approx(direct_log_likelihood(mine, floor), rel=1e-6, abs=1e-6)
    assert statistics.moments.counts.sum() == 500
    assert len(np.unique(contexts, axis=0)) == len(statistics.contexts)
    assert Moments(np.zeros(1), np.zeros((1, 4)), np.zeros((1, 4))).log_likelihoods(np.ones(4)) == [0.0]


def brute_force_splits(
    observations: np.ndarray, contexts: np.ndarray, cells: list[np.ndarray], min_frames: int
) -> list[tuple[float, int, str, str]]:
    """(gain, cell, place, question) of every possible split of cells, masks of frames."""
    statistics = context_statistics(observations, contexts, PHONES)
    questions = phone_questions(statistics)
    found = []
    for number, cell in enumerate(cells):
        whole = direct_log_likelihood(observations[cell], statistics.variance_floor)
        for column, place in enumerate(("left", "phone", "right")):
            for name, asked in questions.items():
                said = np.isin(contexts[:, column], [PHONES.index(phone) for phone in asked])
                yes, no = cell & said, cell & ~said
                if min(yes.sum(), no.sum()) >= min_frames:
                    parts = [direct_log_likelihood(observations[part], statistics.variance_floor) for part in (yes, no)]
                    found.append((sum(parts) - whole, number, place, name))
    return found


def roots(contexts: np.ndarray) -> list[np.ndarray]:
    """Masks of the frames of the states that may be split: A0 and A1 together, B, K, M, P."""
    groups = [(2, 3), (4,), (5,), (6,), (7,)]
    return [np.isin(contexts[:, 1], group) & (contexts[:, 3] == state) for group in groups for state in range(3)]


def splits(node: Node) -> list[Split]:
    return [node, *splits(node.yes), *splits(node.no)] if isinstance(node, Split) else []


def table_of(tree: StateTree) -> np.ndarray:
    """(left phones, phones, right phones, states): every triphone's pdfs."""
    return np.array([[[tree.pdfs(left, phone, right) for right in PHONES] for phone in PHONES] for left in PHONES])


def cell_masks(tree, contexts: np.ndarray) -> set[bytes]:
    """The frames of each leaf."""
    pdfs = table_of(tree)[tuple(contexts.T)]
    return {(pdfs == pdf).tobytes() for pdf in np.unique(pdfs)}


@pytest.mark.parametrize("seed", range(4))
def test_the_first_split_is_the_best_of_all(seed: int) -> None:
    observations, contexts = frames(seed)
    tree = grow_tree(context_statistics(observations, contexts, PHONES), leaves=22, min_frames=50)
    (split,) = [split for root in tree.roots for node in root.states for split in splits(node)]
    cells = roots(contexts)
    gain, number, place, question = max(brute_force_splits(observations, contexts, cells, 50))
    assert split.gain == pytest.approx(gain, abs=2e-3)
    assert split.place == place
    # Questions that part the same frames the other way round gain the same.
    column = ("left", "phone", "right").index(place)
    sides = [
        cells[number] & np.isin(contexts[:, column], [PHONES.index(phone) for phone in tree.questions[name]])
        for name in (split.question, question)
    ]
    assert (sides[0] == sides[1]).all() or (sides[0] == cells[number] & ~sides[1]).all()


@pytest.mark.parametrize(("seed", "min_frames"), [(0, 10), (1, 40)])
def test_splits_are_made_best_first(seed: int, min_frames: int) -> None:
    observations, contexts = frames(seed)
    statistics = context_statistics(observations, contexts, PHONES)
    questions = phone_questions(statistics)
    cells = roots(contexts)
    for _ in range(12):
        _, number, place, name = max(brute_force_splits(observations, contexts, cells, min_frames))
        column = ("left", "phone", "right").index(place)
        said = np.isin(contexts[:, column], [PHONES.index(phone) for phone in questions[name]])
        cell = cells.pop(number)
        cells += [cell & said, cell & ~said]
    tree = grow_tree(statistics, leaves=21 + 12, min_frames=min_frames)
    assert tree.num_pdfs == 33
    never_split = [(contexts[:, 1] == phone) & (contexts[:, 3] == state) for phone in (0, 1) for state in range(3)]
    assert cell_masks(tree, contexts) == {mask.tobytes() for mask in [*cells, *never_split]}


def test_growing_ends_where_leaves_would_get_too_small() -> None:
    observations, contexts = frames(2)
    tree = grow_tree(context_statistics(observations, contexts, PHONES), leaves=10_000, min_frames=60)
    sizes = [leaf.frames for root in tree.roots for node in root.states for leaf in leaves(node)]
    assert 21 < len(sizes) == tree.num_pdfs < 10_000
    assert min(sizes) >= 60
    assert sum(sizes) == len(observations)
    pdfs = table_of(tree)[tuple(contexts.T)]
    assert np.bincount(pdfs).tolist() == sizes
    # No leaf could have been split further.
    cells = [pdfs == pdf for pdf in range(6, tree.num_pdfs)]
    assert max(brute_force_splits(observations, contexts, cells, 60), default=(0.0,))[0] <= 1e-6


def test_fewer_leaves_than_roots_are_the_roots_and_unseen_phones_have_leaves_too() -> None:
    observations, contexts = frames(3)
    seen = (contexts[:, :3] != PHONES.index("M")).all(axis=1)
    statistics = context_statistics(observations[seen], contexts[seen], PHONES)
    tree = grow_tree(statistics, leaves=1, min_frames=50)
    assert [root.phones for root in tree.roots] == [
        ("SIL",), ("SPN",), ("A0", "A1"), ("B",), ("K",), ("M",), ("P",)
    ]  # fmt: skip
    assert all(isinstance(node, Leaf) for root in tree.roots for node in root.states)
    grown = grow_tree(statistics, leaves=60, min_frames=20)
    assert all(isinstance(node, Leaf) for node in grown.roots[5].states)
    assert "M" not in {phone for asked in grown.questions.values() for phone in asked}
    assert set(np.unique(table_of(grown))) == set(range(60))


def test_positions_are_asked_for_where_they_matter() -> None:
    phones = ("SIL", "SPN", "A0_B", "A0_E", "A1_E", "B_B", "B_I", "B_E", "K_S")
    rng = np.random.default_rng(4)
    contexts = np.stack([*rng.integers(0, len(phones), (3, 6000)), rng.integers(0, 3, 6000)], axis=1)
    ends = np.isin(contexts[:, :3], [3, 4, 7])
    # B depends on whether a word ends in it, A on whether one ends before it.
    matters = np.where(np.isin(contexts[:, 1], [5, 6, 7]), ends[:, 1], np.isin(contexts[:, 1], [2, 3, 4]) & ends[:, 0])
    observations = (3.0 * matters[:, None] + rng.standard_normal((6000, 4))).astype(np.float32)
    statistics = context_statistics(observations, contexts, phones)
    asked = phone_questions(statistics)
    assert asked["position-E"] == ("A0_E", "A1_E", "B_E")
    assert (asked["position-B"], asked["position-S"]) == (("A0_B", "B_B"), ("K_S",))
    assert asked["position-I"] == ("B_I",)
    assert (asked["A"], asked["stress-1"]) == (("A0_B", "A0_E", "A1_E"), ("A1_E",))
    tree = grow_tree(statistics, leaves=5 * 3 + 6, min_frames=20)
    of_root = {root.phones: [split for node in root.states for split in splits(node)] for root in tree.roots}
    assert {(split.place, split.question) for split in of_root["B_B", "B_I", "B_E"]} == {("phone", "position-E")}
    assert {(split.place, split.question) for split in of_root["A0_B", "A0_E", "A1_E"]} == {("left", "position-E")}
    assert sum(map(len, of_root.values())) == 6


def test_phones_that_sound_alike_are_clustered_first() -> None:
    observations, contexts = frames(5)
    statistics = context_statistics(observations, contexts, PHONES)
    questions = phone_questions(statistics)
    groups = {"SIL": (0,), "SPN": (1,), "A": (2, 3), "B": (4,), "K": (5,), "M": (6,), "P": (7,)}

    def moments(names: tuple[str, ...], state: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of a state, every phone with the same weight."""
        own = [observations[np.isin(contexts[:, 1], groups[name]) & (contexts[:, 3] == state)] for name in names]
        mean = np.mean([block.mean(axis=0, dtype=np.float64) for block in own], axis=0)
        square = np.mean([np.square(block, dtype=np.float64).mean(axis=0) for block in own], axis=0)
        return mean, square - mean**2

    def loss(pair: tuple[str, str]) -> float:
        apart = sum(np.log(moments((name,), state)[1]).sum() for name in pair for state in range(3))
        return float(np.log(moments(pair, 0)[1]).sum() + np.log(moments(pair, 1)[1]).sum()
                     + np.log(moments(pair, 2)[1]).sum() - apart / 2)  # fmt: skip

    first = min(combinations(groups, 2), key=loss)
    assert set(questions["cluster-1"]) == {PHONES[number] for name in first for number in groups[name]}
    assert questions["A"] == ("A0", "A1")
    assert (questions["stress-0"], questions["stress-1"]) == (("A0",), ("A1",))
    assert "stress-2" not in questions
    # Seven phones alone, five merges until two clusters are left, two stresses.
    assert len(questions) == 7 + 5 + 2
    assert all(set(asked) < set(PHONES) for asked in questions.values())


def test_contexts_of_frames_go_across_words_and_end_in_silence() -> None:
    segments = [PhoneSegment("B", 0, 3), PhoneSegment("A1", 3, 4), PhoneSegment("SIL", 7, 1)]
    states = np.array([0, 1, 2, 0, 1, 1, 2, 0])
    b, a, sil = 4, 3, 0
    assert frame_contexts(segments, states, PHONES).tolist() == [
        [sil, b, a, 0], [sil, b, a, 1], [sil, b, a, 2],
        [b, a, sil, 0], [b, a, sil, 1], [b, a, sil, 1], [b, a, sil, 2],
        [a, sil, sil, 0],
    ]  # fmt: skip


def test_a_path_is_tied_by_what_surrounds_its_phones() -> None:
    observations, contexts = frames(6)
    tree = grow_tree(context_statistics(observations, contexts, PHONES), leaves=60, min_frames=20)
    topology = Topology.uniform(PHONES, tree=tree)
    segments = (PhoneSegment("B", 0, 3), PhoneSegment("A1", 3, 4))
    pdfs = np.array([12, 13, 14, 9, 10, 10, 11], dtype=np.int32)
    path = tied_path(BestPath(pdfs, segments, np.ones(7, dtype=bool), -1.0), topology)
    expected = [topology.pdf("B", state, "SIL", "A1") for state in range(3)]
    expected += [topology.pdf("A1", state, "B", "SIL") for state in (0, 1, 1, 2)]
    assert path.pdfs.dtype == np.int32
    assert path.pdfs.tolist() == expected
    assert (path.phones, path.log_probability) == (segments, -1.0)
