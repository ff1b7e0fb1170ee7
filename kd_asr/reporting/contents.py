"""The tables of a report, from the dictionary that `report.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_asr.corpora.manifest import SETS
from kd_asr.jobs.systems import Group, Systems
from kd_asr.reporting.figures import comparison_key
from kd_asr.reporting.tables import (
    NOT_KNOWN,
    Table,
    byte_size,
    count,
    decimal,
    duration,
    in_lines,
    p_value,
    percent,
    percent_interval,
    signed_percent,
)

Report = Mapping[str, Any]


def systems_of(report: Report) -> Systems:
    """The compared groups and systems, as the report holds them."""
    return Systems.from_json(report["groups"])


def group_label(systems: Systems, group: Group) -> str:
    """Name of a group in tables, with what its systems are made of in brackets."""
    seeds = systems.of_group(group)
    sizes = sorted({len(system.members) for system in seeds})
    made = f"{sizes[0]} network" if sizes == [1] else f"{' to '.join(map(str, sizes[:1] + sizes[1:][-1:]))} networks"
    parts = (made, group.note, f"mean of {len(seeds)}" if len(seeds) > 1 else "")
    return f"{group.label} ({', '.join(part for part in parts if part)})"


def _paper(report: Report, group: Group) -> Mapping[str, Any]:
    """The paper's figures for a group."""
    row: Mapping[str, Any] = report["paper"]["systems"].get(group.name, {})
    return row


def main_table(report: Report) -> Table:
    """The main result: test figures and size, with the paper's figures beside them."""
    systems = systems_of(report)
    rows = []
    for group in systems.groups:
        test = report["figures"]["systems"][group.name]["test"]
        size, paper = report["sizes"][group.name], _paper(report, group)
        rows.append(
            (
                group_label(systems, group),
                percent(test["frame_accuracy"]),
                percent(test["wer"]),
                percent_interval(test["wer_interval"]),
                count(size["parameters"]),
                byte_size(size["bytes"]),
                percent(paper.get("frame_accuracy"), 1),
                percent(paper.get("wer"), 1),
            )
        )
    return Table(
        (
            "system",
            "test frame accuracy %",
            "test WER %",
            "95 % interval",
            "parameters",
            "size",
            "paper: frame accuracy %",
            "paper: WER %",
        ),
        tuple(rows),
        title=report["title"],
    )


def console_table(report: Report) -> Table:
    """The main table in 80 columns."""
    systems = systems_of(report)
    rows = []
    for group in systems.groups:
        test, paper = report["figures"]["systems"][group.name]["test"], _paper(report, group)
        seeds = systems.of_group(group)
        rows.append(
            (
                in_lines(f"{group.label} ({len(seeds) if len(seeds) > 1 else len(seeds[0].members)})"),
                percent(test["frame_accuracy"]),
                percent(test["wer"]),
                percent_interval(test["wer_interval"]),
                byte_size(report["sizes"][group.name]["bytes"]),
                f"{percent(paper['frame_accuracy'], 1)} / {percent(paper['wer'], 1)}" if paper else NOT_KNOWN,
            )
        )
    columns = ("system", "test frame\naccuracy %", "test\nWER %", "95 %\ninterval", "size", "paper:\nboth %")
    return Table(columns, tuple(rows), title=report["title"])


def share_table(report: Report) -> Table | None:
    """Share of the teacher's gain that the students kept; None where there is no such comparison."""
    systems = systems_of(report)
    reference, teacher, students = systems.reference, systems.teacher, systems.students
    if reference is None or teacher is None or not students:
        return None
    rows = []
    for set_name in ("dev", "test"):
        for measure, label in (("frame_accuracy", "frame accuracy"), ("wer", "WER")):
            compared = report["figures"]["comparisons"][set_name][measure]
            for student in students:
                kept = report["figures"]["share_of_gain"][set_name][measure][student.name]
                in_paper = set_name == "test" and student.name in report["paper"]["systems"]
                rows.append(
                    (
                        f"{set_name} {label}" + (f": {student.label}" if len(students) > 1 else ""),
                        signed_percent(compared[comparison_key(teacher, reference)]["value"]),
                        signed_percent(compared[comparison_key(student, reference)]["value"]),
                        percent(kept["value"], 0) if kept["value"] is not None else "no gain to keep",
                        percent_interval(kept["interval"], 0),
                        percent(report["paper"]["share_of_gain"][measure], 0) if in_paper else NOT_KNOWN,
                    )
                )
    changes = (f"{teacher.label}'s change, points", "student's change, points")
    return Table(("", *changes, "share kept %", "95 % interval", "paper %"), tuple(rows))


