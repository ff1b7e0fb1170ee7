"""Born-again networks: each generation learns from the one before it, and their ensemble is a system."""

import json

import pytest
import torch
from digit_students import asked, network_of, plan_of, trained

from kd_asr.errors import UserError
from kd_asr.methods.born_again import BornAgainMethodSettings


def test_a_generation_learns_from_the_one_before_and_from_nothing_else(run_dir) -> None:
    plan = plan_of("born_again", BornAgainMethodSettings(generations=2))
    names = [f"networks/born-again-{generation}-00" for generation in range(3)]
    assert [job.name for job in plan.jobs] == names
    trained(run_dir, plan)
    for parent, job in zip(names, plan.jobs[1:], strict=False):
        batch, signal = asked(run_dir, job, torch.tensor([3, 700, 12]))
        expected = network_of(run_dir, parent)(batch.inputs).softmax(1)
        assert torch.allclose(signal.targets.dense_log_probs(1.0).exp(), expected, atol=1e-6)
    written = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*.safetensors")}
    trained(run_dir, plan)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*.safetensors")} == written
    # Alike in everything but weights.
    first, second = (network_of(run_dir, name) for name in names[1:])
    assert first.settings == second.settings
    assert not torch.allclose(first.output.weight, second.output.weight)
    for job in plan.jobs[1:]:
        line = json.loads((run_dir / job.name / "history.jsonl").read_text().splitlines()[0])
        assert set(line["losses"]) == {"soft"}


def test_the_ensemble_has_all_generations_of_one_line_but_the_first_network() -> None:
    plan = plan_of("born_again")
    [ensemble] = [system for system in plan.systems if system.group == "born-again-ensemble"]
    assert [member.artifact for member in ensemble.members] == [f"networks/born-again-{one}-00" for one in (1, 2, 3)]
    alone = plan_of("born_again", BornAgainMethodSettings(generations=1))
    assert [group.name for group in alone.groups] == ["born-again-1"]


def test_generations_without_a_loss_are_refused() -> None:
    with pytest.raises(UserError, match="born-again-1-00: name at least one loss with a weight above 0"):
        plan_of("born_again", BornAgainMethodSettings(losses=()))
