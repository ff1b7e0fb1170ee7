"""The page of an MNIST run: its tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_asr.jobs.systems import Group, Systems, groups_of
from kd_asr.machine import machine_sentence
from kd_asr.reporting.banner import banner_in_markdown
from kd_asr.reporting.contents import key_table
from kd_asr.reporting.filters_page import filters_section
from kd_asr.reporting.privileged import privileged_section
from kd_asr.reporting.reduced_page import with_role
from kd_asr.reporting.tables import (
    NOT_KNOWN,
    Table,
    count,
    decimal,
    duration,
    in_lines,
    percent,
    percent_interval,
    signed_percent,
    to_markdown,
)
from kd_asr.text import as_code, in_markdown

Report = Mapping[str, Any]
HOW_TO_READ = """\
- **Train, dev, test.** A dev set is held out from the training images; every choice (epochs, learning rate, dropout,
  weights, temperature) was made on it. The final models learn from all training images and are tested once.
  `temperature` and `losses` train without dev, are evaluated on dev, and never read test; `reduced` trains without dev,
  stops early on it, and reads test once.
- **Intervals over seeds** are Student's t intervals of the mean: what other seeds would give on the same test images.
  The share kept is a ratio of two means over seeds, with Fieller's interval; beside it is the interval of a
  bootstrap over test images (10,000 draws, with the mean over seeds inside each draw): what other images would give.
- **The share kept** is (hard - distilled) / (hard - teacher), in errors: 100 % is a student as good as its teacher.
- **The ensemble** averages the posteriors of its members; the first of them are the single teachers.
- **Correction on dev** is fitted with a student and a teacher that have not seen dev, then applied unchanged to the
  students whose test errors are shown. **Correction on test** is fitted on the same images on which its errors are
  counted, as in the paper: it shows how much an honest choice loses, and is not a result.
"""


def _errors(figure: Mapping[str, Any] | None) -> str:
    return NOT_KNOWN if figure is None else count(round(figure["mean"], 1))


def _interval(figure: Mapping[str, Any], digits: int = 1) -> str:
    ends: Sequence[float] | None = figure["interval"]
    return NOT_KNOWN if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _paper(report: Report, value: float | None) -> str:
    return count(value) if report["comparable"] else NOT_KNOWN


def systems_of(report: Report) -> Systems:
    """Groups and systems of the table."""
    return Systems.from_json(report["table"]["groups"])


def _label(group: Group) -> str:
    return f"{group.label} ({group.note})" if group.note else group.label


def main_table(report: Report) -> Table:
    """Test errors of each group beside the paper's."""
    table = report["table"]
    rows = []
    for group in systems_of(report).groups:
        name, figure = group.name, table["systems"][group.name]
        rows.append(
            (
                _label(group),
                _errors(figure),
                _interval(figure),
                percent(figure["mean"] / table["test"]),
                count(len(figure["values"])),
                count(table["parameters"][name]),
                _paper(report, report["paper"]["table"].get(name)),
            )
        )
    columns = ("system", f"errors of {count(table['test'])}", "95 % interval over seeds", "error %", "networks or runs")
    return Table((*columns, "parameters", "paper"), tuple(rows), title=report["title"])


def console_table(report: Report) -> Table:
    """The main table in 80 columns."""
    columns, rows = ("system", "test errors", "95 %\ninterval", "networks", "paper"), []
    for group, (_, errors, interval, _, networks, _, paper) in zip(
        systems_of(report).groups, main_table(report).rows, strict=True
    ):
        rows.append((in_lines(group.label), errors, interval, networks, paper))
    return Table(columns, tuple(rows), title=report["title"])


def summary(report: Report) -> str:
    """Result of the table, one sentence for each student group."""
    systems = systems_of(report)
    reference, teacher = systems.reference, systems.teacher
    if reference is None or teacher is None or not systems.students:
        return "There is no teacher, student and student on hard labels to compare."
    shares = report["table"]["share_kept"]
    if any(shares[group.name]["value"] is None for group in systems.students):
        better = f"The {teacher.in_a_sentence} is not better than the {reference.in_a_sentence}"
        return f"{better}: there was no gap to close."
    sentences = []
    for group in systems.students:
        share = shares[group.name]
        seeds = share["interval_over_seeds"]
        over_seeds = "not bounded" if seeds is None else percent_interval(seeds, 0) + " %"
        beside = report["comparable"] and group.name in report["paper"]["table"]
        paper = f"; the paper's: {percent(report['paper']['share_kept'], 0)} %" if beside else ""
        sentences.append(
            f"The {group.in_a_sentence} closes {percent(share['value'], 0)} % of the gap between {reference.label} and "
            f"{teacher.label} (95 % interval over seeds: {over_seeds}; over test images: "
            f"{percent_interval(share['interval_over_images'], 0)} %{paper})."
        )
    return " ".join(sentences)


