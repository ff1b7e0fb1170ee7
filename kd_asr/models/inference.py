"""Log-posteriors of a trained model, without gradients and in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn


class Indexable(Protocol):
    """Inputs gathered by example number: `inputs[(batch,) int64]` gives (batch, ...) float32."""

    def __len__(self) -> int: ...

    def __getitem__(self, examples: Tensor, /) -> Tensor: ...


def uses_bf16(precision: Literal["auto", "bf16", "fp32"]) -> bool:
    """Whether matrix products are made in bf16: where asked for, or with `auto` where the processor has it."""
    if precision == "auto":
        # Without the instructions bf16 is emulated and slower than fp32.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return precision == "bf16"


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
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
    with evaluation_mode(model), torch.autocast("cpu", torch.bfloat16, enabled=uses_bf16(precision)):
        logits = model(inputs[examples])
    return logits.float().log_softmax(dim=-1)  # type: ignore[no-any-return]
