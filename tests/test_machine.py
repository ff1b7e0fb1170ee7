"""The machine beside a report's minutes."""

import numpy as np
import pytest
import torch

from kd_asr.device import HOST
from kd_asr.machine import Machine, machine_sentence, operations_per_second


def test_the_speed_is_that_of_a_product_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    ticks = iter(np.cumsum([1.0, 0.5] * 8))  # each product takes half a second

    def mm(left: torch.Tensor, right: torch.Tensor) -> None:
        products.append((left.dtype, tuple(left.shape), tuple(right.shape), torch.get_num_threads()))

    threads = torch.get_num_threads()
    monkeypatch.setattr("kd_asr.machine.torch.mm", mm)
    monkeypatch.setattr("kd_asr.machine.time.perf_counter", lambda: next(ticks))
    assert operations_per_second(HOST, bf16=True, size=8) == 2 * 8**3 / 0.5
    assert set(products) == {(torch.bfloat16, (8, 8), (8, 8), 1)}
    assert torch.get_num_threads() == threads


def test_a_machine_is_described_as_it_trains() -> None:
    machine = Machine.of(HOST, "fp32")
    assert machine.precision == "fp32" and machine.device == HOST.label
    assert 1e8 < machine.operations_per_second < 1e13
    said = machine_sentence(Machine("cpu (AMD EPYC)", 2, "bf16", 2.13e11, True).to_json())
    assert "cpu (AMD EPYC) with 2 cores. One core multiplied bf16 matrices at 213 GFLOP/s" in said
    said = machine_sentence(Machine("cuda (NVIDIA H100)", 1, "bf16", 6.6e14, False).to_json())
    assert "with 1 core. It multiplied bf16 matrices at 660,000 GFLOP/s" in said
