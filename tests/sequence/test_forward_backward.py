"""Sums over paths against all paths one by one, finite differences, and dense matrices."""

import math
from dataclasses import replace

import pytest
import torch
from paths import PHONES, every_path, path_sum, random_denominator, segments, small_denominator, topology

from kd_asr.sequence.denominator import SAME, Denominator
from kd_asr.sequence.forward_backward import (
    DenominatorSums,
    averaged_occupation,
    lattice_free_mmi,
    numerator_sums,
)
from kd_asr.sequence.numerator import Numerators, NumeratorTable, follow_all, places_of

LEAKY = 0.1


def logits_of(graph: Denominator, chunks: int = 2, frames: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(chunks, frames, graph.num_pdfs, generator=generator, dtype=torch.float64)


def spoken(graph: Denominator, phones: list[str], lengths: list[int], frames: int) -> Numerators:
    """Numerators of a chunk at the beginning of an utterance, and of one that begins one frame later."""
    items = segments(phones, lengths)
    tracks = follow_all(graph, topology(), [items], leaky=LEAKY)
    table = NumeratorTable(tracks, [sum(lengths)], graph)
    at = torch.arange(2)[:, None] + 3 * torch.arange(frames)
    return table.gather(at.clamp_max(sum(lengths) - 1), places_of(frames))


@pytest.mark.parametrize("seed", range(4))
def test_the_denominator_is_the_sum_over_all_paths(seed: int) -> None:
    graph = random_denominator(seed)
    logits = logits_of(graph, seed=seed)
    found = DenominatorSums(graph, leaky=0.0)(logits)
    expected = [path_sum(graph, one) for one in logits]
    assert found.log_probs.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("leaky", [0.0, LEAKY])
def test_occupation_is_the_gradient_and_sums_to_one_in_every_frame(leaky: float) -> None:
    graph = small_denominator()
    sums, logits = DenominatorSums(graph, leaky=leaky), logits_of(graph)
    occupation = sums(logits).occupation
    assert torch.allclose(occupation.sum(dim=2), torch.ones(2, 4, dtype=torch.float64))
    step = 1e-5
    for place in ((0, 0, 1), (1, 2, 3), (1, 3, 0), (0, 1, 5)):
        up, down = logits.clone(), logits.clone()
        up[place] += step
        down[place] -= step
        slope = (sums(up).log_probs - sums(down).log_probs)[place[0]] / (2 * step)
        assert float(occupation[place]) == pytest.approx(float(slope), abs=1e-6)


def test_the_leaky_hmm_is_a_dense_matrix() -> None:
    """Between frames, everything goes on anywhere with a probability of `leaky` times that of the beginning."""
    graph = random_denominator(7)
    logits = logits_of(graph, chunks=1, frames=5)
    matrices = torch.zeros(5, graph.num_states, graph.num_states, dtype=torch.float64)
    for source, target, pdf, log_prob in zip(
        graph.sources, graph.targets, graph.pdfs, graph.log_probs.double(), strict=True
    ):
        matrices[:, source, target] += (log_prob + logits[0, :, pdf]).exp()
    leak = torch.eye(graph.num_states) + LEAKY * graph.initial.double().expand(graph.num_states, -1)
    row = graph.initial.double() @ matrices[0]
    for matrix in matrices[1:]:
        row = row @ leak.double() @ matrix
    found = DenominatorSums(graph, leaky=LEAKY)(logits).log_probs
    assert float(found) == pytest.approx(math.log(float(row.sum())), rel=1e-6)


def test_single_precision_is_near_double_precision() -> None:
    graph = small_denominator()
    sums, logits = DenominatorSums(graph, leaky=LEAKY), 5 * logits_of(graph, frames=40)
    exact, near = sums(logits), sums(logits.float())
    assert torch.allclose(near.log_probs, exact.log_probs, rtol=1e-5)
    assert torch.allclose(near.occupation.double(), exact.occupation, atol=1e-5)


def test_the_numerator_is_the_sum_over_the_paths_near_the_alignment() -> None:
    """Among all paths of the denominator, those that pass the phones, each not further off than the tolerance."""
    graph = small_denominator()
    phones, lengths, frames = ["SIL", "A", "B", "C", "A", "SIL"], [6, 3, 3, 4, 3, 5], 6
    numerators = spoken(graph, phones, lengths, frames)
    logits = logits_of(graph, frames=frames)
    found = numerator_sums(logits, numerators)
    numbers = [PHONES.index(phone) for phone in phones]
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    # The states in which the alignment's phones are, from the start on.
    ways = {
        (int(source), int(phone)): int(target)
        for source, target, phone in zip(graph.sources, graph.targets, graph.phones, strict=True)
    }
    states = [graph.start]
    for number in numbers:
        states.append(ways[states[-1], number])
    for chunk in range(2):
        scores = []
        for first, arcs in every_path(graph, frames):
            for place in range(3):  # where the path may begin: before the first phone, or in one of the first two
                at, lies = place, first == states[place]
                early = chunk - 3
                if place == 0:
                    lies &= early < 5
                else:
                    lies &= starts[place - 1] - 5 <= early < starts[place] + 5
                for frame, arc in enumerate(arcs):
                    entered = int(graph.phones[arc])
                    if entered != SAME:
                        at += 1
                        lies &= at <= len(numbers) and entered == numbers[min(at, len(numbers)) - 1]
                    now = chunk + 3 * frame
                    lies &= 1 <= at <= len(numbers) and starts[at - 1] - 5 <= now < starts[at] + 5
                    if not lies:
                        break
                if lies:
                    score = math.log(float(graph.initial[first]))
                    score += sum(
                        float(graph.log_probs[arc]) + float(logits[chunk, frame, graph.pdfs[arc]])
                        for frame, arc in enumerate(arcs)
                    )
                    scores.append(score)
        assert len(scores) > 5
        assert float(found.log_probs[chunk]) == pytest.approx(math.log(sum(map(math.exp, scores))), rel=1e-6)
    assert torch.allclose(found.occupation.sum(dim=2), torch.ones(2, frames, dtype=torch.float64))


def test_the_objective_has_the_gradient_of_finite_differences() -> None:
    graph = small_denominator()
    numerators = spoken(graph, ["SIL", "A", "B", "SIL"], [4, 5, 3, 6], 3)
    sums = DenominatorSums(graph, leaky=LEAKY)
    logits = logits_of(graph, frames=3).requires_grad_()
    (3 * lattice_free_mmi(logits, numerators, sums).log_probs[0]).backward()
    assert float(logits.grad[1].abs().max()) == 0.0  # of a chunk that was not asked for
    step = 1e-5
    of_first = replace(numerators, **{name: value[[0, 0]] for name, value in vars(numerators).items()})
    for frame in range(3):
        for pdf in range(graph.num_pdfs):
            moved = logits.detach()[:1].repeat(2, 1, 1)
            moved[0, frame, pdf] += step
            moved[1, frame, pdf] -= step
            up, down = lattice_free_mmi(moved, of_first, sums).log_probs
            assert float(logits.grad[0, frame, pdf]) == pytest.approx(3 * float(up - down) / (2 * step), abs=1e-6)


def test_the_objective_is_never_above_0() -> None:
    graph = small_denominator()
    numerators = spoken(graph, ["SIL", "A", "B", "SIL"], [4, 5, 3, 6], 5)
    for leaky in (0.0, LEAKY):
        sums = DenominatorSums(graph, leaky=leaky)
        for seed in range(10):
            found = lattice_free_mmi(3 * logits_of(graph, frames=5, seed=seed), numerators, sums)
            assert not found.broken.any() and float(found.log_probs.max()) < 0
        # Where the network is sure of the alignment, only the language model is left.
        labels = torch.from_numpy(topology().labels(segments(["SIL", "A", "B", "SIL"], [4, 5, 3, 6])))
        at = (torch.arange(2)[:, None] + 3 * torch.arange(5)).clamp_max(17)
        sure = 30.0 * torch.nn.functional.one_hot(labels[at].long(), graph.num_pdfs).double()
        assert float(lattice_free_mmi(sure, numerators, sums).log_probs.min()) > -15


def test_a_numerator_that_is_all_of_the_denominator_gives_0_and_no_gradient() -> None:
    """A chain of phones that all follow each other with certainty: nothing else can be said."""
    phones = ["A", "B", "C"]
    graph = Denominator.build(_only(phones), topology())
    graph = replace(graph, initial=torch.nn.functional.one_hot(torch.tensor(graph.start), graph.num_states).float())
    items = segments(phones, [3, 3, 3])
    tracks = follow_all(graph, topology(), [items], leaky=0.0)
    at = torch.tensor([[0, 3, 6]])
    numerators = NumeratorTable(tracks, [9], graph).gather(at, places_of(3))
    everywhere = replace(numerators, allowed=numerators.allowed.any(dim=1, keepdim=True).expand(-1, 3, -1))
    sums = DenominatorSums(graph, leaky=0.0)
    logits = logits_of(graph, chunks=1, frames=3).requires_grad_()
    value = lattice_free_mmi(logits, everywhere, sums).log_probs
    value.sum().backward()
    assert float(value.detach().abs().max()) < 1e-6
    assert float(logits.grad.abs().max()) < 1e-6


def _only(phones: list[str]):
    from kd_asr.sequence.phone_lm import estimate_phone_lm

    return estimate_phone_lm([phones], longer_histories=0)


def test_broken_chunks_are_dropped_and_counted() -> None:
    graph = small_denominator()
    sums = DenominatorSums(graph, leaky=LEAKY)
    numerators = spoken(graph, ["SIL", "A", "B", "SIL"], [4, 5, 3, 6], 5)
    nowhere = numerators.allowed.clone()
    nowhere[0, 2] = False
    logits = logits_of(graph, frames=5).float().requires_grad_()
    found = lattice_free_mmi(logits, replace(numerators, allowed=nowhere), sums)
    found.log_probs.sum().backward()
    assert found.broken.tolist() == [True, False]
    assert found.log_probs[0].item() == 0.0 and found.log_probs[1].item() < 0
    assert float(logits.grad[0].abs().sum()) == 0.0 and float(logits.grad[1].abs().sum()) > 0
    spoiled = logits.detach().clone()
    spoiled[1, 3, 0] = torch.nan
    spoiled.requires_grad_()
    found = lattice_free_mmi(spoiled, numerators, sums)
    found.log_probs.sum().backward()
    assert found.broken.tolist() == [False, True]
    assert bool(torch.isfinite(spoiled.grad).all()) and float(spoiled.grad[1].abs().sum()) == 0.0


def test_the_mean_of_occupations_is_the_target_of_an_ensemble() -> None:
    """Wong, Gales 2016: the mean over teachers of the gradients of the divergence between paths."""
    graph = small_denominator(longer_histories=0)
    graph = replace(graph, initial=torch.nn.functional.one_hot(torch.tensor(graph.start), graph.num_states).float())
    teachers = [logits_of(graph, chunks=1, frames=3, seed=seed) for seed in (1, 2)]
    student = logits_of(graph, chunks=1, frames=3, seed=3)[0].requires_grad_()
    sums = DenominatorSums(graph, leaky=0.0)
    paths = [arcs for state, arcs in every_path(graph, 3) if state == graph.start]

    def log_shares(logits: torch.Tensor) -> torch.Tensor:
        frames = torch.arange(3)
        of_paths = [logits[frames, graph.pdfs[arcs]].sum() + graph.log_probs[arcs].sum() for arcs in paths]
        return torch.stack(of_paths).log_softmax(0)

    divergence = sum(
        (log_shares(one[0]).exp() * (log_shares(one[0]) - log_shares(student))).sum() for one in teachers
    ) / len(teachers)
    divergence.backward()
    of_student = sums(student.detach()[None]).occupation
    expected = of_student - averaged_occupation(teachers, sums)
    assert torch.allclose(student.grad, expected[0], atol=1e-6)


def test_other_shapes_are_refused() -> None:
    graph = small_denominator()
    numerators = spoken(graph, ["SIL", "A", "B", "SIL"], [4, 5, 3, 6], 5)
    with pytest.raises(ValueError, match=r"logits of shape \(2, 4, 8\) for numerators \(2, 5, 11\), 8 pdfs"):
        lattice_free_mmi(logits_of(graph, frames=4), numerators, DenominatorSums(graph, leaky=LEAKY))