def transfer_table(report: Report, experiment: str) -> Table:
    """Errors before and after each correction, on all and on unseen digits, beside the paper's."""
    figures, paper = report[experiment], report["paper"][experiment]
    names = {
        "before": ("as trained", "before", "before_unseen"),
        "corrected_on_dev": ("corrected, bias fitted on dev", "after", "after_unseen"),
        "corrected_on_test": ("corrected, bias fitted on test (as the paper did; no result)", "after", "after_unseen"),
    }
    rows = []
    for stage, (name, errors_key, unseen_key) in names.items():
        errors, unseen = figures["stages"][stage]["errors"], figures["stages"][stage]["errors_on_unseen"]
        bias = {
            "before": NOT_KNOWN,
            "corrected_on_dev": decimal(figures["bias_fitted_on_dev"]),
            "corrected_on_test": decimal(figures["bias_fitted_on_test"]["mean"]),
        }[stage]
        rows.append(
            (
                name,
                bias,
                _errors(errors),
                _interval(errors),
                percent(errors["mean"] / figures["test"]),
                _errors(unseen),
                _paper(report, paper[errors_key]),
                _paper(report, paper.get(unseen_key)),
            )
        )
    columns = (
        "student",
        "bias, nats",
        f"errors of {count(figures['test'])}",
        "95 % interval over seeds",
        "error %",
        f"errors on the {count(figures['test_unseen'])} unseen",
        "paper, errors",
        "paper, unseen",
    )
    return Table(columns, tuple(rows))


def temperature_sentences(report: Report) -> list[str]:
    """Sentences on whether the paper's two remarks hold."""
    figures = report["temperature"]
    found = []
    for one in figures["wide"]:
        alike = one["interval"][0] <= 0 <= one["interval"][1]
        found.append(
            f"- {one['width']} units, all T above 8 alike: {'holds' if alike else 'does not hold'} here. The two most "
            f"different, T = {one['temperatures'][0]:g} and {one['temperatures'][1]:g}, are {one['difference']:+.1f} "
            f"errors apart (95 % interval over images {one['interval'][0]:+.1f} to {one['interval'][1]:+.1f})."
        )
    narrow = figures["narrow"]
    clearly = [one["temperatures"][0] for one in narrow["others"] if one["interval"][0] > 0]
    found.append(
        f"- {narrow['width']} units, T from 2.5 to 4 best: {'holds' if narrow['holds'] else 'does not hold'} here; T = "
        f"{narrow['best']:g} has the fewest errors. Beyond the images' noise it is better than "
        f"{'T = ' + ', '.join(f'{t:g}' for t in clearly) if clearly else 'none of those outside 2.5 to 4'}."
    )
    return found


def temperature_table(report: Report) -> Table:
    """Mean dev errors."""
    figures = report["temperature"]
    rows = [
        (f"{width} units", *(count(round(value, 1)) for value in line), count(figures["students"][str(width)]))
        for width, line in zip(figures["widths"], figures["errors"], strict=True)
    ]
    return Table(("hidden layers", *(f"T = {t:g}" for t in figures["temperatures"]), "students each"), tuple(rows))


def losses_table(report: Report) -> Table:
    """Dev errors and cross-entropy by loss."""
    rows = [
        (
            one["label"],
            _errors(one["dev_errors"]),
            _interval(one["dev_errors"]),
            decimal(one["dev_cross_entropy"]["mean"], 4),
            count(len(one["dev_errors"]["values"])),
        )
        for one in report["losses"]["losses"].values()
    ]
    columns = ("loss", f"errors of {count(report['losses']['dev'])} (dev)", "95 % interval over seeds")
    return Table((*columns, "cross-entropy on dev, nats", "students"), tuple(rows))


def reduced_table(report: Report) -> Table:
    """Errors by fraction of the labels and way of learning."""
    figures = report["reduced"]
    labels = {group.name: group.label for group in groups_of(figures["groups"])}
    rows = []
    for one in figures["systems"]:
        accuracy, values = one["test_frame_accuracy"], one["test_frame_accuracy"]["values"]
        rows.append(
            (
                f"{100 * one['fraction']:g} %: {labels[one['kind']]}",
                percent(one["part_frame_accuracy"]["mean"]),
                percent(accuracy["mean"]),
                percent_interval(one["test_frame_accuracy_interval"]),
                percent_interval(accuracy["interval_over_repetitions"]),
                count(round(figures["test"] * (1 - accuracy["mean"]), 1)),
                percent(one["share_of_all_labels"], 1),
                count(len(values)),
            )
        )
    columns = ("labelled part, trained on", "train accuracy %", "test accuracy %", "[over images]", "over repetitions")
    return Table((*columns, f"errors of {count(figures['test'])}", "of all labels' %", "networks"), tuple(rows))


