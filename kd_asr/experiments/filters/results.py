"""What the experiment writes, on speech and on digits alike: figures, page, tables and pictures in one folder."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, read_json, write_json
from kd_asr.distillation.objectives import described
from kd_asr.experiments.filters.compare import ANSWERED, Material, compare
from kd_asr.experiments.filters.measures import height_frequencies, width_frequencies
from kd_asr.experiments.filters.network import FilterCnn
from kd_asr.experiments.filters.plan import FilterNetwork
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.jobs.job import MODEL
from kd_asr.networks.files import load_network
from kd_asr.reporting.csv_tables import write_page
from kd_asr.reporting.filters_figures import filter_figures
from kd_asr.reporting.filters_page import answer, filters_section, likeness_table
from kd_asr.reporting.filters_plots import plot_filters
from kd_asr.reporting.tables import to_rich
from kd_asr.tasks.labelled_subset import evenly_spaced
from kd_asr.training.examples import Examples

FILTERS = "filters"
CONTENT = "filters.json"
LIKENESSES = "likenesses.csv"


@dataclass(frozen=True)
class Shown:
    """How results of a task are shown.

    Attributes:
        label: Source of the data, for every title.
        description: The same as a sentence.
        height: Name of the frequencies along the height of a filter.
        width: Name of the frequencies along the width.
        per_step: Steps along the height in the unit of its frequencies: 100 for Hz with frames of 10 ms, else 1.
        picture: How a filter is drawn.
        transposed: Whether the height is drawn to the right and the width upwards, as in a spectrogram.
    """

    label: str
    description: str
    height: str
    width: str
    per_step: float
    picture: str
    transposed: bool


def write_filters(
    run_dir: Path,
    own: FiltersSettings,
    networks: Sequence[FilterNetwork],
    *,
    trained: Sequence[Artifact],
    inputs: Sequence[Artifact],
    test: Examples,
    shown: Shown,
) -> Artifact:
    """Compare trained networks and write `filters/`: `filters.md` with its tables as CSV, `filters.json`,
    `likenesses.csv` with every single comparison, and PNG files.

    Args:
        run_dir: folder of the run.
        own: settings of the experiment.
        networks: of `filter_networks`.
        trained: their artifacts, in the same order.
        inputs: artifacts that test comes from.
        test: labelled examples that no network has learnt from.
        shown: names and units.
    """

    def work(folder: Path) -> dict[str, Any]:
        material = Material(evenly_spaced(test, own.examples), evenly_spaced(test, ANSWERED * own.examples))
        compared = compare(networks, lambda name: _load(run_dir / name / f"{MODEL}.safetensors"), material)
        _write_likenesses(folder / LIKENESSES, compared["likenesses"])
        content = {
            **filter_figures(compared),
            "title": f"What a student inherits: {shown.label}",
            "label": shown.label,
            "about": _about(own, trained[0], material, shown),
            "parameters": {
                one.kind: artifact.metrics["parameters"] for one, artifact in zip(networks, trained, strict=True)
            },
            "axes": {name: getattr(shown, name) for name in ("height", "width", "picture", "transposed")},
            "frequencies": {
                "height": (height_frequencies() * shown.per_step).tolist(),
                "width": width_frequencies().tolist(),
            },
        }
        content = json.loads(json.dumps(content))  # page and pictures are made from the written JSON
        write_json(folder / CONTENT, content)
        plot_filters(content, folder)
        write_page(folder / "filters.md", page(content))
        return {"seeds": own.seeds, "answer": answer(content)}

    return build_artifact(
        run_dir,
        FILTERS,
        code=__name__,
        settings={"networks": [one.job.name for one in networks], **decides(own)},
        inputs=[*inputs, *trained],
        work=work,
    )


def decides(own: FiltersSettings) -> dict[str, Any]:
    """What of the settings decides the comparison, beside the networks."""
    return {"filters.examples": own.examples}


def show_filters(artifact: Artifact, folder: Path) -> dict[str, Any]:
    """Put pictures and every single comparison into the folder of a report; the content of its section."""
    content: dict[str, Any] = read_json(artifact.path / CONTENT)
    plot_filters(content, folder)
    shutil.copyfile(artifact.path / LIKENESSES, folder / f"filters-{LIKENESSES}")
    return content


def _load(path: Path) -> FilterCnn:
    model = load_network(path)
    assert isinstance(model, FilterCnn)
    return model


def _write_likenesses(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows({**row, "value": f"{row['value']:.6f}"} for row in rows)


def _about(own: FiltersSettings, first: Artifact, material: Material, shown: Shown) -> str:
    metrics = first.metrics
    return (
        f"{shown.description} {own.seeds} teachers with {own.teacher_channels} filters of {own.kernel_height} x "
        f"{own.kernel_width} in the first layer, and for each a student with {own.channels} on hard labels and one on "
        f"the teacher's soft targets: {described(own.losses)}. {metrics['updates']:,} updates for every network "
        f"({metrics['passes']:.3g} passes). Layers are compared on {len(material.layers):,} test examples, answers on "
        f"{len(material.answers):,}."
    )


def page(content: Mapping[str, Any]) -> str:
    """The page of its own, in Markdown."""
    sections = filters_section(content, level=1)
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def print_table(artifact: Artifact) -> None:
    """Print how alike students and teachers are, and what that says, on standard output."""
    content = read_json(artifact.path / CONTENT)
    console = Console(file=sys.stdout, highlight=False)
    console.print(to_rich(likeness_table(content)))
    for sentence in answer(content):
        console.print(sentence, markup=False)
    console.print(f"Page: {artifact.path / 'filters.md'}", markup=False, soft_wrap=True)
