"""Comparison of every student, at every moment of its training, with every teacher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_asr.experiments.filters.measures import (
    centred_gram,
    correlations,
    linear_cka,
    match,
    matched_filters,
    modulation_responses,
)
from kd_asr.experiments.filters.network import FilterCnn
from kd_asr.experiments.filters.plan import FilterNetwork, Kind
from kd_asr.networks.base import outputs_of
from kd_asr.networks.inference import evaluation_mode
from kd_asr.training.examples import Examples

LAYERS = ("convolution 1", "convolution 2", "hidden layer", "logits")
FILTERS, RESPONSES, ANSWERS = "filters", "responses", "answers"
_BATCH = 250
# Answers are compared on so many times the examples on which layers are.
ANSWERED = 10


@dataclass(frozen=True)
class Likeness:
    """How alike a network and a teacher are.

    Attributes:
        kind: Kind of the network.
        number: Number of its seed.
        teacher: Number of the teacher's seed; the trained teacher, whatever the moment.
        updates: Moment of the network's training.
        measure: One of `LAYERS` (linear CKA), `FILTERS` and `RESPONSES` (mean correlation of those matched to each
            other), or `ANSWERS` (share of examples with the same most probable class).
        value: At most 1, equal.
    """

    kind: Kind
    number: int
    teacher: int
    updates: int
    measure: str
    value: float


@dataclass(frozen=True)
class _Seen:
    """What is compared of a network: filters, centred Gram matrices by layer, and answers after the last update."""

    filters: NDArray[np.float32]
    grams: dict[str, Tensor]
    answers: Tensor | None


@dataclass(frozen=True)
class Material:
    """Test examples for a comparison.

    Attributes:
        layers: Examples on which layers are compared.
        answers: Examples on which answers are compared, and accuracy is measured.
    """

    layers: Examples
    answers: Examples


def compare(networks: Sequence[FilterNetwork], load: Callable[[str], FilterCnn], material: Material) -> dict[str, Any]:
    """Everything that the experiment says about its networks, as JSON.

    Args:
        networks: of `filter_networks`, trained.
        load: a network by the name of its artifact.
        material: test examples.

    Returns:
        `likenesses`, the fields of `Likeness` for each; `layers`, by kind, linear CKA of all layers of a student
        (columns) and of its teacher (rows), mean over seeds; `accuracies` by kind; `pictures` of first layers and, by
        kind, their `responses`: the mean over seeds, and for each seed the profile along `height` and `width`.
    """
    hard_labels = material.answers.hard_labels[torch.arange(len(material.answers))].long()
    teachers = {one.number: load(one.job.name) for one in networks if one.kind == "teacher"}
    seen = {number: _seen(model, material, last=True) for number, model in teachers.items()}
    found: list[Likeness] = []
    matrices: dict[Kind, list[NDArray[np.float64]]] = defaultdict(list)
    accuracies: dict[Kind, list[float]] = defaultdict(list)
    first: dict[Kind, NDArray[np.float32]] = {}
    responses: dict[Kind, list[NDArray[np.float64]]] = defaultdict(list)
    for one in networks:
        model = teachers[one.number] if one.kind == "teacher" else load(one.job.name)
        for updates, earlier in _moments(model, only_last=one.kind == "teacher"):
            last = updates == int(model.updates_seen)
            own = seen[one.number] if one.kind == "teacher" else _seen(earlier, material, last=last)
            for number, teacher in seen.items():
                if one.kind != "teacher" or number != one.number:
                    values = _alike(own, teacher)
                    found += [Likeness(one.kind, one.number, number, updates, *pair) for pair in values.items()]
            if last:
                assert own.answers is not None
                accuracies[one.kind].append(float((own.answers == hard_labels).float().mean()))
                responses[one.kind].append(modulation_responses(own.filters).mean(axis=0))
                first.setdefault(one.kind, own.filters)
                if one.kind != "teacher":
                    matrices[one.kind].append(_between_layers(seen[one.number], own))
    return {
        "likenesses": [vars(one) for one in found],
        "layers": {kind: np.mean(each, axis=0).tolist() for kind, each in matrices.items()},
        "accuracies": dict(accuracies),
        "pictures": _pictures(first),
        "responses": {kind: _summarised(np.stack(each)) for kind, each in responses.items()},
    }


def _moments(model: FilterCnn, *, only_last: bool) -> Iterator[tuple[int, FilterCnn]]:
    """Numbers of updates with the network as it was after them."""
    if not only_last:
        for number, updates in enumerate(model.keep_at.tolist()):
            yield updates, model.earlier(number)
    yield int(model.updates_seen), model


def _seen(model: FilterCnn, material: Material, *, last: bool) -> _Seen:
    layers: dict[str, list[Tensor]] = defaultdict(list)
    for outputs in _outputs(model, material.layers, taps=True):
        for name, features in outputs.items():
            layers[name].append(features)
    grams = {name: centred_gram(torch.cat(parts)) for name, parts in layers.items()}
    answers = [one["logits"].argmax(dim=1) for one in _outputs(model, material.answers, taps=False)] if last else None
    return _Seen(model.filters.numpy(), grams, torch.cat(answers) if answers is not None else None)


@torch.inference_mode()
def _outputs(model: FilterCnn, examples: Examples, *, taps: bool) -> Iterator[dict[str, Tensor]]:
    """Outputs of each layer, batch after batch; of the last one alone without `taps`."""
    names = list(model.taps) if taps else []
    for numbers in torch.split(torch.arange(len(examples)), _BATCH):
        with evaluation_mode(model):
            outputs = outputs_of(model, examples.inputs[numbers].float(), names)
        found = [*(outputs.taps[name] for name in names), outputs.logits]
        yield dict(zip(LAYERS if taps else LAYERS[-1:], found, strict=True))


def _alike(own: _Seen, teacher: _Seen) -> dict[str, float]:
    """Measures of a network beside a teacher."""
    found = {name: linear_cka(own.grams[name], teacher.grams[name]) for name in LAYERS}
    found[FILTERS], found[RESPONSES] = matched_filters(own.filters, teacher.filters)
    if own.answers is not None and teacher.answers is not None:
        found[ANSWERS] = float((own.answers == teacher.answers).float().mean())
    return found


def _between_layers(teacher: _Seen, student: _Seen) -> NDArray[np.float64]:
    """(layers, layers) linear CKA of a teacher's layers (rows) and a student's (columns)."""
    return np.array([[linear_cka(teacher.grams[row], student.grams[column]) for column in LAYERS] for row in LAYERS])


def _summarised(responses: NDArray[np.float64]) -> dict[str, Any]:
    """Mean of (seeds, height, width) responses, and for each seed the means along either axis."""
    found = {"mean": responses.mean(axis=0), "height": responses.mean(axis=2), "width": responses.mean(axis=1)}
    return {name: values.round(4).tolist() for name, values in found.items()}


def _pictures(first: Mapping[Kind, NDArray[np.float32]]) -> dict[str, Any]:
    """First-layer filters of the first seed, each scaled to a largest magnitude of 1, and which filter of the teacher
    each student's filter is matched to, with the correlation."""
    teacher = first["teacher"]
    found: dict[str, Any] = {}
    for kind, filters in first.items():
        largest = np.abs(filters).max(axis=(1, 2), keepdims=True)
        scaled = np.divide(filters, largest, out=np.zeros_like(filters), where=largest > 0)
        found[kind] = {"filters": scaled.round(3).astype(float).tolist()}
        if kind != "teacher":
            columns, values = match(correlations(filters.reshape(len(filters), -1), teacher.reshape(len(teacher), -1)))
            found[kind] |= {"matched": columns.tolist(), "correlations": values.round(3).tolist()}
    return found
