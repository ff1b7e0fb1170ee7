"""The denominator: all phone sequences of a phone language model, as one graph of pdfs (Povey and others, Interspeech
2016, section 2)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from kd_asr.alignment.topology import SILENCE
from kd_asr.artifacts import damaged
from kd_asr.sequence.phone_lm import BOUNDARY, History, PhoneLm
from kd_asr.sequence.topology import STAY, OneStateTopology

FORMAT = "kd_asr.denominator.1"
# `phones` of an arc on which a phone goes on.
SAME = -1
_STEPS = 100
_NO_DIFFERENCE = 1e-6  # of log-probabilities of arcs that may be merged


@dataclass(frozen=True)
class Denominator:
    """A graph whose arcs take one output frame each; a path may begin in any state and end in any.

    No state has two arcs into the same phone.

    Attributes:
        sources: (arcs,) int64, state that an arc leaves.
        targets: (arcs,) int64, state that it enters.
        pdfs: (arcs,) int64.
        phones: (arcs,) int64, number of the phone that begins, `SAME` on the loop where a phone goes on.
        log_probs: (arcs,) float32, natural log-probabilities; those of a state's arcs sum to at most 1.
        initial: (states,) float32 probability of a path's beginning in each state; they sum to 1.
        start: State before the first phone of an utterance, which has no loop.
        num_pdfs: Number of classes of the acoustic model.
    """

    sources: Tensor
    targets: Tensor
    pdfs: Tensor
    phones: Tensor
    log_probs: Tensor
    initial: Tensor
    start: int
    num_pdfs: int

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.initial)

    @classmethod
    def build(cls, lm: PhoneLm, topology: OneStateTopology) -> Denominator:
        """Compose a phone language model with a topology.

        A state is a history. The arcs into its last phone have that phone's first pdf, its loop has the other one.
        States that are left in the same ways are then merged.
        """
        number = {phone: index for index, phone in enumerate(topology.phones)}
        state_of = {history: index for index, history in enumerate(lm.arcs)}
        graph = kaldifst.StdVectorFst()
        for _ in state_of:
            graph.set_final(graph.add_state(), 0.0)
        graph.start = state_of[lm.start]
        for history, arcs in lm.arcs.items():
            source, left = state_of[history], history[-1]
            leave = 1.0
            if left != BOUNDARY:
                before = _phone_before(history)
                _, others = topology.pdfs(left, before)
                graph.add_arc(source, kaldifst.StdArc(others + 1, 1, -math.log(STAY), source))
                leave = 1.0 - STAY
            for phone, (target, probability) in arcs.items():
                first, _ = topology.pdfs(phone, left if left != BOUNDARY else SILENCE)
                arc = kaldifst.StdArc(first + 1, number[phone] + 2, -math.log(leave * probability), state_of[target])
                graph.add_arc(source, arc)
        # Deterministic, since labels on the output side tell a state's arcs apart.
        kaldifst.minimize_encoded(graph, _NO_DIFFERENCE)
        arcs_of = [
            (state, arc.nextstate, arc.ilabel - 1, arc.olabel - 2, -arc.weight.value)
            for state in kaldifst.StateIterator(graph)
            for arc in kaldifst.ArcIterator(graph, state)
        ]
        sources, targets, pdfs, phones, log_probs = (np.array(column) for column in zip(*arcs_of, strict=True))
        initial = occupancy(sources, targets, np.exp(log_probs), graph.num_states, graph.start)
        return cls(
            torch.from_numpy(sources),
            torch.from_numpy(targets),
            torch.from_numpy(pdfs),
            torch.from_numpy(phones),
            torch.from_numpy(log_probs.astype(np.float32)),
            torch.from_numpy(initial.astype(np.float32)),
            int(graph.start),
            topology.num_pdfs,
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file; to a temporary name first."""
        header = {"format": FORMAT, "start": self.start, "num_pdfs": self.num_pdfs}
        names = ("sources", "targets", "pdfs", "phones", "log_probs", "initial")
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(save({name: getattr(self, name) for name in names}, {"kd_asr": json.dumps(header)}))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Denominator:
        """Read what `save` wrote.

        Raises:
            UserError: the file is damaged or of another format.
        """
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {}).get("kd_asr", "{}"))
            found = cls(**load_file(path), start=header["start"], num_pdfs=header["num_pdfs"])
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r} instead of {FORMAT!r}")
            states, arcs = found.num_states, len(found.sources)
            columns = found.sources, found.targets, found.pdfs, found.phones, found.log_probs
            if any(len(column) != arcs for column in columns) or not arcs:
                raise ValueError("columns of different lengths")
            ends = torch.stack([found.sources, found.targets])
            if int(ends.min()) < 0 or int(ends.max()) >= states or not 0 <= found.start < states:
                raise ValueError("arcs to nowhere")
            if int(found.pdfs.min()) < 0 or int(found.pdfs.max()) >= found.num_pdfs:
                raise ValueError("pdfs that there are not")
            if not bool(torch.isfinite(found.log_probs).all()) or not bool((found.initial >= 0).all()):
                raise ValueError("probabilities that are none")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(path, error) from error
        return found


def _phone_before(history: History) -> str:
    """The phone before the last one of a history."""
    return history[-2] if history[-2] != BOUNDARY else SILENCE


def occupancy(
    sources: NDArray[np.integer],
    targets: NDArray[np.integer],
    probabilities: NDArray[np.float64],
    states: int,
    start: int,
) -> NDArray[np.float64]:
    """(states,) float64 mean probability of being in each state in the first 100 frames after the start.

    What ends goes on at the start, as utterances follow each other. A state from which nothing leads on, which happens
    where a phone was seen last in the training set alone, ends likewise.
    """
    leaving = np.bincount(sources, probabilities, states)
    here: NDArray[np.float64] = np.zeros(states)
    here[start] = 1.0
    total = np.zeros(states)
    for _ in range(_STEPS):
        ended = float(here @ np.maximum(1.0 - leaving, 0.0))
        here = np.bincount(targets, here[sources] * probabilities, states).astype(np.float64)
        here[start] += ended
        total += here
    return np.asarray(total / total.sum())
