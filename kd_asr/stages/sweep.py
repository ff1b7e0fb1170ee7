"""Stage `sweep`: students of several temperatures, weights of the hard loss and shares of labelled audio, on dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.distillation.objectives import hinton_losses
from kd_asr.errors import UserError
from kd_asr.stages.plan import SweepPoint, sweep_axes, sweep_jobs, sweep_points
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train

# Values of an axis that lie next to its largest and smallest one.
_FACTOR = 2.0
_WORDS = {"temperature": "temperature", "hard_weight": "hard weight", "labelled_share": "share of labelled audio"}


def sweep(run_dir: Path, settings: Settings) -> Artifact:
    """Train the students into `sweep_networks/` and write their figures on dev into `sweep/`, for the report.

    Without temperatures there are none. All students have the same initial weights and order of the data, so that they
    differ only in their objective. A grid whose best point is at its edge is widened `distil.sweep_widenings` times.
    """
    axes = sweep_axes(settings)
    found = _trained(run_dir, settings, sweep_points(axes), {})
    for _ in range(settings.distil.sweep_widenings):
        if not found or not at_edge(axes, best_of(found)):
            break
        axes = widened(axes, best_of(found))
        found = _trained(run_dir, settings, sweep_points(axes), found)

    def work(folder: Path) -> dict[str, Any]:
        rows = [
            {
                "temperature": point.temperature,
                "soft_weight": 1.0,
                "hard_weight": point.hard_weight,
                **({"labelled_share": point.labelled_share} if point.labelled_share is not None else {}),
                "dev_frame_accuracy": student.metrics["dev_accuracy"],
                "dev_cross_entropy": student.metrics["dev_cross_entropy"],
            }
            for point, student in found.items()
        ]
        if not found:
            return {"rows": rows}
        best = best_of(found)
        edges = at_edge(axes, best)
        for name, value in edges.items():
            say(f"sweep: {edge_sentence(name, value)}")
        return {"rows": rows, "best": vars(best), "at_edge": edges, "grid": _grid(settings)}

    return build_artifact(
        run_dir,
        "sweep",
        code=__name__,
        settings={"points": list(found), "grid": _grid(settings)},
        inputs=list(found.values()),
        work=work,
    )


def _trained(
    run_dir: Path, settings: Settings, points: Sequence[SweepPoint], before: Mapping[SweepPoint, Artifact]
) -> dict[SweepPoint, Artifact]:
    """A student for each point; those `before` are there."""
    new = [point for point in points if point not in before]
    jobs = sweep_jobs(settings, new)
    students = train(run_dir, settings, jobs, f"sweep of {len(jobs)} students")
    return {**before, **dict(zip(new, students, strict=True))}


def best_of(found: Mapping[SweepPoint, Artifact]) -> SweepPoint:
    """The point with the highest frame accuracy on dev, the first of several."""
    return max(found, key=lambda point: float(found[point].metrics["dev_accuracy"]))


def at_edge(axes: Mapping[str, Sequence[float]], best: SweepPoint) -> dict[str, float]:
    """The values of the best point that are the largest or smallest of an axis and could go further."""
    found = {}
    for name, values in axes.items():
        value = getattr(best, name)
        if len(values) > 1 and value in (min(values), max(values)) and value > 0:
            found[name] = value
    return found


def edge_sentence(name: str, value: float) -> str:
    """A sentence on a best value at the edge of its grid."""
    return f"the best {_WORDS[name]}, {value:g}, is at the edge of what was tried; a further one may be better"


def widened(axes: Mapping[str, Sequence[float]], best: SweepPoint) -> dict[str, tuple[float, ...]]:
    """The axes with a further value beyond each edge that the best point is at.

    A share goes half of the way to 0 or 1, other values go to their double or half.
    """
    wider = {name: tuple(values) for name, values in axes.items()}
    for name, value in at_edge(axes, best).items():
        up = value == max(axes[name])
        further = value * _FACTOR if up else value / _FACTOR
        if name == "labelled_share" and up:
            further = (1 + value) / 2
        wider[name] = (*wider[name], further)
    return wider


def _grid(settings: Settings) -> dict[str, list[float]]:
    """What the settings ask to try; a choice belongs to them."""
    axes = {name: list(values) for name, values in sweep_axes(settings).items()}
    return {**axes, "widenings": [settings.distil.sweep_widenings]}


def decided(run_dir: Path, settings: Settings) -> Settings:
    """The settings with what `sweep` found best on dev, if it is to decide.

    Raises:
        UserError: the sweep has not been run with these settings.
    """
    if not settings.distil.sweep_decides:
        return settings
    made = load_artifact(run_dir, "sweep")
    if made.metrics.get("grid") != _grid(settings):
        raise UserError(f"{made.path} tried other temperatures or weights: run `kd-asr sweep {run_dir}` again")
    best = SweepPoint(**made.metrics["best"])
    losses = hinton_losses(temperature=best.temperature, soft_weight=1.0, hard_weight=best.hard_weight)
    methods = tuple(
        replace(method, settings=replace(method.settings, losses=losses)) if method.name == "hinton" else method
        for method in settings.methods
    )
    distil = settings.distil
    if best.labelled_share is not None:
        distil = replace(distil, labelled_share=best.labelled_share)
    return replace(settings, methods=methods, distil=distil)
