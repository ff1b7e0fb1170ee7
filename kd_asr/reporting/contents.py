"""The tables of a report, from the dictionary that `report.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_asr.corpora.manifest import SETS
from kd_asr.reporting.figures import BASELINE, DISTILLED, ENSEMBLE, SYSTEMS
from kd_asr.reporting.tables import (
    NOT_KNOWN,
    Table,
    byte_size,
    count,
    decimal,
    duration,
    p_value,
    percent,
    percent_interval,
    signed_percent,
)

Report = Mapping[str, Any]


def system_label(report: Report, system: str) -> str:
    """How a system is called in tables: what it is made of stands in brackets."""
    if system == ENSEMBLE:
        return f"ensemble ({report['figures']['members']['test']['count']} networks)"
    made = {BASELINE: "baseline (1 network, hard labels", DISTILLED: "distilled (1 network"}[system]
    seeds = len(report["figures"]["networks"][system])
    return f"{made}, mean of {seeds})" if seeds > 1 else f"{made})"


def main_table(report: Report) -> Table:
    """What a person wants to see first: test figures and size, with the paper's own beside them."""
    rows = []
    for system in SYSTEMS:
        test = report["figures"]["systems"][system]["test"]
        size, paper = report["sizes"][system], report["paper"]["systems"][system]
        rows.append(
            (
                system_label(report, system),
                percent(test["frame_accuracy"]),
                percent(test["wer"]),
                percent_interval(test["wer_interval"]),
                count(size["parameters"]),
                byte_size(size["bytes"]),
                percent(paper["frame_accuracy"], 1),
                percent(paper["wer"], 1),
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
    figures = report["figures"]
    counts = {ENSEMBLE: figures["members"]["test"]["count"]}
    counts |= {system: len(networks) for system, networks in figures["networks"].items()}
    rows = []
    for system in SYSTEMS:
        test, paper = figures["systems"][system]["test"], report["paper"]["systems"][system]
        rows.append(
            (
                f"{system} ({counts[system]})",
                percent(test["frame_accuracy"]),
                percent(test["wer"]),
                percent_interval(test["wer_interval"]),
                byte_size(report["sizes"][system]["bytes"]),
                f"{percent(paper['frame_accuracy'], 1)} / {percent(paper['wer'], 1)}",
            )
        )
    columns = ("system", "test frame\naccuracy %", "test\nWER %", "95 %\ninterval", "size", "paper:\nboth %")
    return Table(columns, tuple(rows), title=report["title"])


def share_table(report: Report) -> Table:
    """The share of the ensemble's gain that the student kept."""
    rows = []
    for set_name in ("dev", "test"):
        for measure, label in (("frame_accuracy", "frame accuracy"), ("wer", "WER")):
            compared = report["figures"]["comparisons"][set_name][measure]
            kept = report["figures"]["share_of_gain"][set_name][measure]
            rows.append(
                (
                    f"{set_name} {label}",
                    signed_percent(compared[f"{ENSEMBLE} - {BASELINE}"]["value"]),
                    signed_percent(compared[f"{DISTILLED} - {BASELINE}"]["value"]),
                    percent(kept["value"], 0) if kept["value"] is not None else "no gain to keep",
                    percent_interval(kept["interval"], 0),
                    percent(report["paper"]["share_of_gain"][measure], 0) if set_name == "test" else NOT_KNOWN,
                )
            )
    return Table(
        ("", "ensemble's change, points", "student's change, points", "share kept %", "95 % interval", "paper %"),
        tuple(rows),
    )


def comparison_table(report: Report) -> Table:
    """Paired differences on dev and test, over utterances; on test also over whole speakers."""
    rows = []
    for set_name in ("dev", "test"):
        for measure, label in (("frame_accuracy", "frame accuracy"), ("wer", "WER")):
            for pair, one in report["figures"]["comparisons"][set_name][measure].items():
                speakers = report["figures"]["by_speaker"][measure][pair] if set_name == "test" else None
                rows.append(
                    (
                        f"{set_name} {label}: {pair.replace(' - ', ' − ')}",  # noqa: RUF001 - a minus sign
                        signed_percent(one["value"]),
                        percent_interval(one["interval"], signed=True),
                        p_value(one["p_value"]),
                        percent_interval(speakers["interval"], signed=True) if speakers else NOT_KNOWN,
                    )
                )
    speakers_drawn = report["figures"]["by_speaker"]["speakers"]
    return Table(
        ("difference", "points", "95 % interval", "p", f"95 % interval over {speakers_drawn} speakers"), tuple(rows)
    )


def frame_table(report: Report) -> Table:
    """Frame accuracy and cross-entropy on all sets."""
    rows = []
    for system in SYSTEMS:
        by_set = report["figures"]["systems"][system]
        rows.append(
            (
                system_label(report, system),
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
    rows = []
    for set_name in ("dev", "test"):
        for system in SYSTEMS:
            one = report["figures"]["systems"][system][set_name]
            rows.append(
                (
                    f"{set_name}: {system_label(report, system)}",
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


def seeds_table(report: Report) -> Table:
    """Each baseline and student, the spread over them, and the spread over the ensemble's members."""
    figures = report["figures"]

    def spread(one: Mapping[str, Any], digits: int = 2, scale: float = 100) -> str:
        if one["standard_deviation"] is None:
            return decimal(scale * one["mean"], digits)
        return f"{decimal(scale * one['mean'], digits)} ± {decimal(scale * one['standard_deviation'], digits)}"

    rows = []
    for system, called in ((BASELINE, "baselines"), (DISTILLED, "students")):
        networks, over = figures["networks"][system], figures["spread"][system]
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
        rows.append(
            (
                f"{len(networks)} {called}, mean ± standard deviation",
                spread(over["dev"]["frame_accuracy"]),
                spread(over["test"]["frame_accuracy"]),
                spread(over["test"]["cross_entropy"], 3, 1),
                spread(over["test"]["wer"]),
            )
        )
    members = figures["members"]
    rows.append(
        (
            f"{members['test']['count']} members of the ensemble, each alone",
            spread(members["dev"]),
            spread(members["test"]),
            NOT_KNOWN,
            NOT_KNOWN,
        )
    )
    return Table(
        ("", "dev frame accuracy %", "test frame accuracy %", "test cross-entropy, nats", "test WER %"), tuple(rows)
    )


def speed_table(report: Report) -> Table:
    """Size and real-time factors."""
    timings = report["timings"]
    return Table(
        ("system", "parameters", "size on disk", "network real-time factor", "search real-time factor"),
        tuple(
            (
                system_label(report, system),
                count(report["sizes"][system]["parameters"]),
                byte_size(report["sizes"][system]["bytes"]),
                decimal(timings["network_real_time_factor"][system], 4),
                decimal(timings["search_real_time_factor"][system], 3),
            )
            for system in SYSTEMS
        ),
    )


def choices_table(report: Report) -> Table:
    """Acoustic scale and insertion penalty that dev chose for each kind of system."""
    return Table(
        ("system", "acoustic scale", "insertion penalty", "dev WER %", "pairs tried"),
        tuple(
            (
                system_label(report, system),
                f"{report['choices'][system]['acoustic_scale']:g}",
                f"{report['choices'][system]['insertion_penalty']:g}",
                percent(report["figures"]["systems"][system]["dev"]["wer"]),
                count(len(report["choices"][system]["grid"])),
            )
            for system in SYSTEMS
        ),
    )


def sweep_table(report: Report) -> Table:
    """Dev figures of the temperatures and loss weights that were tried."""
    return Table(
        ("temperature", "soft weight", "hard weight", "dev frame accuracy %", "dev cross-entropy, nats"),
        tuple(
            (
                f"{row['temperature']:g}",
                f"{row['soft_weight']:g}",
                f"{row['hard_weight']:g}",
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
    """Passes of the aligner's training; features change between some, and log-likelihoods with them."""

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
    """Figures that a stage gives for each set, one column per set; None where it gives none."""
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
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_plain, value[:12]))
        return shown + (f", … ({len(value)} in all)" if len(value) > 12 else "")
    return str(value)
