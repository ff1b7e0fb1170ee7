"""Networks as ONNX files, in fp32 and in 8 bits, and ONNX Runtime as their engine.

B. Jacob and others, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018: weights have a scale for each output, activations one for each tensor. Weights have seven of their eight
bits, because without VNNI the processor's products of 8 bits are added in 16, and saturate.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from kd_asr.errors import UserError
from kd_asr.networks.base import Network, network_class
from kd_asr.networks.files import load_network
from kd_asr.networks.views import View
from kd_asr.settings.build import build

Int8 = Literal["static", "dynamic"]
METADATA = "kd_asr"
INPUT, OUTPUT = "frames", "log_posteriors"
# Largest difference, relative and absolute, of the outputs from those of torch.
TOLERANCE = 1e-4
_OPSET = 18
_MOST_ROWS = 1 << 24
_INT8_OPERATORS = ["MatMul", "Gemm"]


class _LogPosteriors(nn.Module):
    """A network with the normalisation of its outputs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """(rows, classes) natural log-posteriors."""
        logits: Tensor = self.network(inputs)
        return logits.log_softmax(dim=-1)


def check_extra(*modules: str) -> None:
    """Raise a `UserError` that says what to install if one of the modules is missing."""
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise UserError(f"ONNX needs the package {error.name or name}: pip install 'kd-asr[export]'") from error


def write_onnx(weights: Path, target: Path, batches: Sequence[Tensor]) -> float:
    """Write a network as ONNX, from the inputs of its view to log-posteriors, and check it.

    Its metadata has, under `kd_asr`, the header of the weights as JSON: name and settings of the network, settings of
    the features, shape of an input, number of classes; and the frames before and after each that an output depends on.

    Args:
        weights: file of `save_network`.
        target: the file to write.
        batches: inputs of its view from real frames.

    Returns:
        Largest difference of a log-posterior from torch's.

    Raises:
        UserError: the extra `export` is not installed, the network cannot be written as ONNX, or its outputs differ
            from torch's by more than `TOLERANCE`.
    """
    check_extra("onnx", "onnxscript", "onnxruntime")
    import onnx

    model = load_network(weights)
    before, after = model.own_view.context
    # Of a single output frame the tracer makes a case of its own; what it wrote for two is right for one.
    least = before + 2 + after if model.row_axis == 1 else 1
    rows = torch.export.Dim("rows", min=least, max=_MOST_ROWS)
    try:
        with _quietly():
            # Strictly: otherwise `len(inputs)` would become the number of rows of this batch.
            traced = torch.export.export(
                _LogPosteriors(model), (batches[0],), dynamic_shapes=({model.row_axis: rows},), strict=True
            )
            program: Any = torch.onnx.export(
                traced, (), None, input_names=[INPUT], output_names=[OUTPUT], opset_version=_OPSET, dynamo=True,
                verbose=False,
            )  # fmt: skip
    except Exception as error:  # exporter and tracer have many, without a common base
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{type(model).__name__} cannot be written as ONNX ({reason}): export it with --formats torch"
        ) from error
    made = program.model_proto
    described = {**header_of(weights), "context": [before, after], "input": _named_shape(batches[0], model.row_axis)}
    made.metadata_props.append(onnx.StringStringEntryProto(key=METADATA, value=json.dumps(described, sort_keys=True)))
    target.write_bytes(made.SerializeToString())
    differences = [_difference(model, OnnxNetwork(target), batch) for batch in batches]
    if max(excess for _, excess in differences) > TOLERANCE:
        raise UserError(
            f"{type(model).__name__} as ONNX differs from torch by {max(one for one, _ in differences):.2g} on real "
            "frames: export it with --formats torch"
        )
    return max(one for one, _ in differences)


def header_of(weights: Path) -> dict[str, Any]:
    """What a file of `save_network` says of itself."""
    with safe_open(weights, "pt") as file:
        return dict(json.loads(file.metadata()["kd_asr"]))


def _named_shape(batch: Tensor, row_axis: int) -> list[int | str]:
    return ["rows" if axis == row_axis else size for axis, size in enumerate(batch.shape)]


@torch.inference_mode()
def _difference(model: Network, other: OnnxNetwork, batch: Tensor) -> tuple[float, float]:
    """Largest difference, and largest one relative to 1 + the size of the value."""
    expected = model(batch).log_softmax(dim=-1).numpy()
    found = np.abs(other(batch) - expected)
    return float(found.max()), float((found / (1 + np.abs(expected))).max())


def write_int8(source: Path, target: Path, batches: Sequence[Tensor], kind: Int8) -> None:
    """Write an ONNX file in 8 bits: weights by output; activations by ranges that are measured before (static) or in
    each batch (dynamic).

    Args:
        source: see `write_onnx`.
        target: the file to write.
        batches: inputs from the training set on which ranges are measured; of no effect if dynamic.
        kind: how activations are quantised.
    """
    check_extra("onnx", "onnxruntime")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    with _quietly():
        if kind == "dynamic":
            quantize_dynamic(
                source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8,
                op_types_to_quantize=_INT8_OPERATORS,
            )  # fmt: skip
        else:
            quantize_static(
                source, target, _calibration(batches), quant_format=QuantFormat.QDQ, per_channel=True,
                reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                op_types_to_quantize=_INT8_OPERATORS,
            )  # fmt: skip


def quantised_with(
    source: Path, target: Path, batches: Sequence[Tensor], steps: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Write an ONNX file in 8 bits with given steps of the inputs of its products, whose outputs are not rounded.

    Args:
        source: see `write_onnx`.
        target: the file to write.
        batches: inputs; of no effect on what has steps.
        steps: `scale` and `zero_point` by tensor.
    """
    check_extra("onnx", "onnxruntime")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    options = {"TensorQuantOverrides": steps, "OpTypesToExcludeOutputQuantization": _INT8_OPERATORS}
    with _quietly():
        quantize_static(
            source, target, _calibration(batches[:1]), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=_INT8_OPERATORS, extra_options=options,
        )  # fmt: skip


def _calibration(batches: Sequence[Tensor]) -> Any:
    """The batches as ONNX Runtime reads them, one after another."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._waiting = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._waiting, None)
            return None if batch is None else {INPUT: batch.numpy()}

    return Reader()


class OnnxNetwork:
    """An ONNX file of `write_onnx` or `write_int8` in ONNX Runtime, on the processor.

    Attributes:
        own_view: view by which it sees utterances.
    """

    own_view: View

    def __init__(self, path: Path, features: Mapping[str, object] | None = None) -> None:
        """Load the file; as many threads as torch has.

        Args:
            path: the file.
            features: settings of the frames that it is to see.

        Raises:
            UserError: ONNX Runtime is missing, the file is damaged, or it was trained on other features.
        """
        check_extra("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            header = json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA])
            name, settings, trained_on = header["network"], header["settings"], header["features"]
        except Exception as error:  # ONNX Runtime has one of its own for each kind of failure, without a common base
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} cannot be read as a network in ONNX ({reason}): export it again") from error
        cls = network_class(name)
        self.own_view = cls.view(build(cls.Settings, settings))
        if features is not None and dict(features) != trained_on:
            raise UserError(f"{path} was trained on features {trained_on}, not on {dict(features)}")

    def __call__(self, batch: Tensor) -> NDArray[np.float32]:
        """(rows, classes) log-posteriors of a batch of the view."""
        [found] = self._session.run(None, {INPUT: batch.numpy()})
        return np.asarray(found, dtype=np.float32)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the advice that exporter and quantiser give to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, levels, strict=True):
                one.setLevel(level)
