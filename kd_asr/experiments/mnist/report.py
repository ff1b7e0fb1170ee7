"""Stage `report` of the MNIST recipe: all finished experiments on one page, as JSON and as plots."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from rich.console import Console

from kd_asr.artifacts import MANIFEST, Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.corpora.mnist import CLASSES
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.errors import UserError
from kd_asr.experiments.filters.results import FILTERS, show_filters
from kd_asr.experiments.mnist.agreement import check_experiments
from kd_asr.experiments.mnist.networks import posteriors_name, teacher_name
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.systems import Systems, groups_of
from kd_asr.machine import Machine
from kd_asr.reporting.banner import banner
from kd_asr.reporting.csv_tables import write_page
from kd_asr.reporting.mnist_figures import (
    losses_figures,
    paper_beside,
    table_figures,
    temperature_figures,
    transfer_figures,
)
from kd_asr.reporting.mnist_page import console_table, page, summary
from kd_asr.reporting.mnist_plots import TEMPERATURES, pictures
from kd_asr.reporting.page.digits import DarkKnowledge, Mistakes, mistakes_of, write_digits_page
from kd_asr.reporting.palette import coloured, coloured_groups
from kd_asr.reporting.privileged import privileged_figures
from kd_asr.reporting.reduced_figures import counts_by_key, reduced_figures
from kd_asr.reporting.reduced_plots import plot_convergence, read_histories
from kd_asr.reporting.tables import to_rich
from kd_asr.settings.fields import dump
from kd_asr.tasks.digits import DIGITS, DigitArrays

EXPERIMENTS = ("table", "temperature", "omit3", "only78", "losses", "reduced", "privileged", FILTERS)


def report(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Write `report/`: the page `index.html` with what it needs, `report.md`, `report.json` and PNG files of all
    finished experiments.

    Raises:
        UserError: no experiment has been run, or one is out of date or was made with other settings.
    """
    done = {
        name: load_artifact(run_dir, name, remedy=f"kd-asr mnist {name} {run_dir}")
        for name in EXPERIMENTS
        if (run_dir / name / MANIFEST).exists()
    }
    if not done:
        raise UserError(f"{run_dir} holds no experiment: run `kd-asr mnist table {run_dir}` first")
    digits = load_artifact(run_dir, DIGITS, remedy=f"kd-asr mnist digits {run_dir}")
    check_experiments(run_dir, settings, digits, done.values())
    stores = posteriors_name(teacher_name(0))
    teacher = load_artifact(run_dir, stores) if (run_dir / stores / MANIFEST).exists() else None

    def work(folder: Path) -> dict[str, Any]:
        content = _content(run_dir, settings, digits, done)
        content["dark_knowledge"] = teacher is not None
        if FILTERS in done:
            content[FILTERS] = show_filters(done[FILTERS], folder)
        content = json.loads(json.dumps(content))  # page and plots are made from the written JSON
        dark = _dark_knowledge(digits, teacher) if teacher is not None else None
        pictures(content, folder, None if dark is None else _doubtful(dark))
        if "reduced" in done:
            rows = done["reduced"].metrics["rows"]
            folders = {row["network"]: load_artifact(run_dir, row["network"]).path for row in rows}
            plot_convergence(
                read_histories(rows, folders),
                groups_of(content["reduced"]["groups"]),
                content["label"],
                folder / "reduced.png",
                accuracy="accuracy",
            )
        write_page(folder / "report.md", page(content))
        write_json(folder / "report.json", content)
        write_digits_page(folder, content, dark, _mistakes(digits, done["table"]) if "table" in done else None)
        return {"experiments": list(done)}

    return build_artifact(
        run_dir,
        "report",
        code=__name__,
        settings=dump(settings),
        inputs=[digits, *done.values(), *([teacher] if teacher is not None else [])],
        work=work,
    )


def print_table(report_json: Path, file: TextIO | None = None) -> None:
    """Print the main table, if there is one, and the path of the page on standard output or `file`."""
    content = read_json(report_json)
    console = Console(file=file or sys.stdout, highlight=False)
    if banner(content["preset"]):
        console.print(banner(content["preset"]), markup=False, style="bold")
    if "table" in content:
        console.print(to_rich(console_table(content)))
        console.print(summary(content), markup=False)
    console.print(f"Report: {report_json.with_name('report.md')}", markup=False, soft_wrap=True)


