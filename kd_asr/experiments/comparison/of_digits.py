"""A finished run on digits, as a comparison reads it: every image is an utterance of one frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_asr.artifacts import Artifact, load_artifact, read_array
from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import calibrate
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.experiments.comparison.costs import NetworkCosts, checksums, group_cost, labels_of
from kd_asr.experiments.mnist.agreement import check_experiments, experiment_jobs
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import table_systems
from kd_asr.jobs.costs import Costs
from kd_asr.networks.operations import on_images
from kd_asr.reporting.compare_results import RunResult, SystemResult
from kd_asr.settings.files import load_settings_of
from kd_asr.tasks.digits import DIGITS


def digit_result(run_dir: Path, name: str) -> RunResult:
    """Results and costs of a run whose table has been made.

    Raises:
        UserError: it has not, or with other settings than those of the run, or by an older version.
    """
    settings = load_settings_of(MnistSettings, run_dir, "mnist configure")
    systems, table = table_systems(settings), load_artifact(run_dir, "table", remedy=f"kd-asr mnist table {run_dir}")
    digits = load_artifact(run_dir, DIGITS)
    check_experiments(run_dir, settings, digits, [table])
    wrong, of_labels, confidences = (_array(table, one) for one in ("wrong", "label_log_posteriors", "confidences"))
    images = tuple(f"image {number}" for number in range(wrong.shape[1]))
    ones = np.ones(len(images), dtype=np.int64)
    networks = {one.artifact: load_artifact(run_dir, one.artifact) for one in systems.networks}
    jobs = {job.name: job for job in experiment_jobs(settings, digits.path)["table"]()}
    counted = NetworkCosts(run_dir, on_images)
    costs = Costs(run_dir, jobs, counted.multiply_adds, labels_of)
    return RunResult(
        name=name,
        task="digits",
        source="MNIST" if settings.data.source == "mnist" else "NOT MNIST: scikit-learn's digits of 8 x 8 pixels",
        systems=systems,
        results={
            system.name: SystemResult(
                FrameScores(images, 1 - wrong[row].astype(np.int64), ones, -of_labels[row].astype(np.float64)),
                calibrate(confidences[row], ~wrong[row]),
                None,
                tuple(networks[member.artifact].fingerprint for member in system.members),
            )
            for row, system in enumerate(systems.systems)
        },
        costs={group.name: group_cost(costs, counted, systems, group) for group in systems.groups},
        utterance_ids=images,
        frames=ones,
        words=None,
        labels=checksums(digits, "test_"),
    )


def _array(table: Artifact, name: str) -> np.ndarray:
    """An array of the table, (systems, images)."""
    path = table.path / f"{name}.npy"
    if not path.exists():
        raise UserError(
            f"{table.path} is of a version that kept no posteriors: run `kd-asr mnist table {table.path.parent}` again"
        )
    return read_array(path)
