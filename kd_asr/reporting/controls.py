"""Sections of a report on what a student's figures come from: unlabelled audio, its size, the number of teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.contents import Report, group_label, systems_of
from kd_asr.reporting.figures import comparison_key
from kd_asr.reporting.tables import (
    NOT_KNOWN,
    Table,
    byte_size,
    count,
    decimal,
    percent,
    percent_interval,
    signed_percent,
    to_markdown,
)


def sizes_compared(systems: Systems) -> list[tuple[Group, Group]]:
    """(baselines, students) of each size, the full one first; empty where there is only that."""
    smaller = [(systems.group(group.twin), group) for group in systems.students if group.size != 1]
    if not smaller or systems.reference is None:
        return []
    full = next(group for group in systems.students if group.size == 1)
    return [(systems.group(full.twin) if full.twin else systems.reference, full), *smaller]


def sizes_table(report: Report) -> Table:
    """Size, speed and test figures of students of each size and of networks like them on hard labels."""
    systems, timings = systems_of(report), report["timings"]
    rows = []
    for twin, student in sizes_compared(systems):
        for group in (twin, student):
            test = report["figures"]["systems"][group.name]["test"]
            rows.append(
                (
                    group_label(systems, group),
                    count(report["sizes"][group.name]["parameters"]),
                    byte_size(report["sizes"][group.name]["bytes"]),
                    percent(test["frame_accuracy"]),
                    percent(test["wer"]),
                    *(_gain(report, measure, student, twin, group) for measure in ("frame_accuracy", "wer")),
                    decimal(timings["network_real_time_factor"][group.name], 4),
                    decimal(timings["search_real_time_factor"][group.name], 3),
                )
            )
    columns = (
        *("system", "parameters", "size on disk", "test frame accuracy %", "test WER %"),
        *("frame accuracy over its baseline's, points (95 % interval)", "WER over its baseline's"),
        *("network real-time factor", "search real-time factor"),
    )
    return Table(columns, tuple(rows))


def _gain(report: Report, measure: str, student: Group, twin: Group, group: Group) -> str:
    """A student's difference from its twin; nothing in the twin's row."""
    if group is twin:
        return NOT_KNOWN
    one = report["figures"]["comparisons"]["test"][measure][comparison_key(student, twin)]
    return f"{signed_percent(one['value'])} ({percent_interval(one['interval'], signed=True)})"


def shares_table(report: Report) -> Table:
    """Dev figures of students with shares of the unlabelled audio."""
    return Table(
        ("unlabelled audio", "minutes without long silence", "dev frame accuracy %", "dev cross-entropy, nats"),
        tuple(
            (
                f"{percent(row['fraction'], 0)} %",
                decimal(row["minutes"], 1),
                _spread(row["dev_frame_accuracy"], 100, 2),
                _spread(row["dev_cross_entropy"], 1, 3),
            )
            for row in report["controls"]["unlabelled_shares"]
        ),
    )


def teachers_table(report: Report) -> Table:
    """Frame accuracy of ensembles of several sizes."""
    return Table(
        ("networks in the ensemble", "ensembles", "dev frame accuracy %", "test frame accuracy %"),
        tuple(
            (
                str(row["members"]),
                str(len(row["dev"])),
                *(_spread(row[set_name], 100, 2) for set_name in ("dev", "test")),
            )
            for row in report["controls"]["ensemble_sizes"]
        ),
    )


def _spread(values: Sequence[float], scale: float, digits: int) -> str:
    """Mean, and standard deviation of several values."""
    mean = decimal(scale * float(np.mean(values)), digits)
    return f"{mean} ± {decimal(scale * float(np.std(values, ddof=1)), digits)}" if len(values) > 1 else mean


def control_sections(report: Report) -> list[str]:
    """Sections with tables and plots, as far as the run has them."""
    controls: Mapping[str, Any] = report.get("controls", {})
    sections: list[str] = []
    if sizes_compared(systems_of(report)):
        sections += [
            "## Smaller students",
            "Students of each size beside baselines of that size with the same number of updates, on test. Differences "
            "are those of means, paired over utterances.",
            to_markdown(sizes_table(report)),
            "![Students and baselines by size](sizes.png)",
        ]
    if controls.get("unlabelled_shares"):
        sections += [
            "## What the unlabelled audio brings",
            "Students with a share of the unlabelled audio and the same number of updates, on dev; with 0 % they learn "
            "from the training set and its copies alone, as long as the others. Mean ± standard deviation over seeds.",
            to_markdown(shares_table(report)),
            "![Students by share of the unlabelled audio](unlabelled.png)",
        ]
    if len(controls.get("ensemble_sizes", [])) > 1:
        sections += [
            "## How many teachers",
            "Ensembles of some of the members, as many as can be made of which no two share a network: mean ± standard "
            "deviation of their frame accuracy.",
            to_markdown(teachers_table(report)),
            "![Frame accuracy by number of teachers](teachers.png)",
        ]
    return sections


def sweep_sentences(report: Report) -> list[str]:
    """What the sweep found best, whether the students use it, and whether it is at an edge."""
    chosen = report.get("controls", {}).get("sweep")
    if not chosen:
        return []
    best = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in chosen["best"].items() if value is not None
    )
    used = "The students use it." if chosen["decides"] else "The students use what the settings say."
    edges = [
        f"The best {name.replace('_', ' ')}, {value:g}, is at the edge of what was tried; a further one may be better."
        for name, value in chosen["at_edge"].items()
    ]
    return [" ".join([f"Best on dev: {best}. {used}", *edges])]
