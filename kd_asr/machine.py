"""What the machine can do, beside the times that a report gives: minutes alone say nothing about a program."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kd_asr.device import HOST, Device, Precision, device_here
from kd_asr.parallel import available_cores

# A square product of this size fits the caches of a core, and is as fast as one of twice the size.
_SIZE = 1024
_TRIALS = 8


@dataclass(frozen=True)
class Machine:
    """A machine and its measured speed.

    Attributes:
        device: Device and model, such as `cpu (AMD EPYC 9R14)`.
        cores: Processor cores that this process may use.
        precision: Of the matrix products of trainings, `bf16` or `fp32`.
        operations_per_second: Floating-point operations of one square matrix product in this precision, the fastest of
            some: on one core, or on the card.
        on_core: Whether it was on one core.
    """

    device: str
    cores: int
    precision: str
    operations_per_second: float
    on_core: bool

    @classmethod
    def measure(cls, device: str, precision: Precision) -> Machine:
        """The machine that this process runs on; takes a quarter of a second on a core.

        Args:
            device: the setting by which trainings choose theirs. Where they had cards and this process has none, the
                processor is measured.
            precision: of trainings.
        """
        return cls.of(device_here(device), precision)

    @classmethod
    def of(cls, device: Device, precision: Precision) -> Machine:
        """A device of this machine."""
        bf16 = device.uses_bf16(precision)
        speed = operations_per_second(device, bf16=bf16)
        return cls(device.label, available_cores(), "bf16" if bf16 else "fp32", speed, device == HOST)

    def to_json(self) -> dict[str, Any]:
        """Its fields, as JSON can hold them."""
        return asdict(self)


def operations_per_second(device: Device, *, bf16: bool, size: int = _SIZE) -> float:
    """Floating-point operations a second of a product of two square matrices, the fastest of some, on one core.

    Args:
        device: where to compute.
        bf16: whether in bf16, or in fp32.
        size: rows and columns of the matrices.
    """
    left, right = (
        device.put(torch.randn(size, size, generator=torch.Generator().manual_seed(number))) for number in range(2)
    )
    if bf16:
        left, right = left.bfloat16(), right.bfloat16()
    fastest = float("inf")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_TRIALS):
            device.wait()
            started = time.perf_counter()
            torch.mm(left, right)
            device.wait()
            fastest = min(fastest, time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 2 * size**3 / fastest


def machine_sentence(machine: dict[str, Any]) -> str:
    """What a report says beside its times, from `Machine.to_json`."""
    speed = f"{machine['operations_per_second'] / 1e9:,.0f} GFLOP/s"
    one = "One core" if machine["on_core"] else "It"
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"This report was written on {machine['device']} with {cores}. {one} multiplied {machine['precision']} "
        f"matrices at {speed} then; on a machine of another speed, expect other minutes."
    )
