"""Networks that were trained for 8 bits as ONNX files, with the steps that they were trained with."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_asr.errors import UserError
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.quantised import EightBitLinear, Quantised
from kd_asr.recognition.onnx_files import OnnxNetwork, header_of, quantised_with, write_onnx

# Largest mean difference of a log-posterior from the trained network's, in nats. Sums in another order put single
# activations on the next step, which moves a log-posterior by some thousandths.
TOLERANCE = 0.01


def write_trained_int8(weights: Path, plain: Path, target: Path, batches: Sequence[Tensor]) -> dict[str, float]:
    """Write a `Quantised` network as ONNX: its rounded weights in fp32, and the same in 8 bits with its own steps.

    Args:
        weights: file of `save_network`.
        plain: the file to write in fp32, which does not round activations.
        target: the file to write in 8 bits.
        batches: inputs of its view from real frames.

    Returns:
        `onnx_difference`, largest difference of `plain` from torch; `int8_difference`, mean absolute difference of
        the log-posteriors of `target` from those of the trained network, in nats.

    Raises:
        UserError: the extra `export` is missing, the network cannot be written as ONNX, or the file in 8 bits differs
            from the trained network by more than `TOLERANCE`.
    """
    model = load_network(weights)
    assert isinstance(model, Quantised)
    with tempfile.TemporaryDirectory(dir=plain.parent, prefix=f".{plain.name}.") as folder:
        body = Path(folder) / "body.safetensors"
        save_network(body, model.plain(), header_of(weights)["features"])
        difference = write_onnx(body, plain, batches)
    quantised_with(plain, target, batches, _steps(model, plain, batches[0]))
    other = OnnxNetwork(target)
    with torch.inference_mode():
        apart = [np.abs(other(batch) - model(batch).log_softmax(dim=-1).numpy()).mean() for batch in batches]
    found = float(np.mean(apart))
    if found > TOLERANCE:
        raise UserError(
            f"{type(model.body).__name__} in 8 bits differs from the trained network by {found:.2g} nats on real "
            "frames: export it with --formats torch"
        )
    return {"onnx_difference": difference, "int8_difference": found}


def _steps(model: Quantised, plain: Path, batch: Tensor) -> dict[str, list[dict[str, Any]]]:
    """Step and zero of each tensor of an ONNX file that a product reads, from the layers in their order."""
    import onnx

    graph = onnx.load(plain).graph
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    layers = _used(model, batch)
    if len(products) != len(layers):
        raise UserError(
            f"{type(model.body).__name__} has {len(layers)} layers in 8 bits, but {len(products)} products in ONNX: "
            "export it with --formats torch"
        )
    found: dict[str, list[dict[str, Any]]] = {}
    for node, layer in zip(products, layers, strict=True):
        steps = {
            "scale": np.array(float(layer.input_scale), dtype=np.float32),
            "zero_point": np.array(int(layer.input_zero), dtype=np.uint8),
        }
        if found.setdefault(node.input[0], [steps]) != [steps]:
            raise UserError(
                f"{node.input[0]} is read by two layers with steps of their own: export with --formats torch"
            )
    return found


@torch.inference_mode()
def _used(model: Quantised, batch: Tensor) -> list[EightBitLinear]:
    """The layers in 8 bits in the order in which they are used."""
    order: list[EightBitLinear] = []
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: order.append(module)) for layer in model.layers.values()
    ]
    model(batch)
    for hook in hooks:
        hook.remove()
    return order
