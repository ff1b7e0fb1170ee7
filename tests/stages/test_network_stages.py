"""Baseline, ensemble, posteriors, students and their evaluation on a run in miniature, whose labels are invented."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared

from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.teachers import EnsembleTeacher, StoredTeacher
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.stages.baseline import baseline
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.evaluate import evaluate
from kd_asr.stages.features import features
from kd_asr.stages.networks import windows
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.systems import load_networks, member_names, network_seed, systems


def make_aligned(run_dir: Path, settings: Settings) -> None:
    """An `align` artifact whose pdf is decided by the loudest third of the spectrum."""
    extracted = load_artifact(run_dir, "features")

    def work(folder: Path) -> dict[str, int]:
        Topology.uniform(("SIL", "AA")).save(folder / "topology.json")
        for name in ("train", "dev", "test"):
            store = FrameStore.open(extracted.path / name)
            alignments = []
            for utterance in store.utterance_ids:
                thirds = store.frames(utterance)[:, :39].reshape(-1, 3, 13).mean(axis=2)
                pdfs = thirds.argmax(axis=1).astype(np.int32)
                alignments.append(Alignment(utterance, pdfs, (PhoneSegment("SIL", 0, len(pdfs)),)))
            write_alignments(folder / name, alignments)
        return {}

    build_artifact(run_dir, "align", stage="features", settings={}, inputs=[extracted], rooms=[], work=work)


@pytest.fixture
def aligned(run_dir, settings, utterances) -> Path:
    make_prepared(run_dir, utterances)
    features(run_dir, settings)
    make_aligned(run_dir, settings)
    return run_dir


def test_from_labels_to_frame_accuracies(aligned, settings) -> None:
    baseline(aligned, settings)
    ensemble(aligned, settings)
    posteriors(aligned, settings)
    distil(aligned, settings)
    made = evaluate(aligned, settings)
    frames = json.loads((made.path / "frames.json").read_text())
    assert set(frames["systems"]) == {"baseline", "ensemble", "student-00", "member-00", "member-01"}
    assert set(frames["network_seconds"]) == {"baseline", "ensemble", "student-00"}

    # The stored posteriors are those of the live ensemble.
    store = FrameStore.open(aligned / "features" / "train")
    models, network, _ = load_networks(aligned, member_names(settings), store.features)
    inputs = windows(store, store.utterance_ids, network)
    live = EnsembleTeacher(models, inputs, top_k=settings.ensemble.top_k)
    stored_posteriors = PosteriorStore(aligned / "posteriors")
    stored = StoredTeacher(stored_posteriors, store.utterance_ids)
    some = torch.arange(0, len(inputs), 3)
    assert torch.equal(live(some).classes, stored(some).classes)
    assert torch.allclose(live(some).log_probs, stored(some).log_probs, rtol=2e-3, atol=2e-3)
    assert 0.8 < load_artifact(aligned, "posteriors").metrics["mass_kept"] <= 1

    # Frame accuracy of the ensemble on train, counted here from the store's best class.
    labels = np.concatenate([np.load(aligned / "align" / "train" / "pdfs.npy")])
    best = stored(torch.arange(len(inputs))).classes[:, 0].numpy()
    counted = frames["systems"]["ensemble"]["train"]
    assert sum(counted["correct"]) == int((best == labels).sum())
    assert sum(counted["frames"]) == len(labels)
    assert made.metrics["baseline"]["dev"] == pytest.approx(
        load_artifact(aligned, "baseline").metrics["dev_frame_accuracy"], abs=1e-5
    )

    # Students and members have seeds of their own; none is a copy of another.
    weights = {
        name: (aligned / name / "model.safetensors").read_bytes()
        for names in systems(settings).values()
        for name in names
    }
    assert len(set(weights.values())) == len(weights)

    # New alignments make old posteriors useless, and it is said.
    make_prepared(aligned, {name: [] for name in ("train", "dev", "test")})
    with pytest.raises(UserError, match="prepare"):
        load_artifact(aligned, "posteriors")


def test_the_same_seed_gives_the_same_bits_and_jobs_do_not_matter(aligned, settings) -> None:
    made = []
    for jobs in (1, 2):
        for stage in (ensemble, posteriors, distil):
            stage(aligned, replace(settings, jobs=jobs, distil=replace(settings.distil, students=2)))
        networks = sorted([*aligned.glob("ensemble/*/*.safetensors"), *aligned.glob("distil/*/*.safetensors")])
        made.append([path.read_bytes() for path in [*networks, aligned / "posteriors" / "shard-00000.u16"]])
        for name in ("ensemble", "posteriors", "distil"):
            shutil.rmtree(aligned / name)
    assert len(made[0]) == len(set(made[0])) == 5
    assert made[0] == made[1]


def test_the_baseline_trained_beside_the_students_is_the_one_trained_alone(aligned, settings) -> None:
    alone = (baseline(aligned, settings).path / "model.safetensors").read_bytes()
    shutil.rmtree(aligned / "baseline")
    ensemble(aligned, settings)
    posteriors(aligned, settings)
    distil(aligned, settings)
    assert (load_artifact(aligned, "baseline").path / "model.safetensors").read_bytes() == alone


def test_seeds_are_stable_and_differ() -> None:
    names = ["baseline", "ensemble/member-00", "ensemble/member-01", "distil/student-00"]
    seeds = {network_seed(seed, name) for seed in (1, 2) for name in names}
    assert len(seeds) == 8
    assert network_seed(1, "baseline") == network_seed(1, "baseline")
