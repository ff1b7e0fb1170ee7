import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED, on_taps
from kd_asr.distillation.losses.hard import hard_cross_entropy
from kd_asr.distillation.losses.kl import kl_teacher_to_student
from kd_asr.distillation.losses.logits import squared_logit_difference
from kd_asr.distillation.losses.reverse_kl import kl_student_to_teacher
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.objectives import (
    HARD,
    HintonObjective,
    MeanObjective,
    check_needs,
    hinton_losses,
    objective_of,
    weighted,
)
from kd_asr.distillation.signal import Signal, SoftTargets, tail_sum, top_k_targets
from kd_asr.errors import UserError
from kd_asr.networks.outputs import Outputs
from kd_asr.registry import Weighted, find, names

CLASSES = 7


def draw(seed: int, batch: int = 5, classes: int = CLASSES, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(log_probs: torch.Tensor) -> SoftTargets:
    return top_k_targets(log_probs, log_probs.shape[1])


def batch_of(labels: torch.Tensor, targets: SoftTargets | None = None) -> Batch:
    return Batch(torch.arange(len(labels)), torch.zeros(len(labels), 1), labels, Signal(targets))


POSTERIORS_ONLY = [name for name in names("loss") if find("loss", name).needs == {"posteriors"}]


def against(name: str, temperature: float):
    """A registered loss that needs posteriors alone, as a function of logits and targets."""
    kind = find("loss", name)
    tempered = "temperature" in kind.Settings.__dataclass_fields__
    loss = kind(kind.Settings(temperature=temperature) if tempered else kind.Settings())
    return lambda logits, targets: loss(
        Outputs(logits), Signal(targets), batch_of(torch.zeros(len(logits), dtype=torch.int64), targets)
    )


def test_hard_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    assert torch.allclose(hard_cross_entropy(logits, torch.tensor([1, 1])), torch.log(torch.tensor([4 / 3, 5.0])))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 20.0])
def test_soft_cross_entropy_equals_the_sum_over_classes(temperature: float) -> None:
    student, teacher = draw(0), draw(1)
    expected = []
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        q = [math.exp(x / temperature) for x in z]
        p = [math.exp(x / temperature) for x in v]
        expected.append(-(temperature**2) * sum(a / sum(p) * math.log(b / sum(q)) for a, b in zip(p, q, strict=True)))
    loss = soft_cross_entropy(student, dense(teacher.log_softmax(1)), temperature=temperature)
    assert torch.allclose(loss, torch.tensor(expected, dtype=torch.float64))


def test_one_hot_teacher_at_temperature_1_is_the_hard_loss() -> None:
    labels = torch.tensor([3, 0, 6, 6, 1])
    one_hot = torch.full((5, CLASSES), -1e4, dtype=torch.float64).scatter(1, labels[:, None], 0.0)
    student = draw(2)
    soft = soft_cross_entropy(student, dense(one_hot), temperature=1.0)
    assert torch.allclose(soft, hard_cross_entropy(student, labels))


@given(st.floats(0.5, 30), st.integers(0, 1000))
def test_gradient_is_t_times_q_minus_p(temperature: float, seed: int) -> None:
    """Hinton, Vinyals, Dean 2015, equation 2, times T squared."""
    student, teacher = draw(seed).requires_grad_(), draw(seed + 1)
    soft_cross_entropy(student, dense(teacher.log_softmax(1)), temperature=temperature).sum().backward()
    q, p = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    assert torch.allclose(student.grad, temperature * (q - p), atol=1e-9)


