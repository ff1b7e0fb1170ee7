"""Classes that a teacher holds for impossible, tails of hardly any mass, labels that are none, students as teachers."""

import copy
import math

import pytest
import torch
from torch import nn

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.losses.decoupled import decoupled_loss
from kd_asr.distillation.losses.hard import hard_cross_entropy
from kd_asr.distillation.losses.kl import kl_teacher_to_student
from kd_asr.distillation.losses.logits import squared_logit_difference
from kd_asr.distillation.losses.peers import mean_divergence_from_peers
from kd_asr.distillation.losses.reverse_kl import kl_student_to_teacher
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.posterior_store import decode, encode
from kd_asr.distillation.signal import top_k_targets
from kd_asr.distillation.soft_and_hard import soft_and_hard_loss
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.networks.inference import log_posteriors_of_batch

INF = math.inf
# Three of four classes; the last teacher is certain.
TEACHER = torch.tensor([[2.0, 1.0, -INF, 0.5], [0.0, -INF, -INF, 1.0], [-INF, 0.0, -INF, -INF]]).log_softmax(dim=1)
STUDENT = torch.tensor([[0.3, -0.2, 0.9, 0.0], [1.0, 0.1, -0.4, 0.2], [0.0, 0.5, 0.1, -0.3]])


def by_hand(temperature: float) -> list[float]:
    """T^2 KL(p || q) over the classes that are possible, in double precision."""
    found = []
    for teacher, student in zip(TEACHER.double(), STUDENT.double(), strict=True):
        possible = teacher > -INF
        log_p = (teacher[possible] / temperature).log_softmax(dim=0)
        log_q = (student / temperature).log_softmax(dim=0)[possible]
        found.append(float(temperature**2 * (log_p.exp() * (log_p - log_q)).sum()))
    return found


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
@pytest.mark.parametrize("stored", [False, True])
def test_an_impossible_class_adds_nothing_to_the_divergence(temperature: float, stored: bool) -> None:
    targets = top_k_targets(TEACHER, 4)
    if stored:
        targets = decode(encode(targets), targets.tail_prior)
    tolerance = 2e-2 if stored else 1e-4  # a float16 of a logarithm
    expected = pytest.approx(by_hand(temperature), abs=tolerance)
    assert kl_teacher_to_student(STUDENT, targets, temperature=temperature).tolist() == expected
    assert mean_divergence_from_peers(STUDENT, [TEACHER], temperature=temperature).tolist() == pytest.approx(
        by_hand(temperature), abs=1e-4
    )


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_every_loss_and_its_gradient_are_finite(top_k: int) -> None:
    labels = torch.tensor([0, 3, UNLABELLED])
    targets = top_k_targets(TEACHER, top_k)
    for loss in (
        lambda z: soft_cross_entropy(z, targets, temperature=2.0),
        lambda z: kl_teacher_to_student(z, targets, temperature=2.0),
        lambda z: kl_student_to_teacher(z, targets, temperature=2.0),
        lambda z: squared_logit_difference(z, targets),
        lambda z: decoupled_loss(z, targets, labels, temperature=2.0, target_weight=1.0, other_weight=8.0),
        lambda z: soft_and_hard_loss(z, targets, labels, temperature=2.0, soft_weight=1.0, hard_weight=0.5)[0],
        lambda z: mean_divergence_from_peers(z, [TEACHER, STUDENT], temperature=2.0),
    ):
        student = STUDENT.clone().requires_grad_()
        value = loss(student)
        value.sum().backward()
        assert value.isfinite().all()
        assert student.grad.isfinite().all()


@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
def test_an_ensemble_excludes_what_all_members_exclude(average) -> None:
    """The mean of equal members is each of them; what one of two excludes keeps half, or nothing."""
    assert torch.allclose(average_log_posteriors([TEACHER, TEACHER], average), TEACHER)
    mixed = average_log_posteriors([TEACHER, STUDENT.log_softmax(dim=1)], average)
    expected = STUDENT.softmax(dim=1)[0, 2] / 2 if average == "arithmetic" else 0.0
    assert float(mixed[0, 2].exp()) == pytest.approx(float(expected))
    assert mixed.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("temperature", [2.0, 8.0, 30.0])
