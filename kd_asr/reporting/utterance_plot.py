"""Plot of an utterance frame by frame: inputs, words, and posteriors of a system of each group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.jobs.systems import Systems
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.plots import new_figure, save_figure


def plot_utterance(example: Mapping[str, Any], systems: Systems, frames: np.ndarray, source: str, path: Path) -> None:
    """Plot log-mel frames with the words above, and below them the posterior of the aligned state for each group.

    Args:
        example: `utterance_id`, `frame_shift_seconds`, `transcript`, `words` as (word, first frame, frames), and
            `groups` by name, each with `posteriors`, one per frame.
        systems: systems of the groups.
        frames: (frames, bins) inputs of the networks.
        source: name of the corpus, for the title.
        path: path of the PNG file.
    """
    import librosa.display  # here, as it takes a second to import

    shift = example["frame_shift_seconds"]
    groups = coloured(systems).groups
    seconds = len(frames) * shift
    title = f"{example['utterance_id']} of dev: {' '.join(example['transcript'])}"
    figure = new_figure(min(16.0, max(8.0, 3.0 + 2.2 * seconds)), 5.2, title, source)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    # Edges rather than centres: a frame is drawn over its own time span, with its posterior below.
    edges = shift * np.arange(len(frames) + 1)
    shown = librosa.display.specshow(
        frames.T, x_coords=edges, y_coords=np.arange(frames.shape[1] + 1), x_axis="s", ax=upper, cmap="magma"
    )
    upper.set_xlabel("")
    upper.set_ylabel("mel band", fontsize=9)
    figure.colorbar(shown, ax=upper, label="log energy, normalised", pad=0.01)
    for word, first, count in example["words"]:
        begin, end = first * shift, (first + count) * shift
        upper.text((begin + end) / 2, 1.02, word, transform=upper.get_xaxis_transform(), ha="center", fontsize=8)
        for axes in (upper, lower):
            for edge in (begin, end):
                axes.axvline(edge, color="#888888", linewidth=0.7, zorder=1)
    highest = 0.0
    for group in groups:
        posteriors = example["groups"][group.name]["posteriors"]
        highest = max(highest, *posteriors)
        lower.step(edges, [*posteriors, posteriors[-1]], where="post", color=group.colour, linewidth=1.1)
        system = example["groups"][group.name]["system"]
        label = group.label if system == group.label else f"{group.label} ({system})"
        lower.plot([], [], color=group.colour, label=label)
    lower.set_ylim(0, min(1.0, 1.1 * highest + 0.01))
    lower.set_xlim(0, seconds)
    lower.set_xlabel("seconds", fontsize=9)
    lower.set_ylabel("posterior of the\naligned state", fontsize=9)
    lower.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(4, len(groups)), fontsize=9, frameon=False)
    save_figure(figure, path)
