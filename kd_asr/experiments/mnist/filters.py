"""Experiment `filters` of the MNIST recipe: what a student inherits of its teacher's filters and layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kd_asr.artifacts import Artifact
from kd_asr.experiments.filters.plan import FilterNetwork, filter_networks
from kd_asr.experiments.filters.results import Shown, print_table, write_filters
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import digit_job, train
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.features.images import Images
from kd_asr.jobs.job import Job
from kd_asr.registry import Named
from kd_asr.tasks.digits import DigitArrays
from kd_asr.training.examples import Examples

__all__ = ["digit_filter_networks", "filters", "print_table"]


def filters(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Train the networks that are missing into `filter_networks/`, compare them, and write `filters/`.

    Test is read once, and nothing is chosen.
    """
    source = digits(run_dir, settings)
    networks = digit_filter_networks(run_dir, settings)
    trained = train(run_dir, settings, [one.job for one in networks], f"{len(networks)} convolutional networks")
    is_mnist = settings.data.source == "mnist"
    shown = Shown(
        label="MNIST" if is_mnist else "NOT MNIST: scikit-learn's digits of 8 x 8 pixels",
        description="The digits are MNIST's." if is_mnist else "The digits are scikit-learn's.",
        height="cycles per pixel, downwards",
        width="cycles per pixel, to the right",
        per_step=1.0,
        picture="as on the image",
        transposed=False,
    )
    arrays = DigitArrays.load(source.path)
    test = Examples(Images(arrays.test_images), arrays.test_labels.long())
    return write_filters(
        run_dir, settings.filters, networks, trained=trained, inputs=[source], test=test, shown=shown
    )


def digit_filter_networks(run_dir: Path, settings: MnistSettings) -> list[FilterNetwork]:
    """The networks of the experiment, trained on all training images with the recipe of `hard`."""
    own = settings.filters

    def job_of(name: str, network: Named, seed: int) -> Job:
        return digit_job(name, replace(settings.hard, network=network), seed=seed)

    draft = replace(job_of("", settings.hard.network, 0), epochs=own.epochs)
    return filter_networks(own, settings.seed, job_of, draft.updates(run_dir))
