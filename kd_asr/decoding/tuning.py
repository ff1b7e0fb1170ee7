"""Choosing acoustic scale and insertion penalty on dev, with few decodings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """The chosen point of the grid, and all points that were tried.

    Attributes:
        acoustic_scale: Acoustic scale of the best point.
        insertion_penalty: Insertion penalty of the best point.
        wer: WER of the best point, 0..1.
        grid: WER of every decoded point, by (acoustic scale, insertion penalty).
    """

    acoustic_scale: float
    insertion_penalty: float
    wer: float
    grid: dict[tuple[float, float], float]


def choose_on_grid(
    dev_wer: Callable[[float, float], float],
    acoustic_scales: Sequence[float],
    insertion_penalties: Sequence[float],
    *,
    start: tuple[float, float] | None = None,
) -> Choice:
    """Descend on the grid: try the neighbours of the best point, scales first, until none is better.

    WER is close to convex in both, so the descent finds the best point of the grid, or one as good within the noise of
    dev, with a fraction of the decodings. Among equal points the one tried first stays, so the result depends only on
    the WERs and `start`.

    Args:
        dev_wer: decodes dev with a scale and a penalty; called at most once per point.
        acoustic_scales: the grid's scales.
        insertion_penalties: the grid's penalties.
        start: another system's choice, at which the descent begins; by default the middle scale and the penalty
            nearest 0.
    """
    scales, penalties = sorted(set(acoustic_scales)), sorted(set(insertion_penalties))
    scale, penalty = start if start is not None else (scales[len(scales) // 2], 0.0)
    best = (
        min(range(len(scales)), key=lambda index: abs(scales[index] - scale)),
        min(range(len(penalties)), key=lambda index: abs(penalties[index] - penalty)),
    )
    grid: dict[tuple[float, float], float] = {}

    def wer(point: tuple[int, int]) -> float:
        values = scales[point[0]], penalties[point[1]]
        if values not in grid:
            grid[values] = dev_wer(*values)
        return grid[values]

    while True:
        before = best
        for step in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            while True:
                point = best[0] + step[0], best[1] + step[1]
                inside = 0 <= point[0] < len(scales) and 0 <= point[1] < len(penalties)
                if not inside or wer(point) >= wer(best):
                    break
                best = point
        if best == before:
            return Choice(scales[best[0]], penalties[best[1]], wer(best), grid)
