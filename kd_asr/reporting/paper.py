"""The table that a run is set beside."""

from __future__ import annotations

# Rates are fractions, as in the run's own figures.
PAPER = {
    "citation": "G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015, "
    "arXiv:1503.02531, Table 1",
    "setting": "about 2000 hours of speech, 8 layers of 2560 units, 14,000 HMM states, ten teachers",
    "systems": {
        "baseline": {"frame_accuracy": 0.589, "wer": 0.109},
        "ensemble": {"frame_accuracy": 0.611, "wer": 0.107},
        "distilled": {"frame_accuracy": 0.608, "wer": 0.107},
    },
    # (60.8 - 58.9) / (61.1 - 58.9) and (10.9 - 10.7) / (10.9 - 10.7)
    "share_of_gain": {"frame_accuracy": 0.86, "wer": 1.0},
}
