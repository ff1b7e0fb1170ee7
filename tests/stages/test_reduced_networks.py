"""Networks on parts of the labels, on a run in miniature whose labels are invented."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared
from made_up_labels import make_aligned

from kd_asr.alignment.store import AlignmentStore
from kd_asr.device import HOST
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.errors import UserError
from kd_asr.experiments.reduced_data.arms import ARMS
from kd_asr.experiments.reduced_data.plan import ReducedSystem, reduced_job, reduced_networks, reduced_systems
from kd_asr.experiments.reduced_data.reduced import _stopped_at_the_end
from kd_asr.experiments.reduced_data.scores import describe_parts, score_systems
from kd_asr.features.store import FrameStore
from kd_asr.jobs.run import run
from kd_asr.networks.base import view_of
from kd_asr.networks.files import load_network
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named
from kd_asr.settings.build import validate
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.features import features
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.settings import Settings
from kd_asr.stages.transfer import transfer
from kd_asr.tasks.labelled_subset import LabelledSubset
from kd_asr.tasks.speech import draw_subset, labels
from kd_asr.training.examples import Examples
from kd_asr.training.measure import measure
from kd_asr.training.schedule import measuring_points


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reduced") / "run"


@pytest.fixture
def taught(run_dir, settings, utterances, kept: Path) -> tuple[Path, Settings]:
    """A run that has an ensemble and its posteriors; made once, and copied for every test."""
    if not kept.exists():
        made = run_dir.with_name("made")
        made.mkdir()
        make_prepared(made, utterances)
        features(made, settings)
        make_aligned(made, settings)
        ensemble(made, settings)
        transfer(made, settings)
        posteriors(made, settings)
        made.rename(kept)
    shutil.copytree(kept, run_dir, dirs_exist_ok=True)
    reduced = replace(settings.reduced, fractions=(0.3, 1.0), seeds=2, epochs=2.0, validations=3)
    return run_dir, replace(settings, reduced=reduced)


def subset_of(settings: Settings, fraction: float, repetition: int) -> LabelledSubset:
    return reduced_job(settings, fraction, "hard", repetition).data.subset


def seen_and_plain(run_dir: Path, settings: Settings, arm: str) -> tuple[Examples, Examples]:
    job = reduced_job(settings, 0.3, arm, 0)
    return job.data.open(run_dir, job).examples, job.data.plain_subset(run_dir, job)


@pytest.mark.parametrize("draw", ["utterances", "frames"])
def test_a_part_has_its_frames_and_utterances_and_nests(taught, draw: str) -> None:
    run_dir, settings = taught
    settings = replace(settings, reduced=replace(settings.reduced, draw=draw))
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    names, counts = alignments.utterance_ids, [len(alignments.pdfs(name)) for name in alignments.utterance_ids]
    owner = np.repeat(np.arange(len(names)), counts)
    parts = [draw_subset(alignments, subset_of(settings, fraction, 0)) for fraction in (0.3, 0.6, 1.0)]
    for part in parts:
        assert part.utterance_ids == [names[number] for number in np.unique(owner[part.frames.numpy()])]
        if draw == "utterances":
            assert len(part.frames) == sum(len(alignments.pdfs(name)) for name in part.utterance_ids)
    frames = [set(part.frames.tolist()) for part in parts]
    assert frames[0] < frames[1] < frames[2] == set(range(sum(counts)))
    assert draw_subset(alignments, subset_of(settings, 0.3, 1)).frames.tolist() != parts[0].frames.tolist()


def test_labels_outside_the_part_are_never_seen(taught) -> None:
    run_dir, settings = taught
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    pdfs = labels(alignments)
    part = draw_subset(alignments, subset_of(settings, 0.3, 0))
    for arm in ARMS:
        seen, plain = seen_and_plain(run_dir, settings, arm)
        assert torch.equal(plain.hard_labels, pdfs[part.frames])
        assert (seen.teacher is None) == (arm == "hard")
        if arm == "soft_everywhere":
            labelled = seen.hard_labels != UNLABELLED
            assert torch.equal(labelled.nonzero()[:, 0], part.frames)
            assert torch.equal(seen.hard_labels[labelled].long(), pdfs[part.frames].long())
            everything = seen
        else:
            assert torch.equal(seen.hard_labels, pdfs[part.frames])
        if arm == "soft":
            some = torch.arange(0, len(part.frames), 5)
            of_part = seen.batch(some).signal.targets
    # A frame of the part has the same teacher's opinion under its number in the part and under its number in all.
    assert torch.equal(everything.batch(part.frames[some]).signal.targets.log_probs, of_part.log_probs)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_tdnn_sees_the_chunks_of_the_utterances_that_are_drawn(taught, stride) -> None:
    run_dir, settings = taught
    network = named("network", "tdnn", TdnnSettings(dilations=(1,), chunk_frames=8, frame_stride=stride))
    settings = replace(settings, network=network)
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    part = draw_subset(alignments, subset_of(settings, 0.3, 0))
    seen, plain = seen_and_plain(run_dir, settings, "hard")
    for examples in (seen, plain):
        kept = examples.hard_labels[examples.hard_labels != UNLABELLED]
        drawn = labels(alignments)[part.frames]
        assert torch.equal(*(found.sort().values if stride > 1 else found for found in (kept, drawn)))
    everywhere, _ = seen_and_plain(run_dir, settings, "soft_everywhere")
    assert int((everywhere.hard_labels != UNLABELLED).sum()) == len(part.frames)
    assert len(everywhere) > len(seen)
    by_frames = replace(settings, reduced=replace(settings.reduced, draw="frames"))
    with pytest.raises(UserError, match=r"reduced\.draw"):
        validate(by_frames)


def test_every_network_has_the_same_updates_and_scores_of_the_weights_it_keeps(taught) -> None:
    run_dir, settings = taught
    networks, systems = reduced_networks(settings), reduced_systems(settings)
    assert len(networks) == 2 * (4 + 3)  # with all labels nothing is left for soft_everywhere
    made = run([one.job for one in networks], run_dir, processes=2, device=HOST, description="networks")
    folder = run_dir / "scores"
    folder.mkdir()
    scores = score_systems(run_dir, settings, systems, folder)
    dev_alignments = AlignmentStore.open(run_dir / "align" / "dev")
    dev_store = FrameStore.open(run_dir / "features" / "dev")
    seen = view_of(settings.network).examples(dev_store, dev_alignments.utterance_ids, evaluation=True)
    dev = Examples(seen.inputs, labels(dev_alignments))
    test_frames = len(labels(AlignmentStore.open(run_dir / "align" / "test")))
    updates = 2 * (len(labels(AlignmentStore.open(run_dir / "align" / "train"))) // 32)
    for network, artifact in zip(networks, made, strict=True):
        assert artifact.metrics["updates"] == updates
        own = [one for one in systems if one.network == network]
        assert [one.weights for one in own] == (["best", "last"] if network.arm == "hard" else ["last"])
        files = sorted(path.name for path in artifact.path.glob("*.safetensors"))
        assert files == sorted(one.weights_ref.file for one in own)
        for one in own:
            model = load_network(artifact.path / one.weights_ref.file)
            measured = measure(model, dev, precision=settings.train.precision)
            assert scores[one.name]["dev"]["frame_accuracy"] == pytest.approx(measured.accuracy)
            assert sum(scores[one.name]["test"]["frames"]) == test_frames
        history = [json.loads(line) for line in (artifact.path / "history.jsonl").read_text().splitlines()]
        measured_at = [line["update"] for line in history if line["dev_accuracy"] is not None]
        assert measured_at == measuring_points(updates, 3)
        assert all(0 <= line["train_accuracy"] <= 1 for line in history if line["update"] in measured_at)
        if network.arm == "hard":
            best = max(line["dev_accuracy"] for line in history if line["dev_accuracy"] is not None)
            assert scores[own[0].name]["dev"]["frame_accuracy"] == pytest.approx(best)
    # Of one repetition all networks begin with the same weights, and their targets tell them apart.
    last = [one.weights_ref for one in systems if one.weights == "last"]
    files = [(run_dir / one.artifact / one.file).read_bytes() for one in last]
    assert len(set(files)) == len(files)
    parts = describe_parts(run_dir, settings, networks, made)
    assert [(one["fraction"], one["repetition"]) for one in parts] == [(0.3, 0), (0.3, 1), (1.0, 0), (1.0, 1)]
    assert parts[0]["utterances"] < parts[2]["utterances"] == 4
    assert parts[2]["passes"] == pytest.approx(2.0, rel=0.1)
    assert parts[2]["passes"] < parts[0]["passes"]


def test_last_weights_that_are_the_best_ones_are_one_system(run_dir, settings) -> None:
    systems = [one for one in reduced_systems(settings) if one.network.fraction == 0.03 and one.network.repetition == 0]
    best, last, soft = systems[:3]
    folder = run_dir / best.network.job.name
    folder.mkdir(parents=True)
    (folder / best.weights_ref.file).write_bytes(b"weights")
    (folder / last.weights_ref.file).write_bytes(b"weights")
    assert (best.kind, last.kind, soft.kind) == ("hard_best", "hard_last", "soft_last")
    assert _stopped_at_the_end(run_dir, last) == best == ReducedSystem(last.network, "best")
    assert _stopped_at_the_end(run_dir, best) is None
    assert _stopped_at_the_end(run_dir, soft) is None
    (folder / last.weights_ref.file).write_bytes(b"others")
    assert _stopped_at_the_end(run_dir, last) is None
