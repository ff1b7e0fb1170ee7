"""The systems that are compared, and the artifacts they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from kd_asr.artifacts import Artifact, load_artifact
from kd_asr.errors import UserError
from kd_asr.networks.ensemble import Ensemble
from kd_asr.networks.files import load_network
from kd_asr.networks.settings import NetworkSettings
from kd_asr.stages.settings import Settings

ENSEMBLE = "ensemble"
MODEL_FILE = "model.safetensors"


def member_names(settings: Settings) -> list[str]:
    """Artifacts of the teachers."""
    return [f"ensemble/member-{number:02d}" for number in range(settings.ensemble.members)]


def baseline_names(settings: Settings) -> list[str]:
    """Artifacts of the networks that the students are compared with."""
    return [f"baseline/baseline-{number:02d}" for number in range(settings.baseline.networks)]


def student_names(settings: Settings) -> list[str]:
    """Artifacts of the students."""
    return [f"distil/student-{number:02d}" for number in range(settings.distil.students)]


def systems(settings: Settings) -> dict[str, list[str]]:
    """The compared systems by name, each with the artifacts of its networks."""
    baselines, students = ({system_of(name): [name] for name in of(settings)} for of in (baseline_names, student_names))
    return {**baselines, ENSEMBLE: member_names(settings), **students}


def kinds(settings: Settings) -> dict[str, list[str]]:
    """Which of the systems are seeds of the same kind, so that what dev chooses for one of them holds for all."""
    return {
        "baseline": [system_of(name) for name in baseline_names(settings)],
        ENSEMBLE: [ENSEMBLE],
        "distilled": [system_of(name) for name in student_names(settings)],
    }


def system_of(artifact: str) -> str:
    """`student-00` of `distil/student-00`: how the system of one trained network is called."""
    return artifact.rsplit("/", maxsplit=1)[-1]


def as_student(settings: Settings) -> Settings:
    """The settings that a student is trained with."""
    dropout = settings.distil.dropout
    if dropout is None:
        return settings
    return replace(settings, network=replace(settings.network, dropout=dropout))


def network_seed(seed: int, name: str) -> int:
    """Seed of one network of a run: the same for the same run seed and name, unrelated for any other."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def load_networks(
    run_dir: Path, names: Sequence[str], features: Mapping[str, object], file: str = MODEL_FILE
) -> tuple[list[nn.Module], NetworkSettings, list[Artifact]]:
    """The trained networks of some artifacts, their common architecture, and the artifacts.

    Raises:
        UserError: one is missing, was trained on other features, or has another context than the first.
    """
    artifacts = [load_artifact(run_dir, name) for name in names]
    loaded = [load_network(artifact.path / file, features) for artifact in artifacts]
    network = loaded[0][1]
    for artifact, (_, other) in zip(artifacts, loaded, strict=True):
        if other.context != network.context or bool(other.dilations) != bool(network.dilations):
            raise UserError(f"{artifact.path} is of another kind, or sees another context, than {artifacts[0].path}")
    return [model for model, _ in loaded], network, artifacts


def combine(models: Sequence[nn.Module], settings: Settings) -> nn.Module:
    """One network as it is, several as an ensemble."""
    return models[0] if len(models) == 1 else Ensemble(models, settings.ensemble.average)
