"""The sequence loss beside the network that it trains: forward and backward of both, one thread.

The graph has 3000 states, 30,000 arcs and 2000 pdfs; a batch 32 chunks of 50 output frames, 30 ms apart. The network is
`tdnnf` with its defaults, of 5 million parameters, in the arithmetic that trainings use.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from kd_asr.device import HOST
from kd_asr.networks.base import count_parameters, seeded
from kd_asr.networks.tdnnf import TdnnfSettings
from kd_asr.registry import named
from kd_asr.sequence.denominator import SAME, Denominator
from kd_asr.sequence.forward_backward import DenominatorSums, lattice_free_mmi, numerator_sums
from kd_asr.sequence.numerator import BEFORE_ALL, NumeratorTable, Track, places_of

SUMMARY = "the sums of a sequence loss beside its network (wanted: a third of its time)"
STATES, ARCS, PDFS, PHONES = 3000, 30_000, 2000, 150
CHUNKS, FRAMES, STRIDE, BINS = 32, 50, 3, 40


def random_graph() -> Denominator:
    """Every state has a loop and nine arcs, each into another phone; all arcs into a state have its first pdf."""
    generator = torch.Generator().manual_seed(0)
    phone_of = torch.randint(PHONES, (STATES,), generator=generator)
    out = ARCS // STATES - 1
    loops = torch.arange(STATES)
    following = torch.stack([torch.randperm(STATES, generator=generator) for _ in range(out)], dim=1)
    first, other = torch.randint(PDFS, (2, STATES), generator=generator)
    targets = torch.cat([loops, following.flatten()])
    return Denominator(
        torch.cat([loops, loops.repeat_interleave(out)]),
        targets,
        torch.cat([other, first[following.flatten()]]),
        torch.cat([torch.full_like(loops, SAME), phone_of[following.flatten()]]),
        torch.full((ARCS,), 0.5 / out).log().index_fill(0, loops, -0.6931),
        torch.full((STATES,), 1 / STATES),
        0,
        PDFS,
    )


def random_track(graph: Denominator, phones: int, generator: torch.Generator) -> Track:
    """A walk through the graph, with phones of nine frames."""
    out = ARCS // STATES - 1
    arcs, state = [], graph.start
    for choice in torch.randint(out, (phones,), generator=generator).tolist():
        arcs.append(STATES + state * out + choice)
        state = int(graph.targets[arcs[-1]])
    states = torch.tensor([graph.start, *graph.targets[arcs].tolist()]).numpy()
    enter = torch.tensor([-torch.inf, *graph.log_probs[arcs].tolist()]).double().numpy()
    starts = (torch.tensor([BEFORE_ALL, *range(0, 9 * phones, 9)])).numpy()
    return Track(states, torch.tensor([-1, *arcs]).numpy(), enter, starts)


def measure(*, repeats: int) -> dict[str, Any]:
    """Medians in milliseconds, and the median of the ratios."""
    torch.set_num_threads(1)
    graph, generator = random_graph(), torch.Generator().manual_seed(1)
    sums = DenominatorSums(graph, leaky=0.1)
    length = FRAMES * STRIDE
    tracks = [random_track(graph, -(-length // 9), generator) for _ in range(CHUNKS)]
    table = NumeratorTable(tracks, [length] * CHUNKS, graph)
    at = length * torch.arange(CHUNKS)[:, None] + STRIDE * torch.arange(FRAMES)
    settings = TdnnfSettings(cross_entropy_branch=True, chunk_frames=FRAMES, frame_stride=STRIDE)
    network = seeded(named("network", "tdnnf", settings), (BINS,), PDFS, 1).train()
    inputs = torch.randn(CHUNKS, sum(network.own_view.context) + (FRAMES - 1) * STRIDE + 1, BINS)
    bf16 = HOST.uses_bf16("auto")
    logits = torch.randn(CHUNKS, FRAMES, PDFS)

    def of_network() -> None:
        with HOST.matrix_precision(bf16=bf16):
            outputs = network(inputs)
        network.zero_grad()
        outputs.backward(torch.ones_like(outputs))

    def of_loss() -> None:
        wanted = logits.clone().requires_grad_()
        value = lattice_free_mmi(wanted, table.gather(at, places_of(FRAMES)), sums)
        value.log_probs.sum().backward()  # type: ignore[no-untyped-call]

    numerators = table.gather(at, places_of(FRAMES))
    works: dict[str, Callable[[], object]] = {
        "network": of_network,
        "loss": of_loss,
        "numerators": lambda: numerator_sums(logits, numerators),
        "denominator": lambda: sums(logits),
        "denominator without occupation": lambda: sums(logits, occupied=False),
    }
    spent: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            started = time.process_time()
            work()
            if repeat:  # the first call of each is slower
                spent[name].append(time.process_time() - started)
    ratios = [loss / own for loss, own in zip(spent["loss"], spent["network"], strict=True)]
    return {
        "arithmetic of the network": "bf16" if bf16 else "fp32",
        "parameters": count_parameters(network),
        "repeats": repeats,
        "milliseconds": {name: round(1e3 * statistics.median(found), 1) for name, found in spent.items()},
        "loss_over_network": round(statistics.median(ratios), 3),
    }
