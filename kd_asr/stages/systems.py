"""The systems that are compared, and the artifacts they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kd_asr.artifacts import load_artifact
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
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


def load_networks(
    run_dir: Path, names: Sequence[str], features: Mapping[str, object], file: str = MODEL_FILE
) -> list[Network]:
    """The trained networks of some artifacts.

    Raises:
        UserError: one is missing, or was trained on other features.
    """
    return [load_network(load_artifact(run_dir, name).path / file, features) for name in names]
