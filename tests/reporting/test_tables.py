"""Tables, number formats and small helpers of the report."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.cells import cell_len
from rich.console import Console

from kd_asr.corpora.manifest import Rejected
from kd_asr.errors import UserError
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.reporting.paper import PAPER
from kd_asr.reporting.plots import plot_dev_grid, plot_training_curves
from kd_asr.reporting.run_results import count_rejected, paired_scores, read_rejected
from kd_asr.reporting.tables import (
    Table,
    byte_size,
    count,
    decimal,
    duration,
    p_value,
    percent,
    percent_interval,
    signed_percent,
    to_markdown,
    to_rich,
)


def test_markdown() -> None:
    table = Table(("system", "WER %"), (("a|b", "1.00"), ("c\nd", "2.00")))
    assert to_markdown(table) == "| system | WER % |\n|---|---:|\n| a\\|b | 1.00 |\n| c d | 2.00 |\n"


@pytest.mark.parametrize("columns", [2, 4, 6])
def test_console_tables_fit_80_columns(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut off, whatever the length of names and heads; a narrow table stays on one line a row."""
    monkeypatch.setenv("COLUMNS", "80")

    def printed(table: Table) -> str:
        console = Console(file=io.StringIO(), highlight=False)
        console.print(to_rich(table))
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    name = "10 % of the labels: soft targets of all of the unlabelled audio [as well]"
    heads = ("labelled part, trained on", *["test frame accuracy %"] * (columns - 1))
    lines = printed(Table(heads, ((name, *["61.23"] * (columns - 1)), ("short", *["1"] * (columns - 1))))).splitlines()
    assert max(map(cell_len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    assert text.count("61.23") == text.count("accuracy") == columns - 1
    joined = " ".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
    assert joined == f"{name} short"
    narrow = printed(Table(("system", "WER %"), (("a b", "1.00"),))).splitlines()
    assert len(narrow) == 5


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 cells for 2 columns"):
        Table(("a", "b"), (("1", "2", "3"),))


def test_number_formats() -> None:
    assert percent(0.12345) == "12.35"
    assert percent(None) == percent(math.inf) == percent(math.nan) == "–"  # noqa: RUF001
    assert signed_percent(0.0215) == "+2.15"
    assert percent_interval((0.1, 0.2)) == "10.00 to 20.00"
    assert percent_interval((None, 0.2), 0) == "… to 20"
    assert percent_interval((None, None)) == "not bounded"
    assert percent_interval((-0.01, 0.02), signed=True) == "-1.00 to +2.00"
    assert (count(1234567), count(64.6667), count(64.0)) == ("1,234,567", "64.7", "64")
    sizes = {999: "999 B", 4_938_268: "4.94 MB", 147e6: "147 MB", 14.7e9: "14.7 GB", 999_700: "1.00 MB"}
    assert [byte_size(value) for value in sizes] == list(sizes.values())
    assert (duration(12.34), duration(59.97), duration(245), duration(3725)) == (
        "12.3 s",
        "1 min 00 s",
        "4 min 05 s",
        "1 h 02 min",
    )
    assert (p_value(0.0002), p_value(0.0123), p_value(0.5)) == ("< 0.001", "0.012", "0.50")
    assert decimal(1234.5, 1) == "1,234.5"


def test_paper_share_follows_from_its_table() -> None:
    baseline, ensemble, distilled = (
        PAPER["rows"][name]["frame_accuracy"] for name in ("Baseline", "10xEnsemble", "Distilled Single model")
    )
    assert round((distilled - baseline) / (ensemble - baseline), 2) == PAPER["share_of_gain"]["frame_accuracy"]


def test_rejected_counts_by_kind_of_reason() -> None:
    rows = count_rejected(
        [
            Rejected("u1", "a.flac", "shorter than 0.3 s (0.12 s)", "prepare"),
            Rejected("u2", "b.flac", "shorter than 0.3 s (0.2 s)", "prepare"),
            Rejected("", "c.flac", "unreadable", "prepare"),
            Rejected("u4", "d.flac", "NaN in the features", "features"),
        ]
    )
    assert [(row["stage"], row["reason"], row["count"]) for row in rows] == [
        ("prepare", "shorter than N s", 2),
        ("prepare", "unreadable", 1),
        ("features", "NaN in the features", 1),
    ]
    assert rows[1]["examples"] == ["c.flac"]


def test_damaged_rejected_file(tmp_path: Path) -> None:
    (tmp_path / "rejected.tsv").write_text("utterance_id\tpath\treason\tstage\nu1\ta.flac\n")
    with pytest.raises(UserError, match=r"rejected\.tsv, line 2: expected 4 .* found 2"):
        read_rejected([tmp_path / "rejected.tsv"])


def test_pairing_of_scores() -> None:
    def scores(names: tuple[str, ...], frames: tuple[int, ...]) -> FrameScores:
        zeros = np.zeros(len(names), dtype=np.int64)
        return FrameScores(names, zeros, np.array(frames), zeros.astype(float))

    paired = paired_scores({"a": scores(("u", "v"), (3, 5)), "b": scores(("v", "u"), (5, 3))}, ["a", "b"], "dev")
    assert paired["b"].utterance_ids == ("u", "v")
    with pytest.raises(UserError, match="different utterances of dev"):
        paired_scores({"a": scores(("u",), (3,)), "b": scores(("w",), (3,))}, ["a", "b"], "dev")
    with pytest.raises(UserError, match="different frames of dev"):
        paired_scores({"a": scores(("u",), (3,)), "b": scores(("u",), (4,))}, ["a", "b"], "dev")


def test_plots_of_little_data(tmp_path: Path) -> None:
    # One system with one cell; one network with soft targets only, one line, never validated.
    cell = {"acoustic_scale": 0.1, "insertion_penalty": 0.0}
    plot_dev_grid({"student": {**cell, "grid": [{**cell, "dev_wer": 0.3}]}}, "corpus", tmp_path / "grid.png")
    line = {
        "update": 1,
        "epoch": 1.0,
        "train_loss": 2.0,
        "losses": {"soft": 2.0},
        "dev_accuracy": None,
        "dev_cross_entropy": None,
    }
    systems = Systems((Group("s", "student"),), (System("s-0", "s", (NetworkRef("s-0"),)),))
    plot_training_curves({"s": [[line]]}, systems, "corpus", tmp_path / "curves.png")
    for name in ("grid.png", "curves.png"):
        assert imread(tmp_path / name).shape[2] == 4
