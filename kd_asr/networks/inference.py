"""Log-posteriors of a trained model, without gradients and in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_asr.device import Precision, device_of
from kd_asr.features.inputs import Indexable

_ROWS = 256


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def log_posteriors(model: nn.Module, inputs: Indexable, examples: Tensor, *, precision: Precision) -> Tensor:
    """Log-posteriors of some examples.

    Args:
        model: maps inputs to logits.
        inputs: indexable by example numbers.
        examples: (batch,) int64.
        precision: of the matrix products; the softmax is always fp32.

    Returns:
        (batch, classes) float32, on the model's device.
    """
    return log_posteriors_of_batch(model, inputs[examples], precision=precision)


@torch.inference_mode()
def log_posteriors_of_batch(model: nn.Module, batch: Tensor, *, precision: Precision) -> Tensor:
    """The same for inputs that have been gathered already, (batch, ...)."""
    device = device_of(model)
    batch = device.put(batch)
    bf16, axis, size = device.uses_bf16(precision), getattr(model, "row_axis", None), 1
    padding = 0
    # A network that is not ours may see its inputs in another way than row by row.
    if bf16 and axis is not None and (axis == 0 or len(batch) == 1):
        # oneDNN keeps a kernel and its workspace for every batch size it has met: utterances of a thousand different
        # lengths took a gigabyte. With whole hundreds of rows, or frames of a single utterance, there are few.
        size = batch.shape[axis]
        padding = -size % _ROWS
        batch = F.pad(batch, (0, 0) * (batch.ndim - 1 - axis) + (0, padding))
    with evaluation_mode(model), device.matrix_precision(bf16=bf16):
        logits = model(batch)
    # Of padded examples all labels go, of padded frames one each.
    surplus = len(logits) * padding // (size + padding) if axis == 0 and padding else padding
    return logits[: len(logits) - surplus].float().log_softmax(dim=-1)  # type: ignore[no-any-return]
