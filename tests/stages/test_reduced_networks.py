"""Networks on parts of the labels, on a run in miniature whose labels are invented."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared
from test_network_stages import make_aligned

from kd_asr.alignment.store import AlignmentStore
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.networks.base import view_of
from kd_asr.networks.files import load_network
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.features import features
from kd_asr.stages.networks import measure
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.reduced import ReducedSystem, _stopped_at_the_end
from kd_asr.stages.reduced_networks import (
    ARMS,
    BEST,
    LAST,
    ReducedTask,
    _examples,
    draw_part,
    reduced_tasks,
    train_reduced,
)
from kd_asr.stages.settings import Settings
from kd_asr.stages.speech import labels
from kd_asr.stages.transfer import transfer
from kd_asr.training.examples import Examples
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


@pytest.mark.parametrize("draw", ["utterances", "frames"])
def test_a_part_has_its_frames_and_utterances_and_nests(taught, draw: str) -> None:
    run_dir, settings = taught
    settings = replace(settings, reduced=replace(settings.reduced, draw=draw))
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    names, counts = alignments.utterance_ids, [len(alignments.pdfs(name)) for name in alignments.utterance_ids]
    owner = np.repeat(np.arange(len(names)), counts)
    parts = [draw_part(alignments, settings, fraction, 0) for fraction in (0.3, 0.6, 1.0)]
    for part in parts:
        assert part.utterance_ids == [names[number] for number in np.unique(owner[part.frames.numpy()])]
        if draw == "utterances":
            assert len(part.frames) == sum(len(alignments.pdfs(name)) for name in part.utterance_ids)
    frames = [set(part.frames.tolist()) for part in parts]
    assert frames[0] < frames[1] < frames[2] == set(range(sum(counts)))
    assert draw_part(alignments, settings, 0.3, 1).frames.tolist() != parts[0].frames.tolist()


def test_labels_outside_the_part_are_never_seen(taught) -> None:
    run_dir, settings = taught
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    pdfs = labels(alignments)
    part = draw_part(alignments, settings, 0.3, 0)
    for arm in ARMS:
        seen, plain = _examples(ReducedTask(run_dir, 0.3, arm, 0, settings), part)
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
            of_part = seen.teacher(some)
    # A frame of the part has the same teacher's opinion under its number in the part and under its number in all.
    assert torch.equal(everything.teacher(part.frames[some]).log_probs, of_part.log_probs)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_tdnn_sees_the_chunks_of_the_utterances_that_are_drawn(taught, stride) -> None:
    run_dir, settings = taught
    network = named("network", "tdnn", TdnnSettings(dilations=(1,), chunk_frames=8, frame_stride=stride))
    settings = replace(settings, network=network)
    alignments = AlignmentStore.open(run_dir / "align" / "train")
    part = draw_part(alignments, settings, 0.3, 0)
    seen, plain = _examples(ReducedTask(run_dir, 0.3, "hard", 0, settings), part)
    for examples in (seen, plain):
        kept = examples.hard_labels[examples.hard_labels != UNLABELLED]
        drawn = labels(alignments)[part.frames]
        assert torch.equal(*(found.sort().values if stride > 1 else found for found in (kept, drawn)))
    everywhere, _ = _examples(ReducedTask(run_dir, 0.3, "soft_everywhere", 0, settings), part)
    assert int((everywhere.hard_labels != UNLABELLED).sum()) == len(part.frames)
    assert len(everywhere) > len(seen)
    by_frames = replace(settings, reduced=replace(settings.reduced, draw="frames"))
    with pytest.raises(UserError, match=r"reduced\.draw"):
        _examples(ReducedTask(run_dir, 0.3, "hard", 0, by_frames), part)


def test_every_network_has_the_same_updates_and_scores_of_the_weights_it_keeps(taught) -> None:
    run_dir, settings = taught
    tasks = reduced_tasks(run_dir, settings)
    assert len(tasks) == 2 * (4 + 3)  # with all labels nothing is left for soft_everywhere
    made = train_reduced(tasks)
    dev_alignments = AlignmentStore.open(run_dir / "align" / "dev")
    dev_store = FrameStore.open(run_dir / "features" / "dev")
    seen = view_of(settings.network).examples(dev_store, dev_alignments.utterance_ids)
    dev = Examples(seen.inputs, labels(dev_alignments))
    updates = 2 * (len(labels(AlignmentStore.open(run_dir / "align" / "train"))) // 32)
    for task, artifact in zip(tasks, made, strict=True):
        assert artifact.metrics["updates"] == updates
        scores = json.loads((artifact.path / "scores.json").read_text())
        assert set(scores) == ({"best", "last"} if task.arm == "hard" else {"last"})
        for weights, file in (("best", BEST), ("last", LAST)):
            assert (artifact.path / file).exists() == (weights in scores)
            if weights in scores:
                measured = measure(load_network(artifact.path / file), dev, precision=settings.train.precision)
                assert scores[weights]["dev"]["frame_accuracy"] == pytest.approx(measured.accuracy)
        history = [json.loads(line) for line in (artifact.path / "history.jsonl").read_text().splitlines()]
        measured_at = [line["update"] for line in history if line["dev_frame_accuracy"] is not None]
        assert measured_at == measuring_points(updates, 3)
        assert all(0 <= line["train_frame_accuracy"] <= 1 for line in history if line["update"] in measured_at)
        if task.arm == "hard":
            best = max(line["dev_frame_accuracy"] for line in history if line["dev_frame_accuracy"] is not None)
            assert scores["best"]["dev"]["frame_accuracy"] == pytest.approx(best)
    # Of one repetition all networks begin with the same weights, and their targets tell them apart.
    files = [(artifact.path / LAST).read_bytes() for artifact in made]
    assert len(set(files)) == len(files)


def test_last_weights_that_are_the_best_ones_are_one_system(run_dir, settings) -> None:
    task = ReducedTask(run_dir, 0.3, "hard", 0, settings)
    folder = run_dir / task.name
    folder.mkdir(parents=True)
    (folder / BEST).write_bytes(b"weights")
    (folder / LAST).write_bytes(b"weights")
    best, last = ReducedSystem(task, "best"), ReducedSystem(task, "last")
    assert _stopped_at_the_end(run_dir, last) == best
    assert _stopped_at_the_end(run_dir, best) is None
    assert _stopped_at_the_end(run_dir, ReducedSystem(replace(task, arm="soft"), "last")) is None
    (folder / LAST).write_bytes(b"others")
    assert _stopped_at_the_end(run_dir, last) is None
