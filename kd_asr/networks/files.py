"""Models on disk: one safetensors file that describes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from kd_asr.artifacts import damaged
from kd_asr.errors import UserError
from kd_asr.networks.dnn import SplicedDNN
from kd_asr.networks.settings import NetworkSettings
from kd_asr.networks.tdnn import TDNN

Network = SplicedDNN | TDNN
FORMATS: dict[type[SplicedDNN] | type[TDNN], str] = {SplicedDNN: "kd_asr.spliced_dnn.1", TDNN: "kd_asr.tdnn.1"}


def save_network(
    path: Path, model: Network, settings: NetworkSettings, features: Mapping[str, object]
) -> None:
    """Write weights, architecture and the feature settings they were trained on.

    Args:
        path: the file; written to a temporary name first.
        model: the network.
        settings: its architecture.
        features: settings of the frame store, which `load_network` compares.
    """
    header = {
        "format": FORMATS[type(model)],
        "network": asdict(settings),
        "features": dict(features),
        "input_dimension": model.input_dimension,
        "num_classes": model.output.out_features,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # One key: safetensors writes several in an order that changes from run to run, and equal models are equal files.
    # Written by Python, whose errors, unlike those of safetensors, tell a full disk from others.
    temporary.write_bytes(save(tensors, {"kd_asr": json.dumps(header, sort_keys=True)}))
    temporary.replace(path)


def load_network(path: Path, features: Mapping[str, object] | None = None) -> tuple[Network, NetworkSettings]:
    """Read what `save_network` wrote.

    Args:
        path: the file.
        features: settings of the frames the model is to see; other ones than it was trained on are refused.

    Raises:
        UserError: the file is damaged or of another format, or the features differ.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("kd_asr", "{}"))
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error
    kinds: dict[str, type[SplicedDNN] | type[TDNN]] = {name: kind for kind, name in FORMATS.items()}
    if header.get("format") not in kinds:
        raise UserError(f"{path} has format {header.get('format')!r} instead of {' or '.join(map(repr, kinds))}")
    trained_on = header["features"]
    if features is not None and dict(features) != trained_on:
        raise UserError(f"{path} was trained on features {trained_on}, not on {dict(features)}")
    network = header["network"]
    settings = NetworkSettings(**{**network, "dilations": tuple(network.get("dilations", ()))})
    model = kinds[header["format"]](header["input_dimension"], header["num_classes"], settings)
    model.load_state_dict(state)
    model.eval()
    return model, settings
