"""Slurm, through submitit: every map is a job array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from kd_asr.executors.base import ClusterExecutor, JobSettings, Submitted
from kd_asr.registry import executor
from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class SubmititSettings(JobSettings):
    """Slurm job arrays.

    Attributes:
        partition: Slurm's partition; empty: the cluster's own choice.
        minutes: Time limit of each job.
        slurm: Further parameters of Slurm, such as `account=speech,qos=long`.
        cluster: Where jobs go: `slurm`, `local` (processes of this machine, for a trial), or `auto`, Slurm if there is
            one.
    """

    partition: str = ""
    minutes: Annotated[int, AtLeast(1), AtMost(1_000_000), Unit("minutes")] = 240
    slurm: str = ""
    cluster: Literal["auto", "slurm", "local"] = "auto"

    def problems(self) -> list[str]:
        """Parameters that are none."""
        parts = [part for part in self.slurm.split(",") if part]
        return [f"slurm: {part!r} is not of the form name=value" for part in parts if not part.partition("=")[2]]


class _Array(Submitted):
    def __init__(self, jobs: list[Any]) -> None:
        self._jobs = jobs

    def ended(self, number: int) -> str | None:
        """State of the job, and the file with its messages."""
        job = self._jobs[number]
        return f"{job.state}, see {job.paths.stderr}" if job.done() else None

    def cancel(self) -> None:
        """Cancel what has not ended."""
        for job in self._jobs:
            if not job.done():
                job.cancel(check=False)


@executor("submitit")
class Submitit(ClusterExecutor):
    """Slurm job arrays."""

    Settings = SubmititSettings
    package: ClassVar[str] = "submitit"
    settings: SubmititSettings

    def submit(
        self, do_share: Callable[[int], None], shares: int, *, title: str, folder: Path, environment: dict[str, str]
    ) -> Submitted:
        """Start a job for each share; they inherit this process's environment."""
        import submitit

        settings = self.settings
        found = submitit.AutoExecutor(folder, cluster=None if settings.cluster == "auto" else settings.cluster)
        if found.cluster == "local":
            self.file_delay = 0.0
        parameters: dict[str, Any] = {"name": title, "timeout_min": settings.minutes, "cpus_per_task": settings.cores}
        if settings.memory:
            parameters["mem_gb"] = settings.memory
        if settings.gpu:
            parameters["gpus_per_node"] = 1
        if settings.partition:
            parameters["slurm_partition"] = settings.partition
        if settings.slurm:
            further = (part.partition("=") for part in settings.slurm.split(",") if part)
            parameters["slurm_additional_parameters"] = {name: value for name, _, value in further}
        found.update_parameters(**parameters)
        with submitit.helpers.environment_variables(**environment):
            return _Array(found.map_array(do_share, range(shares)))
