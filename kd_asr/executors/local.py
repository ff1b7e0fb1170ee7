"""All work on this machine, or on the machines that torchrun was started on."""

from __future__ import annotations

from dataclasses import dataclass

from kd_asr.executors.base import Executor
from kd_asr.registry import executor


@dataclass(frozen=True)
class LocalSettings:
    """This machine, whose processes the setting `jobs` counts."""


@executor("local")
class Local(Executor):
    """This machine."""

    Settings = LocalSettings
