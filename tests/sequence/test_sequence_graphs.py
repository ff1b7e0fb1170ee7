"""Phone language model, denominator and places of utterances against counts and sums by hand."""

import math

import pytest
import torch
from paths import PHONES, SEQUENCES, segments, small_denominator, topology

from kd_asr.alignment.tree import Leaf, Root, Split, StateTree
from kd_asr.errors import UserError
from kd_asr.sequence.denominator import SAME, Denominator
from kd_asr.sequence.numerator import NumeratorTable, follow_all, places_of
from kd_asr.sequence.phone_lm import BOUNDARY, estimate_phone_lm
from kd_asr.sequence.topology import OneStateTopology


def maximum_likelihood(phones: list[str], order: int) -> float:
    """Log-probability by counts of the histories of `order` - 1 phones, without smoothing."""
    seen: dict[tuple[str, ...], list[str]] = {}
    for sequence in SEQUENCES:
        padded = [BOUNDARY, *sequence, BOUNDARY]
        for place in range(1, len(padded)):
            seen.setdefault(tuple(padded[max(0, place - order + 1) : place]), []).append(padded[place])
    total, padded = 0.0, [BOUNDARY, *phones, BOUNDARY]
    for place in range(1, len(padded)):
        after = seen[tuple(padded[max(0, place - order + 1) : place])]
        total += math.log(after.count(padded[place]) / len(after))
    return total


@pytest.mark.parametrize(("longer", "order"), [(0, 3), (1000, 4)])
def test_probabilities_are_shares_of_counts(longer: int, order: int) -> None:
    lm = estimate_phone_lm(SEQUENCES, longer_histories=longer)
    for sequence in SEQUENCES:
        assert lm.log_probability(sequence) == pytest.approx(maximum_likelihood(sequence, order))
    assert lm.log_probability(["A", "SIL", "A"]) == -math.inf


def test_longer_histories_are_chosen_by_what_they_gain_and_sums_are_1() -> None:
    likelihoods, states = [], []
    for longer in range(5):
        lm = estimate_phone_lm(SEQUENCES, longer_histories=longer)
        for history, arcs in lm.arcs.items():
            assert sum(probability for _, probability in arcs.values()) + lm.ends[history] == pytest.approx(1.0)
            assert len(history) <= 3 and all(target in lm.arcs for target, _ in arcs.values())
        likelihoods.append(sum(map(lm.log_probability, SEQUENCES)))
        states.append(sum(len(history) == 3 for history in lm.arcs))
    assert states[0] == 0 and max(states) <= 4
    assert likelihoods == sorted(likelihoods) and likelihoods[-1] > likelihoods[0]


def test_a_text_without_phones_is_refused() -> None:
    with pytest.raises(UserError, match="no phones to estimate"):
        estimate_phone_lm([[], []])


def walk(graph: Denominator, phones: list[str], lengths: list[int]) -> tuple[float, list[int]]:
    """Log-probability and pdfs of the only path that passes these phones in so many output frames each."""
    state, total, pdfs = graph.start, 0.0, []
    for phone, length in zip(phones, lengths, strict=True):
        for frame in range(length):
            wanted = PHONES.index(phone) if frame == 0 else SAME
            (arc,) = ((graph.sources == state) & (graph.phones == wanted)).nonzero()[:, 0].tolist()
            total += float(graph.log_probs[arc])
            pdfs.append(int(graph.pdfs[arc]))
            state = int(graph.targets[arc])
    return total, pdfs


def test_a_path_has_the_probability_of_its_phones_and_durations() -> None:
    """Entered with the language model's probability and left with 1/2, stayed in with 1/2."""
    phones, lengths = SEQUENCES[1], [2, 1, 1, 3, 1, 2]
    lm = estimate_phone_lm(SEQUENCES, longer_histories=3)
    graph = Denominator.build(lm, topology())
    total, pdfs = walk(graph, phones, lengths)
    # The last phone is not left, nor does the sentence end.
    of_phones = lm.log_probability(phones) - math.log(lm.ends[tuple(phones[-2:])])
    assert total == pytest.approx(of_phones + (sum(lengths) - 1) * math.log(0.5), abs=1e-4)
    assert pdfs == [0, 1, 2, 4, 6, 7, 7, 2, 0, 1]


def test_states_that_are_left_alike_are_one() -> None:
    lm = estimate_phone_lm([["A", "B", "C"], ["B", "B", "C"]], longer_histories=0)
    assert len(lm.arcs) == 6  # the start, A, B, AB, BB, BC
    graph = Denominator.build(lm, topology())
    # After AB and after BB comes C for certain, so these are one state.
    assert graph.num_states == 5
    assert float(graph.initial.sum()) == pytest.approx(1.0)