def test_high_temperature_matches_centred_logits() -> None:
    """Equation 4: T squared times the loss has gradient (z - v) / N for zero-mean logits."""
    student, teacher = draw(3), draw(4)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = teacher - teacher.mean(1, keepdim=True)
    errors = []
    for temperature in (10.0, 100.0, 1000.0):
        student.grad = None
        soft_cross_entropy(student, dense(teacher.log_softmax(1)), temperature=temperature).sum().backward()
        errors.append(float((student.grad - (student.detach() - teacher) / CLASSES).abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("k", [1, 3, CLASSES - 1, CLASSES])
def test_top_k_spreads_the_rest_evenly(k: int, temperature: float) -> None:
    teacher, student = draw(5).log_softmax(1), draw(6)
    kept, classes = teacher.topk(k, dim=1)
    rest = (1 - kept.exp().sum(1)).clamp_min(0)
    full = torch.full_like(teacher, -math.inf)
    if k < CLASSES:
        full = (rest / (CLASSES - k)).log()[:, None].expand(-1, CLASSES).clone()
    full = full.scatter(1, classes, kept)
    expected = soft_cross_entropy(student, dense(full), temperature=temperature)
    assert torch.allclose(soft_cross_entropy(student, top_k_targets(teacher, k), temperature=temperature), expected)
    if k >= CLASSES - 1:  # nothing is lost
        assert torch.allclose(expected, soft_cross_entropy(student, dense(teacher), temperature=temperature))


def test_top_k_distribution_sums_to_one_even_without_rest() -> None:
    logs = torch.tensor([[0.0, -200.0, -300.0, -400.0]])
    targets = top_k_targets(logs, 2)
    probs, tail_scale, tail_weights = targets.at_temperature(3.0)
    assert torch.isfinite(probs).all()
    assert torch.allclose(probs.sum(1) + tail_scale * tail_weights[2:].sum(), torch.ones(1))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("k", [1, 3, CLASSES - 1, CLASSES])
def test_the_rest_is_shared_in_proportion_to_the_background(k: int, temperature: float) -> None:
    teacher, student = draw(5).log_softmax(1), draw(6)
    background = draw(9, batch=1)[0].softmax(0)
    targets = top_k_targets(teacher, k, 5.0 * background)  # only ratios matter
    filled = []
    rests = targets.log_tail_mass.exp().tolist()
    for row, classes, rest in zip(teacher.tolist(), targets.classes.tolist(), rests, strict=True):
        others = [c for c in range(CLASSES) if c not in classes]
        each = rest / sum(float(background[c]) for c in others) if others else 0.0
        filled.append([row[c] if c in classes else math.log(each * float(background[c])) for c in range(CLASSES)])
    expected = soft_cross_entropy(student, dense(torch.tensor(filled, dtype=torch.float64)), temperature=temperature)
    assert torch.allclose(soft_cross_entropy(student, targets, temperature=temperature), expected, atol=1e-6)


def test_tail_sum_is_what_is_outside_the_top_k() -> None:
    log_probs = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.6, 0.1 - 1e-6]]).log()
    expected = torch.tensor([0.1, 0.0, 0.15, 0.15], dtype=torch.float64)
    assert torch.allclose(tail_sum(log_probs, torch.tensor([[1, 0], [2, 1]])), expected, atol=1e-5)
    assert float(tail_sum(log_probs, torch.arange(4).repeat(2, 1)).abs().sum()) == 0.0


@pytest.mark.parametrize("value", [-100.0, 100.0])
def test_extreme_logits_stay_finite(value: float) -> None:
    logits = torch.tensor([[value, 0.0, -value]], requires_grad=True)
    for temperature in (1.0, 20.0):
        targets = dense(torch.tensor([[0.0, value, 1.0]]).log_softmax(1))
        loss = soft_cross_entropy(logits, targets, temperature=temperature)
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(logits.grad).all()


def test_mismatched_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(5, 6\) for soft targets of shape \(5, 7\)"):
        soft_cross_entropy(draw(0, classes=6), dense(draw(1).log_softmax(1)), temperature=1.0)


