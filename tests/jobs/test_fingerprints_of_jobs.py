"""What decides a job's fingerprint and what does not: fields, code, and every setting of a run."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from every_setting import changed, leaves, other

import kd_asr
from kd_asr.distillation.objectives import HARD, hinton_losses
from kd_asr.experiments.reduced_data.plan import reduced_networks
from kd_asr.fingerprints import digest, import_closure
from kd_asr.jobs.job import Job, teacher_spec
from kd_asr.registry import named
from kd_asr.settings.ranges import AbsentMeans
from kd_asr.stages.plan import (
    baseline_jobs,
    member_jobs,
    realignment_jobs,
    student_jobs,
    sweep_axes,
    sweep_jobs,
    sweep_points,
)
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.tasks.digits import DigitData
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.tasks.speech import SpeechData
from kd_asr.training.settings import TrainSettings

SETTINGS = parse_settings(["--align.networks=2", "--ensemble.members=2", "--reduced.seeds=1"])
STUDENT = student_jobs(SETTINGS)[0]
[NETWORK] = STUDENT.networks.values()


def test_each_field_of_a_job_is_in_its_fingerprint_but_its_name() -> None:
    changes: dict[str, Any] = {
        "networks": {"other": NETWORK},
        "data": replace(STUDENT.data, subset=LabelledSubset(0.5, 1)),
        "losses": hinton_losses(temperature=3.0, soft_weight=1.0, hard_weight=0.5),
        "budget": replace(STUDENT.budget, epochs=STUDENT.budget.epochs + 1),
        "seed": STUDENT.seed + 1,
        "keep": "both",
        "max_norm": 3.0,
        "epochs": 1.5,
        "validations": 3,
        "size": 0.5,
        "last_weights": (0.5, 1.0),
    }
    assert {*changes, "name", "teacher", "start_from"} == {item.name for item in dataclasses.fields(Job)}
    digests = [digest(STUDENT), *(digest(replace(STUDENT, **{name: value})) for name, value in changes.items())]
    assert len(set(digests)) == len(digests)
    # Without a teacher a job can have hard labels alone.
    hard = replace(STUDENT, losses=HARD)
    assert digest(replace(hard, teacher=None)) != digest(hard)
    elsewhere = replace(STUDENT.teacher, artifacts=("another",))
    assert digest(replace(STUDENT, name="elsewhere", teacher=elsewhere, start_from="first")) == digest(STUDENT)
    assert replace(STUDENT, start_from="first").artifacts() == [*STUDENT.artifacts(), "first"]
    live = teacher_spec(named("teacher", "live"), store="", networks=["a", "b"], average="arithmetic")
    of_networks = replace(STUDENT, teacher=live)
    assert of_networks.artifacts() == [*replace(hard, teacher=None).artifacts(), "a", "b"]
    geometric = replace(STUDENT, teacher=replace(live, average="geometric"))
    assert len({digest(STUDENT), digest(of_networks), digest(geometric)}) == 3
    assert "kd_asr.distillation.teachers.live" in of_networks.code()


@pytest.mark.parametrize("data", [STUDENT.data, DigitData()])
def test_each_field_of_the_data_is_too_but_artifacts_which_are_inputs(data) -> None:
    for item in dataclasses.fields(data):
        changed = replace(data, **{item.name: other(getattr(data, item.name))})
        if item.name in ("aligned", "copies", "unlabelled"):
            assert digest(changed) == digest(data)
            assert changed.artifacts() != data.artifacts()
        else:
            assert digest(changed) != digest(data), item.name


@dataclass(frozen=True)
class WiderSettings(TrainSettings):
    tilt: Annotated[float, AbsentMeans(0.0)] = 0.0


def test_a_new_setting_at_the_value_that_absence_means_changes_nothing() -> None:
    known = {item.name: getattr(STUDENT.budget, item.name) for item in dataclasses.fields(STUDENT.budget)}
    assert digest(replace(STUDENT, budget=WiderSettings(**known))) == digest(STUDENT)
    assert digest(replace(STUDENT, budget=WiderSettings(**known, tilt=0.5))) != digest(STUDENT)


def test_no_stage_and_no_experiment_is_in_the_code_of_a_job() -> None:
    for job in (STUDENT, replace(STUDENT, data=DigitData())):
        rooms = {name.split(".")[1] for name in import_closure(job.code())}
        assert {"jobs", "tasks", "training", "distillation", "networks"} <= rooms
        assert not rooms & {"stages", "experiments", "methods", "reporting", "decoding", "cli"}


# Digests of the code of jobs, again for each line of input: reloaded, the module has read nothing before.
CODE_DIGESTS = """
import importlib, sys
from kd_asr import fingerprints
for _ in sys.stdin:
    importlib.reload(fingerprints)
    print(*map(fingerprints.code_digest, {codes!r}), flush=True)