@pytest.mark.parametrize("stored", [False, True])
def test_a_tail_of_hardly_any_mass_is_right_at_high_temperature(temperature: float, stored: bool) -> None:
    """Against double precision: one minus the kept mass, in float32, was up to a nat wrong."""
    generator = torch.Generator().manual_seed(1)
    exact = (18 * torch.randn(300, 50, generator=generator, dtype=torch.float64)).log_softmax(dim=1)
    kept = exact.topk(5, dim=1).indices
    rest = exact.scatter(1, kept, -INF).logsumexp(dim=1)
    assert (rest < -20).any()
    targets = top_k_targets(exact.float(), 5)
    if stored:
        targets = decode(encode(targets), targets.tail_prior)
    # 45 classes share the rest evenly, which at a temperature is so much of the whole:
    tail = rest.clamp_min(math.log(1e-30)) - math.log(45)
    joint = torch.cat([exact.gather(1, kept), tail[:, None].expand(-1, 45)], dim=1) / temperature
    expected = joint.log_softmax(dim=1)[:, 5]
    found = targets.dense_log_probs(temperature).scatter(1, kept, -INF).amax(dim=1).double()
    assert float((found - expected).abs().max()) < (2e-2 if stored else 1e-4)


@pytest.mark.parametrize("label", [-1, -2, 4, 100])
def test_a_label_that_is_no_class_is_refused_by_all_losses(label: int) -> None:
    labels, targets = torch.tensor([0, label, 1]), top_k_targets(STUDENT.log_softmax(dim=1), 4)
    with pytest.raises((IndexError, RuntimeError)):
        hard_cross_entropy(STUDENT, labels)
    with pytest.raises((IndexError, RuntimeError)):
        soft_and_hard_loss(STUDENT, targets, labels, temperature=2.0, soft_weight=1.0, hard_weight=0.5)
    with pytest.raises((IndexError, RuntimeError)):
        decoupled_loss(STUDENT, targets, labels, temperature=2.0, target_weight=1.0, other_weight=8.0)


def test_a_student_may_be_its_own_teacher() -> None:
    """Neither is it frozen, nor does the teacher follow it; a frozen network is taken as it is."""
    student = nn.Linear(3, 4)
    before = copy.deepcopy(student)
    batch = Batch(torch.arange(5), torch.randn(5, 3), torch.zeros(5, dtype=torch.int64))
    teacher = LiveTeacher([student], precision="fp32")
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert student.training
    with torch.no_grad():
        student.weight.add_(1.0)
    found = teacher.answer(batch).targets.dense_log_probs(1.0)
    assert torch.allclose(found, before(batch.inputs).log_softmax(dim=1), atol=1e-5)
    frozen = nn.Linear(3, 4).requires_grad_(False)
    assert LiveTeacher([frozen])._members[0] is frozen


class SeesTheWholeBatch(nn.Module):
    """Not row by row: each output depends on all inputs."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1) - inputs.flatten(1).mean(dim=0, keepdim=True)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 2 * 4, 5)), (1, 4, 6)),
        (nn.Sequential(nn.Conv1d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(8, 5)), (3, 4)),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 5)), (2, 3)),
        (SeesTheWholeBatch(), (2, 3)),
    ],
)
def test_networks_of_others_see_their_inputs_as_they_are(model, shape, batch: int) -> None:
    """With bf16, whose kernels like whole hundreds of rows, as without."""
    torch.manual_seed(0)
    inputs = torch.randn(batch, *shape)
    expected = model(inputs).log_softmax(dim=-1)
    found = log_posteriors_of_batch(model, inputs, precision="bf16")
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=0.05)
