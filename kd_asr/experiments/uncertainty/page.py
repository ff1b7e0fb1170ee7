"""The page `uncertainty.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_asr.reporting.tables import Table, decimal, in_lines, to_markdown

WRONG_FRAMES, WRONG_WORDS = "wrong frames", "wrong words"

HOW_TO_READ = """\
- A figure is the area under the receiver operating characteristic: the probability that the measure is larger for one
  that is to be found than for one that is not. 0.5 is chance, 1 is perfect, below 0.5 the measure points the wrong way.
  Where a group has several systems, it is the mean over them.
- **total** is the entropy of the mean posterior. **knowledge** is that less the mean entropy of the posteriors: how far
  the members of an ensemble, the heads of a student, or the posteriors that a student's Dirichlet distribution draws
  disagree. A student that has one posterior gives the total alone. `uncertainty.tsv` has the data uncertainty, every
  system by itself, and how well single frames of odd audio are found.
- **wrong frames** are frames of test whose most probable pdf is not the aligned one, among all frames; **wrong words**
  are recognised words where the reference has another or none, among all recognised words. Each system is asked for its
  own errors.
- **Audio unlike the training data** is told, file by file, from utterances of test, each file normalised for itself:
  **8 kHz** is the same utterances through a chain at 8 kHz, **noise** is coloured noise, **tones** are music-like
  chords, **foreign** is German, French, Spanish, Italian and Finnish by espeak-ng. **English** by espeak-ng shows how
  much of the latter is only the voice of the synthesiser.
"""


def table_of(content: Mapping[str, Any], *, narrow: bool = False) -> Table:
    """Systems and measures by questions; with `narrow`, in a few short lines for the console."""
    labels = {group["name"]: group["label"] for group in content["groups"]}
    rows = [row for row in content["rows"] if row["measure"] != "data" and not _of_odd_frames(row)]
    keys = list(dict.fromkeys((row["group"], row["measure"]) for row in rows))
    questions = list(dict.fromkeys(row["question"] for row in rows))
    areas = {(row["group"], row["measure"], row["question"]): row["area"] for row in rows}
    shown = [
        (f"{labels[group]}, {measure}", *(decimal(areas.get((group, measure, one)), 3) for one in questions))
        for group, measure in keys
    ]
    columns = ("uncertainty", *questions)
    if narrow:
        shown = [(in_lines(name), *cells) for name, *cells in shown]
        columns = tuple(column.replace(" ", "\n") for column in columns)
    return Table(columns, tuple(shown), content["title"])


def _of_odd_frames(row: Mapping[str, Any]) -> bool:
    return bool(row["unit"] == "frame" and row["question"] != WRONG_FRAMES)


def page(content: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    return "\n".join(
        [f"# {content['title']}", "", content["description"], "", to_markdown(table_of(content)), HOW_TO_READ]
    )
