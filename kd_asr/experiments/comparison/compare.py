"""The comparison of finished runs: figures, page, table and plot in one folder."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from kd_asr.artifacts import write_json
from kd_asr.errors import UserError
from kd_asr.experiments.comparison.of_digits import digit_result
from kd_asr.experiments.comparison.of_speech import speech_result
from kd_asr.reporting.compare_figures import check_group, comparison
from kd_asr.reporting.compare_plot import plot_comparison
from kd_asr.reporting.compare_results import check_alike
from kd_asr.reporting.compare_tables import console_table, csv_text, legend, page
from kd_asr.reporting.tables import to_rich
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.tasks.digits import DIGITS

FOLDER = "comparison"
FIGURES = "comparison.json"
# Name of the group of Hinton's students.
AGAINST = "distilled"


def compare(run_dirs: Sequence[Path], out: Path | None = None, against: str | None = None) -> Path:
    """Write `comparison.md`, `.csv`, `.json` and `.png` of the systems of some runs, and return their folder.

    Args:
        run_dirs: finished runs, all on speech or all on digits.
        out: folder to write, whole or not at all; by default `comparison` in the first run.
        against: group that the others are compared with; by default Hinton's students, if there are some.

    Raises:
        UserError: a run is not finished, they were tested on different data, no run has the group, or the folder holds
            something else.
    """
    folder = out or run_dirs[0] / FOLDER
    if folder.exists() and not (folder.is_dir() and ((folder / FIGURES).exists() or not any(folder.iterdir()))):
        raise UserError(f"{folder} holds something other than a comparison: choose another folder with --out")
    names = _names(run_dirs)
    runs = [_result(run_dir, name) for run_dir, name in zip(run_dirs, names, strict=True)]
    check_alike(runs)
    if against is not None:
        check_group(runs, against)
    # Tables and plot are made from the written JSON, so that the file alone is enough to make them.
    content = json.loads(json.dumps(comparison(runs, against or AGAINST)))
    _write(folder, content)
    return folder


def print_comparison(folder: Path, file: TextIO | None = None) -> None:
    """Print the table of a comparison and the path of its page on standard output or `file`."""
    content = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    console = Console(file=file or sys.stdout, highlight=False)
    console.print(to_rich(console_table(content)))
    console.print(legend(content), markup=False)
    console.print(f"Comparison: {folder / 'comparison.md'}", markup=False, soft_wrap=True)


def _names(run_dirs: Sequence[Path]) -> list[str]:
    """The last part of each folder; where two are alike, the whole path as it was given."""
    absolute = [run_dir.absolute() for run_dir in run_dirs]
    twice = next((run_dirs[number] for number, one in enumerate(absolute) if one in absolute[:number]), None)
    if twice is not None:
        raise UserError(f"{twice} is named twice: name each run once")
    last = [one.name for one in absolute]
    return [name if last.count(name) == 1 else str(run_dir) for name, run_dir in zip(last, run_dirs, strict=True)]


def _result(run_dir: Path, name: str) -> Any:
    if not (run_dir / SETTINGS_FILE).is_file():
        raise UserError(f"{run_dir} is not a run folder (no {SETTINGS_FILE}): name the folder of a finished run")
    return (digit_result if (run_dir / DIGITS).exists() else speech_result)(run_dir, name)


def _write(folder: Path, content: dict[str, Any]) -> None:
    """Write a comparison into a folder beside its place, and then put that there as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        made, old = Path(temporary) / "made", Path(temporary) / "old"
        made.mkdir()
        (made / "comparison.md").write_text(page(content), encoding="utf-8")
        (made / "comparison.csv").write_text(csv_text(content), encoding="utf-8", newline="")
        plot_comparison(content, made / "comparison.png")
        write_json(made / FIGURES, content)
        if folder.exists():
            folder.rename(old)
        made.rename(folder)
