"""Devices by their names, what they hold, and that no other file knows one from another."""

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import kd_asr
from kd_asr.cli import main
from kd_asr.device import HOST, Device, carriers, device_of, device_problems, find_device
from kd_asr.errors import UserError
from kd_asr.parallel import parallel_map

PACKAGE = Path(kd_asr.__file__).parent


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two cards, of 8 and of 3 GiB, as far as torch is asked about them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    memory = {"cuda:0": 8 << 30, "cuda:1": 3 << 30}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda card: SimpleNamespace(total_memory=memory[str(card)])
    )


def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_takes_the_cards_if_there_are_some(two_cards, monkeypatch) -> None:
    assert find_device("auto") == find_device("cuda") == Device("cuda")
    assert find_device("cpu") == HOST
    assert find_device("cuda:1") == Device("cuda", 1)
    no_cards(monkeypatch)
    assert find_device("auto") == HOST


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:01", "cpu:0", "", "CPU", "cuda:0 ", "auto\n"])
def test_other_names_are_refused_on_every_machine(name: str) -> None:
    [problem] = device_problems(name)
    assert problem.startswith("device: ") and "is not auto, cpu, cuda or cuda:N" in problem
    with pytest.raises(UserError, match="is not auto, cpu, cuda or cuda:N"):
        find_device(name)


def test_a_card_that_is_not_there_is_refused_and_those_that_are_there_are_named(two_cards, monkeypatch) -> None:
    with pytest.raises(UserError, match="there is no cuda:2: the graphics cards of this machine are cuda:0 to cuda:1"):
        find_device("cuda:2")
    no_cards(monkeypatch)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=f"there is no {name}, because torch finds no .*: choose cpu or auto"):
            find_device(name)


def test_jobs_take_turns_on_the_cards_and_share_them_as_far_as_memory_goes(two_cards) -> None:
    assert [Device("cuda").share(number) for number in range(3)] == [Device("cuda", number) for number in (0, 1, 0)]
    assert Device("cuda", 1).share(4) == Device("cuda", 1)
    assert HOST.share(4) == HOST
    assert [Device("cuda").processes(jobs) for jobs in (1, 4, 16)] == [1, 4, 5]
    assert [Device("cuda", number).processes(16) for number in (0, 1)] == [4, 1]
    assert [HOST.processes(jobs) for jobs in (0, 16)] == [0, 16]


@dataclass(frozen=True)
class Held:
    tensor: torch.Tensor
    several: tuple[torch.Tensor, ...]
    by_name: dict[str, torch.Tensor]
    other: str


def test_everything_in_a_value_is_put_on_a_device_and_comes_back(device: Device) -> None:
    one, two, three = torch.randn(3, generator=torch.Generator().manual_seed(0))
    held = device.put(Held(one, (two,), {"three": three}, "as it is"))
    moved = [held.tensor, *held.several, *held.by_name.values()]
    assert {tensor.device for tensor in moved} == {device.torch_device}
    assert held.other == "as it is"
    back = HOST.put(held)
    assert [back.tensor, *back.several, *back.by_name.values()] == [one, two, three]


def test_a_network_is_where_its_weights_are(device: Device) -> None:
    assert device_of(device.put(nn.Linear(2, 3))) == device
    assert device_of(nn.ReLU()) == HOST


def test_random_numbers_of_device_and_host_go_on_where_they_were(device: Device) -> None:
    def draws() -> list[torch.Tensor]:
        return [torch.rand(3), HOST.put(torch.rand(3, device=device.torch_device))]

    device.seed(1)
    draws()
    state, expected = device.random_state(), draws()
    device.seed(2)
    device.set_random_state(state, otherwise=3)
    assert all(torch.equal(*pair) for pair in zip(draws(), expected, strict=True))
    # From a checkpoint of another kind of device: the host's go on, the device's begin anew, always in the same way.
    found = []
    for _ in range(2):
        device.set_random_state({"cpu": state["cpu"]}, otherwise=3)
        found.append(draws())
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert torch.equal(found[0][0], expected[0])


def test_a_device_says_what_it_is(device: Device) -> None:
    assert device.label.startswith(f"{device} (") and len(device.label) > len(f"{device} ()")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["configure", "{run}", "--device", "gpu"], "'gpu' is not auto, cpu, cuda or cuda:N"),
        (["configure", "{run}", "--device", "cuda:99"], "device: there is no cuda:99"),
        (["mnist", "configure", "{run}", "--device", "cuda:99"], "device: there is no cuda:99"),
        (["run", "speech", "--out", "{run}", "--device", "cuda:99"], "device: there is no cuda:99"),
        (["run", "digits", "--out", "{run}", "--device", "gpu"], "'gpu' is not auto, cpu, cuda or cuda:N"),
        (["transcribe", "{run}", "a.wav", "--device", "cuda:99"], "device: there is no cuda:99"),
        (["align-files", "{run}", "a.wav", "--device", "gpu"], "'gpu' is not auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_bad_device_is_refused_before_any_work(arguments: list[str], sentence: str, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    assert main([one.format(run=run) for one in arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not run.exists()


def _cannot_use_cards(item: int) -> bool:
    return bool(torch.cuda._is_in_bad_fork())


def test_worker_processes_can_use_cards() -> None:
    """Whoever asks for cards in the process that workers are forked from takes the cards away from all of them."""
    assert list(parallel_map(_cannot_use_cards, [0], description="", unit="", jobs=1)) == [False]


def test_a_full_card_is_explained(monkeypatch, capsys) -> None:
    def fill(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    monkeypatch.setitem(importlib.import_module("kd_asr.cli.main")._FURTHER, "score", fill)
    assert main(["score", "reference", "hypothesis"]) == 2
    assert "the graphics card has not enough memory: use fewer processes, a smaller" in capsys.readouterr().err


def test_one_file_knows_one_kind_of_device_from_another() -> None:
    known = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = isinstance(node, ast.Constant) and node.value in ("cpu", "cuda")
            asks = isinstance(node, ast.Attribute) and node.attr in ("cpu", "cuda", "map_location", "autocast")
            if names or asks:
                known.append(str(path.relative_to(PACKAGE)))
    assert set(known) == {"device.py"}


def test_processes_without_a_card_each_talk_by_gloo() -> None:
    assert carriers(1 + torch.cuda.device_count()) == "gloo"
