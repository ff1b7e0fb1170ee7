"""The page of the reduced-data experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_asr.jobs.systems import Group, groups_of
from kd_asr.reporting.banner import banner_in_markdown
from kd_asr.reporting.reduced_figures import PAPER, PAPER_ROWS
from kd_asr.reporting.tables import (
    Table,
    count,
    decimal,
    duration,
    percent,
    percent_interval,
    signed_percent,
    to_markdown,
)
from kd_asr.text import as_code, in_markdown

HOW_TO_READ = """\
- **The labelled part** keeps its labels: whole utterances drawn at random, each part inside the larger ones; every
  repetition draws its own. The teacher is the ensemble that was trained on all labels, as in the paper.
  **Soft targets** are its posteriors for the frames of the part; only *soft targets of all audio* uses frames outside
  the part, for which it has no labels.
- **The same number of updates** is made for every network, whatever the size of its part, and networks of one
  repetition have the same initial weights. *Stopped early* and *to the end* are two sets of weights of one network:
  those best on dev, which is evaluated often in the beginning, when a small part is memorised, and the last ones. With
  soft targets the weights are always the last ones: dev chooses nothing for them.
- **Train accuracy** is on the labelled part, without augmentation; **test** was read once.
- **Dev cross-entropy** shows what accuracy may hide: a network that has memorised its part becomes ever more certain
  of its errors.
- **Intervals in brackets** come from a bootstrap over test utterances (10,000 draws, with the mean over repetitions
  inside each draw); those over repetitions are Student's t and say what other parts and seeds would give. Differences
  are paired.
- **Recovered** is (soft - stopped early) / (all labels, stopped early - stopped early), in test frame accuracy.
- The acoustic scale was chosen on dev with the first repetition of each row.
"""


def with_role(groups: Sequence[Group], role: str) -> Group | None:
    """The first group of a role."""
    return next((group for group in groups if group.role == role), None)


def part_name(fraction: float) -> str:
    """A fraction in percent, as a row label."""
    return f"{100 * fraction:g} %"


def main_table(report: Mapping[str, Any]) -> Table:
    """Train and test frame accuracy and WER by fraction and group."""
    labels = {group.name: group.label for group in groups_of(report["groups"])}
    rows = []
    for one in report["figures"]["systems"]:
        accuracy, wer = one["test_frame_accuracy"], one["test_wer"]
        rows.append(
            (
                f"{part_name(one['fraction'])}: {labels[one['kind']]}",
                percent(one["part_frame_accuracy"]["mean"]),
                percent(accuracy["mean"]),
                percent_interval(one["test_frame_accuracy_interval"]),
                percent_interval(accuracy["interval_over_repetitions"]),
                percent(one["share_of_all_labels"], 1),
                decimal(one["dev_cross_entropy"]["mean"]),
                percent(wer["mean"]),
                percent_interval(one["test_wer_interval"]),
            )
        )
    columns = (
        "labelled part, trained on",
        "train frame accuracy %",
        "test frame accuracy %",
        "[over utterances]",
        "over repetitions",
        "of all labels' %",
        "dev cross-entropy, nats",
        "test WER %",
        "[over utterances] ",
    )
    return Table(columns, tuple(rows), title=report["title"])


def console_table(report: Mapping[str, Any]) -> Table:
    """The main table without its intervals."""
    table = main_table(report)
    shown = (0, 1, 2, 5, 7)
    return Table(
        tuple(table.columns[column] for column in shown),
        tuple(tuple(row[column] for column in shown) for row in table.rows),
        title=table.title,
    )


def comparison_table(report: Mapping[str, Any]) -> Table:
    """Every student group against the reference, on the same part."""
    groups = groups_of(report["groups"])
    labels = {group.name: group.label for group in groups}
    reference = with_role(groups, "reference")
    rows = []
    for one in report["figures"]["comparisons"]:
        accuracy, wer = one["frame_accuracy"], one["wer"]
        rows.append(
            (
                f"{part_name(one['fraction'])}: {labels[one['kind']]}",
                f"{signed_percent(accuracy['value'])} [{percent_interval(accuracy['interval'], signed=True)}]",
                percent(one["won_back"], 0),
                f"{signed_percent(wer['value'])} [{percent_interval(wer['interval'], signed=True)}]",
                f"{wer['p_value']:.4f}",
            )
        )
    against = "" if reference is None else f"against {reference.in_a_sentence}"
    columns = (against, "frame accuracy, points", "recovered %", "WER, points", "p (WER)")
    return Table(columns, tuple(rows))


def data_table(report: Mapping[str, Any]) -> Table:
    """Sizes of the parts."""
    rows = tuple(
        (
            f"{part_name(one['fraction'])}, repetition {one['repetition'] + 1}",
            duration(one["seconds"]),
            count(one["utterances"]),
            count(one["speakers"]),
            decimal(one["passes"], 1),
            decimal(one["best_pass"], 1),
        )
        for one in report["parts"]
    )
    columns = ("part", "speech", "utterances", "speakers", "passes over it", "hard labels were best on dev after")
    return Table(columns, rows)


def paper_table() -> Table:
    """The paper's rows."""
    rows = tuple(
        (
            f"{part_name(row['fraction'])}: {row['label']}",
            percent(row["train"], 1),
            percent(row["test"], 1),
            percent(row["test"] / 0.589, 1),
        )
        for row in PAPER_ROWS
    )
    return Table(("paper", "train frame accuracy %", "test frame accuracy %", "of all labels' %"), rows)


def summary(report: Mapping[str, Any]) -> str:
    """Sentence with the result of the first student group for the smallest part."""
    groups = groups_of(report["groups"])
    student, reference = with_role(groups, "student"), with_role(groups, "reference")
    if student is None or reference is None:
        return "There is nothing to compare."
    key = min(one["fraction"] for one in report["figures"]["systems"]), student.name
    soft = next((one for one in report["figures"]["comparisons"] if (one["fraction"], one["kind"]) == key), None)
    if soft is None or soft["won_back"] is None:
        return "Without the fraction 1.0 (all labels) there is no loss to recover."
    accuracy, wer = soft["frame_accuracy"], soft["wer"]
    return (
        f"With {part_name(key[0])} of the labelled speech, {student.in_a_sentence} differ from "
        f"{reference.in_a_sentence} by {signed_percent(accuracy['value'])} points of test frame accuracy (95 % "
        f"interval {percent_interval(accuracy['interval'], signed=True)}) and recover "
        f"{percent(soft['won_back'], 0)} % of what those lose; in WER they differ by {signed_percent(wer['value'])} "
        f"points (p = {wer['p_value']:.4f})."
    )


def page(report: Mapping[str, Any]) -> str:
    """The whole page as Markdown."""
    sections = [
        f"# {in_markdown(report['title'])}",
        *banner_in_markdown(report["preset"]),
        f"{in_markdown(report['description'])} Preset {as_code(report['preset'])}, seed {report['seed']}, "
        f"{report['repetitions']} repetitions, {count(report['updates'])} updates for every network; "
        f"parts are drawn by {report['draw']}.",
        to_markdown(main_table(report)),
        summary(report),
        to_markdown(paper_table()),
        f"The paper: {PAPER['citation']} ({PAPER['setting']}).",
        "## Soft against hard",
        to_markdown(comparison_table(report)),
        "## Convergence",
        "![Frame accuracy over updates](convergence.png)",
        "## The parts",
        to_markdown(data_table(report)),
        "## How to read this page",
        HOW_TO_READ,
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"
