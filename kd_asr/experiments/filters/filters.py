"""Stage `filters`: what a student inherits of its teacher's filters and layers, on speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kd_asr.artifacts import Artifact, load_artifact, making_command
from kd_asr.corpora.base import corpus_of
from kd_asr.errors import UserError
from kd_asr.experiments.filters.plan import FilterNetwork, filter_networks
from kd_asr.experiments.filters.results import FILTERS, Shown, decides, print_table, write_filters
from kd_asr.experiments.filters.speech_data import SpeechWithoutDev
from kd_asr.jobs.agreement import check_settings
from kd_asr.jobs.job import Job
from kd_asr.registry import Named
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.plan import hard_job, variation
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train
from kd_asr.tasks.speech import LabelledSpeech, examples_of

__all__ = ["check_filters", "filters", "print_table", "speech_filter_networks"]


def filters(run_dir: Path, settings: Settings) -> Artifact:
    """Train the networks that are missing into `filter_networks/`, compare them, and write `filters/`.

    Test is read once, and nothing is chosen.
    """
    inputs = [load_artifact(run_dir, name) for name in ("features", "align")]
    networks = speech_filter_networks(run_dir, settings)
    trained = train(run_dir, settings, [one.job for one in networks], f"{len(networks)} convolutional networks")
    corpus = corpus_of(settings.corpus)
    shown = Shown(
        label=corpus.label,
        description=corpus.description,
        height="modulation frequency, Hz",
        width="cycles per mel bin",
        per_step=1 / settings.features.frame_shift,
        picture="time to the right, mel bins upwards",
        transposed=True,
    )
    test = examples_of([LabelledSpeech.of_set(run_dir, "test")], networks[0].job.network, evaluation=True)
    return write_filters(
        run_dir, settings.filters, networks, trained=trained, inputs=inputs, test=test, shown=shown
    )


def check_filters(run_dir: Path, settings: Settings) -> None:
    """Refuse a comparison whose networks were made with other settings than these.

    Raises:
        UserError: names the setting, both values, and the command that makes it anew.
    """
    made = load_artifact(run_dir, FILTERS)
    expected = {one.job.name: one.job for one in speech_filter_networks(run_dir, settings)}
    if set(made.inputs) - {"features", "align"} != set(expected):
        raise UserError(
            f"{FILTERS} was made with other networks than filters.seeds asks for in {run_dir / SETTINGS_FILE}: run "
            f"`{making_command(run_dir, FILTERS)}` to make it anew, or set it back with `kd-asr configure`"
        )
    check_settings(run_dir, made, decides(settings.filters), seed=settings.seed)
    for name, job in expected.items():
        check_settings(run_dir, load_artifact(run_dir, name), job, seed=settings.seed)


def speech_filter_networks(run_dir: Path, settings: Settings) -> list[FilterNetwork]:
    """The networks of the experiment, trained on the labels of `align`, without copies."""
    own = settings.filters

    def job_of(name: str, network: Named, seed: int) -> Job:
        data = SpeechWithoutDev(variation(settings))
        return replace(hard_job(settings, name, network), data=data, seed=seed)

    draft = replace(job_of("", settings.student_network, 0), epochs=own.epochs)
    return filter_networks(own, settings.seed, job_of, draft.updates(run_dir))
