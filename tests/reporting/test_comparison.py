"""Comparison of runs: figures against a plain bootstrap, tables, plot, and what is refused."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import calibrate
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.evaluation.significance import holm
from kd_asr.jobs.costs import Cost
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.reporting.compare_figures import check_group, comparison
from kd_asr.reporting.compare_plot import _round_numbers, plot_comparison
from kd_asr.reporting.compare_results import GroupCost, RunResult, SystemResult, check_alike
from kd_asr.reporting.compare_tables import console_table, csv_text, legend, page, si
from kd_asr.reporting.tables import to_rich

UTTERANCES, SEEDS = 60, 3
GROUPS = (
    Group("baseline", "baseline", "reference"),
    Group("ensemble", "ensemble", "teacher"),
    Group("distilled", "distilled", "student"),
    Group("mutual-2", "mutual, 2 networks", "student"),
)
# Frame accuracy and word error rate of each group.
RATES = {"baseline": (0.60, 0.30), "ensemble": (0.66, 0.24), "distilled": (0.64, 0.27), "mutual-2": (0.63, 0.26)}


def run_of(name: str, groups: Sequence[Group] = GROUPS, *, task: str = "speech", seed: int = 0) -> RunResult:
    """A run with made-up results, the same for systems of the same name and seed."""
    shared = np.random.default_rng(11)
    frames = shared.integers(100, 400, UTTERANCES) if task == "speech" else np.ones(UTTERANCES, dtype=np.int64)
    words, hard = shared.integers(5, 20, UTTERANCES), shared.normal(0, 0.05, UTTERANCES)
    names = tuple(f"u{number:02d}" for number in range(UTTERANCES))
    systems, results = [], {}
    for group in groups:
        for number in range(1 if group.role == "teacher" else SEEDS):
            system = System(f"{group.name}-{number:02d}", group.name, (NetworkRef(f"x/{group.name}-{number:02d}"),))
            systems.append(system)
            drawn = np.random.default_rng([seed, *system.name.encode()])
            accuracy, error = RATES[group.name]
            correct = drawn.binomial(frames, np.clip(accuracy + hard + 0.01 * drawn.standard_normal(), 0, 1))
            results[system.name] = SystemResult(
                FrameScores(names, correct, frames, 2.0 * (frames - correct) + 0.3 * drawn.random(UTTERANCES)),
                calibrate(drawn.uniform(0.4, 1, 500), drawn.random(500) < accuracy),
                drawn.binomial(words, np.clip(error - hard, 0, 1)) if task == "speech" else None,
                (f"{system.name} of seed {seed}",),
            )
    return RunResult(
        name=name,
        task=task,
        source="a corpus",
        systems=Systems(tuple(groups), tuple(systems)),
        results=results,
        costs={
            group.name: GroupCost(Cost(2e12, 90.0), Cost(3e13, 900.0), 700_000, 2_800_000, 701_234.0, 0.01, 0.1)
            for group in groups
        },
        utterance_ids=names,
        frames=frames,
        words=words if task == "speech" else None,
        labels="of test",
    )


def row_of(content: dict[str, Any], key: str) -> dict[str, Any]:
    return next(row for row in content["rows"] if row["key"] == key)


def test_differences_are_those_of_a_plain_bootstrap() -> None:
    run = run_of("first")
    content = comparison([run], "distilled")
    found = row_of(content, "first/mutual-2")["measures"]["wer"]
    assert content["against"] == "first/distilled"
    assert "against" not in row_of(content, "first/distilled")["measures"]["wer"]
    assert run.words is not None
    errors = {
        group: np.stack([run.results[f"{group}-{seed:02d}"].word_errors for seed in range(SEEDS)])
        for group in ("mutual-2", "distilled")
    }

    def wer(group: str, utterances: np.ndarray) -> float:
        assert run.words is not None
        return float(np.mean([one[utterances].sum() / run.words[utterances].sum() for one in errors[group]]))

    rng = np.random.default_rng(77)
    drawn = [rng.integers(UTTERANCES, size=UTTERANCES) for _ in range(4000)]
    differences = np.array([wer("mutual-2", one) - wer("distilled", one) for one in drawn])
    over = found["against"]["over_utterances"]
    everything = np.arange(UTTERANCES)
    assert over["value"] == pytest.approx(wer("mutual-2", everything) - wer("distilled", everything))
    assert over["interval"] == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.0015)
    share = 2 * min((differences <= 0).mean(), (differences >= 0).mean())
    assert over["p_value"] == pytest.approx(share, abs=0.03)
    # Over seeds: each system's own figure is one value.
    values = [one.sum() / run.words.sum() for one in errors["mutual-2"]]
    assert found["values"] == pytest.approx(values)
    assert found["against"]["over_seeds"]["value"] == pytest.approx(over["value"])
    assert row_of(content, "first/ensemble")["measures"]["wer"]["against"]["over_seeds"] is None


def test_shares_of_the_gain_and_calibration_errors_are_means_over_seeds() -> None:
    run = run_of("first")
    content = comparison([run], "distilled")
    value = {row["group"]: row["measures"]["frame_accuracy"]["value"] for row in content["rows"]}
    share = row_of(content, "first/mutual-2")["measures"]["frame_accuracy"]["share_of_gain"]["value"]
    gain = value["ensemble"] - value["baseline"]
    assert share == pytest.approx((value["mutual-2"] - value["baseline"]) / gain)
    assert row_of(content, "first/baseline")["measures"]["frame_accuracy"]["share_of_gain"] is None
    errors = [run.results[f"distilled-{seed:02d}"].calibration.error for seed in range(SEEDS)]
    found = row_of(content, "first/distilled")["measures"]["calibration_error"]["value"]
    assert found == pytest.approx(np.mean(errors))


def test_several_runs_share_what_is_the_same() -> None:
    first, second = run_of("first", GROUPS[:3]), run_of("second", (*GROUPS[:2], GROUPS[3]))
    content = comparison([first, second], "distilled")
    assert [row["key"] for row in content["rows"]] == [
        "first/baseline", "first/ensemble", "first/distilled", "second/mutual-2",
    ]  # fmt: skip
    together = row_of(comparison([run_of("first")], "distilled"), "first/mutual-2")
    assert row_of(content, "second/mutual-2")["measures"] == together["measures"]
    other_seeds = run_of("third", GROUPS[:3], seed=1)
    both = comparison([first, other_seeds], "distilled")
    labels = [row["label"] for row in both["rows"]]
    assert labels[2:4] == ["distilled, first", "baseline, third"]
    assert len(set(labels)) == len({row["colour"] for row in both["rows"]}) == 6
    # All are compared with the first run's students.
    assert both["against"] == "first/distilled"
    assert "against" in row_of(both, "third/distilled")["measures"]["wer"]


def test_utterances_may_come_in_another_order() -> None:
    first, second = run_of("first", GROUPS[:3]), run_of("second", GROUPS[:3], seed=1)
    turned = np.arange(UTTERANCES)[::-1]
    assert second.words is not None
    shuffled = replace(
        second,
        utterance_ids=second.utterance_ids[::-1],
        frames=second.frames[turned],
        words=second.words[turned],
        results={
            name: replace(
                one,
                scores=one.scores.select(one.scores.utterance_ids[::-1]),
                word_errors=one.word_errors[turned] if one.word_errors is not None else None,
            )
            for name, one in second.results.items()
        },
    )
    check_alike([first, shuffled])
    assert comparison([first, shuffled], "distilled") == comparison([first, second], "distilled")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"utterance_ids": ("u00", *(f"v{one:02d}" for one in range(1, UTTERANCES)))}, "118 of 119 utterances are in"),
        ({"frames": np.full(UTTERANCES, 7)}, "the utterance u00 of test has other frames"),
        ({"words": np.full(UTTERANCES, 7)}, "the utterance u00 of test has other words"),
        ({"labels": "others"}, "the labels of test differ, so they were aligned in different ways"),
        ({"task": "digits"}, "one is of speech, the other of digits"),
    ],
)
def test_runs_with_other_tests_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^first and second cannot be compared: {message}"):
        check_alike([run_of("first"), replace(run_of("second"), **changed)])


def test_a_group_that_no_run_has_is_refused() -> None:
    check_group([run_of("first")], "mutual-2")
    with pytest.raises(UserError, match="--against mutual-4: no run has such a group; do you mean 'mutual-2'"):
        check_group([run_of("first")], "mutual-4")
    content = comparison([run_of("first", GROUPS[:2])], "distilled")
    assert content["against"] is None
    assert "## Differences" not in page(json.loads(json.dumps(content)))


@pytest.mark.parametrize("task", ["speech", "digits"])
def test_tables_and_plot(task: str, tmp_path) -> None:
    content = json.loads(json.dumps(comparison([run_of("first", task=task)], "distilled")))
    shown = io.StringIO()
    console = Console(file=shown, width=80)
    console.print(to_rich(console_table(content)))
    console.print(legend(content))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in shown.getvalue()
    assert sum(re.search(r" p [<.\d]", line) is not None for line in lines) == 3
    assert sum("30.0T" in line for line in lines) == 4
    [head, *rows] = csv.reader(io.StringIO(csv_text(content)))
    assert {len(row) for row in rows} == {len(head)}
    by_column = dict(zip(head, rows[3], strict=True))
    measure = "wer" if task == "speech" else "errors"
    found = row_of(content, "first/mutual-2")
    assert by_column["label"] == "mutual, 2 networks"
    assert float(by_column[measure]) == found["measures"][measure]["value"]
    p_value = found["measures"][measure]["against"]["over_seeds"]["p_value"]
    assert float(by_column[f"{measure}_against_over_seeds_p"]) == p_value
    # The other students' rows are a family; what is no student has no such value.
    students = [row for row in content["rows"] if row["role"] == "student" and "against" in row["measures"][measure]]
    adjusted = [row["measures"][measure]["against"]["over_seeds"]["p_holm"] for row in students]
    plain = [row["measures"][measure]["against"]["over_seeds"]["p_value"] for row in students]
    assert adjusted == holm(plain)
    assert by_column["with_teachers_operations"] == "30000000000000.0"
    assert rows[0][head.index(f"{measure}_share_of_gain")] == ""
    text = page(content)
    assert "| mutual, 2 networks (1 network, mean of 3) |" in text
    assert "30.0 T" in text and "15 min 00 s" in text
    plot_comparison(content, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (4.8e7, 6.5e8, [5e7, 1e8, 2e8, 5e8]),
        (3e9, 4e9, [1e9, 2e9, 5e9, 1e10]),
        (1.0, 1000.0, [1, 10, 100, 1000]),
        (7e12, 7e12, [5e12, 1e13, 2e13]),
    ],
)
def test_ticks_are_few_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    found = _round_numbers(low, high)
    assert 1 <= len(found) <= 4
    assert found == pytest.approx(ticks)


def test_numbers_with_prefixes() -> None:
    assert [si(one) for one in (0, 7, 999.6, 12_345, 1.5e12, None)] == ["0", "7", "1.00 k", "12.3 k", "1.50 T", "–"]  # noqa: RUF001
