"""One network trained by several processes: each sees its share of every batch (synchronous data parallelism).

Each rank gathers the examples of its share alone. Gradients are averaged by torch's DistributedDataParallel, batch
normalisation takes its statistics over the whole batch, and all ranks make the same update, so that the result is that
of one process with the same batches but for rounding: sums are made in another order. Dropout and the variation of
inputs are drawn by each rank for itself, as by one process with another seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from kd_asr.ranks import ranks


@dataclass(frozen=True)
class Group:
    """The processes that train a network together.

    Attributes:
        rank: of this one; 0 keeps checkpoint, history and the dev set.
        size: of the group.
    """

    rank: int
    size: int

    def share(self, count: int) -> slice:
        """This rank's part of a batch of `count` examples: every `size`-th one, beginning with number `rank`.

        A batch may have fewer examples than there are ranks. A rank without any takes the first one, whose `weight` is
        0, so that it goes through the same steps as the others, which wait for it.
        """
        return slice(self.rank, None, self.size) if self.rank < count else slice(0, 1)

    def weight(self, count: int) -> float:
        """Weight of the mean over this rank's share of a batch of `count` examples, relative to that of an equal share:
        the mean over all ranks of weighted means is the mean over the batch."""
        return len(range(self.rank, count, self.size)) * self.size / count

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The means over all ranks of numbers that each of them has."""
        if self.size == 1:
            return values
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        torch.distributed.all_reduce(sums)
        return dict(zip(values, (sums / self.size).tolist(), strict=True))


_group = Group(0, 1)


def training_group() -> Group:
    """The processes that train a network together: this one alone, but inside `together`."""
    return _group


@contextmanager
def together() -> Iterator[None]:
    """What `training.fit` fits inside is fitted by all ranks; each must call it with the same arguments."""
    global _group  # noqa: PLW0603 - one per process
    _group = Group(ranks().rank, ranks().size)
    try:
        yield
    finally:
        _group = Group(0, 1)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all ranks; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """Same shape."""
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Same shape."""
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class _WholeBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all ranks; torch's own SyncBatchNorm is for GPUs only."""

    counted = True  # whether this rank has a share of the batch

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, features, ...), normalised by mean and variance of all ranks' batches."""
        if not (self.training or self.running_mean is None) or _group.size == 1:
            return super().forward(inputs)
        values = inputs.float()
        others = [0, *range(2, values.ndim)]
        ones = (1,) * (values.ndim - 2)
        # Squares of what is nearly centred lose no digits when they are subtracted.
        origin = values.new_zeros(values.shape[1]) if self.running_mean is None else self.running_mean.clone()
        shifted = values - origin.view(-1, *ones)
        moments = torch.cat(
            [
                shifted.sum(dim=others),
                shifted.square().sum(dim=others),
                values.new_full((1,), float(values.numel() // values.shape[1])),
            ]
        )
        total: Tensor = _Sum.apply(moments if self.counted else moments * 0.0)
        count = total[-1]
        mean, square = total[:-1].reshape(2, -1) / count
        variance = square - mean.square()
        with torch.no_grad():
            self._run(origin + mean, variance * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = self.weight * scale
        normalised: Tensor = (shifted - mean.view(-1, *ones)) * scale.view(-1, *ones)
        if self.bias is not None:
            normalised = normalised + self.bias.view(-1, *ones)
        return normalised.to(inputs.dtype)

    def _run(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, if there are any."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _WholeBatchNorm1d(_WholeBatchNorm, nn.BatchNorm1d):
    """Of (batch, features)."""


class _WholeBatchNorm2d(_WholeBatchNorm, nn.BatchNorm2d):
    """Of (batch, channels, height, width)."""


class _WholeBatchNorm3d(_WholeBatchNorm, nn.BatchNorm3d):
    """Of (batch, channels, depth, height, width)."""


_WHOLE: dict[type[nn.Module], type[_WholeBatchNorm]] = {
    nn.BatchNorm1d: _WholeBatchNorm1d,
    nn.BatchNorm2d: _WholeBatchNorm2d,
    nn.BatchNorm3d: _WholeBatchNorm3d,
}


def distribute(model: nn.Module, batch_size: int) -> nn.Module:
    """What to call instead of the model while all ranks train it on shares of batches; the model itself is trained.

    Alone it is the model. All ranks begin with rank 0's weights. Parameters without a gradient stay as they are.
    """
    if _group.size == 1:
        return model
    for module in model.modules():
        if type(module) in _WHOLE:
            module.__class__ = _WHOLE[type(module)]  # the same parameters under the same names
        if isinstance(module, _WholeBatchNorm):
            module.counted = _group.weight(batch_size) > 0
    # The graph is the same in every step, so parameters outside it are known after the first.
    return DistributedDataParallel(model, static_graph=True)