def test_hinton_objective_is_the_weighted_mean_and_logs_its_parts() -> None:
    labels, student, teacher = torch.tensor([0, 1, 2, 3, 4]), draw(7), draw(8).log_softmax(1)
    batch, outputs = batch_of(labels, dense(teacher)), Outputs(student)
    value = HintonObjective(temperature=2.0, soft_weight=1.0, hard_weight=0.5)(outputs, batch)
    soft = soft_cross_entropy(student, dense(teacher), temperature=2.0).mean()
    hard = hard_cross_entropy(student, labels).mean()
    assert torch.allclose(value.total, (soft + 0.5 * hard) / 1.5)
    assert torch.allclose(value.losses["soft"], soft)
    assert torch.allclose(value.losses["hard"], hard)
    hard_alone = HintonObjective(9.0, 0.0, 3.0)(outputs, batch).total
    assert torch.allclose(hard_alone, objective_of(HARD)(outputs, batch).total)
    with pytest.raises(ValueError, match="without soft targets"):
        HintonObjective(2.0, 1.0, 0.5)(outputs, batch_of(labels))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_both_divergences_equal_the_sums_over_classes(temperature: float) -> None:
    student, teacher = draw(0), draw(1)
    forward, backward = [], []
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        q = [math.exp(x / temperature) for x in z]
        p = [math.exp(x / temperature) for x in v]
        q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
        forward.append(temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        backward.append(temperature**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
    targets = dense(teacher.log_softmax(1))
    losses = kl_teacher_to_student, kl_student_to_teacher
    for loss, expected in zip(losses, (forward, backward), strict=True):
        assert torch.allclose(loss(student, targets, temperature=temperature), torch.tensor(expected).double())


def test_squared_logit_difference_by_hand() -> None:
    # Centred: z = (1, 0, -1), v = (-1, 1, 0), so z - v = (2, -1, -1), and 6 / (2 * 3) = 1.
    targets = dense(torch.tensor([[4.0, 6.0, 5.0]], dtype=torch.float64).log_softmax(1))
    logits = torch.tensor([[8.0, 7.0, 6.0]], dtype=torch.float64)
    assert torch.allclose(squared_logit_difference(logits, targets), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("name", POSTERIORS_ONLY)
@pytest.mark.parametrize("k", [3, CLASSES])
def test_gradients_equal_finite_differences(name: str, k: int) -> None:
    targets = top_k_targets(draw(1).log_softmax(1), k)
    loss = against(name, 2.5)
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), draw(0).requires_grad_())


@pytest.mark.parametrize("name", POSTERIORS_ONLY)
def test_a_student_that_agrees_has_no_gradient(name: str) -> None:
    teacher = draw(2)
    student = (teacher + 5.0).requires_grad_()  # a softmax does not see the shift
    loss = against(name, 2.0)(student, dense(teacher.log_softmax(1)))
    loss.sum().backward()
    assert float(student.grad.abs().max()) < 1e-12
    if name != "soft":
        assert float(loss.detach().abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["soft", "kl", "reverse_kl"])
def test_high_temperature_turns_every_loss_into_matching_logits(name: str) -> None:
    """Hinton, Vinyals, Dean 2015, equation 4: the gradient of T squared times the loss tends to (z - v) / N."""
    student, targets = draw(3), dense(draw(4).log_softmax(1))

    def gradient(loss) -> torch.Tensor:
        logits = student.clone().requires_grad_()
        return torch.autograd.grad(loss(logits, targets).sum(), logits)[0]

    limit = gradient(squared_logit_difference)
    z, v = (x - x.mean(1, keepdim=True) for x in (student, draw(4)))
    assert torch.allclose(limit, (z - v) / CLASSES)
    errors = [
        float((gradient(against(name, temperature)) - limit).norm() / limit.norm())
        for temperature in (10.0, 100.0, 1000.0)
    ]
    # The error is of the order 1 / T.
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.2 * errors[1]
    assert errors[2] < 5e-3


def test_the_two_cross_entropies_have_the_same_gradient() -> None:
    targets = top_k_targets(draw(5).log_softmax(1), 3)
    gradients = []
    for loss in (soft_cross_entropy, kl_teacher_to_student):
        student = draw(6).requires_grad_()
        gradients.append(torch.autograd.grad(loss(student, targets, temperature=3.0).sum(), student)[0])
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("name", POSTERIORS_ONLY)
def test_every_soft_loss_refuses_mismatched_shapes_and_stays_finite(name: str) -> None:
    loss_of = against(name, 4.0)
    with pytest.raises(ValueError, match=r"\(5, 6\) for soft targets of shape \(5, 7\)"):
        loss_of(draw(0, classes=6), dense(draw(1).log_softmax(1)))
    logits = torch.tensor([[100.0, 0.0, -100.0]], requires_grad=True)
    loss = loss_of(logits, dense(torch.tensor([[-100.0, 0.0, 100.0]]).log_softmax(1)))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("k", [1, 4, CLASSES])
def test_dense_log_probs_are_the_distribution_at_that_temperature(k: int, temperature: float) -> None:
    background = draw(9, batch=1)[0].softmax(0)
    targets = top_k_targets(draw(5).log_softmax(1), k, background)
    probs, tail_scale, tail_weights = targets.at_temperature(temperature)
    expected = (tail_scale[:, None] * tail_weights).scatter(1, targets.classes, probs)
    found = targets.dense_log_probs(temperature)
    assert torch.allclose(found.exp(), expected)
    assert torch.allclose(found.exp().sum(1), torch.ones(5, dtype=torch.float64))


def test_a_list_of_losses_is_their_weighted_mean_and_wants_a_teacher() -> None:
    labels, student, targets = torch.tensor([0, 1, 2, 3, 4]), draw(7), dense(draw(8).log_softmax(1))
    kl = find("loss", "reverse_kl").Settings(temperature=2.0)
    objective = objective_of([weighted("reverse_kl", kl, weight=3.0), weighted("hard")])
    value = objective(Outputs(student), batch_of(labels, targets))
    soft = kl_student_to_teacher(student, targets, temperature=2.0).mean()
    hard = hard_cross_entropy(student, labels).mean()
    assert torch.allclose(value.total, (3 * soft + hard) / 4)
    assert value.losses == {"reverse_kl": pytest.approx(float(soft)), "hard": pytest.approx(float(hard))}
    with pytest.raises(ValueError, match="without soft targets"):
        objective(Outputs(student), batch_of(labels))


def test_exactly_a_soft_and_a_hard_loss_are_fused_and_equal_the_plain_mean() -> None:
    losses = hinton_losses(3.0, 2.0, 0.5)
    fused = objective_of(losses[::-1])
    assert fused == HintonObjective(3.0, 2.0, 0.5)
    plain = MeanObjective(tuple((one.loss.name, one.loss.make(), one.weight) for one in losses))
    assert isinstance(objective_of([*losses, weighted("kl")]), MeanObjective)
    labels, targets = torch.tensor([0, 1, UNLABELLED, 3, 4]), top_k_targets(draw(8).log_softmax(1), 3)
    gradients = []
    for objective in (fused, plain):
        student = draw(7).requires_grad_()
        objective(Outputs(student), batch_of(labels, targets)).total.backward()
        gradients.append(student.grad)
    assert torch.allclose(*gradients)


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ([], "at least one loss with a weight above 0"),
        ([weighted("hard", weight=0.0)], "at least one loss with a weight above 0"),
        ([weighted("hard"), weighted("hard")], "name each loss once"),
    ],
)
def test_a_list_that_means_nothing_is_refused(losses: list[Weighted], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        objective_of(losses)


def test_what_a_teacher_does_not_give_is_refused_in_one_sentence() -> None:
    check_needs([weighted("decoupled")], frozenset({"posteriors", "labels"}), who="distil")
    with pytest.raises(UserError, match=r"distil: the loss 'peers' needs members, but its teacher gives posteriors"):
        check_needs([weighted("peers")], frozenset({"posteriors"}), who="distil")
    with pytest.raises(UserError, match=r"the loss 'decoupled' needs labels and posteriors, .* gives nothing"):
        check_needs([weighted("decoupled")], frozenset(), who="distil")


# Losses on sequences have batches of their own, in `tests/sequence/test_sequence_training.py`.
@pytest.mark.parametrize("name", [name for name in names("loss") if "graphs" not in find("loss", name).needs])
def test_every_loss_gives_one_finite_value_per_label_and_a_gradient(name: str, device: Device) -> None:
    kind = find("loss", name)
    assert kind.needs <= {"labels", "posteriors", "members", "taps", "heads"}
    targets, loss = top_k_targets(draw(1).log_softmax(1), 4), kind(kind.Settings())
    signal = Signal(targets, (draw(2).log_softmax(1), draw(3).log_softmax(1)))
    taps: list[str] = []
    if (tapping := on_taps(loss)) is not None:
        torch.manual_seed(0)
        device.put(tapping.adapter(CLASSES, 3).double())
        signal = replace(signal, taps={tapping.teacher_tap: draw(4, classes=3)})
        taps = [tapping.student_tap]
    signal = device.put(signal)
    labels = device.put(torch.tensor([0, 6, 2, 2, UNLABELLED]))
    student = device.put(draw(0)).requires_grad_()

    def value_of(logits: torch.Tensor) -> torch.Tensor:
        outputs = Outputs(logits, dict.fromkeys(taps, logits), torch.stack([logits, 2 * logits]))
        return loss(outputs, signal, Batch(labels, labels, labels, signal))

    values = value_of(student)
    assert values.shape == (5,)
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(student.grad).all()
    # A label's value depends on its own row alone.
    moved = student.detach().clone()
    moved[0] += device.put(draw(9)[0])
    again = value_of(moved)
    assert torch.allclose(again[1:], values.detach()[1:]) and not torch.allclose(again[:1], values.detach()[:1])


def test_examples_without_a_hard_label_have_no_hard_loss_and_no_gradient() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    losses = hard_cross_entropy(logits, torch.tensor([1, UNLABELLED, 3, UNLABELLED]))
    losses.sum().backward()
    assert losses[[1, 3]].tolist() == [0.0, 0.0]
    assert torch.equal(logits.grad[[1, 3]], torch.zeros(2, 5))
    assert losses[0].item() == pytest.approx(-torch.log_softmax(logits, 1)[0, 1].item())
