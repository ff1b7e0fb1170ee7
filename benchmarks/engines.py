"""Networks by every engine: torch in fp32 and bf16, ONNX Runtime in fp32 and in 8 bits, on one thread and on all.

The networks are those of the presets `standard` (2000 classes) and `quick` (213), with random weights: the speed does
not depend on them. An utterance of ten seconds at a time; engines take turns within a repeat.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_asr.device import HOST
from kd_asr.networks.base import Network, network_class, seeded
from kd_asr.networks.files import save_network
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.parallel import available_cores
from kd_asr.presets import find_preset
from kd_asr.recognition.onnx_files import OnnxNetwork, write_int8, write_onnx
from kd_asr.stages.settings import parse_settings

SUMMARY = (
    "times faster than torch in fp32: torch in bf16 (where the processor has it), ONNX Runtime in fp32 and in 8 bits, "
    "on one thread and on all"
)
CLASSES = {"standard": 2000, "quick": 213}
FRAMES = 1000


def measure(*, repeats: int) -> dict[str, Any]:
    """Medians, smallest and largest over repeats, and the size of every file relative to fp32's weights."""
    found: dict[str, Any] = {}
    for preset, classes in CLASSES.items():
        network = parse_settings([], find_preset(preset)).student_network
        shape = network_class(network.name).view(network.settings).input_shape(40)
        model = seeded(network, shape, classes, 0).eval()
        with tempfile.TemporaryDirectory(prefix="kd_asr-engines-") as name:
            folder = Path(name)
            save_network(folder / "model.safetensors", model, {})
            inputs = [_inputs(model) for _ in range(3)]
            write_onnx(folder / "model.safetensors", folder / "model.onnx", inputs[:1])
            for kind in ("dynamic", "static"):
                write_int8(folder / "model.onnx", folder / f"{kind}.onnx", inputs, kind)
            sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
            plain = sizes["model.safetensors"]
            found[preset] = {"bytes": {name: round(size / plain, 4) for name, size in sizes.items()}}
            for threads in dict.fromkeys((1, available_cores())):
                torch.set_num_threads(threads)
                found[preset][f"{threads} threads"] = _race(_engines(folder, model, inputs[0]), repeats)
    return found


def _inputs(model: Network) -> Tensor:
    """One utterance as the network sees it."""
    before, after = model.own_view.context
    if model.row_axis == 1:
        return torch.randn(1, before + FRAMES + after, *model.input_shape)
    return torch.randn(FRAMES, math.prod(model.input_shape))


def _engines(folder: Path, model: Network, inputs: Tensor) -> dict[str, Callable[[], object]]:
    def in_torch(precision: Any) -> Callable[[], object]:
        return lambda: log_posteriors_of_batch(model, inputs, precision=precision)

    def in_onnx(name: str) -> Callable[[], object]:
        session = OnnxNetwork(folder / name)
        return lambda: session(inputs)

    # Where the processor has no bf16, torch computes it a hundred times slower.
    bf16 = {"torch bf16": in_torch("bf16")} if HOST.uses_bf16("auto") else {}
    return {
        "torch fp32": in_torch("fp32"),
        **bf16,
        "ONNX Runtime fp32": in_onnx("model.onnx"),
        "ONNX Runtime int8, dynamic": in_onnx("dynamic.onnx"),
        "ONNX Runtime int8, static": in_onnx("static.onnx"),
    }


def _race(engines: dict[str, Callable[[], object]], repeats: int) -> dict[str, Any]:
    """How many times faster than the first each is, and its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for repeat in range(repeats + 1):
        for name, run in engines.items():
            started = time.perf_counter()
            run()
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)
    first = seconds[next(iter(engines))]
    return {
        name: {
            "times faster": [round(value, 2) for value in _spread([a / b for a, b in zip(first, own, strict=True)])],
            "ms for ten seconds of speech": round(1000 * statistics.median(own), 2),
        }
        for name, own in seconds.items()
    }


def _spread(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
