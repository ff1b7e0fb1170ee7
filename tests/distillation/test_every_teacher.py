"""What every registered teacher must do: say what it gives, and give it for every label, on the ensemble of a run."""

from pathlib import Path

import pytest
import torch

from kd_asr.device import HOST
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.posterior_store import encode, finish_store, write_shard
from kd_asr.distillation.signal import Signal, top_k_targets
from kd_asr.distillation.teachers.base import Lesson, Teacher
from kd_asr.distillation.teachers.transforms import TransformsSettings
from kd_asr.errors import UserError
from kd_asr.networks.base import Network, seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.networks.files import save_network
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import find, name_of, named, names

CLASSES, FRAMES = 7, 12
HEADER = {"num_mel_bins": 5}
# Settings with which a teacher adds nothing of its own to the ensemble's posteriors.
PLAIN = {"transforms": TransformsSettings(warps=())}
each_teacher = pytest.mark.parametrize("name", names("teacher"))


def network(seed: int) -> Network:
    settings = DnnSettings(left_context=1, right_context=1, hidden_layers=1, hidden_units=6)
    return seeded(named("network", "dnn", settings), (3, 5), CLASSES, seed).eval()


def inputs() -> torch.Tensor:
    return torch.randn(FRAMES, 15, generator=torch.Generator().manual_seed(0))


def average(members: list[Network]) -> torch.Tensor:
    """(frames, classes) log-posteriors of the ensemble."""
    with torch.no_grad():
        return average_log_posteriors([one(inputs()).log_softmax(1) for one in members], "arithmetic")


@pytest.fixture
def members() -> list[Network]:
    return [network(1), network(2)]


@pytest.fixture
def lesson_of(tmp_path: Path, members: list[Network]):
    """A lesson with what a teacher's source says, on the utterances a (5 frames) and b (7)."""

    def make(name: str) -> Lesson:
        source = find("teacher", name).source
        paths = []
        if source == "networks":
            paths = [tmp_path / f"{number}.safetensors" for number in range(len(members))]
            for path, one in zip(paths, members, strict=True):
                save_network(path, one, HEADER)
        elif source in ("store", "stores"):
            stored = [average(members)] if source == "store" else [average([one]) for one in members]
            paths = [tmp_path / f"store-{number}" for number in range(len(stored))]
            for path, log_posteriors in zip(paths, stored, strict=True):
                path.mkdir()
                write_shard(path, 0, [encode(top_k_targets(log_posteriors, CLASSES))])
                finish_store(
                    path, ["b", "a"], [7, 5], shard_frames=[FRAMES], top_k=CLASSES, tail_prior=torch.ones(CLASSES),
                    fingerprints={"features": "f"},
                )  # fmt: skip
        return Lesson(paths, ["b", "a"], {"features": "f"}, HEADER, precision="fp32")

    return make


def ask(teacher: Teacher, numbers: torch.Tensor) -> Signal:
    """As a training asks: read first, then answer for the batch."""
    teacher.put(HOST)
    return teacher.answer(Batch(numbers, inputs()[numbers], torch.zeros_like(numbers), teacher.read(numbers)))


@each_teacher
def test_it_says_what_it_gives_and_where_it_comes_from(name: str) -> None:
    cls = find("teacher", name)
    assert issubclass(cls, Teacher)
    assert name_of("teacher", cls) == name
    assert cls.gives
    assert cls.gives <= {"posteriors", "members", "taps"}
    assert cls.source in ("store", "stores", "networks", "nothing")


@each_teacher
def test_it_gives_the_ensembles_posteriors_for_labels_in_any_order(name: str, lesson_of, members) -> None:
    cls = find("teacher", name)
    if cls.source == "nothing":
        pytest.skip("has teachers of its own")
    numbers = torch.tensor([11, 0, 5, 5, 3])
    signal = ask(cls.open(lesson_of(name), PLAIN.get(name, cls.Settings())), numbers)
    if "posteriors" in cls.gives:
        found = signal.targets.dense_log_probs(1.0)
        assert torch.allclose(found, average(members)[numbers], atol=2e-3)
        assert signal.targets.num_classes == CLASSES
    if "members" in cls.gives:
        assert len(signal.members) == len(members)
        for member, one in zip(members, signal.members, strict=True):
            expected = member(inputs()[numbers]).log_softmax(1)
            assert torch.allclose(one, expected, atol=1e-6 if cls.source == "networks" else 2e-3)
            assert not one.requires_grad


@each_teacher
def test_what_does_not_fit_the_data_is_refused(name: str, lesson_of) -> None:
    cls = find("teacher", name)
    if cls.source == "nothing":
        pytest.skip("has teachers of its own")
    lesson = lesson_of(name)
    other = Lesson(lesson.paths, ["b", "a"], {"features": "g"}, {"num_mel_bins": 6})
    with pytest.raises(UserError, match="features"):
        cls.open(other, cls.Settings())


def test_live_time_delay_networks_answer_for_the_frames_that_students_learn(tmp_path) -> None:
    """Of a chunk with a stride, for its labels alone: the frames that recognition would give for the same input."""
    settings = TdnnSettings(dilations=(1, 2), hidden_units=6, chunk_frames=4, frame_stride=3, dropout=0.5)
    model = seeded(named("network", "tdnn", settings), (5,), CLASSES, 1).eval()
    path = tmp_path / "model.safetensors"
    save_network(path, model, HEADER)
    live = find("teacher", "live").open(Lesson([path], [], header=HEADER, precision="fp32"), None)
    chunks = torch.randn(2, 3 + 10 + 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(8, dtype=torch.int64)
    [found] = live.answer(Batch(torch.arange(2), chunks, labels)).members
    every_frame = model(chunks).log_softmax(1).reshape(2, 10, CLASSES)
    assert torch.allclose(found.reshape(2, 4, CLASSES), every_frame[:, ::3], atol=1e-6)
