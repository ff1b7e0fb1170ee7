"""How hard and soft training converge on parts of the data, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.reduced_figures import STOPPED
from kd_asr.reporting.run_results import read_history

_DRAWN = {
    "hard": ("hard labels", "#0072B2"),
    "soft": ("soft targets", "#009E73"),
    "soft_everywhere": ("soft targets of {everything}", "#E69F00"),
}


def read_histories(
    rows: Sequence[Mapping[str, Any]], folders: Mapping[str, Path]
) -> dict[tuple[float, str], list[list[dict[str, Any]]]]:
    """Of (fraction, arm) the lines of `history.jsonl`, one list per repetition.

    Args:
        rows: of the experiment's manifest, one per system and repetition.
        folders: network -> folder of its artifact.
    """
    histories: dict[tuple[float, str], list[list[dict[str, Any]]]] = {}
    for row in rows:
        if row["kind"] != STOPPED:  # of the same network as hard labels to the end
            history = read_history(folders[row["network"]] / "history.jsonl")
            histories.setdefault((row["fraction"], row["kind"].removesuffix("_last")), []).append(history)
    return histories


def plot_convergence(
    histories: Mapping[tuple[float, str], Sequence[Sequence[Mapping[str, Any]]]],
    source: str,
    path: Path,
    *,
    everything: str = "all audio",
    accuracy: str = "frame accuracy",
) -> None:
    """Accuracy on the part (dashed) and on dev (solid) over updates, a panel for each fraction.

    Args:
        histories: of (fraction, arm), one per repetition, lines of `history.jsonl`.
        source: name of the corpus, for the title.
        path: of the PNG.
        everything: what the whole training set consists of, in words.
        accuracy: name of what is measured.
    """
    fractions = sorted({fraction for fraction, _ in histories})
    figure = new_figure(3.2 * len(fractions) + 1, 4.2, "Convergence on parts of the labels", source)
    panels = figure.subplots(1, len(fractions), sharey=True, squeeze=False)[0]
    for axes, fraction in zip(panels, fractions, strict=True):
        for arm, (name, colour) in _DRAWN.items():
            for number, history in enumerate(histories.get((fraction, arm), ())):
                measured = [line for line in history if line["dev_frame_accuracy"] is not None]
                updates = [line["update"] for line in measured]
                label = name.format(everything=everything) if number == 0 else None
                on_dev = [100 * line["dev_frame_accuracy"] for line in measured]
                on_part = [100 * line["train_frame_accuracy"] for line in measured]
                axes.plot(updates, on_dev, color=colour, linewidth=1.5, label=label)
                axes.plot(updates, on_part, color=colour, linewidth=1.0, linestyle="--", alpha=0.7)
        axes.set_title(f"{100 * fraction:g} % of the labels", fontsize=10)
        axes.set_xlabel("updates")
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"{accuracy}, %")
    handles, labels = panels[0].get_legend_handles_labels()
    note = "solid: dev; dashed: the labelled part itself; a line for each repetition"
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
        title=note,
        title_fontsize=8,
    )
    save_figure(figure, path)
