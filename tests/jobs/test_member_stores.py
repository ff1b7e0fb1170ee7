"""Posterior stores of single members: what their networks say, for the training set and its copies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.device import HOST
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.members import MembersSettings, MembersTeacher
from kd_asr.errors import UserError
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.networks.files import save_network
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.registry import named
from kd_asr.tasks.member_stores import fill_member_stores, member_store

FEATURES = FeatureSettings(num_mel_bins=5)
MEMBERS = ["ensemble/member-00", "ensemble/member-01"]
SETS = {"train": {"a": 9, "b": 4}, "copies": {"a+1": 9, "b+1": 4}}


def write_set(frames: Path, alignments: Path, counts: dict[str, int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    create_store(frames, list(counts), list(counts.values()), FEATURES)
    store = FrameStore(frames, writable=True)
    for name, count in counts.items():
        store.write(name, generator.standard_normal((count, 5)).astype(np.float32))
    silent = {name: (PhoneSegment("SIL", 0, count),) for name, count in counts.items()}
    write_alignments(alignments, [Alignment(name, np.zeros(counts[name], np.int32), silent[name]) for name in counts])


@pytest.fixture
def run_dir_of_two(run_dir: Path) -> Path:
    """Frames, alignments, copies and two untrained members."""

    def make(name: str, work) -> None:
        build_artifact(run_dir, name, code="kd_asr.text", settings={"name": name}, inputs=[], work=work)

    def transfer(folder: Path) -> dict[str, int]:
        write_set(folder / "frames", folder / "alignments", SETS["copies"], 2)
        return {}

    def member(number: int, folder: Path) -> dict[str, int]:
        settings = DnnSettings(left_context=1, right_context=1, hidden_layers=1, hidden_units=6)
        model = seeded(named("network", "dnn", settings), (3, 5), 6, number).eval()
        store = FrameStore.open(run_dir / "features" / "train")
        save_network(folder / "model.safetensors", model, store.features)
        return {}

    def align(folder: Path) -> dict[str, int]:
        Topology.uniform(("SIL", "AA")).save(folder / "topology.json")
        write_set(folder.parent / "unused", folder / "train", SETS["train"], 1)
        return {}

    def features(folder: Path) -> dict[str, int]:
        write_set(folder / "train", folder / "unused", SETS["train"], 1)
        return {}

    make("features", features)
    make("align", align)
    make("transfer", transfer)
    for number, name in enumerate(MEMBERS):
        make(name, lambda folder, number=number: member(number, folder))
    return run_dir


def fill(run_dir: Path, wanted: list[str], *, top_k: int = 6) -> None:
    fill_member_stores(
        run_dir, MEMBERS, wanted=wanted, top_k=top_k, unlabelled=False, precision="fp32", device=HOST, processes=1
    )


def asked(run_dir: Path, numbers: torch.Tensor):
    names = [name for of_set in SETS.values() for name in of_set]
    expect = {name: load_artifact(run_dir, name).fingerprint for name in ("features", "align")}
    lesson = Lesson([run_dir / member_store(one) for one in MEMBERS], names, expect)
    teacher = MembersTeacher.open(lesson, MembersSettings())
    teacher.put(HOST)
    read = teacher.read(numbers)
    assert {(bits.dtype, bits.shape[1]) for bits in read.members} <= {(torch.int16, 13), (torch.int16, 5)}
    return teacher.answer(Batch(numbers, torch.zeros(len(numbers), 1), torch.zeros_like(numbers), read))


def by_hand(run_dir: Path) -> list[torch.Tensor]:
    """(frames, classes) log-posteriors of each member for the frames of all sets."""
    stores = [FrameStore.open(run_dir / "features" / "train"), FrameStore.open(run_dir / "transfer" / "frames")]
    found = []
    for number in range(2):
        settings = DnnSettings(left_context=1, right_context=1, hidden_layers=1, hidden_units=6)
        model = seeded(named("network", "dnn", settings), (3, 5), 6, number).eval()
        parts = [batch for store in stores for batch in model.own_view.utterances(store, store.utterance_ids)]
        found.append(torch.cat([log_posteriors_of_batch(model, batch, precision="fp32") for batch in parts]))
    return found


def test_stores_hold_what_each_member_says_of_the_training_set_and_its_copies(run_dir_of_two) -> None:
    fill(run_dir_of_two, [member_store(one) for one in MEMBERS])
    expected, numbers = by_hand(run_dir_of_two), torch.tensor([25, 0, 13, 9])
    signal = asked(run_dir_of_two, numbers)
    for member, own in zip(signal.members, expected, strict=True):
        assert torch.allclose(member, own[numbers], atol=2e-3)
    mean = average_log_posteriors([own[numbers] for own in expected], "arithmetic")
    assert torch.allclose(signal.targets.dense_log_probs(1.0), mean, atol=2e-3)
    made = load_artifact(run_dir_of_two, member_store(MEMBERS[0]))
    assert made.metrics["frames"] == 26
    written = (made.path / "shard-00000.u16").stat().st_mtime_ns
    fill(run_dir_of_two, [member_store(MEMBERS[0])])
    assert (made.path / "shard-00000.u16").stat().st_mtime_ns == written


def test_only_what_is_wanted_is_filled_and_a_top_k_keeps_the_mass(run_dir_of_two) -> None:
    fill(run_dir_of_two, [member_store(MEMBERS[1]), "posteriors"], top_k=2)
    assert not (run_dir_of_two / member_store(MEMBERS[0])).exists()
    with pytest.raises(UserError, match="member-00"):
        load_artifact(run_dir_of_two, member_store(MEMBERS[0]))
    fill(run_dir_of_two, [member_store(MEMBERS[0])], top_k=2)
    numbers = torch.arange(26)
    for member, own in zip(asked(run_dir_of_two, numbers).members, by_hand(run_dir_of_two), strict=True):
        kept, classes = own.topk(2, dim=1)
        assert torch.allclose(member.gather(1, classes), kept, atol=2e-3)
        assert torch.allclose(member.exp().sum(1), torch.ones(26), atol=2e-3)