def comparison_table(report: Report) -> Table | None:
    """Paired differences on dev and test, with intervals over utterances and, on test, over speakers; None without
    any."""
    by_speaker, rows = report["figures"]["by_speaker"], []
    several = by_speaker["speakers"] > 1  # the only speaker is the same in every draw, which bounds nothing
    for set_name in ("dev", "test"):
        for measure, label in (("frame_accuracy", "frame accuracy"), ("wer", "WER")):
            for first, second in systems_of(report).comparisons:
                key = comparison_key(first, second)
                one = report["figures"]["comparisons"][set_name][measure][key]
                speakers = by_speaker[measure][key] if set_name == "test" and several else None
                rows.append(
                    (
                        f"{set_name} {label}: {first.label} − {second.label}",  # noqa: RUF001 - a minus sign
                        signed_percent(one["value"]),
                        percent_interval(one["interval"], signed=True),
                        p_value(one["p_value"]),
                        percent_interval(speakers["interval"], signed=True) if speakers else NOT_KNOWN,
                    )
                )
    over = f"{by_speaker['speakers']} speakers" if several else "speakers"
    columns = ("difference", "points", "95 % interval", "p", f"95 % interval over {over}")
    return Table(columns, tuple(rows)) if rows else None


def frame_table(report: Report) -> Table:
    """Frame accuracy and cross-entropy on all sets."""
    systems = systems_of(report)
    rows = []
    for group in systems.groups:
        by_set = report["figures"]["systems"][group.name]
        rows.append(
            (
                group_label(systems, group),
                *(percent(by_set[name]["frame_accuracy"]) for name in SETS),
                percent_interval(by_set["test"]["frame_accuracy_interval"]),
                *(decimal(by_set[name]["cross_entropy"], 3) for name in SETS),
            )
        )
    return Table(
        (
            "system",
            *(f"{name} frame accuracy %" for name in SETS),
            "test: 95 % interval",
            *(f"{name} cross-entropy, nats" for name in SETS),
        ),
        tuple(rows),
    )


def word_table(report: Report) -> Table:
    """Word errors on dev and test."""
    systems = systems_of(report)
    rows = []
    for set_name in ("dev", "test"):
        for group in systems.groups:
            one = report["figures"]["systems"][group.name][set_name]
            rows.append(
                (
                    f"{set_name}: {group_label(systems, group)}",
                    percent(one["wer"]),
                    percent_interval(one["wer_interval"]),
                    count(one["substitutions"]),
                    count(one["deletions"]),
                    count(one["insertions"]),
                    count(one["reference_words"]),
                )
            )
    return Table(
        ("system", "WER %", "95 % interval", "substitutions", "deletions", "insertions", "reference words"), tuple(rows)
    )


def _spread(one: Mapping[str, Any], digits: int = 2, scale: float = 100) -> str:
    if one["standard_deviation"] is None:
        return decimal(scale * one["mean"], digits)
    return f"{decimal(scale * one['mean'], digits)} ± {decimal(scale * one['standard_deviation'], digits)}"


def seeds_table(report: Report) -> Table:
    """Every single network with the spread over the seeds of its group, and the spread over the members of
    combinations."""
    systems, figures = systems_of(report), report["figures"]
    rows, of_members = [], []
    for group in systems.groups:
        networks, over = figures["networks"][group.name], figures["spread"][group.name]
        members = figures["members"].get(group.name)
        if members is not None:
            label = f"{members['test']['count']} {group.networks_label}, each alone"
            of_members.append((label, _spread(members["dev"]), _spread(members["test"]), NOT_KNOWN, NOT_KNOWN))
            if len(networks) == 1:
                continue
        rows += [
            (
                name,
                percent(one["dev"]["frame_accuracy"]),
                percent(one["test"]["frame_accuracy"]),
                decimal(one["test"]["cross_entropy"], 3),
                percent(one["test"]["wer"]),
            )
            for name, one in networks.items()
        ]
        if len(networks) == 1:
            continue
        rows.append(
            (
                f"{len(networks)} {group.label if members else group.networks_label}, mean ± standard deviation",
                _spread(over["dev"]["frame_accuracy"]),
                _spread(over["test"]["frame_accuracy"]),
                _spread(over["test"]["cross_entropy"], 3, 1),
                _spread(over["test"]["wer"]),
            )
        )
    columns = ("", "dev frame accuracy %", "test frame accuracy %", "test cross-entropy, nats", "test WER %")
    return Table(columns, (*rows, *of_members))