def _content(
    run_dir: Path, settings: MnistSettings, digits: Artifact, done: Mapping[str, Artifact]
) -> dict[str, Any]:
    is_mnist = settings.data.source == "mnist"
    systems = coloured(Systems.from_json(done["table"].metrics["groups"])) if "table" in done else None
    label = "MNIST" if is_mnist else "NOT MNIST: scikit-learn's 1797 digits of 8 x 8 pixels"
    content: dict[str, Any] = {
        "title": f"Distillation on {label}",
        "label": label,
        "description": "The digits are MNIST's."
        if is_mnist
        else "The digits are scikit-learn's, as there was no MNIST: the figures show that the pipeline works, and "
        "cannot be set beside the paper's.",
        "comparable": is_mnist,
        "preset": settings.preset,
        "seed": settings.seed,
        "images": digits.metrics,
        "paper": paper_beside(systems),
        "settings": dump(settings),
        "timings": _timings(run_dir, done)
        | {"machine": Machine.measure(settings.device, settings.teacher.budget().precision).to_json()},
        "fingerprints": {name: artifact.fingerprint for name, artifact in done.items()},
    }
    if systems is not None:
        metrics = done["table"].metrics
        wrong = np.load(done["table"].path / "wrong.npy", allow_pickle=False)
        figures = table_figures(systems, metrics["test_errors"], wrong)
        content["table"] = {
            "groups": systems.to_json(),
            "test": metrics["test"],
            "parameters": metrics["parameters"],
            **figures,
        }
    if "temperature" in done:
        wrong = np.load(done["temperature"].path / "wrong.npy", allow_pickle=False)
        content["temperature"] = temperature_figures(done["temperature"].metrics, wrong)
    for experiment in ("omit3", "only78"):
        if experiment in done:
            content[experiment] = transfer_figures(done[experiment].metrics)
    if "losses" in done:
        content["losses"] = losses_figures(done["losses"].metrics)
    if "reduced" in done:
        content["reduced"] = _reduced(done["reduced"])
    if "privileged" in done:
        content["privileged"] = privileged_figures(done["privileged"].metrics)
    return content


def _reduced(experiment: Artifact) -> dict[str, Any]:
    rows = experiment.metrics["rows"]
    correct = np.load(experiment.path / "correct.npy", allow_pickle=False).astype(np.int64)
    groups = coloured_groups(groups_of(experiment.metrics["groups"]))
    return {
        "test": correct.shape[1],
        "updates": experiment.metrics["updates"],
        "groups": [asdict(group) for group in groups],
        **reduced_figures(
            rows, groups, counts_by_key(rows, groups, list(correct)), np.ones(correct.shape[1], dtype=np.int64)
        ),
    }


def _timings(run_dir: Path, done: Mapping[str, Artifact]) -> dict[str, Any]:
    """Wall seconds of all networks of a kind, such as `teacher` of `networks/teacher-03`, and their devices."""
    kinds = ("networks/", "filter_networks/")
    networks = {name for artifact in done.values() for name in artifact.inputs if name.startswith(kinds)}
    seconds: dict[str, float] = {}
    devices = set()
    for name in sorted(networks):
        network, kind = load_artifact(run_dir, name), name.removeprefix("networks/").rstrip("0123456789").rstrip("-")
        seconds[kind] = seconds.get(kind, 0.0) + network.own_seconds
        devices.add(network.metrics["device"])
    return {"network_seconds": seconds, "trained_on": sorted(devices)}


def _mistakes(digits: Artifact, table: Artifact) -> Mistakes:
    arrays = DigitArrays.load(digits.path)
    wrong = np.load(table.path / "wrong.npy", allow_pickle=False)
    systems = Systems.from_json(table.metrics["groups"])
    return mistakes_of(systems, wrong, arrays.test_images.numpy(), arrays.test_labels.numpy())


def _dark_knowledge(digits: Artifact, teacher: Artifact) -> DarkKnowledge:
    """For each digit the training image that the teacher is surest of, and the one that it classifies correctly but
    least certainly, with their log-posteriors."""
    arrays = DigitArrays.load(digits.path)
    log_probs = PosteriorStore(teacher.path, expect={"digits": digits.fingerprint}).targets(
        torch.arange(len(arrays.train_labels))
    ).dense_log_probs(1.0)  # fmt: skip
    labels = arrays.train_labels.long()
    own = log_probs.gather(1, labels[:, None])[:, 0]
    surest = [own.masked_fill(labels != digit, -torch.inf).argmax() for digit in range(CLASSES)]
    own = own.masked_fill(log_probs.argmax(dim=1) != labels, 1.0)  # errors are not shown
    doubtful = [own.masked_fill(labels != digit, 1.0).argmin() for digit in range(CLASSES)]
    chosen = torch.stack([one for pair in zip(surest, doubtful, strict=True) for one in pair])
    return DarkKnowledge(
        arrays.train_images[chosen].numpy(),
        tuple(labels[chosen].tolist()),
        log_probs[chosen].numpy(),
        (True, False) * CLASSES,
    )


def _doubtful(dark: DarkKnowledge) -> dict[str, Any]:
    """The doubtful digits, with soft targets at the temperatures of the picture."""
    doubtful = [number for number, sure in enumerate(dark.sure) if not sure]
    log_probs = torch.from_numpy(dark.log_posteriors[doubtful])
    return {
        "images": dark.images[doubtful],
        "labels": [dark.labels[number] for number in doubtful],
        "soft_targets": {t: (log_probs / t).softmax(dim=1).numpy() for t in TEMPERATURES},
    }
