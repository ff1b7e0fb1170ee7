"""What a graphics card makes of this project: `python -m benchmarks.gpu` on the card, `--small` anywhere.

    python -m benchmarks.gpu --tests --run "--preset standard exp/standard" > gpu.jsonl

One line of JSON for each part, as soon as it is done. A part that would begin after `--limit` seconds is left out and
says so. Shares of the peak count the floating-point operations of matrix products alone, as torch does; the peak is
that of one large product in the same arithmetic, measured beside them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.synthetic import random_posterior_store, random_store
from kd_asr.artifacts import all_artifacts
from kd_asr.device import Device, find_device
from kd_asr.distillation.objectives import HARD, hinton_losses, objective_of
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.vocal_tract import WarpedWindows
from kd_asr.networks.base import Network, seeded, view_of
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.networks.views import labelled_frames
from kd_asr.presets import find_preset
from kd_asr.registry import Named, named
from kd_asr.stages.settings import parse_settings
from kd_asr.training.examples import Examples
from kd_asr.training.fit import FitResult
from kd_asr.training.fit_stacked import Member, fit_stacked
from kd_asr.training.settings import TrainSettings

# Updates before the clock starts: libraries are set up, and the card records an update.
_WARM = 10


@dataclass(frozen=True)
class _Size:
    """How much is measured."""

    networks: int
    updates: int
    utterances: int
    product: int


CARD = _Size(networks=13, updates=300, utterances=64, product=8192)
SMALL = _Size(networks=2, updates=4, utterances=2, product=256)


def peak(device: Device, size: int) -> float:
    """Operations a second of one product of two square bf16 matrices, the fastest of five."""
    left, right = (device.put(torch.randn(size, size).bfloat16()) for _ in range(2))
    fastest = float("inf")
    for _ in range(6):
        device.wait()
        started = time.perf_counter()
        torch.mm(left, right)
        device.wait()
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def step_operations(network: Network, examples: Examples, batch: int) -> int:
    """Floating-point operations of an update's matrix products, as torch counts them without computing them."""
    row = examples.inputs[torch.zeros(1, dtype=torch.int64)]
    inputs = torch.empty(batch, *row.shape[1:], device="meta")
    with FlopCounterMode(display=False) as counter:
        network.to("meta").train()(inputs).sum().backward()
    return int(counter.get_total_flops())


