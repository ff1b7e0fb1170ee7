"""Networks of one architecture as a single network: their tensors stacked, their products batched.

A graphics card spends the same microseconds on ten small matrix products that are made as one as on one of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from kd_asr.errors import UserError
from kd_asr.networks.base import Network


class _FloatBatchNorm(_BatchNorm):
    """Batch normalisation that takes bf16: under `vmap` torch's own wants inputs of the type of its statistics."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Same shape and dtype as `inputs`."""
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        normalised = F.batch_norm(
            inputs.float(),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )
        return normalised.to(inputs.dtype)


class Stack(nn.Module):
    """Networks that differ only in their numbers, each applied to inputs of its own.

    Input (networks, batch, ...) float, output (networks, labels, classes) logits: what each of them gives alone, but
    for rounding.

    Attributes:
        networks: The networks. Their parameters and buffers are parts of the stack's, so that they are trained with it
            and can be measured, saved and loaded one by one.
        stacked: A module like one of them whose parameters and buffers have an axis more, of the networks, in front.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        """Stack networks of the same shapes, which lie on the device where they are to be trained.

        Raises:
            ValueError: a normalisation has a momentum of None, which depends on a count.
        """
        super().__init__()
        self.networks = list(networks)
        parameters, buffers = stack_module_state(list[nn.Module](self.networks))
        self.stacked = copy.deepcopy(networks[0])
        # Kept in a list, so that it is no part of this module: a form without numbers of its own.
        self._form = [copy.deepcopy(networks[0]).to("meta")]
        for module in self._form[0].modules():
            if isinstance(module, _BatchNorm):
                if module.momentum is None:
                    raise ValueError("batch normalisation with a momentum of None cannot be stacked")
                module.__class__ = _FloatBatchNorm
        for module_name, module in self.stacked.named_modules():
            prefix = f"{module_name}." if module_name else ""
            for name in module._parameters:
                if module._parameters[name] is not None:
                    module._parameters[name] = nn.Parameter(parameters[prefix + name].detach())
            for name in module._buffers:
                if module._buffers[name] is not None:
                    module._buffers[name] = buffers[prefix + name]
        state = {**parameters, **buffers}
        for number, network in enumerate(self.networks):
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.data = state[name].detach()[number]

    def unstack(self) -> None:
        """Give every network tensors of its own again, with the numbers of the stack."""
        for network in self.networks:
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.data = tensor.data.clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """(networks, labels, classes) logits of (networks, batch, ...).

        Raises:
            UserError: a network does what cannot be done for several at once.
        """
        form = self._form[0].train(self.training)

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], own: Tensor) -> Tensor:
            logits: Tensor = functional_call(form, (parameters, buffers), (own,))
            return logits

        parameters: dict[str, Tensor] = dict(self.stacked.named_parameters())
        buffers = dict(self.stacked.named_buffers())
        try:
            logits: Tensor = vmap(one, randomness="different")(parameters, buffers, inputs)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            kind, reason = type(form).__name__, " ".join(str(error).split())[:200]
            raise UserError(
                f"the network {kind} cannot be trained several at once ({reason}): change it, or set batch_jobs to "
                "never"
            ) from error
        return logits
