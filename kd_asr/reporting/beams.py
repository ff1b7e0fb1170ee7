"""Comparison of search beams: a table and a plot of word error rate against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr.reporting.palette import PALETTE
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.tables import Table, percent, signed_percent


def beam_table(rows: Sequence[Mapping[str, Any]], system: str) -> Table:
    """One row per beam, narrow to wide; differences are from the widest.

    Args:
        rows: with `beam`, `wer` (0..1), `search_real_time_factor` and `network_real_time_factor` (seconds of one core
            per second of speech) and `unfinished` (utterances without a complete path), the widest beam last.
        system: name of the decoded system.
    """
    widest = rows[-1]["wer"]
    return Table(
        ("beam", "dev WER %", "difference", "search RTF", "with network", "unfinished"),
        tuple(
            (
                f"{row['beam']:g}",
                percent(row["wer"]),
                signed_percent(row["wer"] - widest),
                f"{row['search_real_time_factor']:.4f}",
                f"{_together(row):.4f}",
                str(row["unfinished"]),
            )
            for row in rows
        ),
        title=f"Search beams on dev, {system}; RTF: seconds of one core per second of speech",
    )


def plot_beams(rows: Sequence[Mapping[str, Any]], system: str, colour: str, source: str, path: Path) -> None:
    """Plot word error rate over the real-time factor of search and network, one point per beam; an empty `colour` is
    the first of the palette."""
    figure = new_figure(6.4, 4.4, f"What a narrow search costs (dev, {system})", source)
    axes = figure.subplots()
    times, wers = [_together(row) for row in rows], [100 * row["wer"] for row in rows]
    axes.plot(times, wers, "o-", color=colour or PALETTE[0])
    for row, time, wer in zip(rows, times, wers, strict=True):
        axes.annotate(f"{row['beam']:g}", (time, wer), (6, 6), textcoords="offset points", fontsize=9)
    axes.axhline(wers[-1] + 0.2, color="#888888", linestyle="--", linewidth=1)
    axes.annotate(
        "0.2 points above the widest",
        (0.0, wers[-1] + 0.2),
        (4, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )
    axes.set_xscale("log")
    axes.set_xlabel("seconds of one core per second of speech, search and network together")
    axes.set_ylabel("word error rate, %")
    axes.margins(0.1)
    axes.grid(alpha=0.3, which="both")
    save_figure(figure, path)


def _together(row: Mapping[str, Any]) -> float:
    both: float = row["search_real_time_factor"] + row["network_real_time_factor"]
    return both
