import numpy as np
import pytest
import torch
from torch import nn

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.soft import soft_cross_entropy
from kd_asr.distillation.posterior_store import PosteriorStore, decode, encode, finish_store, write_shard
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.errors import UserError

CLASSES, TOP_K = 30, 8
BACKGROUND = torch.linspace(0.0, 2.0, CLASSES)
COUNTS = {"u1": 40, "u2": 1, "u3": 25}
FINGERPRINTS = {"align": "aaaa", "features": "ffff", "ensemble": "eeee"}


def log_probs(frames: int, seed: int = 0) -> torch.Tensor:
    return (3 * torch.randn(frames, CLASSES, generator=torch.Generator().manual_seed(seed))).log_softmax(1)


@pytest.fixture
def store(tmp_path):
    full = log_probs(66)
    write_shard(tmp_path, 0, [encode(top_k_targets(full[:30], TOP_K)), encode(top_k_targets(full[30:41], TOP_K))])
    write_shard(tmp_path, 1, [encode(top_k_targets(full[41:], TOP_K))])
    finish_store(
        tmp_path, list(COUNTS), list(COUNTS.values()),
        shard_frames=[41, 25], top_k=TOP_K, tail_prior=BACKGROUND, fingerprints=FINGERPRINTS,
    )  # fmt: skip
    return tmp_path, full


def test_round_trip_is_exact_to_float16(store) -> None:
    folder, full = store
    opened = PosteriorStore(folder, expect={"align": "aaaa"})
    rows = torch.tensor([65, 0, 41, 40, 13, 13])
    read, expected = opened.targets(rows), top_k_targets(full[rows], TOP_K)
    assert torch.equal(read.classes, expected.classes)
    assert torch.allclose(read.log_probs, expected.log_probs, rtol=2**-10)
    assert torch.allclose(read.log_tail_mass, expected.log_tail_mass, rtol=2**-10, atol=1e-7)
    assert opened.bytes_per_frame == 4 * TOP_K + 2
    assert sum(path.stat().st_size for path in folder.glob("shard-*")) == 66 * opened.bytes_per_frame
    assert torch.allclose(opened.tail_prior, BACKGROUND / BACKGROUND.sum(), atol=1e-7)
    assert float(opened.tail_prior.min()) > 0
    kept = top_k_targets(full, TOP_K).log_probs.exp().sum(1).mean()
    assert abs(opened.mean_mass_kept() - float(kept)) < 1e-4


def test_rows_follow_the_utterances(store) -> None:
    opened = PosteriorStore(store[0])
    assert [opened.rows(name) for name in COUNTS] == [range(0, 40), range(40, 41), range(41, 66)]
    with pytest.raises(UserError, match="no posteriors of utterance u9"):
        opened.rows("u9")


def test_other_fingerprint_is_an_error_that_names_both(store) -> None:
    with pytest.raises(UserError, match=r"align aaaa, but align is now bbbb"):
        PosteriorStore(store[0], expect={"align": "bbbb"})


def test_shard_cut_short_is_an_error(store) -> None:
    path = store[0] / "shard-00001.u16"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"shard-00001\.u16"):
        PosteriorStore(store[0])


def test_large_class_numbers_and_impossible_classes() -> None:
    logs = torch.full((1, 65535), -1e6)
    logs[0, 65534] = 0.0
    read = decode(encode(top_k_targets(logs, 2)), torch.ones(65535))
    assert read.classes[0, 0] == 65534
    assert torch.isfinite(read.log_probs).all()


class _Linear(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(6, CLASSES)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout(inputs))


def test_a_student_cannot_tell_stored_from_live_teacher(tmp_path) -> None:
    inputs = torch.randn(66, 6, generator=torch.Generator().manual_seed(5))
    live = LiveTeacher([_Linear(1), _Linear(2), _Linear(3)], precision="fp32")

    def answer(chosen: torch.Tensor) -> SoftTargets:
        return live.answer(Batch(chosen, inputs[chosen], torch.zeros_like(chosen))).targets

    write_shard(tmp_path, 0, [encode(answer(torch.arange(66)))])
    finish_store(
        tmp_path, list(COUNTS), list(COUNTS.values()),
        shard_frames=[66], top_k=CLASSES, tail_prior=BACKGROUND, fingerprints=FINGERPRINTS,
    )  # fmt: skip
    stored = StoredTeacher(PosteriorStore(tmp_path), ["u3", "u1"])
    student = torch.randn(65, CLASSES, generator=torch.Generator().manual_seed(6))
    gradients = []
    order = torch.cat([torch.arange(41, 66), torch.arange(0, 40)])
    for targets in (answer(order), stored.read(torch.arange(65)).targets):
        logits = student.clone().requires_grad_()
        soft_cross_entropy(logits, targets, temperature=2.0).mean().backward()
        gradients.append(logits.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)
    assert gradients[0].abs().max() > 1e-3


def test_live_teacher_is_frozen_and_in_evaluation_mode() -> None:
    member = _Linear(1)
    inputs = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    teacher = LiveTeacher([member], precision="fp32")
    batch = Batch(torch.arange(10), inputs, torch.zeros(10, dtype=torch.int64))
    first, second = teacher.answer(batch).targets, teacher.answer(batch).targets
    assert torch.equal(first.log_probs, second.log_probs)  # no dropout
    assert not any(parameter.requires_grad for own in teacher._members for parameter in own.parameters())
    expected = member.linear(inputs).log_softmax(1)  # an ensemble of one is its member
    dense = torch.empty(10, CLASSES).scatter(1, first.classes, first.log_probs)
    assert np.allclose(dense.numpy(), expected.detach().numpy(), atol=1e-6)
