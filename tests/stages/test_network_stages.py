"""Baseline, ensemble, posteriors, students and their evaluation on a run in miniature, whose labels are invented."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared
from made_up_labels import make_aligned
from made_up_words import write_decoded

import kd_asr.stages.evaluate as evaluate_stage
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import load_artifact
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.signal import SoftTargets, top_k_targets
from kd_asr.distillation.teachers.live import LiveTeacher
from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.errors import UserError
from kd_asr.evaluation.calibration import calibrate
from kd_asr.experiments.comparison.compare import compare
from kd_asr.experiments.filters.filters import check_filters, filters, print_table
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.features.store import FrameStore
from kd_asr.jobs.job import network_seed
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.networks.adaptation import SpeakerStatistics
from kd_asr.networks.base import seeded, view_of
from kd_asr.networks.cnn import CnnSettings
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import load_network
from kd_asr.networks.settings import AdaptSettings, StudentSettings, TeacherSettings
from kd_asr.networks.tdnn import TdnnSettings
from kd_asr.registry import named
from kd_asr.settings.files import save_settings
from kd_asr.stages.augment import augment
from kd_asr.stages.baseline import baseline
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.evaluate import evaluate
from kd_asr.stages.features import features
from kd_asr.stages.networks import log_posteriors_of_inputs, posteriors_by_group
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.recognise import set_scores
from kd_asr.stages.speakers import speakers_of
from kd_asr.stages.sweep import sweep
from kd_asr.stages.systems import load_networks, run_systems
from kd_asr.stages.transfer import transfer
from kd_asr.tasks.speech import LabelledSpeech, examples_of

pytestmark = pytest.mark.early

# No preset adapts or masks a DNN.
DNN = named("network", "dnn", DnnSettings(hidden_layers=1, hidden_units=16))
TDNN = named("network", "tdnn", TdnnSettings(dilations=(1, 2), hidden_units=16, chunk_frames=8))
KINDS = [pytest.param(DNN, marks=pytest.mark.slow, id="dnn"), pytest.param(TDNN, id="tdnn")]


def kept_of(teacher: LiveTeacher, batch: Batch, top_k: int) -> SoftTargets:
    """What a store would keep of a teacher's answer."""
    targets = teacher.answer(batch).targets
    return top_k_targets(targets.dense_log_probs(1.0), top_k)


@pytest.fixture
def aligned(run_dir, settings, utterances) -> Path:
    make_prepared(run_dir, utterances)
    features(run_dir, settings)
    make_aligned(run_dir, settings)
    return run_dir


def test_teachers_are_trained_as_one_where_that_is_asked_for(aligned, settings) -> None:
    made = ensemble(aligned, replace(settings, batch_jobs="always", jobs=1))
    assert [artifact.metrics["trained_together"] for artifact in made] == [2, 2]
    weights = [(artifact.path / "model.safetensors").read_bytes() for artifact in made]
    assert weights[0] != weights[1]
    assert ensemble(aligned, settings) == made  # no fingerprint knows of it


