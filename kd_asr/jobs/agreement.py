"""Whether an artifact was made with the settings that a run has now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, making_command
from kd_asr.errors import UserError
from kd_asr.fingerprints import canonical
from kd_asr.jobs.job import Job
from kd_asr.settings.build import shown
from kd_asr.settings.files import SETTINGS_FILE


def check_settings(
    run_dir: Path,
    artifact: Artifact,
    decides: Job | Mapping[str, Any],
    *,
    seed: int,
    configure: str = "configure",
) -> None:
    """Refuse an artifact that was made with other settings than these.

    Args:
        run_dir: folder of the run.
        artifact: one of its artifacts.
        decides: what of the run's settings decides it.
        seed: of the run, from which those of its networks are drawn.
        configure: the command that changes the settings.

    Raises:
        UserError: names the first setting that differs, both values, and the command that makes the artifact anew.
    """
    for setting, made, now in _differences(artifact, decides):
        values = (seed, "another one") if setting == "seed" else (now, made)
        raise UserError(
            f"{setting} is {values[0]} in {run_dir / SETTINGS_FILE}, but {artifact.name} was made with {values[1]}: "
            f"run `{making_command(run_dir, artifact.name)}` to make it anew, or set it back with `kd-asr {configure}`"
        )


def _differences(artifact: Artifact, decides: Job | Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value then and value now of each setting that was another one."""
    made, wanted = artifact.settings, canonical(decides)
    if isinstance(decides, Job) and made:  # a field of a job that is not there has the value that absence means
        made = {**dict.fromkeys(wanted), **made}
    for path, then, now in _apart(made, wanted):
        yield ".".join("train" if key == "budget" else key for key in path if key != "loss"), then, now


def _apart(one: Any, other: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Path and both values wherever two canonical forms differ; a named thing's settings follow its name."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if "name" in one and "settings" in one and one.get("name") == other.get("name"):
            yield from _apart(one["settings"], other.get("settings"), (*path, str(one["name"])))
            return
        # What only one of them has is the content of files, a result of another stage, or another version's; of what a
        # job learns from it is a field that the other leaves at the value that absence means.
        whole = path == ("networks",) or path[:1] == ("data",)
        keys = {**one, **other} if whole else [key for key in one if key in other]
        for key in keys:
            yield from _apart(one.get(key), other.get(key), (*path, str(key)))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for first, second in zip(one, other, strict=True):
            yield from _apart(first, second, path)
    elif one != other:
        yield path, _said(one), _said(other)


def _said(value: Any) -> str:
    """A value on one line; of named things their names."""
    if isinstance(value, list) and all(isinstance(one, Mapping) and "name" in one for one in value):
        return ", ".join(str(one["name"]) for one in value)
    return shown(value)