def speed_table(report: Report) -> Table:
    """Size and real-time factors."""
    systems, timings = systems_of(report), report["timings"]
    return Table(
        ("system", "parameters", "size on disk", "network real-time factor", "search real-time factor"),
        tuple(
            (
                group_label(systems, group),
                count(report["sizes"][group.name]["parameters"]),
                byte_size(report["sizes"][group.name]["bytes"]),
                decimal(timings["network_real_time_factor"][group.name], 4),
                decimal(timings["search_real_time_factor"][group.name], 3),
            )
            for group in systems.groups
        ),
    )


def choices_table(report: Report) -> Table:
    """Acoustic scale and insertion penalty chosen on dev for each group."""
    systems = systems_of(report)
    return Table(
        ("system", "acoustic scale", "insertion penalty", "dev WER %", "pairs tried"),
        tuple(
            (
                group_label(systems, group),
                f"{report['choices'][group.name]['acoustic_scale']:g}",
                f"{report['choices'][group.name]['insertion_penalty']:g}",
                percent(report["figures"]["systems"][group.name]["dev"]["wer"]),
                count(len(report["choices"][group.name]["grid"])),
            )
            for group in systems.groups
        ),
    )


def sweep_table(report: Report) -> Table:
    """Dev figures of the temperatures and loss weights that were tried."""
    shares = any("labelled_share" in row for row in report["sweep"])
    return Table(
        (
            *("temperature", "soft weight", "hard weight"),
            *(["labelled share"] if shares else []),
            *("dev frame accuracy %", "dev cross-entropy, nats"),
        ),
        tuple(
            (
                f"{row['temperature']:g}",
                f"{row['soft_weight']:g}",
                f"{row['hard_weight']:g}",
                *([f"{row['labelled_share']:g}"] if shares else []),
                percent(row["dev_frame_accuracy"]),
                decimal(row["dev_cross_entropy"], 3),
            )
            for row in report["sweep"]
        ),
    )


def rejected_table(report: Report) -> Table:
    """Utterances left out, by stage and reason."""
    return Table(
        ("stage", "reason", "utterances", "for example"),
        tuple(
            (row["stage"], row["reason"], count(row["count"]), ", ".join(row["examples"])) for row in report["rejected"]
        ),
    )


def wall_time_table(report: Report) -> Table:
    """Wall time per stage."""
    stages = report["timings"]["wall_seconds"]
    rows = [(name, duration(seconds)) for name, seconds in stages.items()]
    return Table(("stage", "wall time"), (*rows, ("sum", duration(sum(stages.values())))))


def key_table(values: Mapping[str, Any], head: str) -> Table:
    """Nested figures of a stage, one per line, names joined by dots."""
    return Table((head, "value"), tuple((name, _plain(value)) for name, value in _flat(values)))


def steps_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """Passes of the aligner's training; log-likelihoods of passes with different features cannot be compared."""

    def log_likelihood(value: float | Sequence[float]) -> str:
        if isinstance(value, Sequence):
            return f"{decimal(value[0])} to {decimal(value[-1])} in {len(value)} iterations"
        return decimal(value)

    rows = tuple(
        (
            f"{number}. {step['step']}",
            log_likelihood(step["log_likelihood_per_frame"]),
            count(step["frames"]),
            count(step["gaussians"]),
        )
        for number, step in enumerate(steps, start=1)
    )
    return Table(("pass", "log-likelihood per frame", "frames", "Gaussians"), rows)


def columns_by_set(metrics: Mapping[str, Any]) -> Table | None:
    """Figures of a stage for each set, one column per set; None if it has no such figures."""
    sets = [name for name in SETS if isinstance(metrics.get(name), Mapping)]
    if not sets:
        return None
    flat = {name: dict(_flat(metrics[name])) for name in sets}
    names = list(dict.fromkeys(key for name in sets for key in flat[name]))
    rows = tuple((key.replace("_", " "), *(_plain(flat[name].get(key)) for name in sets)) for key in names)
    return Table(("", *sets), rows)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _plain(value: Any) -> str:
    """Any JSON value in a cell."""
    if value is None or value in ("", []):
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}" if value.is_integer() else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_plain, value[:12]))
        return shown + (f", … ({len(value)} in all)" if len(value) > 12 else "")
    return str(value)
