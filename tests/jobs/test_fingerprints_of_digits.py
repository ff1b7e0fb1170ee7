"""Each setting of an MNIST run in turn: what it decides is trained again, and nothing else."""

from typing import Any

import pytest
from every_setting import changed, leaves

from kd_asr.experiments.mnist.losses import losses_jobs
from kd_asr.experiments.mnist.networks import CHOOSING_TEACHER, teacher_job, teacher_name
from kd_asr.experiments.mnist.privileged import privileged_jobs
from kd_asr.experiments.mnist.reduced import reduced_jobs
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import student_jobs
from kd_asr.experiments.mnist.temperature import temperature_jobs
from kd_asr.experiments.mnist.transfer import transfer_jobs
from kd_asr.fingerprints import digest
from kd_asr.jobs.job import Job
from kd_asr.settings.files import parse_settings_of

SETTINGS = parse_settings_of(
    MnistSettings,
    [
        *("--seeds=2", "--members=2", "--ensemble_students=1", "--temperature.students=[1, 1, 1, 1]"),
        *("--privileged.seeds=2", "--privileged.scale=4"),
    ],
)


def plan(settings: MnistSettings) -> dict[str, dict[str, str]]:
    """Of each group of jobs, name -> digest of what is decided by settings."""
    groups: dict[str, list[Job]] = {
        "teachers": [teacher_job(settings, name) for name in (CHOOSING_TEACHER, teacher_name(0))],
        "temperature": [job for _, job in temperature_jobs(settings)],
        "transfer": transfer_jobs(settings, "omit3", 0.9),
        "losses": [job for _, job in losses_jobs(settings)],
        "privileged": [one.job for one in privileged_jobs(settings, 60_000)],
    }
    for job in student_jobs(settings):
        kind = "hard" if "/hard-" in job.name else "distilled"
        groups.setdefault(kind, []).append(job)
    for one in reduced_jobs(settings):
        groups.setdefault(f"reduced {one.arm}", []).append(one.job)
    return {group: {job.name: digest([job, [*job.artifacts()]]) for job in jobs} for group, jobs in groups.items()}


BEFORE = plan(SETTINGS)
ALL = set(BEFORE)
REDUCED = {group for group in BEFORE if group.startswith("reduced")}
SOFT_AND_HARD = {"reduced soft_and_hard", "reduced soft_everywhere"}
DISTILLED = {"distilled", "temperature", "transfer", "losses"}
EXPECTED: dict[str, set[str]] = {
    "seed": ALL,
    "teacher": {"teachers"},
    "held_out": {"teachers"},
    "hard": {"hard", *REDUCED},
    "hard.epochs": {"hard"},  # the others have reduced.epochs
    "hard.max_norm": {"hard"},
    "distilled": DISTILLED,
    "distilled.epochs": {"distilled"},  # each experiment has its own
    "distilled.network.settings.hidden_units": DISTILLED - {"temperature"},  # it has its widths
    "methods.0.settings.losses.0.loss.settings.temperature": {"distilled"},
    "methods.0.settings.losses.0.weight": {"distilled"},
    "methods.0.settings.losses.1.weight": {"distilled"},
    "temperature.hard_weight": {"temperature"},
    "temperature.epochs": {"temperature"},
    "transfer": {"transfer"},
    "losses.temperature": {"losses"},
    "losses.epochs": {"losses"},
    "reduced.losses.0.loss.settings.temperature": {"reduced soft", *SOFT_AND_HARD},
    "reduced.losses.0.weight": {"reduced soft", *SOFT_AND_HARD},
    "reduced.losses.1.weight": SOFT_AND_HARD,
    "reduced.epochs": REDUCED,
    "reduced.validations": REDUCED,
    "privileged": {"privileged"},
    "privileged.images": set(),  # other jobs, under other names
    "privileged.seeds": set(),
}


@pytest.mark.parametrize(
    "path",
    [path for path, _ in leaves(SETTINGS) if path not in (("temperature", "widths"), ("temperature", "students"))],
    ids=".".join,
)
def test_a_setting_changes_the_jobs_that_it_decides_and_no_others(path: tuple[str, ...]) -> None:
    name = ".".join(path)
    expected = EXPECTED.get(name, EXPECTED.get(path[0], set()))
    after: dict[str, Any] = plan(changed(SETTINGS, path))
    differ = {
        group
        for group, jobs in BEFORE.items()
        if any(after[group].get(job, found) != found for job, found in jobs.items())
    }
    assert differ == expected
