"""The systems that are compared, and the artifacts they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kd_asr.artifacts import load_artifact
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems, single_systems
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
from kd_asr.stages.settings import Settings

ENSEMBLE = "ensemble"
# Of Okabe and Ito, so that a group looks the same whatever it is compared with.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"


def member_names(settings: Settings) -> list[str]:
    """Artifacts of the teachers."""
    return [f"ensemble/member-{number:02d}" for number in range(settings.ensemble.members)]


def baseline_names(settings: Settings) -> list[str]:
    """Artifacts of the networks that the students are compared with."""
    return [f"baseline/baseline-{number:02d}" for number in range(settings.baseline.networks)]


def student_names(settings: Settings) -> list[str]:
    """Artifacts of the students."""
    return [f"distil/student-{number:02d}" for number in range(settings.distil.students)]


def run_systems(settings: Settings) -> Systems:
    """What a run compares: the baselines, the ensemble and the students."""
    distil, student = settings.distil, settings.student_network
    own, dropout = distil.dropout, getattr(student.settings, "dropout", None)
    if settings.teacher_network == student:
        alike, others = "Baselines, members and students have one architecture and budget", "the others"
    else:
        alike = "Baselines and students have one architecture, members another one, and all have one budget"
        others = "baselines"
    if None not in (own, dropout) and own != dropout:
        alike += f", but for the dropout of hidden units: {own:g} in students, {dropout:g} in {others}"
    also = f", on the training set and {distil.copies} perturbed copies of it" if distil.copies else ""
    groups = (
        Group("baseline", "baseline", "reference", BLUE, note="hard labels", plural="baselines", paper="Baseline"),
        Group(ENSEMBLE, "ensemble", "teacher", ORANGE, plural="members of the ensemble", paper="10xEnsemble"),
        Group(
            "distilled",
            "distilled",
            "student",
            GREEN,
            noun="distilled network",
            plural="students",
            about=f"{alike}. Students learn from the ensemble's posteriors at temperature {distil.temperature:g} "
            f"(weight {distil.soft_weight:g}) and from the hard labels (weight {distil.hard_weight:g}){also}.",
            paper="Distilled Single model",
        ),
    )
    teachers = tuple(map(NetworkRef, member_names(settings)))
    return Systems(
        groups,
        (
            *single_systems("baseline", baseline_names(settings)),
            System(ENSEMBLE, ENSEMBLE, teachers, settings.ensemble.average),
            *single_systems("distilled", student_names(settings)),
        ),
    )


def load_networks(
    run_dir: Path, networks: Sequence[NetworkRef], features: Mapping[str, object]
) -> list[Network]:
    """Some trained networks of a run.

    Raises:
        UserError: one is missing, or was trained on other features.
    """
    return [load_network(load_artifact(run_dir, one.artifact).path / one.file, features) for one in networks]