def test_filters_of_speech_are_compared(aligned, settings, capsys) -> None:
    small = FiltersSettings(
        seeds=2, channels=2, hidden_units=4, teacher_channels=3, teacher_hidden_units=8, kernel_height=3,
        kernel_width=3, moments=3, examples=20, epochs=1.0,
    )  # fmt: skip
    chosen = replace(settings, filters=small)
    made = filters(aligned, chosen)
    print_table(made)
    assert max(map(len, capsys.readouterr().out.splitlines()[:-1])) <= 80
    content = json.loads((made.path / "filters.json").read_text())
    frames = len(AlignmentStore.open(aligned / "align" / "train").all_pdfs())
    assert content["moments"] == [0, round(frames // 32 / 2), frames // 32]
    assert content["frequencies"]["height"][-1] == 50  # Hz, of frames of 10 ms
    model = load_network(aligned / "filter_networks" / "distilled-01" / "model.safetensors")
    test = LabelledSpeech.of_set(aligned, "test")
    store, labels = test.store, test.alignments
    right = sum(
        int((torch.cat([model(one) for one in model.own_view.utterances(store, [name])]).argmax(1).numpy()
             == labels.pdfs(name)).sum())
        for name in labels.utterance_ids
    )  # fmt: skip
    count = len(labels.all_pdfs())
    few = content["accuracies"]["distilled"][1]  # on 200 of the frames
    assert abs(few - right / count) < 4 * (0.25 / 200) ** 0.5
    check_filters(aligned, chosen)
    with pytest.raises(UserError, match=r"filters\.examples is 30 in .*, but filters was made with 20"):
        check_filters(aligned, replace(settings, filters=replace(small, examples=30)))
    with pytest.raises(UserError, match=r"made with other networks than filters\.seeds asks for"):
        check_filters(aligned, replace(settings, filters=replace(small, seeds=3)))
    with pytest.raises(UserError, match=r"channels is 4 in .* run `kd-asr filters"):
        check_filters(aligned, replace(settings, filters=replace(small, channels=4)))


@pytest.mark.parametrize("dilations", [(), (1, 3)], ids=["dnn", "tdnn"])
def test_from_labels_to_frame_accuracies(aligned, settings, dilations, monkeypatch) -> None:
    if dilations:
        strided = TdnnSettings(dilations=dilations, hidden_units=16, chunk_frames=8, frame_stride=3)
        settings = replace(settings, network=named("network", "tdnn", strided))
    baseline(aligned, settings)
    ensemble(aligned, settings)
    transfer(aligned, settings)
    posteriors(aligned, settings)
    distil(aligned, settings)
    made = evaluate(aligned, settings)
    frames = json.loads((made.path / "frames.json").read_text())
    assert set(frames["systems"]) == {"baseline-00", "ensemble", "student-00", "member-00", "member-01"}
    assert set(frames["network_seconds"]) == {"baseline-00", "ensemble", "student-00"}

    # Frame by frame, an utterance's posteriors are those that its cross-entropy was summed from.
    example = json.loads((made.path / "utterance.json").read_text())
    for one in example["groups"].values():
        on_dev = frames["systems"][one["system"]]["dev"]
        summed = on_dev["cross_entropy_sum"][on_dev["utterance_ids"].index(example["utterance_id"])]
        assert -np.log(one["posteriors"]).sum() == pytest.approx(summed, rel=1e-3)

    # A comparison has the same figures, those of the student computed here, and what systems cost.
    store = FrameStore.open(aligned / "features" / "test")
    students = load_networks(aligned, [NetworkRef("distil/student-00")], store.features)
    alignments = AlignmentStore.open(aligned / "align" / "test")
    [(_, [log_probs])] = posteriors_by_group(
        students, store, alignments, alignments.utterance_ids, precision="auto"
    )
    largest, chosen = log_probs.max(dim=1)
    write_decoded(aligned, settings)
    save_settings(aligned, settings)
    content = json.loads((compare([aligned]) / "comparison.json").read_text())
    rows = {row["group"]: row for row in content["rows"]}
    measures = rows["distilled"]["measures"]
    right = chosen.numpy() == alignments.all_pdfs()
    assert measures["calibration_error"]["value"] == pytest.approx(calibrate(largest.exp(), right).error)
    assert measures["frame_accuracy"]["value"] == pytest.approx(right.mean())
    assert (measures["wer"]["value"], rows["ensemble"]["measures"]["wer"]["value"]) == (1 / 8, 0)
    assert rows["ensemble"]["cost"]["multiply_adds"] == 2 * rows["distilled"]["cost"]["multiply_adds"]
    assert rows["ensemble"]["cost"]["search_real_time_factor"] == 0.25
    costs = [rows[name]["cost"]["with_teachers"]["operations"] for name in ("baseline", "ensemble", "distilled")]
    assert 2 * costs[0] == costs[1] < costs[2]

    # The stored posteriors are those of the live ensemble.
    store = FrameStore.open(aligned / "features" / "train")
    models = load_networks(aligned, run_systems(settings).system("ensemble").members, store.features)
    stored_posteriors = PosteriorStore(aligned / "posteriors")
    train = [LabelledSpeech.of_set(aligned, "train")]
    examples = examples_of(train, settings.network, teach=partial(StoredTeacher, stored_posteriors))
    batch = examples.batch(torch.arange(0, len(examples), 3))
    answered = kept_of(LiveTeacher(models), batch, settings.ensemble.top_k)
    assert torch.equal(answered.classes, batch.signal.targets.classes)
    assert torch.allclose(answered.log_probs, batch.signal.targets.log_probs, rtol=2e-3, atol=2e-3)
    assert 0.8 < load_artifact(aligned, "posteriors").metrics["mass_kept"] <= 1

    # Frame accuracy of the ensemble on train, counted here from the store's best class.
    labels = np.concatenate([np.load(aligned / "align" / "train" / "pdfs.npy")])
    of_frames = StoredTeacher(stored_posteriors, store.utterance_ids)
    best = of_frames.read(torch.arange(len(labels))).targets.classes[:, 0].numpy()
    counted = frames["systems"]["ensemble"]["train"]
    assert sum(counted["correct"]) == int((best == labels).sum())
    assert sum(counted["frames"]) == len(labels)
    assert made.metrics["baseline-00"]["dev"] == pytest.approx(
        load_artifact(aligned, "baseline/baseline-00").metrics["dev_accuracy"], abs=1e-5
    )

    # Students and members have seeds of their own; none is a copy of another.
    weights = {
        network: (aligned / network.artifact / network.file).read_bytes() for network in run_systems(settings).networks
    }
    assert len(set(weights.values())) == len(weights)

    # Any systems: without a teacher nothing is stored; a member that is a system too is scored once, as that.
    pair = tuple(map(NetworkRef, ("baseline/baseline-00", "ensemble/member-01")))
    compared = Systems(
        (Group("one", "one", "reference"), Group("two", "two")),
        (System("baseline-00", "one", pair[:1]), System("pair", "two", pair, "geometric")),
    )
    monkeypatch.setattr(evaluate_stage, "run_systems", lambda _: compared)
    others = json.loads((evaluate(aligned, settings).path / "frames.json").read_text())
    assert set(others["systems"]) == {"baseline-00", "pair", "member-01"}
    assert set(others["network_seconds"]) == {"baseline-00", "pair"}
    for name in ("baseline-00", "member-01"):
        assert others["systems"][name]["dev"] == frames["systems"][name]["dev"]
        assert sum(others["systems"][name]["train"]["correct"]) == sum(frames["systems"][name]["train"]["correct"])

    # New alignments make old posteriors useless, and it is said.
    make_prepared(aligned, {name: [] for name in ("train", "dev", "test")})
    with pytest.raises(UserError, match="prepare"):
        load_artifact(aligned, "posteriors")


@pytest.mark.parametrize("network", KINDS)
def test_a_student_learns_from_live_teachers_what_it_learns_from_stored_ones(aligned, settings, network) -> None:
    """Without variation of the inputs, and with all classes in the store, students differ by float16 alone."""
    top_k = Topology.load(aligned / "align" / "topology.json").num_pdfs
    settings = replace(
        settings,
        network=replace(network, settings=replace(network.settings, dropout=0.0)),
        ensemble=replace(settings.ensemble, top_k=top_k, average="geometric"),
        train=replace(settings.train, precision="fp32"),
    )
    live = replace(settings, distil=replace(settings.distil, teacher=named("teacher", "live")))
    assert not live.problems()
    for stage in (ensemble, transfer, posteriors):
        stage(aligned, settings)
    made = []
    for chosen in (settings, live):
        distil(aligned, chosen)
        student = load_artifact(aligned, "distil/student-00")
        made.append((student.fingerprint, load_network(student.path / "model.safetensors").state_dict()))
    (stored_print, stored), (live_print, alive) = made
    assert stored_print != live_print
    seed = network_seed(live.seed, "distil/student-00")
    untrained = seeded(live.student_network, view_of(network).input_shape(40), top_k, seed).state_dict()
    for name, tensor in stored.items():
        if tensor.is_floating_point():
            moved = (tensor - untrained[name]).norm()
            assert (tensor - alive[name]).norm() <= 0.02 * moved, name
    baseline(aligned, live)
    assert "student-00" in evaluate(aligned, live).metrics


def test_an_ensemble_of_one_is_scored_once(aligned, settings) -> None:
    settings = replace(settings, ensemble=replace(settings.ensemble, members=1))
    for stage in (baseline, ensemble, transfer, posteriors, distil):
        stage(aligned, settings)
    frames = json.loads((evaluate(aligned, settings).path / "frames.json").read_text())
    assert set(frames["systems"]) == {"baseline-00", "ensemble", "student-00"}
    assert all(set(one) == {"train", "dev", "test"} for one in frames["systems"].values())


def test_the_same_seed_gives_the_same_bits_and_jobs_do_not_matter(aligned, settings) -> None:
    made = []
    for jobs in (1, 2):
        for stage in (ensemble, transfer, posteriors, distil):
            stage(aligned, replace(settings, jobs=jobs, distil=replace(settings.distil, students=2)))
        networks = sorted([*aligned.glob("ensemble/*/*.safetensors"), *aligned.glob("distil/*/*.safetensors")])
        made.append([path.read_bytes() for path in [*networks, aligned / "posteriors" / "shard-00000.u16"]])
        for name in ("ensemble", "transfer", "posteriors", "distil"):
            shutil.rmtree(aligned / name)
    assert len(made[0]) == len(set(made[0])) == 5
    assert made[0] == made[1]


def test_the_baseline_trained_beside_the_students_is_the_one_trained_alone(aligned, settings) -> None:
    alone = (baseline(aligned, settings)[0].path / "model.safetensors").read_bytes()
    shutil.rmtree(aligned / "baseline")
    ensemble(aligned, settings)
    transfer(aligned, settings)
    posteriors(aligned, settings)
    distil(aligned, replace(settings, distil=replace(settings.distil, dropout=0.5)))
    assert (load_artifact(aligned, "baseline/baseline-00").path / "model.safetensors").read_bytes() == alone
    features_of_train = FrameStore.open(aligned / "features" / "train").features
    (student,) = load_networks(aligned, [NetworkRef("distil/student-00")], features_of_train)
    assert student.settings == replace(settings.network.settings, dropout=0.5) != settings.network.settings


def test_students_learn_from_the_training_set_and_its_copies(aligned, settings) -> None:
    with_copies = replace(settings, distil=replace(settings.distil, copies=2))
    ensemble(aligned, settings)
    copied = transfer(aligned, with_copies).path
    posteriors(aligned, with_copies)
    store = PosteriorStore(aligned / "posteriors")
    train, copies = AlignmentStore.open(aligned / "align" / "train"), AlignmentStore.open(copied / "alignments")
    names = [f"{name}+{number}" for number in (1, 2) for name in train.utterance_ids]
    assert copies.utterance_ids == names
    assert store.utterance_ids == [*train.utterance_ids, *names]

    view = view_of(settings.network)
    inputs = view.examples(FrameStore.open(aligned / "features" / "train"), train.utterance_ids).inputs
    frames = FrameStore.open(copied / "frames")
    own = LabelledSpeech.of_set(aligned, "train")
    examples = examples_of([own, LabelledSpeech(frames, copies)], settings.network, teach=partial(StoredTeacher, store))
    number = len(inputs) + 5  # in the first copy of the first utterance
    some = torch.tensor([number, 3, len(examples) - 1, len(inputs) - 1])
    batch = examples.batch(some)
    seen = view.examples(frames, names).inputs
    expected = [(seen, 5), (inputs, 3), (seen, len(seen) - 1), (inputs, len(inputs) - 1)]
    assert torch.equal(batch.inputs, torch.cat([of[torch.tensor([place])] for of, place in expected]))
    assert batch.hard_labels[0] == copies.pdfs(names[0])[5]

    # What the store says of a copy is what the live ensemble says of it.
    models = load_networks(aligned, run_systems(settings).system("ensemble").members, frames.features)
    live = kept_of(LiveTeacher(models), batch, settings.ensemble.top_k)
    assert torch.equal(batch.signal.targets.classes, live.classes)
    assert torch.allclose(batch.signal.targets.log_probs, live.log_probs, rtol=2e-3, atol=2e-3)

    # The ensemble's accuracy on train counts the training set alone, and the student's budget is the baseline's.
    scores = json.loads((aligned / "posteriors" / "train_scores.json").read_text())
    assert sum(scores["ensemble"]["frames"]) == len(inputs)
    distil(aligned, with_copies)
    student, plain = (load_artifact(aligned, name).metrics for name in ("distil/student-00", "baseline/baseline-00"))
    assert student["updates"] == plain["updates"]
    assert student["best_epoch"] == plain["best_epoch"] == 1.0


def test_baseline_and_teachers_learn_from_copies_at_other_rates(aligned, settings) -> None:
    plain = baseline(aligned, settings)[0].metrics
    weights = (aligned / "baseline" / "baseline-00" / "model.safetensors").read_bytes()
    with_copies = replace(settings, augment=replace(settings.augment, copies=2, copy_rate=0.3))
    copied = augment(aligned, with_copies)
    store, copies = FrameStore.open(copied.path / "frames"), AlignmentStore.open(copied.path / "alignments")
    train = AlignmentStore.open(aligned / "align" / "train")
    assert copies.utterance_ids == [f"{name}*{number}" for number in (1, 2) for name in train.utterance_ids]
    lengths = {len(copies.pdfs(name)) / len(train.pdfs(name.split("*")[0])) for name in copies.utterance_ids}
    assert min(lengths) < 1 < max(lengths)
    # Labels go with their frames: what decides a frame's label decides it in the copies too, but at borders.
    same = [
        store.frames(name)[:, :39].reshape(-1, 3, 13).mean(axis=2).argmax(axis=1) == copies.pdfs(name)
        for name in copies.utterance_ids
    ]
    assert np.concatenate(same).mean() > 0.8
    (made,) = baseline(aligned, with_copies)
    assert made.metrics["updates"] == plain["updates"]
    assert (made.path / "model.safetensors").read_bytes() != weights
    ensemble(aligned, with_copies)
    assert "augment" in json.loads((aligned / "ensemble/member-00/manifest.json").read_text())["inputs"]
    # The students' copies are others.
    other = transfer(aligned, replace(settings, distil=replace(settings.distil, copies=2, copy_rate=0.3)))
    counts = np.load(other.path / "alignments" / "frames.npy")
    assert not np.array_equal(counts, np.load(copied.path / "alignments" / "frames.npy"))


@pytest.mark.parametrize("network", KINDS)
def test_masks_change_what_is_learnt_and_are_resumed(aligned, settings, network) -> None:
    plain = replace(settings, network=network)
    # With copies, whose part of a batch may be empty.
    masked = replace(plain, augment=replace(plain.augment, frequency_mask=10, time_mask=3, copies=1))
    augment(aligned, masked)
    weights = [(baseline(aligned, kind)[0].path / "model.safetensors").read_bytes() for kind in (plain, masked)]
    shutil.rmtree(aligned / "baseline")
    assert (baseline(aligned, masked)[0].path / "model.safetensors").read_bytes() == weights[1] != weights[0]


@pytest.mark.parametrize("network", KINDS)
def test_dev_and_test_are_scored_by_networks_that_follow_the_speaker(aligned, settings, network) -> None:
    settings = replace(settings, network=network)
    for stage in (baseline, ensemble, transfer, posteriors, distil):
        stage(aligned, settings)
    plain = json.loads((evaluate(aligned, settings).path / "frames.json").read_text())["systems"]
    adapting = replace(settings, adapt=AdaptSettings(prior_frames=100))
    made = json.loads((evaluate(aligned, adapting).path / "frames.json").read_text())["systems"]
    assert made["baseline-00"]["train"] == plain["baseline-00"]["train"]

    # By hand: each speaker's frames through the network, as often as there are utterances of that speaker.
    store, labels = FrameStore.open(aligned / "features" / "dev"), AlignmentStore.open(aligned / "align" / "dev")
    speakers = speakers_of(aligned, "dev")
    (model,) = load_networks(aligned, [NetworkRef("baseline/baseline-00")], store.features)
    expected, scores = {}, {}
    for speaker in sorted(set(speakers.values())):
        names = [name for name in labels.utterance_ids if speakers[name] == speaker]
        statistics = SpeakerStatistics([model], 100, precision=settings.train.precision)
        statistics.adapt_to(speaker, lambda names=names: view_of(network).speaker(store, names, most_frames=30_000))  # type: ignore[misc]
        for name in names:
            inputs = view_of(network).utterances(store, [name])
            scores[name] = log_posteriors_of_inputs(model, inputs, precision=settings.train.precision)
            expected[name] = -float(scores[name].gather(1, torch.from_numpy(labels.pdfs(name)).long()[:, None]).sum())
        statistics.restore()
    found = made["baseline-00"]["dev"]
    assert found["utterance_ids"] == labels.utterance_ids
    assert found["cross_entropy_sum"] == pytest.approx([expected[name] for name in labels.utterance_ids], rel=2e-2)
    assert found["cross_entropy_sum"] != plain["baseline-00"]["dev"]["cross_entropy_sum"]

    # The decoder's scores are the same, whatever order the utterances come in.
    prior = torch.zeros(scores[labels.utterance_ids[0]].shape[1])
    decoded = set_scores(aligned, "dev", run_systems(adapting).system("baseline-00"), adapting, prior)
    for name in reversed(labels.utterance_ids):
        assert np.allclose(decoded(name), scores[name].numpy(), atol=0.05)


def test_students_of_another_architecture_learn_from_teachers_of_two(aligned, settings) -> None:
    """CNN teachers, a TDNN student and its twin on hard labels; the ensemble of one CNN and one DNN in `set_scores`."""
    cnn = named("network", "cnn", CnnSettings(channels=2, hidden_units=8, left_context=2, right_context=1))
    mixed = replace(settings, teacher=TeacherSettings(cnn), student=StudentSettings(TDNN))
    for stage in (ensemble, transfer, posteriors, distil):
        stage(aligned, mixed)
    adapting = replace(mixed, adapt=AdaptSettings(prior_frames=100))
    frames = json.loads((evaluate(aligned, adapting).path / "frames.json").read_text())["systems"]
    assert set(frames) == {"baseline-00", "ensemble", "student-00", "member-00", "member-01"}
    store = FrameStore.open(aligned / "features" / "dev")
    networks = [NetworkRef(one) for one in ("ensemble/member-00", "baseline/baseline-00", "distil/student-00")]
    models = load_networks(aligned, networks, store.features)
    assert [model.settings for model in models] == [cnn.settings, TDNN.settings, TDNN.settings]
    # Members of different kinds make an ensemble, each in its own view of the utterance.
    name = store.utterance_ids[0]
    each = [
        log_posteriors_of_inputs(model, model.own_view.utterances(store, [name]), precision=settings.train.precision)
        for model in models
    ]
    system = System("mixed", "mixed", tuple(networks))
    together = set_scores(aligned, "dev", system, mixed, torch.zeros(each[0].shape[1]))(name)
    assert np.allclose(together, torch.stack(each).exp().mean(dim=0).log().numpy(), atol=1e-4)


def test_a_sweep_of_nothing_is_an_empty_list(aligned, settings) -> None:
    made = sweep(aligned, replace(settings, distil=replace(settings.distil, sweep_temperatures=())))
    assert made.metrics == {"rows": []}
    assert not (aligned / "sweep_networks").exists()


def test_seeds_are_stable_and_differ() -> None:
    names = ["baseline/baseline-00", "ensemble/member-00", "ensemble/member-01", "distil/student-00"]
    seeds = {network_seed(seed, name) for seed in (1, 2) for name in names}
    assert len(seeds) == 8
    assert network_seed(1, "baseline/baseline-00") == network_seed(1, "baseline/baseline-00")
