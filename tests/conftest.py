"""What several tests share: a run folder in miniature, with audio that a script makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile
import threadpoolctl
import torch

from kd_asr.alignment.tree import PLACES, Leaf, Node, Root, Split, StateTree
from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.corpora.manifest import Utterance, write_manifest
from kd_asr.device import HOST, Device
from kd_asr.settings.files import save_settings
from kd_asr.stages.settings import Settings, parse_settings

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("kd_asr", deadline=None)
hypothesis.settings.load_profile("kd_asr")

# Networks in miniature are no quicker with several threads, and there may be a process of tests for each core.
torch.set_num_threads(1)
threadpoolctl.threadpool_limits(1)

SETS = ("train", "dev", "test")
DEVICES = (HOST, *(Device("cuda", number) for number in range(torch.cuda.device_count())))


def tone(path: Path, *, seconds: float, seed: int, rate: int = 16000) -> int:
    """Write noise that changes its colour every 100 ms; the number of samples."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    colour = np.repeat(rng.uniform(0, 3000, -(-count // (rate // 10))), rate // 10)[:count]
    signal = 0.1 * np.sin(2 * np.pi * np.cumsum(colour) / rate) + 0.02 * rng.standard_normal(count)
    soundfile.write(path, signal, rate, subtype="PCM_16")
    return count


def make_prepared(run_dir: Path, sets: Mapping[str, list[Utterance]]) -> Artifact:
    """A finished `prepare` artifact with the given manifests."""

    def work(folder: Path) -> dict[str, int]:
        for name in SETS:
            write_manifest(folder / f"{name}.jsonl", sets[name])
        return {}

    code = "kd_asr.stages.features"
    return build_artifact(run_dir, "prepare", code=code, settings={"sets": sets}, inputs=[], work=work)


def random_tree(phones: Sequence[str], seed: int) -> StateTree:
    """Questions and splits drawn at random, some that no triphone passes; a phone's stress variants share a root."""
    rng = np.random.default_rng(seed)
    questions = {f"set-{number}": tuple(phone for phone in phones if rng.random() < 0.4) for number in range(6)}
    pdfs = iter(range(10_000))

    def grow(depth: int) -> Node:
        if rng.random() < depth / 5:
            return Leaf(next(pdfs), int(rng.integers(1000)))
        place, question = PLACES[rng.integers(3)], f"set-{rng.integers(6)}"
        yes, no = grow(depth + 1), grow(depth + 1)
        return Split(place, question, float(rng.random()), yes, no)

    roots = {}
    for phone in phones:
        base = phone.rstrip("012")
        roots[base] = (*roots.get(base, ()), phone)
    return StateTree(
        questions,
        tuple(Root(same, tuple(grow(5 if base == "SIL" else 0) for _ in range(3))) for base, same in roots.items()),
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: with a process for each core, none of them is to be the last one."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


@pytest.fixture(params=DEVICES, ids=str)
def device(request: pytest.FixtureRequest) -> Device:
    """Every device that torch sees."""
    found: Device = request.param
    return found


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """An empty run folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(run_dir) -> Settings:
    """Settings of a miniature run, saved in the run folder."""
    flags = ["--network.dnn.hidden_units=16", "--network.dnn.hidden_layers=1"]
    flags += ["--network.dnn.principal_components=20"]
    flags += ["--train.epochs=1", "--train.batch_frames=32"]
    flags += ["--ensemble.members=2", "--baseline.networks=1", "--distil.students=1"]
    flags += ["--ensemble.top_k=4", "--jobs=1"]
    made = parse_settings(flags)
    save_settings(run_dir, made)
    return made


@pytest.fixture
def utterances(tmp_path) -> dict[str, list[Utterance]]:
    """Two speakers with two utterances each in every set."""
    sets: dict[str, list[Utterance]] = {}
    for number, name in enumerate(SETS):
        sets[name] = []
        for speaker in range(2):
            for index in range(2):
                utterance_id = f"{number}{speaker}-1-000{index}"
                path = tmp_path / f"{utterance_id}.flac"
                count = tone(path, seconds=0.5 + 0.1 * index, seed=100 * number + 10 * speaker + index)
                sets[name].append(
                    Utterance(utterance_id, f"{number}{speaker}", "1", str(path), 16000, count, ("ONE", "TWO"))
                )
    return sets