"""


@contextmanager
def codes_of(package: Path, *jobs: Job) -> Iterator[Callable[[], list[str]]]:
    """A function that gives the digests of jobs' code in a copy of the package as it is now."""
    program = CODE_DIGESTS.format(codes=[job.code() for job in jobs])
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=package.parent, stdin=pipe, stdout=pipe, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked and told

        def codes() -> list[str]:
            asked.write("\n")
            asked.flush()
            return told.readline().split()

        yield codes
        asked.close()
    assert process.returncode == 0


def test_files_that_a_job_does_not_use_are_not_in_its_code(tmp_path) -> None:
    package = tmp_path / "kd_asr"
    shutil.copytree(Path(kd_asr.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    hard = replace(STUDENT, losses=HARD)
    with codes_of(package, STUDENT, hard) as codes:
        before = codes()
        for room in ("distillation/losses", "methods", "networks", "stages", "tasks"):
            (package / room / "new.py").touch()
        other_loss = package / "distillation" / "losses" / "kl.py"
        other_loss.write_text(other_loss.read_text() + "\n# A comment.\nVALUE = 1\n")
        own = package / "distillation" / "losses" / "soft.py"
        own.write_text(own.read_text() + "\n# A comment.\n")
        assert codes() == before
        own.write_text(own.read_text() + "\nVALUE = 1\n")
        assert codes()[0] != before[0]


def plan(settings: Settings) -> dict[str, dict[str, str]]:
    """Of each group of jobs, name -> digest of what is decided by settings."""
    reduced: dict[str, list[Job]] = {}
    for one in reduced_networks(settings):
        reduced.setdefault(f"reduced {one.arm}", []).append(one.job)
    groups = {
        "members": member_jobs(settings),
        "baselines": baseline_jobs(settings),
        "students": student_jobs(settings),
        "sweep": sweep_jobs(settings, sweep_points(sweep_axes(settings))),
        "realignment": realignment_jobs(settings),
        **reduced,
    }
    return {
        group: {job.name: digest([job, [*job.artifacts()]]) for job in jobs} for group, jobs in groups.items()
    }


BEFORE = plan(SETTINGS)
ALL = set(BEFORE)
REDUCED = {group for group in BEFORE if group.startswith("reduced")}
SOFT_AND_HARD = {"reduced soft_and_hard", "reduced soft_everywhere"}
EXPECTED = {
    "seed": ALL,
    "network": ALL,
    "train": ALL,
    "train.epochs": ALL - {"realignment"} - REDUCED,  # they have align.network_epochs and reduced.epochs
    "train.checkpoint_seconds": set(),
    "augment.vocal_tract_warp": ALL,
    "augment.frequency_mask": ALL,
    "augment.time_mask": ALL,
    "augment.copies": {"members", "baselines"},  # they have the copies as an input
    "align.network_epochs": {"realignment"},
    "losses.0.weight": {"members", "baselines"},
    "ensemble.held_out": {"members"},
    "methods.0.settings.losses.0.loss.settings.temperature": {"students"},
    "methods.0.settings.losses.0.weight": {"students"},
    "methods.0.settings.losses.1.weight": {"students"},
    "reduced.losses.0.loss.settings.temperature": {"reduced soft", *SOFT_AND_HARD},
    "reduced.losses.0.weight": {"reduced soft", *SOFT_AND_HARD},
    "reduced.losses.1.weight": SOFT_AND_HARD,
    "distil.dropout": {"students", "sweep"},
    "distil.epochs": {"students", "sweep"},
    "unlabelled.folders": {"students", "sweep"},
    "reduced.epochs": REDUCED,
    "reduced.validations": REDUCED,
    "reduced.draw": set(),  # other jobs, under other names
}


@pytest.mark.parametrize("path", [path for path, _ in leaves(SETTINGS)], ids=".".join)
def test_a_setting_changes_the_jobs_that_it_decides_and_no_others(path: tuple[str, ...]) -> None:
    name = ".".join(path)
    expected = EXPECTED.get(name, EXPECTED.get(path[0], set()))
    after = plan(changed(SETTINGS, path))
    differ = {
        group
        for group, jobs in BEFORE.items()
        if any(after[group].get(job, found) != found for job, found in jobs.items())
    }
    assert differ == expected
    assert isinstance(STUDENT.data, SpeechData)


def test_teachers_and_students_may_have_networks_of_their_own() -> None:
    wider = changed(SETTINGS, ("network", "settings", "hidden_units")).network
    teaching = plan(replace(SETTINGS, teacher=replace(SETTINGS.teacher, network=wider)))
    learning = plan(replace(SETTINGS, student=replace(SETTINGS.student, network=wider)))
    assert {group for group in ALL if teaching[group] != BEFORE[group]} == {"members", "realignment"}
    assert {group for group in ALL if learning[group] != BEFORE[group]} == ALL - {"members", "realignment"}
