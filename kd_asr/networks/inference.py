"""Log-posteriors of a trained model, without gradients and in evaluation mode."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_asr.features.inputs import Indexable

_ROWS = 256


def uses_bf16(precision: Literal["auto", "bf16", "fp32"]) -> bool:
    """Whether matrix products are made in bf16: where asked for, or with `auto` where the processor is faster in it.

    The answer depends on the kind of processor alone, not on a measurement, so that results can be repeated. Cores
    with AMX are faster in bf16, and AMD's with AVX512-BF16 (twice fp32). Intel's with AVX512-BF16 but without AMX are
    slower: 84 GFLOP/s a core against 155 in fp32 on an Emerald Rapids whose AMX is hidden by its virtual machine.
    """
    if precision == "auto":
        return bool(torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _is_amd()))
    return precision == "bf16"


def matrix_precision(*, bf16: bool) -> AbstractContextManager[object]:
    """Matrix products in bf16, or as they are, as long as the context lasts."""
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


@cache
def _is_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (cpuinfo.read_text() if cpuinfo.exists() else platform.processor())


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def log_posteriors(
    model: nn.Module, inputs: Indexable, examples: Tensor, *, precision: Literal["auto", "bf16", "fp32"]
) -> Tensor:
    """Log-posteriors of some examples.

    Args:
        model: maps inputs to logits.
        inputs: indexable by example numbers.
        examples: (batch,) int64.
        precision: of the matrix products; the softmax is always fp32.

    Returns:
        (batch, classes) float32.
    """
    return log_posteriors_of_batch(model, inputs[examples], precision=precision)


@torch.inference_mode()
def log_posteriors_of_batch(
    model: nn.Module, batch: Tensor, *, precision: Literal["auto", "bf16", "fp32"]
) -> Tensor:
    """The same for inputs that have been gathered already, (batch, ...)."""
    bf16, axis, size = uses_bf16(precision), getattr(model, "row_axis", 0), 1
    padding = 0
    if bf16 and (axis == 0 or len(batch) == 1):
        # oneDNN keeps a kernel and its workspace for every batch size it has met: utterances of a thousand different
        # lengths took a gigabyte. With whole hundreds of rows, or frames of a single utterance, there are few.
        size = batch.shape[axis]
        padding = -size % _ROWS
        batch = F.pad(batch, (0, 0) * (batch.ndim - 1 - axis) + (0, padding))
    with evaluation_mode(model), matrix_precision(bf16=bf16):
        logits = model(batch)
    # Of padded examples all labels go, of padded frames one each.
    surplus = len(logits) * padding // (size + padding) if axis == 0 and padding else padding
    return logits[: len(logits) - surplus].float().log_softmax(dim=-1)  # type: ignore[no-any-return]
