"""Models on disk: one safetensors file that describes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from kd_asr.artifacts import damaged
from kd_asr.errors import UserError
from kd_asr.networks.base import Network, network_class
from kd_asr.registry import name_of
from kd_asr.settings.build import build
from kd_asr.settings.fields import dump

FORMAT = "kd_asr.network.1"


def save_network(path: Path, model: Network, features: Mapping[str, object]) -> None:
    """Write weights, architecture and the feature settings they were trained on.

    Args:
        path: the file; written to a temporary name first.
        model: the network, as `Network.as_saved` gives it.
        features: settings of the frame store, which `load_network` compares.
    """
    header = {
        "format": FORMAT,
        "network": name_of("network", type(model)),
        "settings": dump(model.settings),
        "features": dict(features),
        "input_shape": list(model.input_shape),
        "num_classes": model.num_classes,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # One key: safetensors writes several in an order that changes from run to run, and equal models must be equal
    # files. Written by Python, whose errors, unlike those of safetensors, tell a full disk from others.
    temporary.write_bytes(save(tensors, {"kd_asr": json.dumps(header, sort_keys=True)}))
    temporary.replace(path)


def load_network(path: Path, features: Mapping[str, object] | None = None) -> Network:
    """Read what `save_network` wrote, in evaluation mode.

    Args:
        path: the file.
        features: settings of the frames that the model is to see; a model trained on others is refused.

    Raises:
        UserError: the file is damaged or of another format, its network is unknown or has other settings, or the
            features differ.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("kd_asr", "{}"))
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error
    if header.get("format") != FORMAT:
        raise UserError(f"{path} has format {header.get('format')!r} instead of {FORMAT!r}: train the network again")
    trained_on = header["features"]
    if features is not None and dict(features) != trained_on:
        raise UserError(f"{path} was trained on features {trained_on}, not on {dict(features)}")
    try:
        cls = network_class(header["network"])
        settings = build(cls.Settings, header["settings"])
        model = cls(tuple(header["input_shape"]), header["num_classes"], settings)
        model.load_state_dict(state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except RuntimeError as error:
        raise damaged(path, error) from error
    return model.eval()
