"""The systems that a run compares, and loading of their networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kd_asr.artifacts import load_artifact
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems, single_systems
from kd_asr.networks.base import Network
from kd_asr.networks.files import load_network
from kd_asr.stages.controls import long_baselines, smaller_students
from kd_asr.stages.plan import baseline_names, member_names, plans, student_budget
from kd_asr.stages.settings import Settings

ENSEMBLE = "ensemble"
# Okabe and Ito's colours; fixed, so that a group looks the same in every report.
BLUE, ORANGE = "#0072B2", "#E69F00"


def run_systems(settings: Settings) -> Systems:
    """Compared systems of a run: the baselines, the ensemble, each method's students, and their controls.

    Raises:
        UserError: a method cannot work with these settings.
    """
    baseline = Group(
        "baseline", "baseline", "reference", BLUE, note="hard labels", plural="baselines", about=_equal(settings),
        paper="Baseline",
    )  # fmt: skip
    ensemble = Group(ENSEMBLE, "ensemble", "teacher", ORANGE, plural="members of the ensemble", paper="10xEnsemble")
    teachers = tuple(map(NetworkRef, member_names(settings)))
    methods, long, smaller = plans(settings), long_baselines(settings), smaller_students(settings)
    beside = [long] if long else []
    students = [replace(one, twin=long.group.name) if long else one for plan in methods for one in plan.groups]
    small = [group for one in smaller for group in (one.twins.group, *one.plan.groups)]
    return Systems(
        (baseline, *(twins.group for twins in beside), ensemble, *students, *small),
        (
            *single_systems("baseline", baseline_names(settings)),
            *(system for twins in beside for system in twins.systems),
            System(ENSEMBLE, ENSEMBLE, teachers, settings.ensemble.average),
            *(system for plan in methods for system in plan.systems),
            *(system for one in smaller for system in (*one.twins.systems, *one.plan.systems)),
        ),
    )


def _equal(settings: Settings) -> str:
    """Sentences on what baselines, members and students have in common, and where they differ."""
    distil, student = settings.distil, settings.student_network
    own, dropout = distil.dropout, getattr(student.settings, "dropout", None)
    one_network = settings.teacher_network == student
    if one_network:
        alike, others = "Baselines, members and students have one architecture", "the others"
    else:
        alike, others = "Baselines and students have one architecture, members another one", "baselines"
    if student_budget(settings) != settings.train:
        alike += ", and students a budget of their own"
    else:
        alike += " and budget" if one_network else ", and all have one budget"
    if None not in (own, dropout) and own != dropout:
        alike += f", but for the dropout of hidden units: {own:g} in students of the ensemble, {dropout:g} in {others}"
    added = " They learn from unlabelled audio as well." if settings.unlabelled_folders else ""
    count = f"{distil.copies} perturbed {'copy' if distil.copies == 1 else 'copies'}"
    copies = f" Students of the ensemble see {count} of the training set as well."
    return f"{alike}.{copies if distil.copies else ''}{added}"


def load_networks(run_dir: Path, networks: Sequence[NetworkRef], features: Mapping[str, object]) -> list[Network]:
    """Load trained networks of a run.

    Raises:
        UserError: a network is missing, or was trained on other features.
    """
    return [load_network(load_artifact(run_dir, one.artifact).path / one.file, features) for one in networks]
