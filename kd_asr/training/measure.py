"""Measurement of a network between updates and after them."""

from __future__ import annotations

import torch
from torch import nn

from kd_asr.device import Precision, device_of
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.networks.inference import log_posteriors
from kd_asr.training.examples import Examples
from kd_asr.training.fit import Validation

_MEASURED = 2048  # labels whose log-posteriors over thousands of classes stay in the cache


def measure(model: nn.Module, examples: Examples, *, precision: Precision) -> Validation:
    """Accuracy (0..1) and mean cross-entropy (nats) over all labels."""
    device, correct, cross_entropy, count = device_of(model), 0, 0.0, 0
    for part in torch.split(torch.arange(len(examples)), max(1, _MEASURED // examples.labels_per_example)):
        on_host = examples.hard_labels[part].long().flatten()
        count += int((on_host != UNLABELLED).sum())
        hard_labels = device.put(on_host)
        log_probs = log_posteriors(model, examples.inputs, part, precision=precision)
        counted = hard_labels != UNLABELLED
        correct += int((log_probs.argmax(dim=1) == hard_labels).sum())
        of_labels = log_probs.gather(1, hard_labels.clamp(min=0)[:, None])[:, 0]
        cross_entropy -= float(of_labels[counted].sum())
    return Validation(correct / count, cross_entropy / count)
