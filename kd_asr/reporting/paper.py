"""The paper's table, shown beside a run."""

from __future__ import annotations

from typing import Any

from kd_asr.jobs.systems import Systems

# Rates are fractions, as in the run's own figures.
PAPER: dict[str, Any] = {
    "citation": "G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015, "
    "arXiv:1503.02531, Table 1",
    "setting": "about 2000 hours of speech, 8 layers of 2560 units, 14,000 HMM states, ten teachers",
    # Names of the table, to which `Group.paper` refers.
    "rows": {
        "Baseline": {"frame_accuracy": 0.589, "wer": 0.109},
        "10xEnsemble": {"frame_accuracy": 0.611, "wer": 0.107},
        "Distilled Single model": {"frame_accuracy": 0.608, "wer": 0.107},
    },
    # (60.8 - 58.9) / (61.1 - 58.9) and (10.9 - 10.7) / (10.9 - 10.7)
    "share_of_gain": {"frame_accuracy": 0.86, "wer": 1.0},
}


def paper_beside(systems: Systems) -> dict[str, Any]:
    """The paper's figures for a report: its rows by the name of the group that each is shown beside."""
    rows = {group.name: PAPER["rows"][group.paper] for group in systems.groups if group.paper}
    return {**{key: value for key, value in PAPER.items() if key != "rows"}, "systems": rows}
