"""Where networks are trained and applied: the processor, or a graphics card. Found once, then passed like a seed.

This is the only file that knows one kind of device from another. With `streams` it stands on the ground floor, but
unlike the rest of it their code belongs to fingerprints: the precision and the random numbers of a device decide the
last bits of a result. The device itself does not, so that a run that was begun on one goes on on another.
"""

from __future__ import annotations

import copy
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.executors.base import ClusterExecutor, Executor
from kd_asr.executors.shares import chosen_cluster
from kd_asr.parallel import available_cores

if TYPE_CHECKING:
    from kd_asr.streams import Stream

Precision = Literal["auto", "bf16", "fp32"]
Value = TypeVar("Value")

# Memory of a card that each process on it finds free: its kernels take half a gigabyte, a network of the paper's size
# with its optimiser one.
_BYTES_OF_A_PROCESS = 2 << 30
# Larger tensors are whole sets on their way to a card, for which the host's memory is not held a second time.
_PINNED_BYTES = 256 << 20
# Updates before a card records one: libraries set up, optimisers make their state.
_WARM_UPDATES = 3


class Movable:
    """Base of classes whose tensors `Device.put` places, in a copy: inputs that are gathered where they lie."""

    def put_on(self, device: Device) -> Any:
        """The same object with its tensors, and those of its parts, on a device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            vars(moved)[name] = device.put(value)  # frozen dataclasses too
        return moved


@dataclass(frozen=True)
class Device:
    """A place for networks and what they compute.

    Attributes:
        kind: `cpu` or `cuda`.
        number: Of the card. None: the first one, or as `share` deals them.
    """

    kind: str
    number: int | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number}"

    @property
    def torch_device(self) -> torch.device:
        """What torch calls it."""
        return torch.device(str(self))

    @property
    def label(self) -> str:
        """Its name and the model, for people to read: `cpu (AMD EPYC 9R14)`."""
        if self.kind == "cuda":
            # Where a cluster's jobs have cards, this process need not have one.
            found = torch.cuda.get_device_name(self.torch_device) if torch.cuda.is_available() else "of a cluster"
            return f"{self} ({found})"
        return f"{self} ({_processor()})"

    def put(self, value: Value) -> Value:
        """A value with all of its tensors and networks on this device.

        A tensor on its way to a card is copied while the host goes on. A network is moved in place.

        Args:
            value: tensor, network, `Movable`, or a dataclass, list, tuple or mapping of such; anything else stays as it
                is.
        """
        moved: Any = value
        if isinstance(value, Tensor):
            moved = self._tensor(value)
        elif isinstance(value, nn.Module):
            moved = self._network(value)
        elif isinstance(value, Movable):
            moved = value.put_on(self)
        elif is_dataclass(value) and not isinstance(value, type):
            moved = type(value)(**{item.name: self.put(getattr(value, item.name)) for item in fields(value)})
        elif isinstance(value, Mapping):
            moved = {key: self.put(item) for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            moved = type(value)([self.put(item) for item in value])
        return moved  # type: ignore[no-any-return]

    def _tensor(self, tensor: Tensor) -> Tensor:
        small = bytes_of(tensor) <= _PINNED_BYTES
        if self.kind == "cuda" and tensor.device.type != self.kind and small:
            return tensor.pin_memory().to(self.torch_device, non_blocking=True)
        return tensor.to(self.torch_device)

    def _network(self, network: nn.Module) -> nn.Module:
        if self.kind == "cuda":
            # Convolutions by the same algorithm each time, and in full float32 unless bf16 is asked for.
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.allow_tf32 = False
        return network.to(self.torch_device)

    def can_hold(self, value: object) -> bool:
        """Whether a card can hold a value with all of its parts, in half of the memory that is free there.

        The other half is for networks and what they compute. What is on the host stays there.
        """
        if self.kind != "cuda" or not is_movable(value):
            return False
        free, _ = torch.cuda.mem_get_info(self.torch_device)
        return 2 * bytes_of(value) <= free

    def repeated(self, update: Callable[[], None], streams: Sequence[Stream]) -> Callable[[], None]:
        """A function to be called many times, on a card as one recorded graph of kernels, without the host's work.

        The first calls are made as they are. Where torch cannot record the function, it says so in one line, and all
        calls are made as they are.

        Args:
            update: reads and writes the same tensors each time, and never looks at their numbers.
            streams: whose random numbers it draws.
        """
        return _Recorded(update, self, streams) if self.records else update

    @property
    def records(self) -> bool:
        """Whether `repeated` records updates: numbers that change between them must then lie in tensors."""
        return self.kind == "cuda"

    def wait(self) -> None:
        """Until all that was begun on this device is done, for those who look at the clock."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch_device)

    def uses_bf16(self, precision: Precision) -> bool:
        """Whether matrix products are made in bf16: where asked for, or with `auto` where the device is faster in it.

        The answer depends on the kind of device alone, not on a measurement, so that results can be repeated. Cores
        with AMX are faster in bf16, AMD's with AVX512-BF16 (twice fp32), and cards that have units for it. Intel's with
        AVX512-BF16 but without AMX are slower: 84 GFLOP/s a core against 155 in fp32 on an Emerald Rapids whose AMX is
        hidden by its virtual machine.
        """
        if precision != "auto":
            return precision == "bf16"
        if self.kind == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return bool(torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _is_amd()))

    def matrix_precision(self, *, bf16: bool) -> AbstractContextManager[object]:
        """Matrix products in bf16, or as they are, as long as the context lasts."""
        return torch.autocast(self.kind, torch.bfloat16) if bf16 else nullcontext()

    def seed(self, seed: int) -> None:
        """Begin the random numbers anew: those of this device, and those of the host, which vary inputs."""
        torch.manual_seed(seed)

    def random_state(self) -> dict[str, Tensor]:
        """State of the generators, by kind of device, for a checkpoint."""
        states = {HOST.kind: torch.get_rng_state()}
        if self.kind == "cuda":
            states[self.kind] = torch.cuda.get_rng_state(self.torch_device)
        return states

    def set_random_state(self, states: Mapping[str, Tensor], *, otherwise: int) -> None:
        """Go on with the random numbers of a checkpoint.

        Args:
            states: as `random_state` gave them.
            otherwise: seed of this device's generator, if the checkpoint was made on another kind of device.
        """
        if self.kind not in states:
            self.seed(otherwise)
        torch.set_rng_state(states[HOST.kind])
        if self.kind == "cuda" and self.kind in states:
            torch.cuda.set_rng_state(states[self.kind], self.torch_device)

    def share(self, number: int) -> Device:
        """The device of the job or process of this number: where several cards are meant, they take turns."""
        if self.kind != "cuda" or self.number is not None:
            return self
        return Device(self.kind, number % max(1, torch.cuda.device_count()))

    @property
    def is_faster_in_batches(self) -> bool:
        """Whether many small products are made faster as one: a card is too wide for one of them."""
        return self.kind == "cuda"

    def places(self, jobs: int) -> int:
        """Where trainings can go on at once without sharing: the cards that are meant, or processes.

        Args:
            jobs: processes asked for; 0: one for each core.
        """
        if self.kind != "cuda":
            return jobs or available_cores()
        return 1 if self.number is not None else max(1, torch.cuda.device_count())

    def processes(self, jobs: int) -> int:
        """How many processes are to work side by side: those asked for, as far as cards have memory for them.

        Args:
            jobs: processes asked for; 0: one for each core.
        """
        if self.kind != "cuda":
            return jobs
        cards = [self] if self.number is not None else [self.share(card) for card in range(torch.cuda.device_count())]
        memory = [torch.cuda.get_device_properties(card.torch_device).total_memory for card in cards]
        fitting = sum(max(1, size // _BYTES_OF_A_PROCESS) for size in memory)
        return min(jobs or available_cores(), fitting) if cards else jobs  # without a card here: those of jobs


HOST = Device("cpu")


def bytes_of(value: object) -> int:
    """Bytes of the tensors and mapped arrays that `Device.put` would place."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, nn.Module):
        return bytes_of([*value.parameters(), *value.buffers()])
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(bytes_of, value))
    if isinstance(value, Movable) or (is_dataclass(value) and not isinstance(value, type)):
        return sum(map(bytes_of, vars(value).values()))
    return 0


def is_movable(value: object) -> bool:
    """Whether `Device.put` places every part of a value that can be placed."""
    if isinstance(value, (Tensor, nn.Module, np.ndarray, str, int, float, Path, type(None))):
        return True
    if isinstance(value, Mapping):
        return all(map(is_movable, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_movable, value))
    parts = isinstance(value, Movable) or (is_dataclass(value) and not isinstance(value, type))
    return parts and all(map(is_movable, vars(value).values()))


class _Recorded:
    """An update as a CUDA graph (Gray 2019; torch.cuda.graph)."""

    def __init__(self, update: Callable[[], None], device: Device, streams: Sequence[Stream]) -> None:
        self._update = update
        self._device = device
        self._streams = streams
        self._warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Make the update."""
        with torch.cuda.device(self._device.torch_device):
            if self._graph is not None:
                self._graph.replay()
                return
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                self._update()
            here.wait_stream(aside)
            self._warm += 1
            if self._warm == _WARM_UPDATES:
                self._record()

    def _record(self) -> None:
        states = [stream.random_state() for stream in self._streams]
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            for stream in self._streams:
                graph.register_generator_state(stream.own)
            with torch.cuda.graph(graph):
                self._update()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            say(f"{self._device}: updates are begun one by one, since torch cannot record them as a graph ({reason})")
            for stream, state in zip(self._streams, states, strict=True):
                stream.set_random_state(state, otherwise=0)
            return
        self._graph = graph


def device_of(model: nn.Module) -> Device:
    """Where a network is; one without weights can be anywhere, and is on the host."""
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            return Device(tensor.device.type, tensor.device.index)
    return HOST


def device_problems(name: str) -> list[str]:
    """What is wrong with the name of a device on any machine, for `problems` of settings with a field `device`."""
    if re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?", name):
        return []
    return [f"device: {name!r} is not auto, cpu, cuda or cuda:N, where N is the number of a graphics card, from 0"]


def device_here(name: str) -> Device:
    """What this process computes on: its first card if it has one and the setting `name` allows it, else the
    processor."""
    return HOST if name == HOST.kind or not torch.cuda.is_available() else Device("cuda")


def find_device(name: str, executor: Executor | None = None) -> Device:
    """The device that a setting or an option names: of this machine, or of the jobs of a cluster.

    Args:
        name: `auto`, the graphics cards if there are some, else the processor; `cpu`; `cuda`, all cards; `cuda:N`.
        executor: where maps will be computed; None: where they are.

    Raises:
        UserError: there is no such card, or the name is none of these.
    """
    for problem in device_problems(name):
        raise UserError(problem)
    cluster = chosen_cluster()
    executor = executor or (cluster.executor if cluster is not None else None)
    if isinstance(executor, ClusterExecutor):
        return _of_jobs(name, executor)
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, number = name.partition(":")
    if kind == HOST.kind or (kind == "auto" and not cards):
        return HOST
    if not cards:
        raise UserError(f"device: there is no {name}, because torch finds no graphics card here: choose cpu or auto")
    if number and int(number) >= cards:
        last = f" to cuda:{cards - 1}" if cards > 1 else ""
        raise UserError(f"device: there is no {name}: the graphics cards of this machine are cuda:0{last}")
    return Device("cuda", int(number) if number else None)


def _of_jobs(name: str, executor: ClusterExecutor) -> Device:
    """The device of a cluster's jobs, which have one card each, or none."""
    if name in ("auto", "cuda") and executor.settings.gpu:
        return Device("cuda")
    if name in ("auto", HOST.kind):
        return HOST
    problem = "have one card each: choose cuda" if executor.settings.gpu else "ask for no card: set its `gpu` to true"
    raise UserError(f"device: the jobs of the executor {executor.package} {problem}")


def carriers(processes: int) -> str:
    """What carries tensors between processes, of which so many are on this machine, for `init_process_group`: gloo on
    processors, NCCL on graphics cards where each process has one of its own, else gloo there too."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() and torch.distributed.is_nccl_available() else 0
    return "cpu:gloo,cuda:nccl" if processes <= cards else "gloo"


def is_out_of_memory(error: Exception) -> bool:
    """Whether a card had too little memory."""
    return isinstance(error, torch.OutOfMemoryError)


@cache
def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _is_amd() -> bool:
    return "AuthenticAMD" in (_cpuinfo() or platform.processor())


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", _cpuinfo())
    return found[1].strip() if found else platform.processor() or platform.machine()