def reduced_sentences(report: Report) -> list[str]:
    """Sentences on how much of the reference's loss the first student group recovers for each fraction."""
    groups = groups_of(report["reduced"]["groups"])
    student, reference = with_role(groups, "student"), with_role(groups, "reference")
    if student is None or reference is None:
        return []
    found = []
    for one in report["reduced"]["comparisons"]:
        if one["kind"] == student.name and one["won_back"] is not None:
            apart = one["frame_accuracy"]
            found.append(
                f"- {100 * one['fraction']:g} % of the labels: {student.in_a_sentence} differ from "
                f"{reference.in_a_sentence} by {signed_percent(apart['value'])} points (95 % interval over images "
                f"{percent_interval(apart['interval'], signed=True)}) and recover {percent(one['won_back'], 0)} % of "
                "what those lose."
            )
    return found


def page(report: Report) -> str:
    """The whole report as Markdown; `report` is what `report.json` holds."""
    sections = [
        f"# {in_markdown(report['title'])}",
        *banner_in_markdown(report["preset"]),
        f"{in_markdown(report['description'])} Preset {as_code(report['preset'])}, seed {report['seed']}. "
        f"{report['images']['train']:,} training images, {report['images']['dev']:,} of them dev; "
        f"{report['images']['test']:,} test images.",
        f"The paper: {report['paper']['citation']}.",
    ]
    if "table" in report:
        sections += [
            "## Teacher, student, distilled student",
            to_markdown(main_table(report)),
            summary(report),
            "![Test errors](table.png)",
        ]
    if "temperature" in report:
        figures = report["temperature"]
        sections += [
            "## Temperature and width",
            f"Errors of {count(figures['dev'])} dev images.",
            to_markdown(temperature_table(report)),
            "![Dev errors by width and temperature](temperature.png)",
            "\n".join(temperature_sentences(report)),
        ]
    for experiment, heading in (("omit3", "Never seen a 3"), ("only78", "Only 7s and 8s seen")):
        if experiment in report:
            sections += [
                f"## {heading}",
                f"Transfer set of {count(report[experiment]['transfer_images'])} images.",
                to_markdown(transfer_table(report, experiment)),
                f"![Errors before and after the correction]({experiment}.png)",
            ]
    if "losses" in report:
        sections += [
            "## Losses against the teacher",
            f"Each loss alone, without hard labels, T = {report['losses']['temperature']:g} where there is one, at "
            "equal budget. Soft cross-entropy and KL(teacher || student) have the same gradient, so they differ only "
            "by rounding.",
            to_markdown(losses_table(report)),
            "![Losses](losses.png)",
            "![The limit of high temperature](high_temperature.png)",
        ]
    if "reduced" in report:
        sections += [
            "## Soft targets as regularisers",
            f"Parts of the training images keep their labels; {count(report['reduced']['updates'])} updates for every "
            "network. Soft targets come from a teacher trained on all training images but dev, and are given for the "
            "labelled images only unless the row says all.",
            to_markdown(reduced_table(report)),
            "\n".join(reduced_sentences(report)),
            "![Accuracy over updates](reduced.png)",
        ]
    if "privileged" in report:
        sections += privileged_section(report["privileged"], comparable=report["comparable"])
    if "filters" in report:
        sections += filters_section(report["filters"])
    if report["dark_knowledge"]:
        sections += [
            "## Dark knowledge",
            "For each digit, the training image that the first teacher classifies correctly but least certainly, with "
            "its soft targets. At T = 1 the wrong digits hardly show; softened, they show what the image resembles.",
            "![Digits and soft targets](dark_knowledge.png)",
        ]
    times = tuple((name, duration(seconds)) for name, seconds in report["timings"]["network_seconds"].items())
    sections += [
        "## Time",
        "Time of all networks of a kind together; with several processes they took less. They were trained on "
        f"{', '.join(report['timings']['trained_on'])}. {machine_sentence(report['timings']['machine'])}",
        to_markdown(Table(("networks", "time"), times)),
        "## Settings",
        to_markdown(key_table(report["settings"], "setting")),
        "## How to read this report",
        HOW_TO_READ,
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"
