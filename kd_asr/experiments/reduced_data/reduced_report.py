"""Stage `reduced_report`: the reduced-data experiment on one page, as JSON and as a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.reporting.reduced_figures import KINDS, PAPER, reduced_figures
from kd_asr.reporting.reduced_page import console_table, page, summary
from kd_asr.reporting.reduced_plots import plot_convergence, read_histories
from kd_asr.reporting.run_results import paired_decoded, paired_scores, read_decoded
from kd_asr.reporting.sources import source_description, source_label
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
        plot_convergence(histories, source_label(settings.corpus), folder / "convergence.png")
        (folder / "report.md").write_text(page(content), encoding="utf-8")
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
    """Print the table on standard output (or `file`), and where the page is."""
    content = read_json(report_json)
    console = Console(file=file or sys.stdout, highlight=False)
    console.print(to_rich(console_table(content)))
    console.print(summary(content), markup=False)
    console.print(f"Report: {report_json.with_name('report.md')}", markup=False, soft_wrap=True)


def _content(settings: Settings, experiment: Artifact) -> dict[str, Any]:
    rows = experiment.metrics["rows"]
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

    def by_system(of_name: dict[str, NDArray[Any]]) -> dict[tuple[float, str], NDArray[np.int64]]:
        keys = sorted({(row["fraction"], row["kind"]) for row in rows}, key=lambda key: (key[0], KINDS.index(key[1])))
        return {
            key: np.stack([of_name[row["name"]] for row in rows if (row["fraction"], row["kind"]) == key])
            for key in keys
        }

    return {
        "title": f"Soft targets as regularisers on {source_label(settings.corpus)}",
        "description": source_description(settings.corpus),
        "preset": settings.preset,
        "seed": settings.seed,
        "repetitions": settings.reduced.seeds,
        "updates": experiment.metrics["updates"],
        "draw": experiment.metrics["draw"],
        "figures": reduced_figures(
            rows,
            by_system({name: one.correct for name, one in scores.items()}),
            scores[names[0]].frames,
            by_system(errors),
            words,
        ),
        "parts": experiment.metrics["parts"],
        "paper": PAPER,
        "settings": dump(settings),
        "fingerprints": {"reduced": experiment.fingerprint},
    }
