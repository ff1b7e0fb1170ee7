"""What an executor is: it starts jobs on a cluster, each of which does its share of a map's items.

All else goes through files of the run folder, which the machines of a cluster share (`kd_asr.executors.shares`), so
that another cluster is one more file beside this one.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from kd_asr.errors import UserError
from kd_asr.registry import Named
from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class JobSettings:
    """What a job of a cluster asks for.

    Attributes:
        workers: Jobs that a map is divided into.
        cores: Processor cores of each job, which has as many processes unless the setting `jobs` is less.
        memory: Memory of each job; 0: what the cluster gives.
        gpu: Whether each job asks for a graphics card, and networks are trained and applied there.
    """

    workers: Annotated[int, AtLeast(1), AtMost(100_000)] = 8
    cores: Annotated[int, AtLeast(1), AtMost(4096)] = 4
    memory: Annotated[int, AtLeast(0), AtMost(100_000), Unit("GB")] = 0
    gpu: bool = False


class Submitted(ABC):
    """Jobs that were started together, numbered from 0."""

    @abstractmethod
    def ended(self, number: int) -> str | None:
        """How a job ended and where its output lies, for a message; None while it waits or works."""

    @abstractmethod
    def cancel(self) -> None:
        """End the jobs that have not ended."""


class Executor:
    """This machine, in the worker processes of `kd_asr.parallel`."""

    Settings: ClassVar[type]

    def __init__(self, settings: Any) -> None:
        self.settings = settings


class ClusterExecutor(Executor, ABC):
    """A cluster whose machines share the run folder.

    Attributes:
        package: the Python package by which it is reached.
        file_delay: seconds after which a file that another machine has written is there for all.
    """

    package: ClassVar[str]
    file_delay: float = 30.0
    settings: JobSettings

    def check(self) -> None:
        """Refuse to begin where the package is missing.

        Raises:
            UserError: it is not installed.
        """
        if importlib.util.find_spec(self.package) is None:
            raise UserError(
                f"executor: {self.package} is not installed: install it with `pip install kd-asr[cluster]`, or work on "
                "this machine with --executor local"
            )

    @abstractmethod
    def submit(
        self, do_share: Callable[[int], None], shares: int, *, title: str, folder: Path, environment: dict[str, str]
    ) -> Submitted:
        """Start a job for each share.

        Args:
            do_share: picklable; does the share of a number.
            shares: how many there are.
            title: name of the jobs, for people who look at the queue.
            folder: an empty folder for what the jobs print; of the run folder.
            environment: variables that `do_share` finds.
        """

    def close(self) -> None:
        """Give back what is held between maps."""


def make_executor(named: Named) -> Executor:
    """The executor that a setting names.

    Raises:
        UserError: its package is not installed.
    """
    executor: Executor = named.make()
    if isinstance(executor, ClusterExecutor):
        executor.check()
    return executor
