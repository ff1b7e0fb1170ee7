"""The table of what a run's classes, its pdfs, stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Protocol

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology, without_position
from kd_asr.alignment.tree import Leaf, Node, StateTree
from kd_asr.text import table_line

CLASSES_FILE = "classes.tsv"


class TiedTopology(Protocol):
    """HMMs of another kind whose states are tied by a tree."""

    @property
    def tree(self) -> StateTree | None:
        """The tree."""
        ...

    @property
    def num_pdfs(self) -> int:
        """Number of classes."""
        ...


def write_classes(path: Path, topology: Topology | TiedTopology, alignments: AlignmentStore) -> None:
    """Write a table of the classes: number, HMM state of the phone (from 0), frames of it in the alignments, the phones
    that it is a state of, the most frequent first, and the answers that lead to it in a tree.

    Of a class without frames the phones are all that it can be a state of.
    """
    frames = Counter[int]()
    seen: dict[int, Counter[str]] = {}
    for name in alignments.utterance_ids:
        pdfs = alignments.pdfs(name).tolist()
        for segment in alignments.phones(name):
            phone = without_position(segment.phone)
            for pdf, run in groupby(pdfs[segment.start_frame : segment.start_frame + segment.num_frames]):
                count = len(list(run))
                frames[pdf] += count
                seen.setdefault(pdf, Counter())[phone] += count
    possible: dict[int, tuple[int, list[str], str]] = {}
    for pdf, state, phones, context in _states(topology):
        possible.setdefault(pdf, (state, [], context))[1].extend(map(without_position, phones))
    with path.open("w", encoding="utf-8") as file:
        file.write(table_line(("class", "state", "frames", "phones", "context")))
        for pdf in range(topology.num_pdfs):
            state, others, context = possible[pdf]
            named = [phone for phone, _ in seen[pdf].most_common()] if pdf in seen else dict.fromkeys(others)
            file.write(table_line((pdf, state, frames[pdf], ",".join(named), context)))


def _states(topology: Topology | TiedTopology) -> Iterator[tuple[int, int, tuple[str, ...], str]]:
    """Every pdf with a state, phones, and the answers that lead to it."""
    if topology.tree is None:
        assert isinstance(topology, Topology)
        for phone in topology.phones:
            for state, pdf in enumerate(topology.pdfs(phone)):
                yield pdf, state, (phone,), ""
        return
    for root in topology.tree.roots:
        for state, node in enumerate(root.states):
            waiting: list[tuple[Node, tuple[str, ...]]] = [(node, ())]
            while waiting:
                one, answers = waiting.pop()
                if isinstance(one, Leaf):
                    yield one.pdf, state, root.phones, ", ".join(answers)
                    continue
                waiting.append((one.yes, (*answers, f"{one.place} in {one.question}")))
                waiting.append((one.no, (*answers, f"{one.place} not in {one.question}")))
