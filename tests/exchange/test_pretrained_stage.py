"""Stage `pretrained`: a model's posteriors of the audio become soft targets in our classes and frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.corpora.manifest import Utterance, write_manifest
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import top_k_targets
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.pretrained import PretrainedSettings
from kd_asr.errors import UserError
from kd_asr.exchange.pretrained import pretrained
from kd_asr.features.store import create_store
from kd_asr.pretrained.base import Pretrained, Samples, log_softmax
from kd_asr.registry import find, named
from kd_asr.stages.copies import copied_training_set, spread_of_copies
from kd_asr.stages.settings import Settings

# Each class of ours sounds with its own level; the model calls them by other numbers and has one that it never uses.
CALLED = np.array([4, 2, 0, 1])


@dataclass(frozen=True)
class LevelsSettings:
    """Made up.

    Attributes:
        late: Frames of 20 ms that are missing at the end.
        log: File with a line for each utterance that was asked about.
    """

    late: int = 0
    log: str = ""


class Levels(Pretrained):
    """Names the class by the level in the middle of 20 ms; nearly sure."""

    Settings = LevelsSettings
    gives = frozenset({"posteriors"})
    packages = ()
    frame_shift = 0.02
    num_classes = 5

    def log_posteriors(self, samples: Samples) -> np.ndarray:
        with Path(self.settings.log).open("a") as file:
            file.write("asked\n")
        middles = samples[160::320][: len(samples) // 320 - self.settings.late]
        logits = np.zeros((len(middles), 5))
        logits[np.arange(len(middles)), CALLED[np.rint(middles * 10).astype(int) - 1]] = 8.0
        return log_softmax(logits)


def speech(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(frames,) classes, each for an even number of frames, and 16 kHz samples that sound like them."""
    labels = np.random.default_rng(seed).integers(0, 4, 30).repeat(4)
    return labels, ((labels + 1) / 10).repeat(160).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, run_dir: Path, settings: Settings) -> tuple[Path, Settings, dict[str, np.ndarray]]:
    """A run folder with three utterances of train and one of dev, aligned, and two copies of each."""
    of_set = {"train": {"a": 1, "b": 2, "c": 3}, "dev": {"d": 4}}
    settings = replace(settings, distil=replace(settings.distil, copies=2), jobs=1)
    labels: dict[str, np.ndarray] = {}

    def prepare(folder: Path) -> dict[str, object]:
        for set_name, seeds in of_set.items():
            items = []
            for name, seed in seeds.items():
                labels[name], samples = speech(seed)
                soundfile.write(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
                items.append(Utterance(name, name, "", str(tmp_path / f"{name}.wav"), 16000, len(samples), ("W",)))
            write_manifest(folder / f"{set_name}.jsonl", items)
        return {}

    def features(folder: Path) -> dict[str, object]:
        for set_name, seeds in of_set.items():
            create_store(folder / set_name, list(seeds), [len(labels[name]) for name in seeds], settings.features)
        return {}

    def align(folder: Path) -> dict[str, object]:
        for set_name, seeds in of_set.items():
            write_alignments(folder / set_name, [Alignment(name, labels[name], ()) for name in seeds])
        Topology.uniform(("SIL", "SPN")).save(folder / "topology.json")
        return {}

    def made(name: str, work: object, inputs: list[Artifact]) -> Artifact:
        return build_artifact(run_dir, name, code="kd_asr.errors", settings={}, inputs=inputs, work=work)  # type: ignore[arg-type]

    prepared = made("prepare", prepare, [])
    extracted = made("features", features, [prepared])
    made("align", align, [extracted])
    spread = spread_of_copies(settings)
    copied_training_set(run_dir, settings, "transfer", {}, copies=2, spread=spread, seed=settings.seed, mark="+")
    return run_dir, settings, labels


def asked(run_dir: Path, settings: Settings, **changes: object) -> Settings:
    model = named("pretrained", f"{__name__}:Levels", LevelsSettings(changes.pop("late", 0), str(run_dir / "log")))  # type: ignore[arg-type]
    own = PretrainedSettings(model=model, keep=3, **changes)  # type: ignore[arg-type]
    return replace(settings, distil=replace(settings.distil, teacher=named("teacher", "pretrained", own)))


def labels_of_copies(run_dir: Path) -> dict[str, np.ndarray]:
    store = AlignmentStore.open(run_dir / "transfer" / "alignments")
    return {name: np.array(store.pdfs(name)) for name in store.utterance_ids}


def test_the_targets_of_a_run(run) -> None:
    run_dir, settings, labels = run
    made = pretrained(run_dir, asked(run_dir, settings))
    assert made is not None and made.metrics["utterances"] == 9
    assert made.metrics["dev_accuracy"] > 0.97
    copies = labels_of_copies(run_dir)
    names = ["b", "a+2", "c+1"]
    truth = np.concatenate([labels["b"], copies["a+2"], copies["c+1"]])
    lesson = Lesson([made.path], names)
    expect = {name: made.inputs[name] for name in ("features", "align")}
    teacher = find("teacher", "pretrained").open(replace(lesson, expect=expect), None)
    targets = teacher.read(torch.arange(len(truth))).targets
    assert targets is not None and targets.num_classes == 6
    probabilities = targets.dense_log_probs(1.0).exp().numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=2e-3)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.97

    # With another map the model is not asked again, and the ensemble's posteriors take their share.
    assert pretrained(run_dir, settings) is None
    names = [f"{name}{mark}" for name in "abc" for mark in ("", "+1", "+2")]
    counts = [len(copies[name]) if name in copies else len(labels[name]) for name in names]

    def ours(folder: Path) -> dict[str, object]:
        certain = torch.full((sum(counts), 6), -20.0)
        certain[:, 5] = 0.0
        write_shard(folder, 0, [encode(top_k_targets(certain.log_softmax(1), 6))])
        tail = torch.ones(6)
        finish_store(folder, names, counts, shard_frames=[sum(counts)], top_k=6, tail_prior=tail, fingerprints={})
        return {}

    before = dense(made.path, "b")
    build_artifact(run_dir, "posteriors", code="kd_asr.errors", settings={}, inputs=[], work=ours)
    mixed = pretrained(run_dir, asked(run_dir, settings, ensemble_share=0.25, map_frames=1000))
    assert mixed is not None and (run_dir / "log").read_text() == 4 * "asked\n"
    expected = 0.75 * before + 0.25 * np.eye(6)[5]
    np.testing.assert_allclose(dense(mixed.path, "b"), expected, atol=2e-3)


def dense(folder: Path, name: str) -> np.ndarray:
    store = PosteriorStore(folder)
    rows = store.rows(name)
    found: np.ndarray = store.targets(torch.arange(rows.start, rows.stop)).dense_log_probs(1.0).exp().numpy()
    return found


def test_what_does_not_fit_is_told(run) -> None:
    run_dir, settings, _ = run
    with pytest.raises(
        UserError, match=r"posteriors of .*Levels do not fit a: they last 1.000 s and ours end at 1.200 s"
    ):
        pretrained(run_dir, asked(run_dir, settings, late=10))
    whisper = PretrainedSettings(model=named("pretrained", "whisper"))
    with pytest.raises(UserError, match="the model whisper gives no posteriors"):
        find("teacher", "pretrained").settled(whisper)