def test_the_beginning_is_the_mean_of_100_frames() -> None:
    """One phone that lasts two frames on average: entered from the start, it stays or the next utterance begins."""
    graph = Denominator.build(estimate_phone_lm([["A"]]), topology())
    at_start, inside, total = 1.0, 0.0, torch.zeros(2, dtype=torch.float64)
    for _ in range(100):
        at_start, inside = 0.5 * inside, at_start + 0.5 * inside
        total += torch.tensor([at_start, inside])
    expected = total / total.sum()
    assert graph.initial[graph.start].item() == pytest.approx(expected[0].item(), abs=1e-6)


def test_pdfs_are_those_of_the_phone_and_the_one_before() -> None:
    asked = Split("left", "a", 1.0, Leaf(2, 1), Leaf(3, 1))
    roots = [Root(("SIL",), (Leaf(0, 1), Leaf(1, 1))), Root(("A", "B"), (asked, Leaf(4, 1)))]
    tied = OneStateTopology(("SIL", "A", "B"), StateTree({"a": ("A",)}, tuple(roots)))
    assert tied.num_pdfs == 5 and tied.pdfs("B", "A") == (2, 4) and tied.pdfs("B", "SIL") == (3, 4)
    graph = Denominator.build(estimate_phone_lm([["SIL", "A", "B"]]), tied)
    assert graph.pdfs[graph.phones != SAME].tolist() == [0, 3, 2]
    labels = tied.labels(segments(["SIL", "A", "B"], [2, 5, 3]))
    assert labels.tolist() == [0, 0, 3, 3, 3, 4, 4, 2, 2, 2]


def test_graphs_and_topologies_are_read_as_they_were_written(tmp_path) -> None:
    graph = small_denominator()
    graph.save(tmp_path / "denominator.safetensors")
    read = Denominator.load(tmp_path / "denominator.safetensors")
    for name, value in vars(graph).items():
        other = getattr(read, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    topology().save(tmp_path / "topology.json")
    assert OneStateTopology.load(tmp_path / "topology.json") == topology()


@pytest.mark.parametrize("damage", ["cut", "far", "pdfs"])
def test_a_damaged_graph_is_refused(tmp_path, damage: str) -> None:
    path, graph = tmp_path / "denominator.safetensors", small_denominator()
    if damage == "far":
        graph.targets[0] = 99
    if damage == "pdfs":
        graph.pdfs[0] = -1
    graph.save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"denominator\.safetensors is damaged"):
        Denominator.load(path)


def test_places_of_chunks_anywhere_in_an_utterance() -> None:
    graph = small_denominator()
    utterances = [segments(["SIL", "A", "B", "SIL"], [4, 5, 3, 60]), segments(SEQUENCES[1], [30, 3, 3, 3, 3, 30])]
    tracks = follow_all(graph, topology(), utterances, leaky=0.1)
    table = NumeratorTable(tracks, [72, 72], graph)
    chunks = [0, 3, 40, 72, 95, 120]
    last = torch.tensor([71, 71, 71, 143, 143, 143])[:, None]
    at = (torch.tensor(chunks)[:, None] + 3 * torch.arange(10)).minimum(last)
    found = table.gather(at, places_of(10))
    starts = [[-math.inf, 0, 4, 9, 12, 72], [-math.inf, 72, 102, 105, 108, 111, 114, 144]]
    phones = [[-1, 0, 1, 2, 0], [-1, *(PHONES.index(phone) for phone in SEQUENCES[1])]]
    for number, chunk in enumerate(chunks):
        utterance = int(chunk >= 72)
        begins, ends = starts[utterance][:-1], starts[utterance][1:]
        for frame in range(10):
            now = int(at[number, frame])
            may = [place for place in range(len(begins)) if begins[place] - 5 <= now < ends[place] + 5]
            pdfs = sorted(2 * phones[utterance][place] for place in may if place)
            here = found.allowed[number, frame]
            # The start is allowed as well, but nothing leads into it and it has no loop.
            ways = here & ~torch.isinf(found.enter[number])
            assert sorted(found.first_pdfs[number, ways].tolist()) == pdfs
        before = chunk - 3
        may = [place for place in range(len(begins)) if begins[place] - 5 <= before < ends[place] + 5]
        assert int(torch.isfinite(found.begin[number]).sum()) == len(may)


def test_a_phone_that_cannot_follow_is_reached_by_a_restart() -> None:
    graph = small_denominator()
    (track,) = follow_all(graph, topology(), [segments(["SIL", "C", "SIL"], [3, 3, 3])], leaky=0.1)
    arc = int(track.arcs[2])
    assert PHONES[int(graph.phones[arc])] == "C"
    chance = 0.1 * float(graph.initial[graph.sources[arc]]) * float(graph.log_probs[arc].exp())
    assert track.enter[2] == pytest.approx(math.log(chance))
    unseen = OneStateTopology((*PHONES, "D"))
    (track,) = follow_all(graph, unseen, [segments(["SIL", "D", "SIL"], [3, 3, 3])], leaky=0.1)
    assert track.enter[2] == -math.inf
