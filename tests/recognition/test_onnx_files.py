"""ONNX files against torch. Where the exporter is not what is tested, the file is put together by hand."""

import builtins
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kd_asr.errors import UserError
from kd_asr.networks.base import network_class, seeded
from kd_asr.networks.files import load_network, save_network
from kd_asr.networks.views import Windows
from kd_asr.recognition.onnx_files import METADATA, OnnxNetwork, check_extra, write_int8, write_onnx
from kd_asr.registry import named, names

FEATURES = {"num_mel_bins": 40}


def saved(folder: Path, network: str, input_shape: tuple[int, ...]) -> Path:
    model = seeded(named("network", network), input_shape, 50, 0)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    save_network(folder / f"{network}.safetensors", model, FEATURES)
    return folder / f"{network}.safetensors"


def by_hand(path: Path, units: int) -> tuple[np.ndarray, np.ndarray]:
    """A network with one hidden layer as ONNX; its weights."""
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(shape).astype(np.float32) / 20 for shape in ((21 * 40, units), (units, 50)))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["frames", "first"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["rectified"]),
            helper.make_node("MatMul", ["rectified", "second"], ["logits"]),
            helper.make_node("LogSoftmax", ["logits"], ["log_posteriors"], axis=-1),
        ],
        "network",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["rows", 21 * 40])],
        [helper.make_tensor_value_info("log_posteriors", TensorProto.FLOAT, ["rows", 50])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    header = {"network": "dnn", "settings": {"left_context": 10, "right_context": 10}, "features": FEATURES}
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA, value=json.dumps(header)))
    onnx.save(model, path)
    return first, second


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_eight_bits_take_a_quarter_and_say_nearly_the_same(tmp_path: Path, kind: str) -> None:
    first, second = by_hand(tmp_path / "model.onnx", 256)
    batches = [torch.randn(64, 21 * 40) for _ in range(3)]
    write_int8(tmp_path / "model.onnx", tmp_path / "model.int8.onnx", batches[:2], kind)
    sizes = [(tmp_path / name).stat().st_size for name in ("model.int8.onnx", "model.onnx")]
    assert 0.24 < sizes[0] / sizes[1] < 0.28
    plain, small = (OnnxNetwork(tmp_path / name, FEATURES) for name in ("model.onnx", "model.int8.onnx"))
    assert plain.own_view == small.own_view == Windows(10, 10)
    expected = torch.log_softmax(torch.relu(batches[2] @ torch.from_numpy(first)) @ torch.from_numpy(second), 1).numpy()
    np.testing.assert_allclose(plain(batches[2]), expected, atol=1e-4)
    found = small(batches[2])
    assert 0 < np.abs(found - expected).mean() < 0.03  # a value beyond the calibration's range is cut off: no maximum
    assert (np.exp(expected) * (expected - found)).sum(axis=1).mean() < 5e-3
    stored = {one.name: one for one in onnx.load(tmp_path / "model.int8.onnx").graph.initializer}
    [scales] = [one for name, one in stored.items() if name.startswith("first") and name.endswith("scale")]
    assert list(scales.dims) == [256]  # one for each output


def test_what_is_no_network_or_sees_other_frames_is_told(tmp_path: Path) -> None:
    by_hand(tmp_path / "model.onnx", 8)
    with pytest.raises(UserError, match="was trained on features"):
        OnnxNetwork(tmp_path / "model.onnx", {"num_mel_bins": 80})
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:500])
    with pytest.raises(UserError, match=r"cut\.onnx cannot be read as a network in ONNX"):
        OnnxNetwork(tmp_path / "cut.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(UserError, match=r"bare\.onnx cannot be read as a network in ONNX"):
        OnnxNetwork(tmp_path / "bare.onnx")


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *arguments: object, **options: object) -> object:
        if name == "onnxscript":
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        return original(name, *arguments, **options)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"ONNX needs the package onnxscript: pip install 'kd-asr\[export\]'"):
        check_extra("onnxscript")


@pytest.mark.slow
@pytest.mark.parametrize("network", names("network"))
def test_every_network_is_the_same_in_onnx(network: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    view = network_class(network).view(named("network", network).settings)
    shape = view.input_shape(40)
    weights = saved(tmp_path, network, shape)
    model = load_network(weights)
    before, after = view.context

    def batch(frames: int) -> torch.Tensor:
        width = int(np.prod(shape))
        return torch.randn(1, before + frames + after, 40) if model.row_axis == 1 else torch.randn(frames, width)

    write_onnx(weights, tmp_path / "model.onnx", [batch(31), batch(5)])  # refuses what differs from torch
    other = OnnxNetwork(tmp_path / "model.onnx", FEATURES)
    assert other.own_view == view
    for frames in (1, 2, 77, 500):
        inputs = batch(frames)
        with torch.inference_mode():
            expected = model(inputs).log_softmax(1).numpy()
        np.testing.assert_allclose(other(inputs), expected, rtol=1e-4, atol=1e-4)
    meta = json.loads(onnx.load(tmp_path / "model.onnx").metadata_props[0].value)
    assert (meta["network"], meta["context"], meta["num_classes"]) == (network, [before, after], 50)
