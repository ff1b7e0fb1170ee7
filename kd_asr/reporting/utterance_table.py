"""Per-utterance results of one system as a tab-separated table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kd_asr.reporting.run_results import DecodedUtterance
from kd_asr.text import table_line

COLUMNS = (
    "utterance_id",
    "seconds",
    "reference_words",
    "errors",
    "substitutions",
    "deletions",
    "insertions",
    "reference",
    "hypothesis",
)


def write_utterance_table(path: Path, decoded: Sequence[DecodedUtterance]) -> None:
    """Write a header line and one line per utterance, in order.

    `reference` and `hypothesis` have equal numbers of words; `***` is where a word has no counterpart.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(table_line(COLUMNS))
        for one in decoded:
            errors = one.aligned.errors
            cells = (
                one.utterance_id,
                f"{one.seconds:.2f}",
                errors.reference_words,
                errors.errors,
                errors.substitutions,
                errors.deletions,
                errors.insertions,
                " ".join(one.aligned.reference),
                " ".join(one.aligned.hypothesis),
            )
            file.write(table_line(cells))
