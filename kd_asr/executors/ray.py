"""Ray: every share of a map is a task, on this machine or on a running Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kd_asr.errors import UserError
from kd_asr.executors.base import ClusterExecutor, JobSettings, Submitted
from kd_asr.registry import executor


@dataclass(frozen=True)
class RaySettings(JobSettings):
    """Ray tasks.

    Attributes:
        address: Of a running cluster whose machines share the run folder, such as `auto` or `10.0.0.1:6379`; empty:
            Ray is started on this machine.
    """

    address: str = ""


class _Tasks(Submitted):
    def __init__(self, tasks: list[Any]) -> None:
        self._tasks = tasks

    def ended(self, number: int) -> str | None:
        """What Ray says of a task that has ended."""
        import ray

        task = self._tasks[number]
        if not ray.wait([task], timeout=0)[0]:
            return None
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            return " ".join(str(error).split())
        return "done, without a result"

    def cancel(self) -> None:
        """Kill what has not ended."""
        import ray

        for task in self._tasks:
            ray.cancel(task, force=True)


@executor("ray")
class Ray(ClusterExecutor):
    """Ray tasks."""

    Settings = RaySettings
    package: ClassVar[str] = "ray"
    settings: RaySettings

    def submit(
        self, do_share: Callable[[int], None], shares: int, *, title: str, folder: Path, environment: dict[str, str]
    ) -> Submitted:
        """Start a task for each share."""
        import ray

        settings = self.settings
        if not ray.is_initialized():
            if not settings.address:
                self.file_delay = 0.0
            self._connect(environment)
        resources: dict[str, Any] = {"num_cpus": settings.cores, "num_gpus": int(settings.gpu), "max_retries": 0}
        if settings.memory:
            resources["memory"] = settings.memory << 30

        def work(number: int) -> None:  # Ray takes functions alone, and `do_share` is a partial one
            do_share(number)

        task = ray.remote(**resources, name=title)(work)
        return _Tasks([task.remote(number) for number in range(shares)])

    def _connect(self, environment: dict[str, str]) -> None:
        import ray

        options: dict[str, Any] = {"address": self.settings.address or "local"}
        if not self.settings.address:
            options |= {"include_dashboard": False}
        try:
            ray.init(**options, log_to_driver=False, logging_level="error", runtime_env={"env_vars": environment})
        except (ConnectionError, ValueError, RuntimeError) as error:
            where, why = self.settings.address or "this machine", " ".join(str(error).split())
            raise UserError(f"executor.ray: Ray cannot be reached at {where}: {why}") from error
        offered = ray.cluster_resources()
        if offered.get("CPU", 0) < self.settings.cores or offered.get("GPU", 0) < int(self.settings.gpu):
            card = " and a graphics card" if self.settings.gpu else ""
            raise UserError(
                f"executor.ray: a job wants {self.settings.cores} cores{card}, and Ray has {offered.get('CPU', 0):g} "
                f"cores and {offered.get('GPU', 0):g} cards: set --executor.ray.cores to less"
            )

    def close(self) -> None:
        """Leave Ray, and end it if it was started here."""
        import ray

        ray.shutdown()
