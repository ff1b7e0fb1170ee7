"""How hard and soft training converge on parts of the data, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr.jobs.systems import Group
from kd_asr.reporting.palette import coloured_groups
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.run_results import read_history


def read_histories(
    rows: Sequence[Mapping[str, Any]], folders: Mapping[str, Path]
) -> dict[tuple[float, str], list[list[dict[str, Any]]]]:
    """Of (fraction, kind) the lines of `history.jsonl`, one list per repetition.

    Two kinds that are weights of the same network have one curve, the later kind's.

    Args:
        rows: of the experiment's manifest, one per system and repetition.
        folders: network -> folder of its artifact.
    """
    last = {row["network"]: (row["fraction"], row["kind"]) for row in rows}
    histories: dict[tuple[float, str], list[list[dict[str, Any]]]] = {}
    for network, key in last.items():
        histories.setdefault(key, []).append(read_history(folders[network] / "history.jsonl"))
    return histories


def plot_convergence(
    histories: Mapping[tuple[float, str], Sequence[Sequence[Mapping[str, Any]]]],
    groups: Sequence[Group],
    source: str,
    path: Path,
    *,
    accuracy: str = "frame accuracy",
) -> None:
    """Accuracy on the part (dashed) and on dev (solid) over updates, a panel for each fraction.

    Args:
        histories: of (fraction, kind), one per repetition, lines of `history.jsonl`.
        groups: the kinds.
        source: name of the corpus, for the title.
        path: of the PNG.
        accuracy: name of what is measured.
    """
    fractions = sorted({fraction for fraction, _ in histories})
    figure = new_figure(3.2 * len(fractions) + 1, 4.2, "Convergence on parts of the labels", source)
    panels = figure.subplots(1, len(fractions), sharey=True, squeeze=False)[0]
    for axes, fraction in zip(panels, fractions, strict=True):
        for group in coloured_groups(groups):
            for number, history in enumerate(histories.get((fraction, group.name), ())):
                measured = [line for line in history if line["dev_accuracy"] is not None]
                updates = [line["update"] for line in measured]
                label = group.networks_label if number == 0 else None
                on_dev = [100 * line["dev_accuracy"] for line in measured]
                on_part = [100 * line["train_accuracy"] for line in measured]
                axes.plot(updates, on_dev, color=group.colour, linewidth=1.5, label=label)
                axes.plot(updates, on_part, color=group.colour, linewidth=1.0, linestyle="--", alpha=0.7)
        axes.set_title(f"{100 * fraction:g} % of the labels", fontsize=10)
        axes.set_xlabel("updates")
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"{accuracy}, %")
    # By label, as a kind can lack in a panel.
    drawn = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    note = "solid: dev; dashed: the labelled part itself; a line for each repetition"
    figure.legend(
        list(drawn.values()),
        list(drawn),
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        frameon=False,
        title=note,
        title_fontsize=8,
    )
    save_figure(figure, path)
