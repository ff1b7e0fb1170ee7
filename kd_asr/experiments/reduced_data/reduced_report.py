"""Stage `reduced_report`: the reduced-data experiment on one page, as JSON and as a plot."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.corpora.base import corpus_of
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.jobs.systems import groups_of
from kd_asr.reporting.banner import banner
from kd_asr.reporting.csv_tables import write_page
from kd_asr.reporting.palette import coloured_groups
from kd_asr.reporting.reduced_figures import PAPER, counts_by_key, reduced_figures
from kd_asr.reporting.reduced_page import console_table, page, summary
from kd_asr.reporting.reduced_plots import plot_convergence, read_histories
from kd_asr.reporting.run_results import paired_decoded, paired_scores, read_decoded
from kd_asr.reporting.tables import to_rich
from kd_asr.settings.fields import dump
from kd_asr.stages.settings import Settings


def reduced_report(run_dir: Path, settings: Settings) -> Artifact:
    """Write `reduced_report/`: `report.md`, `report.json` and `convergence.png`."""
    experiment = load_artifact(run_dir, "reduced")
    networks = {row["network"]: load_artifact(run_dir, row["network"]) for row in experiment.metrics["rows"]}

    def work(folder: Path) -> dict[str, Any]:
        content = json.loads(json.dumps(_content(settings, experiment)))
        folders = {name: artifact.path for name, artifact in networks.items()}
        histories = read_histories(experiment.metrics["rows"], folders)
        groups = groups_of(content["groups"])
        plot_convergence(histories, groups, corpus_of(settings.corpus).label, folder / "convergence.png")
        write_page(folder / "report.md", page(content))
        write_json(folder / "report.json", content)
        return {"summary": summary(content)}

    return build_artifact(
        run_dir,
        "reduced_report",
        code=__name__,
        settings=dump(settings),
        inputs=[experiment],
        work=work,
    )


def print_table(report_json: Path, file: TextIO | None = None) -> None:
    """Print the table and the path of the page on standard output or `file`."""
    content = read_json(report_json)
    console = Console(file=file or sys.stdout, highlight=False)
    if banner(content["preset"]):
        console.print(banner(content["preset"]), markup=False, style="bold")
    console.print(to_rich(console_table(content)))
    console.print(summary(content), markup=False)
    console.print(f"Report: {report_json.with_name('report.md')}", markup=False, soft_wrap=True)


def _content(settings: Settings, experiment: Artifact) -> dict[str, Any]:
    rows = experiment.metrics["rows"]
    groups = coloured_groups(groups_of(experiment.metrics["groups"]))
    names = [row["name"] for row in rows]
    scores = paired_scores(
        {name: FrameScores.from_json(read_json(experiment.path / f"{name}.frames.json")) for name in names},
        names,
        "test",
    )
    decoded = paired_decoded({name: read_decoded(experiment.path / f"{name}.jsonl") for name in names}, "test")
    errors = {name: np.array([one.aligned.errors.errors for one in decoded[name]]) for name in names}
    first = decoded[names[0]]
    words = np.array([one.aligned.errors.reference_words for one in first])

    return {
        "title": f"Soft targets as regularisers on {corpus_of(settings.corpus).label}",
        "description": corpus_of(settings.corpus).description,
        "preset": settings.preset,
        "seed": settings.seed,
        "repetitions": settings.reduced.seeds,
        "updates": experiment.metrics["updates"],
        "draw": experiment.metrics["draw"],
        "groups": [asdict(group) for group in groups],
        "figures": reduced_figures(
            rows,
            groups,
            counts_by_key(rows, groups, [scores[name].correct for name in names]),
            scores[names[0]].frames,
            word_errors=counts_by_key(rows, groups, [errors[name] for name in names]),
            words=words,
        ),
        "parts": experiment.metrics["parts"],
        "paper": PAPER,
        "settings": dump(settings),
        "fingerprints": {"reduced": experiment.fingerprint},
    }