def train_speed(
    network: Named, examples: Examples, classes: int, *, batch: int, count: int, updates: int, device: Device
) -> dict[str, Any]:
    """Seconds and operations of an update of `count` networks as one, without the start."""
    shape = view_of(network).input_shape(FeatureSettings().num_mel_bins)
    losses = HARD if examples.teacher is None else hinton_losses(2.0, 1.0, 0.5)
    seconds: list[float] = []

    def clock(labels: float) -> None:
        if len(seconds) in (_WARM, _WARM + updates):
            device.wait()
        seconds.append(time.perf_counter())

    def fitted(folder: Path) -> list[FitResult]:
        members = []
        for number in range(count):
            (folder / str(number)).mkdir()
            model = seeded(network, shape, classes, number)
            members.append(Member(str(number), model, objective_of(losses), number, folder / str(number)))
        budget = TrainSettings(batch_frames=batch, precision="bf16", checkpoint_seconds=1e9)
        total = _WARM + updates
        return fit_stacked(
            members,
            examples,
            budget,
            device=device,
            validate=None,
            advance=clock,
            updates=total,
            epoch_updates=total,
        )

    with tempfile.TemporaryDirectory() as folder:
        fitted(Path(folder))
    one_update = (seconds[_WARM + updates] - seconds[_WARM]) / updates
    per_example = examples.labels_per_example
    counted = step_operations(seeded(network, shape, classes, 0), examples, batch // per_example)
    return {
        "networks": count,
        "labels_of_a_batch": batch,
        "milliseconds_of_an_update": round(1000 * one_update, 3),
        "teraflops": round(count * counted / one_update / 1e12, 3),
    }


def examples_for(folder: Path, network: Named, classes: int, *, utterances: int, taught: bool) -> Examples:
    """Random frames and labels, warped as in training; with the posteriors of a random teacher."""
    features, frames = FeatureSettings(), 1600
    store = random_store(folder / "frames", utterances, frames, features)
    seen = view_of(network).examples(store, store.utterance_ids)
    warped = WarpedWindows(seen.inputs, 0.1, features)
    every = torch.randint(classes, (utterances * frames,), dtype=torch.int32)
    teacher = None
    if taught:
        posteriors = random_posterior_store(folder / "posteriors", utterances * frames, classes, 20)
        teacher = StoredTeacher(posteriors, ["all"])
    found = labelled_frames([seen], [len(every)])
    if found is None:
        return Examples(warped, every, teacher)
    numbers, _ = found
    return Examples(warped, every[numbers], teacher, numbers if taught else None)


def _stack(device: Device, size: _Size, top: float, *, small: bool, taught: bool) -> dict[str, Any]:
    """The networks of `standard`, many as one."""
    settings = parse_settings([], find_preset("standard"))
    network, classes = settings.network, 50 if small else 2000
    if small:
        narrow = TdnnSettings(hidden_units=16, chunk_frames=8, dilations=(1, 3), frame_stride=3)
        network = replace(network, settings=narrow)
    batch = 16 * view_of(network).labels_per_example
    with tempfile.TemporaryDirectory() as folder:
        examples = examples_for(Path(folder), network, classes, utterances=size.utterances, taught=taught)
        measured = partial(train_speed, network, examples, classes, batch=batch, updates=size.updates, device=device)
        as_one, alone = measured(count=size.networks), measured(count=1)
    as_one["share_of_peak"] = round(as_one["teraflops"] * 1e12 / top, 4)
    as_one["times_one_network"] = round(
        as_one["milliseconds_of_an_update"] / alone["milliseconds_of_an_update"], 2
    )
    return as_one


def _paper(device: Device, size: _Size, top: float, *, small: bool) -> dict[str, Any]:
    """The network of Hinton, Vinyals and Dean (2015), section 3: 8 x 2560 units, 14,000 states."""
    layers, units, classes, batch = (2, 32, 50, 64) if small else (8, 2560, 14_000, 2048)
    network = named("network", "dnn", DnnSettings(20, 5, hidden_layers=layers, hidden_units=units))
    with tempfile.TemporaryDirectory() as folder:
        examples = examples_for(Path(folder), network, classes, utterances=size.utterances, taught=False)
        updates = max(4, size.updates // 3)
        found = train_speed(network, examples, classes, batch=batch, count=1, updates=updates, device=device)
    found["share_of_peak"] = round(found["teraflops"] * 1e12 / top, 4)
    hours = 2000 * 360_000 / batch * found["milliseconds_of_an_update"] / 3.6e6
    return {**found, "hours_of_an_epoch_of_2000_hours": round(hours, 2)}


def _tests(device: Device, *, small: bool) -> dict[str, Any]:
    """The tests that are run on every device."""
    where = ["training", "networks", "features", "distillation", "jobs", "test_device.py"]
    chosen = ["training/test_resident.py"] if small else where
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", device.kind]
    done = subprocess.run([*command, *(f"tests/{one}" for one in chosen)], capture_output=True, text=True, check=False)
    return {"exit_status": done.returncode, "end": (done.stdout or done.stderr).strip().splitlines()[-12:]}


def _run(arguments: str, device: Device) -> dict[str, Any]:
    """A whole run, with seconds by artifact's stage."""
    words = shlex.split(arguments)
    started = time.perf_counter()
    command = [sys.executable, "-m", "kd_asr", "run", *words, "--device", device.kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, Any] = {"exit_status": done.returncode, "seconds": round(time.perf_counter() - started, 1)}
    folder = next((Path(word) for word in words if Path(word).is_dir()), None)
    stages: dict[str, float] = {}
    for artifact in all_artifacts(folder) if folder is not None else []:
        stage = artifact.name.split("/", maxsplit=1)[0]
        stages[stage] = round(stages.get(stage, 0.0) + artifact.own_seconds, 2)
    return {**found, "seconds_by_stage": stages, "end": done.stderr.strip().splitlines()[-5:]}


def parts(arguments: argparse.Namespace, device: Device) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Names of the parts and what measures each, the most wanted first."""
    small, size = arguments.small, SMALL if arguments.small else CARD
    tops: list[float] = []

    def top() -> dict[str, Any]:
        tops.append(peak(device, size.product))
        return {"teraflops": round(tops[0] / 1e12, 2), "device": device.label}

    yield "peak of a bf16 product", top
    yield "networks as one, hard labels", lambda: _stack(device, size, tops[0], small=small, taught=False)
    yield "students as one, stored posteriors", lambda: _stack(device, size, tops[0], small=small, taught=True)
    yield "the paper's network", lambda: _paper(device, size, tops[0], small=small)
    if arguments.tests:
        yield "tests", lambda: _tests(device, small=small)
    for run in arguments.run:
        yield f"run {run}", partial(_run, run, device)


def main(words: list[str] | None = None) -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="auto", help="where to measure (default: auto)")
    parser.add_argument("--small", action="store_true", help="a few updates of small networks, to try the script")
    parser.add_argument("--tests", action="store_true", help="run the tests of devices as well")
    parser.add_argument("--run", action="append", default=[], help="arguments of a `kd-asr run` to time by stage")
    parser.add_argument("--limit", type=float, default=560.0, help="seconds after which no part begins (default: 560)")
    arguments = parser.parse_args(words)
    device, started = find_device(arguments.device).share(0), time.monotonic()
    torch.set_num_threads(1)
    for name, measured in parts(arguments, device):
        before = time.monotonic() - started
        found = measured() if before < arguments.limit else {"left_out_after_seconds": round(before)}
        print(json.dumps({"part": name, "at": round(time.monotonic() - started, 1), **found}), flush=True)


if __name__ == "__main__":
    main()
