"""docs/your-own.md: its code runs as it stands."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
import torch

from kd_asr.cli.parsing import setting_flags
from kd_asr.networks.base import new_network
from kd_asr.networks.files import load_network, save_network
from kd_asr.stages.settings import Settings, parse_settings

PAGE = Path(__file__).parents[2] / "docs" / "your-own.md"
CODE = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_run_as_they_stand() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 10 and not failed


def test_the_network_is_one_of_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = [text for kind, text in CODE if kind == "python" and "class MyNet(" in text]
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").touch()
    (tmp_path / "mypkg" / "nets.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    [command] = [line for _, text in CODE for line in text.splitlines() if "mypkg.nets:MyNet.units" in line]
    settings = parse_settings(setting_flags(shlex.split(command)[3:], "kd-asr run speech", Settings, []))
    named = settings.student_network
    assert (named.name, named.settings.units) == ("mypkg.nets:MyNet", 128)
    inputs = torch.randn(9, 11 * 40, generator=torch.Generator().manual_seed(0))
    network = new_network(named, inputs, (11, 40), 7, 1).eval()
    save_network(tmp_path / "model.safetensors", network, {"num_mel_bins": 40})
    again = load_network(tmp_path / "model.safetensors", {"num_mel_bins": 40})
    assert torch.equal(network(inputs), again.eval()(inputs))
    assert network(inputs).shape == (9, 7)
