"""Small graphs, and sums over their paths one by one."""

import math
from collections.abc import Iterator

import torch

from kd_asr.alignment.store import PhoneSegment
from kd_asr.sequence.denominator import Denominator
from kd_asr.sequence.phone_lm import estimate_phone_lm
from kd_asr.sequence.topology import OneStateTopology

PHONES = ("SIL", "A", "B", "C")
SEQUENCES = [
    ["SIL", "A", "B", "SIL"],
    ["SIL", "A", "B", "C", "A", "SIL"],
    ["SIL", "B", "A", "B", "C", "SIL"],
    ["C", "A", "A", "B", "SIL"],
    ["SIL", "A", "B", "C", "C", "SIL"],
]


def topology() -> OneStateTopology:
    """Monophones."""
    return OneStateTopology(PHONES)


def small_denominator(longer_histories: int = 3) -> Denominator:
    """Of five short sequences."""
    return Denominator.build(estimate_phone_lm(SEQUENCES, longer_histories=longer_histories), topology())


def random_denominator(seed: int, states: int = 4, arcs: int = 9, pdfs: int = 3) -> Denominator:
    """Arcs anywhere; only their sums are of interest."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(arcs, generator=generator)
    return Denominator(
        torch.randint(states, (arcs,), generator=generator),
        torch.randint(states, (arcs,), generator=generator),
        torch.randint(pdfs, (arcs,), generator=generator),
        torch.arange(arcs),
        draw.clamp_min(0.1).log(),
        torch.rand(states, generator=generator).softmax(0),
        0,
        pdfs,
    )


def every_path(graph: Denominator, frames: int) -> Iterator[tuple[int, list[int]]]:
    """First state and arcs of every path."""
    ways = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))

    def on(state: int, left: int) -> Iterator[list[int]]:
        if not left:
            yield []
            return
        for arc, (source, target) in enumerate(ways):
            if source == state:
                for rest in on(target, left - 1):
                    yield [arc, *rest]

    for state in range(graph.num_states):
        for arcs in on(state, frames):
            yield state, arcs


def path_sum(graph: Denominator, logits: torch.Tensor) -> float:
    """Logarithm of the sum over all paths, for (frames, pdfs) logits of one chunk, without restarts."""
    total = 0.0
    for state, arcs in every_path(graph, len(logits)):
        score = math.log(float(graph.initial[state]))
        for frame, arc in enumerate(arcs):
            score += float(graph.log_probs[arc]) + float(logits[frame, graph.pdfs[arc]])
        total += math.exp(score)
    return math.log(total)


def segments(phones: list[str], lengths: list[int]) -> list[PhoneSegment]:
    """Timed phones."""
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    return [PhoneSegment(*one) for one in zip(phones, starts, lengths, strict=True)]
