"""Tables and sentences of the experiment `filters`, in Markdown and for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_asr.reporting.filters_figures import QUESTIONS
from kd_asr.reporting.mnist_figures import repeated
from kd_asr.reporting.tables import (
    Table,
    count,
    decimal,
    p_value,
    percent,
    percent_interval,
    to_markdown,
)
from kd_asr.text import in_markdown

Figures = Mapping[str, Any]
KIND_LABELS = {"teacher": "teacher", "hard": "student on hard labels", "distilled": "distilled student"}
# Measures other than linear CKA of a layer.
MEASURE_LABELS = {
    "filters": "filters: correlation",
    "responses": "responses: correlation",
    "answers": "answers: share alike",
}
HOW_TO_READ = """\
- **Seeds.** Each seed has a teacher, a student on hard labels and a student of that teacher. Both students began with
  the same weights and saw the same batches, so that only their targets differ. Intervals are Student's t intervals of
  the mean of differences taken seed by seed; p is exact, over all patterns of their signs, two-sided, and not corrected
  for the number of rows.
- **Layers** are compared by linear centred kernel alignment (Kornblith and others 2019) on the same test examples: 1 is
  the same but for a rotation and a scale. The last column is the mean over pairs of teachers.
- **Filters** of the first layer are matched to different filters of the teacher so that their correlations have the
  largest sum (the Hungarian method); shown is the mean correlation. Small filters match well by chance: the values for
  other teachers tell how well. Two teachers, all of whose filters are to be matched, match worse. **Responses** are the
  magnitudes of their Fourier transforms, which know neither sign nor place of a pattern.
- **Answers** are the most probable classes.
- **Inherited** is what a student of a teacher shares with that teacher beyond what it shares with any other, and beyond
  what its twin on hard labels shares with it.
"""


def measure_label(measure: str) -> str:
    """A measure in a table."""
    return MEASURE_LABELS.get(measure, f"{measure}: CKA")


def likeness_table(figures: Figures) -> Table:
    """Means over seeds after the last update: each kind of student beside its own teacher and the others."""
    columns = ("how alike", "distilled, own teacher", "distilled, others", "hard labels, own", "hard labels, others")
    rows = []
    for measure in figures["measures"]:
        curves = figures["curves"][measure]
        shown = [curves[kind][relation] for kind in ("distilled", "hard") for relation in ("own", "other")]
        values = [float(np.mean(of_moments[-1])) for of_moments in shown]
        between = figures["teachers"][measure]
        rows.append((measure_label(measure), *(decimal(value, 3) for value in (*values, between))))
    return Table((*columns, "two teachers"), tuple(rows), figures.get("title", ""))


def test_table(figures: Figures, question: str) -> Table:
    """Mean difference of a question with its interval and p-value, by measure."""
    rows = [
        (measure_label(one["measure"]), f"{one['mean']:+.3f}", _interval(one["interval"]), p_value(one["p_value"]))
        for one in figures["comparisons"]
        if one["question"] == question
    ]
    return Table(("how alike", "difference", "95 % interval", "p"), tuple(rows))


def accuracy_table(figures: Figures) -> Table:
    """Accuracy on test by kind of network."""
    rows = []
    for kind, accuracies in figures["accuracies"].items():
        found = repeated(accuracies)
        rows.append(
            (
                KIND_LABELS[kind],
                count(figures["parameters"][kind]),
                percent(found["mean"]),
                percent_interval(found["interval"]),
                count(len(accuracies)),
            )
        )
    return Table(("network", "parameters", "accuracy %", "95 % interval over seeds", "networks"), tuple(rows))


def _interval(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"  # noqa: RUF001


def answer(figures: Figures) -> list[str]:
    """What a student inherits, in sentences made of the figures; an interval that holds 0 is not certain."""
    seeds = count(figures["seeds"])
    return [
        f"Over {seeds} seeds, a distilled student is nearer to its own teacher than to the others in "
        f"{_said(figures, 'own')}.",
        f"It is nearer to its teacher than its twin on hard labels is in {_said(figures, 'alone')}.",
        "It has inherited, beyond what it shares with any teacher and what its twin shares with its own, "
        f"{_said(figures, 'inherited')}.",
    ]


def _said(figures: Figures, question: str) -> str:
    """The measures that are certainly nearer, those certainly further, and those that are neither."""
    nearer, further, neither = [], [], []
    for one in figures["comparisons"]:
        if one["question"] == question:
            low, high = one["interval"] or (-1.0, 1.0)
            name = measure_label(one["measure"])
            shown = f"{name} ({one['mean']:+.3f}, p {_p(one['p_value'])})"
            if low > 0:
                nearer.append(shown)
            elif high < 0:
                further.append(shown)
            else:
                neither.append(name)
    said = _listed(nearer) if nearer else "nothing for certain"
    said += f"; it is further in {_listed(further)}" if further else ""
    return said + (f"; not certain: {_listed(neither)}" if neither and nearer else "")


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def filters_section(figures: Figures, *, level: int = 2) -> list[str]:
    """The experiment in Markdown: sentences, tables, pictures.

    Args:
        figures: content of `filters.json`.
        level: of the headings.
    """
    marks = "#" * level
    deeper = f"{marks}#"
    return [
        f"{marks} What a student inherits",
        in_markdown(figures["about"]),
        "\n".join(f"- {sentence}" for sentence in answer(figures)),
        f"{deeper} Networks",
        to_markdown(accuracy_table(figures)),
        f"{deeper} Students beside teachers",
        to_markdown(likeness_table(figures)),
        *(
            part
            for question, label in QUESTIONS.items()
            for part in (f"{deeper} {label[0].upper()}{label[1:]}", to_markdown(test_table(figures, question)))
        ),
        f"{deeper} First layers",
        "Filters of the first seed, each with the teacher's filter that it is matched to.",
        "![Matched filters](filters.png)",
        "Mean responses in modulation frequency.",
        "![Responses of first layers](filters_responses.png)",
        f"{deeper} Over training",
        "![Likeness to the teacher over training](filters_training.png)",
        HOW_TO_READ,
    ]
