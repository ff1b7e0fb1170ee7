"""Whether what a run shows was made with the settings that the run has now.

A setting can be changed at any time; what was made before stays as it is until its stage is run again. Whoever shows
results beside settings, or uses both, checks first that they belong together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.artifacts import finished, making_command
from kd_asr.errors import UserError
from kd_asr.jobs.agreement import check_settings
from kd_asr.jobs.job import Job
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages import (
    align,
    augment,
    decode,
    evaluate,
    features,
    graph,
    language_model,
    lexicon,
    posteriors,
    prepare,
    realign,
    sequence_targets,
    transfer,
    unlabelled,
)
from kd_asr.stages.controls import control_jobs, share_jobs
from kd_asr.stages.plan import (
    FIRST_ALIGNMENT,
    baseline_jobs,
    member_jobs,
    realignment_jobs,
    student_jobs,
    sweep_axes,
    sweep_jobs,
    sweep_points,
)
from kd_asr.stages.settings import Settings
from kd_asr.stages.sweep import decided as chosen_by_sweep
from kd_asr.stages.systems import run_systems


def check_agreement(run_dir: Path, settings: Settings, names: Iterable[str]) -> None:
    """Refuse artifacts that were made, or whose inputs were, with other settings than these.

    Args:
        run_dir: folder of the run.
        settings: of the run.
        names: of finished artifacts.

    Raises:
        UserError: names the setting, both values, and the command that makes the artifact anew.
    """
    expected = decided(chosen_by_sweep(run_dir, settings))
    used_by: dict[str, str] = {}
    artifacts = finished(run_dir, names)
    for artifact in artifacts:
        used_by |= {name: artifact.name for name in artifact.inputs if name not in used_by}
    file = run_dir / SETTINGS_FILE
    for artifact in artifacts:
        if artifact.name == "align" and (FIRST_ALIGNMENT in artifact.inputs) != (settings.align.networks > 0):
            raise UserError(
                f"align.networks is {settings.align.networks} in {file}, but align was made "
                f"{'with' if FIRST_ALIGNMENT in artifact.inputs else 'without'} networks: run "
                f"`{making_command(run_dir, 'align')}` to make it anew, or set it back with `kd-asr configure`"
            )
        if artifact.name == "posteriors" and ("unlabelled" in artifact.inputs) < bool(settings.unlabelled_folders):
            raise UserError(
                f"unlabelled audio is named in {file}, but posteriors was made without: run "
                f"`{making_command(run_dir, 'posteriors')}` to make it anew, or set it back with `kd-asr configure`"
            )
        if artifact.name not in expected and not artifact.name.startswith(("ensemble/", "unlabelled")):
            continue  # of a stage that has no settings of the main job, or which finds its networks itself
        if artifact.name not in expected:
            user = used_by.get(artifact.name, artifact.name)
            raise UserError(
                f"{user} was made with {artifact.name}, which the settings in {file} leave out: run "
                f"`{making_command(run_dir, user)}` to make it anew, or set them back with `kd-asr configure`"
            )
        check_settings(run_dir, artifact, expected[artifact.name], seed=settings.seed)
        if artifact.name == "unlabelled":
            known = replace(artifact, settings=artifact.metrics.get("stated", {}))
            check_settings(run_dir, known, unlabelled.stated(settings), seed=settings.seed)


def decided(settings: Settings) -> dict[str, Job | dict[str, Any]]:
    """What of the settings decides each artifact of the main job."""
    systems = run_systems(settings)
    realigned = settings.align.networks > 0
    found: dict[str, Job | dict[str, Any]] = {
        "prepare": prepare.decides(settings),
        "features": features.decides(settings),
        "lexicon": lexicon.decides(settings),
        "language_model": language_model.decides(settings),
        FIRST_ALIGNMENT if realigned else "align": align.decides(settings),
        "augment": augment.decides(settings),
        "transfer": transfer.decides(settings),
        "posteriors": posteriors.decides(settings),
        "evaluate": evaluate.decides(settings),
        "graph": graph.decides(settings),
        sequence_targets.NAME: sequence_targets.decides(settings),
    }
    if settings.unlabelled_folders:
        found["unlabelled"] = unlabelled.decides(settings)
    if realigned:
        found["align"] = realign.decides(settings)
    jobs = [*member_jobs(settings), *baseline_jobs(settings), *student_jobs(settings), *control_jobs(settings)]
    jobs += [job for shares in share_jobs(settings).values() for job in shares]
    jobs += [*sweep_jobs(settings, sweep_points(sweep_axes(settings))), *realignment_jobs(settings)]
    found |= {job.name: job for job in jobs}
    for group in systems.groups:
        found[decode.tuning_name(group)] = decode.decides(settings, systems.of_group(group))
    found |= {f"decode/{system.name}": decode.decides(settings, [system]) for system in systems.systems}
    return found
