"""Decoupled distillation against sums over classes in plain Python, and the identity it is derived from."""

import math

import pytest
import torch

from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.losses.decoupled import decoupled_loss
from kd_asr.distillation.losses.kl import kl_teacher_to_student
from kd_asr.distillation.signal import SoftTargets, top_k_targets

CLASSES = 5
LABELS = torch.tensor([0, 4, 2, 1])


def draw(seed: int) -> torch.Tensor:
    return 2 * torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(teacher: torch.Tensor) -> SoftTargets:
    return top_k_targets(teacher.log_softmax(1), CLASSES)


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_equals_the_two_divergences_by_hand(temperature: float) -> None:
    student, teacher = draw(0), draw(1)
    expected = []
    for z, v, label in zip(student.tolist(), teacher.tolist(), LABELS.tolist(), strict=True):
        q, p = softmax([x / temperature for x in z]), softmax([x / temperature for x in v])
        target_class = divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        others = [number for number in range(CLASSES) if number != label]
        apart = divergence([p[n] / (1 - p[label]) for n in others], [q[n] / (1 - q[label]) for n in others])
        expected.append(temperature**2 * (1.0 * target_class + 8.0 * apart))
    weights = {"temperature": temperature, "target_weight": 1.0, "other_weight": 8.0}
    found = decoupled_loss(student, dense(teacher), LABELS, **weights)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64))


def test_with_the_weight_that_the_teacher_implies_it_is_the_ordinary_divergence() -> None:
    """KL = TCKD + (1 - p) NCKD (equation 7), label by label."""
    student, teacher, temperature = draw(2), draw(3), 2.0
    p = (teacher / temperature).softmax(1).gather(1, LABELS[:, None])[:, 0]
    ordinary = kl_teacher_to_student(student, dense(teacher), temperature=temperature)
    for row in range(4):
        one = decoupled_loss(
            student[row : row + 1], dense(teacher[row : row + 1]), LABELS[row : row + 1],
            temperature=temperature, target_weight=1.0, other_weight=float(1 - p[row]),
        )  # fmt: skip
        assert torch.allclose(one, ordinary[row : row + 1])


def test_an_unlabelled_example_has_the_ordinary_divergence() -> None:
    student, targets = draw(4), dense(draw(5))
    labels = torch.full((4,), UNLABELLED)
    found = decoupled_loss(student, targets, labels, temperature=3.0, target_weight=1.0, other_weight=8.0)
    assert torch.allclose(found, kl_teacher_to_student(student, targets, temperature=3.0))


@pytest.mark.parametrize("k", [2, CLASSES])
def test_its_gradient_equals_finite_differences(k: int) -> None:
    targets = top_k_targets(draw(1).log_softmax(1), k)
    labels = torch.tensor([0, 4, UNLABELLED, 1])

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return decoupled_loss(logits, targets, labels, temperature=2.0, target_weight=1.0, other_weight=8.0)

    assert torch.autograd.gradcheck(loss, draw(0).requires_grad_())


def test_a_certain_teacher_leaves_it_finite() -> None:
    teacher = torch.tensor([[200.0, 0.0, -200.0]])
    student = torch.tensor([[-100.0, 100.0, 0.0]], requires_grad=True)
    targets = top_k_targets(teacher.log_softmax(1), 3)
    loss = decoupled_loss(student, targets, torch.tensor([0]), temperature=1.0, target_weight=1.0, other_weight=8.0)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(student.grad).all()
