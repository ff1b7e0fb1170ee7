"""A facilitator learns on what its teachers have not seen, who of them leads and whether they are right."""

import math

import pytest
import torch
from digit_students import FLAGS, asked, network_of, plan_of

from kd_asr.device import HOST
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.losses.lead import lead_loss, moderated
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.digits import digits
from kd_asr.experiments.mnist.networks import teacher_job, train_teachers
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import DigitTask, table_teachers
from kd_asr.jobs.run import run
from kd_asr.registry import find
from kd_asr.settings.files import parse_settings_of
from kd_asr.stages.plan import SpeechTask, member_jobs
from kd_asr.stages.settings import parse_settings

MEMBERS = (
    torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]).log(),
    torch.tensor([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).log(),
)


def test_the_mixture_and_its_loss_by_hand() -> None:
    # The first teacher has three quarters in the first frame, the second all but nothing of the second.
    logits = torch.tensor([[math.log(3.0), 0.0, 0.0], [0.0, -30.0, math.log(3.0)]])
    mixture, trust = moderated(logits, MEMBERS)
    assert torch.allclose(mixture.exp(), torch.tensor([[0.55, 0.35, 0.1], [0.1, 0.8, 0.1]]))
    assert torch.allclose(trust.sigmoid(), torch.tensor([0.5, 0.75]))
    # Wrong in the first frame, with a trust of a half; right in the second, with one of three quarters.
    expected = torch.tensor([-math.log(0.35) - math.log(0.5), -math.log(0.8) - math.log(0.75)])
    assert torch.allclose(lead_loss(logits, MEMBERS, torch.tensor([1, 1])), expected)
    assert lead_loss(logits, MEMBERS, torch.tensor([UNLABELLED, 1]))[0] == 0
    with pytest.raises(ValueError, match="2 outputs of a facilitator of 2 teachers"):
        moderated(logits[:, :2], MEMBERS)


def test_gradients_equal_finite_differences() -> None:
    members = [one.double() for one in MEMBERS]
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: lead_loss(one, members, torch.tensor([0, 2])), logits)


def test_on_digits_it_learns_from_unseen_images_and_its_student_from_the_moderated_members(run_dir) -> None:
    settings = parse_settings_of(MnistSettings, [*FLAGS, "--members=2", "--held_out=0.2", "--hard.epochs=2"])
    plan = plan_of("facilitator", task=DigitTask(settings))
    facilitator, student = plan.jobs
    digits(run_dir, settings)
    train_teachers(run_dir, settings, table_teachers(settings))
    run(plan.jobs, run_dir, processes=1, device=HOST, description="students", unit="images")
    seen, unseen = (one.data for one in (teacher_job(settings, "networks/teacher-00"), facilitator))
    numbers = [data.open(run_dir, facilitator).examples.inputs.numbers for data in (seen, unseen)]
    assert sorted(torch.cat(numbers).tolist()) == list(range(1500)) and len(numbers[1]) == 300
    model = network_of(run_dir, facilitator.name)
    assert model.num_classes == 3
    batch, signal = asked(run_dir, student, torch.tensor([3, 700, 12]))
    members = [network_of(run_dir, f"networks/teacher-0{one}")(batch.inputs).log_softmax(1) for one in range(2)]
    mixture, trust = moderated(model(batch.inputs), members)
    share = trust.sigmoid()[:, None]
    one_hot = torch.nn.functional.one_hot(batch.hard_labels, 10)
    expected = share * mixture.exp() + (1 - share) * one_hot
    assert torch.allclose(signal.targets.dense_log_probs(1.0).exp(), expected, atol=2e-3)
    assert student.last_weights == (1.0, 0.5)


def test_speech_keeps_utterances_from_the_members_and_gives_them_to_the_facilitator() -> None:
    settings = parse_settings(["--ensemble.held_out=0.25", "--ensemble.members=2"])
    facilitator = plan_of("facilitator", task=SpeechTask(settings)).jobs[0]
    seen, unseen = member_jobs(settings)[0].data.subset, facilitator.data.inner.subset
    assert (seen.fraction, seen.draw, seen.seed, seen.rest) == (0.75, "utterances", unseen.seed, False)
    assert unseen.rest
    assert member_jobs(parse_settings([]))[0].data.subset is None


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match=r"keep a part for what learns of them with --ensemble\.held_out 0\.1"):
        plan_of("facilitator", task=SpeechTask(parse_settings([])))
    with pytest.raises(UserError, match=r"keep a part for what learns of them with --held_out 0\.1"):
        plan_of("facilitator", task=DigitTask(parse_settings_of(MnistSettings, [])))
    live = parse_settings(["--ensemble.held_out=0.1", "--distil.teacher=live"])
    with pytest.raises(UserError, match="reads its teachers' posteriors from stores"):
        plan_of("facilitator", task=SpeechTask(live))
    with pytest.raises(UserError, match=r"members see no augment\.copies"):
        parse_settings(["--ensemble.held_out=0.1", "--augment.copies=1"])
    with pytest.raises(UserError, match="choose --methods facilitator"):
        find("teacher", "facilitated").settled(None)
