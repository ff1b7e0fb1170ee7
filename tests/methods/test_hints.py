"""Hints in two stages: one teacher's middle layer, then all teachers; the second stage begins where the first ended."""

import json

import pytest
import torch
from digit_students import DIGIT_TASK, asked, network_of, plan_of, trained

from kd_asr.errors import UserError
from kd_asr.methods.hints import HintsMethodSettings
from kd_asr.networks.base import seeded
from kd_asr.settings.build import build
from kd_asr.stages.plan import SpeechTask
from kd_asr.stages.settings import parse_settings


def residual(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """Mean square of what no affine map of the student's layer says of the teacher's, in closed form."""
    known = torch.cat([student, torch.ones(len(student), 1)], dim=1).double()
    solution = torch.linalg.lstsq(known, teacher.double(), driver="gelsd").solution
    return float((teacher.double() - known @ solution).square().mean())


def test_the_student_comes_to_say_what_the_teachers_layer_says_and_goes_on_from_there(run_dir) -> None:
    plan = plan_of("hints", HintsMethodSettings(hint_share=0.75))
    trained(run_dir, plan)
    first, second = plan.jobs
    batch, signal = asked(run_dir, first, torch.arange(0, 1500, 5))
    [teacher] = DIGIT_TASK.teachers(0)
    with torch.no_grad():
        expected = network_of(run_dir, teacher).hidden[:7](batch.inputs)
        assert torch.allclose(signal.taps["middle"], expected, atol=1e-5)
        hinted = network_of(run_dir, first.name)
        untrained = seeded(first.network, (8, 8), 10, first.seed).eval()
        before, after = (residual(one.hidden(batch.inputs), expected) for one in (untrained, hinted))
    assert after < 0.9 * before
    assert torch.equal(hinted.output.weight, untrained.output.weight)
    # The layers above the hint are as they were drawn, those of the second stage as they were left by the first.
    last = network_of(run_dir, second.name)
    drawn = seeded(second.network, (8, 8), 10, second.seed)
    apart, moved = ((last.hidden[0].weight - one.hidden[0].weight).norm() for one in (hinted, drawn))
    assert apart < 0.5 * moved
    history = [json.loads((run_dir / job.name / "history.jsonl").read_text().splitlines()[-1]) for job in plan.jobs]
    assert [set(line["losses"]) for line in history] == [{"hint"}, {"soft", "hard"}]
    whole = first.budget.epochs * (1500 // 64)
    assert [line["update"] for line in history] == [round(0.75 * whole), round(0.25 * whole)]


def test_each_student_has_the_hint_of_one_member_and_the_posteriors_of_all() -> None:
    task = SpeechTask(parse_settings(["--distil.students=3", "--ensemble.members=2"]))
    plan = plan_of("hints", task=task)
    first, second = plan.jobs[:3], plan.jobs[3:]
    members = ["ensemble/member-00", "ensemble/member-01"]
    assert [job.teacher.artifacts for job in first] == [(members[0],), (members[1],), (members[0],)]
    assert [job.start_from for job in second] == [job.name for job in first]
    assert {job.teacher.teacher.name for job in second} == {"stored"}
    assert {job.last_weights for job in second} == {(1.0, 1.0)}
    assert [one.weight for one in second[0].losses] == [4.0, 1.0]


def test_a_teacher_that_sees_utterances_in_another_way_gives_no_hints() -> None:
    settings = parse_settings(["--teacher.network=tdnn", "--student.network=dnn", "--train.batch_frames=400"])
    with pytest.raises(UserError, match=r"methods: teachers that are asked one by one see what the student sees, but"):
        plan_of("hints", task=SpeechTask(settings))


def test_last_weights_belong_to_losses() -> None:
    with pytest.raises(UserError, match="last_weights: 1 numbers for 2 losses"):
        build(HintsMethodSettings, {"last_weights": [1.0]})
