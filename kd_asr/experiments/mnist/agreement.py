"""Whether the experiments that a run shows were made with the settings that the run has now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from kd_asr.artifacts import Artifact, finished, making_command
from kd_asr.errors import UserError
from kd_asr.experiments.filters.results import FILTERS, decides
from kd_asr.experiments.mnist.filters import digit_filter_networks
from kd_asr.experiments.mnist.losses import losses_jobs
from kd_asr.experiments.mnist.networks import teacher_job
from kd_asr.experiments.mnist.privileged import privileged_jobs
from kd_asr.experiments.mnist.reduced import reduced_jobs
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import student_jobs, table_teachers
from kd_asr.experiments.mnist.temperature import temperature_jobs
from kd_asr.experiments.mnist.transfer import seen_share, transfer_jobs
from kd_asr.jobs.agreement import check_settings
from kd_asr.jobs.job import Job
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.tasks.digits import DIGITS, DigitArrays

_CONFIGURE = "mnist configure"


def experiment_jobs(settings: MnistSettings, digits: Path) -> Mapping[str, Callable[[], list[Job]]]:
    """The trainings of each experiment's networks, those of its teachers aside unless it shows them.

    Args:
        settings: of the run.
        digits: folder of its digits.
    """

    def transfer(experiment: str) -> list[Job]:
        return transfer_jobs(settings, experiment, seen_share(DigitArrays.load(digits), experiment))

    return {
        "table": lambda: [
            *(teacher_job(settings, name) for name in table_teachers(settings)),
            *student_jobs(settings),
        ],
        "temperature": lambda: [job for _, job in temperature_jobs(settings)],
        "omit3": lambda: transfer("omit3"),
        "only78": lambda: transfer("only78"),
        "losses": lambda: [job for _, job in losses_jobs(settings)],
        "reduced": lambda: [one.job for one in reduced_jobs(settings)],
        "privileged": lambda: [
            one.job for one in privileged_jobs(settings, len(DigitArrays.load(digits).train_labels))
        ],
        "filters": lambda: [one.job for one in digit_filter_networks(digits.parent, settings)],
    }


def check_experiments(
    run_dir: Path, settings: MnistSettings, digits: Artifact, experiments: Iterable[Artifact]
) -> None:
    """Refuse experiments whose digits, teachers or students were made with other settings than these.

    Args:
        run_dir: folder of the run.
        settings: of the run.
        digits: its digits.
        experiments: to show.

    Raises:
        UserError: names the setting, both values, and the command that makes the artifact anew.
    """
    check = partial(check_settings, run_dir, seed=settings.seed, configure=_CONFIGURE)
    data = settings.data
    check(digits, {"source": data.source, "dev_images": data.dev_images, "seed": settings.seed})
    jobs = experiment_jobs(settings, run_dir / DIGITS)
    for experiment in experiments:
        if experiment.name == FILTERS:
            check(experiment, decides(settings.filters))
        expected = {job.name: job for job in jobs[experiment.name]()}
        made = {name for name in experiment.inputs if _is_network(name)}
        for name in sorted(made ^ set(expected)):
            with_it = ("with", "leave out") if name in made else ("without", "ask for")
            raise UserError(
                f"{experiment.name} was made {with_it[0]} {name}, which the settings in {run_dir / SETTINGS_FILE} "
                f"{with_it[1]}: run `{making_command(run_dir, experiment.name)}` to make it anew, or set them back "
                f"with `kd-asr {_CONFIGURE}`"
            )
        for artifact in finished(run_dir, [experiment.name]):
            if _is_network(artifact.name):
                # What students learn from is a teacher of all images, or of all but dev.
                check(artifact, expected.get(artifact.name) or teacher_job(settings, artifact.name))


def _is_network(name: str) -> bool:
    return name.startswith(("networks/", "reduced_networks/", "privileged_networks/", "filter_networks/"))
