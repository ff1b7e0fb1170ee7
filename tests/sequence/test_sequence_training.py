"""Training under the sequence criterion, from an alignment to a network; every phone has a colour of its own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import PHONES, segments

from kd_asr.alignment.store import Alignment, AlignmentStore, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.device import Device
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.lfmmi import LfmmiLoss, LfmmiSettings
from kd_asr.distillation.losses.occupations import OccupationsLoss, OccupationsSettings
from kd_asr.distillation.objectives import objective_of, weighted
from kd_asr.distillation.posterior_store import PosteriorStore
from kd_asr.distillation.settings import DistilSettings, EnsembleSettings
from kd_asr.distillation.signal import top_k_targets
from kd_asr.errors import UserError
from kd_asr.features.settings import AugmentSettings, FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.jobs.job import Job, Material
from kd_asr.jobs.run import run
from kd_asr.jobs.systems import NetworkRef
from kd_asr.methods.hinton import HintonMethodSettings
from kd_asr.networks.base import seeded
from kd_asr.networks.outputs import Outputs
from kd_asr.networks.tdnnf import TdnnfSettings
from kd_asr.registry import named
from kd_asr.sequence.settings import SequenceSettings
from kd_asr.stages.distil import distil
from kd_asr.stages.ensemble import ensemble
from kd_asr.stages.networks import posteriors_of
from kd_asr.stages.plan import member_names
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.sequence_targets import sequence_targets
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import load_networks
from kd_asr.stages.transfer import transfer
from kd_asr.tasks.sequences import SequenceData
from kd_asr.tasks.speech import SpeechData
from kd_asr.training.constraints import keep_semi_orthogonal
from kd_asr.training.fit import fit
from kd_asr.training.fit_stacked import Member, fit_stacked
from kd_asr.training.settings import TrainSettings

FEATURES = FeatureSettings(num_mel_bins=6)
NETWORK = named(
    "network",
    "tdnnf",
    TdnnfSettings(
        dilations=(1, 3), hidden_units=24, cross_entropy_branch=True, chunk_frames=12, frame_stride=3, dropout=0.0
    ),
)
BUDGET = TrainSettings(epochs=8, batch_frames=96, learning_rate=0.01, precision="fp32")
# A leaf for each phone and state at least.
SETTINGS = Settings(
    losses=(weighted("lfmmi"),), sequence=SequenceSettings(leaves=10, leaf_min_frames=5, longer_histories=5)
)


@pytest.fixture
def laid_out(tmp_path) -> Path:
    """Artifacts `features` and `align` of random phones, without a word."""
    rng = np.random.default_rng(0)
    colours = 2.0 * rng.standard_normal((len(PHONES), FEATURES.num_mel_bins))
    spoken = {}
    for name, count in (("train", 12), ("dev", 3), ("test", 2)):
        for number in range(count):
            phones = ["SIL", *rng.choice(PHONES[1:], size=6), "SIL"]
            spoken[f"{name}-{number}"] = segments(phones, rng.integers(3, 12, size=8).tolist())

    def of_set(name: str) -> list[str]:
        return [one for one in spoken if one.startswith(name)]

    def write_features(folder: Path) -> dict[str, int]:
        for name in ("train", "dev", "test"):
            counts = [sum(item.num_frames for item in spoken[one]) for one in of_set(name)]
            create_store(folder / name, of_set(name), counts, FEATURES)
            store = FrameStore(folder / name, writable=True)
            for one in of_set(name):
                means = [colours[PHONES.index(item.phone)] for item in spoken[one] for _ in range(item.num_frames)]
                noise = rng.standard_normal((len(means), FEATURES.num_mel_bins))
                store.write(one, (np.array(means) + noise).astype(np.float32))
        return {}

    def write_align(folder: Path) -> dict[str, int]:
        Topology.uniform(PHONES).save(folder / "topology.json")
        for name in ("train", "dev", "test"):
            found = [
                Alignment(one, np.zeros(sum(item.num_frames for item in spoken[one]), np.int32), tuple(spoken[one]))
                for one in of_set(name)
            ]
            write_alignments(folder / name, found)
        return {}

    code = "kd_asr.stages.features"
    made = build_artifact(tmp_path, "features", code=code, settings={}, inputs=[], work=write_features)
    build_artifact(tmp_path, "align", code=code, settings={}, inputs=[made], work=write_align)
    return tmp_path


@pytest.fixture
def targets(laid_out) -> Artifact:
    return sequence_targets(laid_out, SETTINGS)


def job(**changes) -> Job:
    losses, data = (weighted("lfmmi"),), SequenceData(AugmentSettings())
    made = Job("networks/one", {"model": NETWORK}, data, losses, BUDGET, 1, keep="last")
    return replace(made, **changes)


def test_networks_that_learn_from_each_other_have_no_loss_of_sequences() -> None:
    with pytest.raises(UserError, match="networks/one: the loss lfmmi needs a network that is trained alone"):
        job(networks={"one": NETWORK, "other": NETWORK}, losses=(weighted("lfmmi"), weighted("peers")))


def batch_of(material: Material, examples: torch.Tensor) -> Batch:
    batch = material.examples.batch(examples)
    return replace(batch, signal=material.examples.teacher.answer(batch))


def test_the_targets_are_labels_at_30_ms_and_a_graph(laid_out, targets) -> None:
    assert targets.metrics["pdfs"] == 10
    assert 10 < targets.metrics["states"] <= targets.metrics["histories"]
    store = AlignmentStore.open(targets.path / "train")
    phones, pdfs = store.phones("train-3"), store.pdfs("train-3")
    for item in phones:
        own = pdfs[item.start_frame : item.start_frame + item.num_frames]
        assert len(set(own[:3])) == 1 and len(set(own[3:])) <= 1 and own[0] not in own[3:]
    assert sequence_targets(laid_out, SETTINGS) == targets


def test_a_training_raises_the_objective_and_recognises_frames(laid_out, targets, capsys, device: Device) -> None:
    [made] = run([job()], laid_out, processes=1, device=device, description="one")
    lines = [json.loads(line) for line in (made.path / "history.jsonl").read_text().splitlines()]
    losses = [line["losses"]["lfmmi"] for line in lines]
    assert losses[-1] < 0.5 * losses[0]
    assert made.metrics["dev_accuracy"] > 0.3 and load_artifact(laid_out, "networks/one") == made
    assert [run([job()], laid_out, processes=1, device=device, description="one")] == [[made]]


def test_numerators_are_those_of_the_chunks_that_the_network_sees(laid_out, targets) -> None:
    """Where the outputs are the labels for certain, the best way through the numerator is the alignment."""
    material = job().data.open(laid_out, job())
    pdfs = material.num_classes
    for first in range(0, len(material.examples), 16):
        batch = batch_of(material, torch.arange(first, min(first + 16, len(material.examples))))
        counted = batch.hard_labels >= 0
        labels = torch.nn.functional.one_hot(batch.hard_labels.clamp_min(0), pdfs) * counted[:, None]
        _, _, found = LfmmiLoss(LfmmiSettings()).objective(Outputs(20.0 * labels), batch.signal, batch)
        assert not found.broken.any() and float(found.log_probs.max()) <= 0
        of_labels = found.occupation.flatten(0, 1).gather(1, batch.hard_labels.clamp_min(0)[:, None])[:, 0]
        assert float(of_labels[counted].min()) > 0.9


def test_the_loss_by_hand(laid_out, targets) -> None:
    material = job().data.open(laid_out, job())
    batch, pdfs = batch_of(material, torch.arange(3)), material.num_classes
    outputs = torch.randn(36, 2 * pdfs, generator=torch.Generator().manual_seed(1))
    loss = LfmmiLoss(LfmmiSettings(cross_entropy=0.3, output_decay=0.01))
    values = loss(Outputs(outputs), batch.signal, batch)
    main, branch = outputs[:, :pdfs].view(3, 12, pdfs), outputs[:, pdfs:].view(3, 12, pdfs)
    found = batch.signal.graphs.objective(main, batch.signal.frames.view(3, 12))
    entropy = -(found.occupation * branch.log_softmax(2)).sum(2)
    expected = -found.log_probs[:, None] / 12 + 0.005 * main.square().sum(2) + 0.3 * entropy
    assert torch.allclose(values, expected.flatten())
    # Part by part, as networks that are trained as one have them.
    parts = [batch.part(number, number + 1, 3) for number in range(3)]
    apart = [loss(Outputs(own), part.signal, part) for own, part in zip(outputs.split(12), parts, strict=True)]
    assert torch.allclose(torch.cat(apart), values, atol=1e-6)
    with pytest.raises(ValueError, match="11 outputs for graphs of 10 pdfs"):
        loss(Outputs(outputs[:, :11]), batch.signal, batch)
    with pytest.raises(ValueError, match="a batch without graphs"):
        loss(Outputs(outputs), replace(batch.signal, graphs=None), batch)


def test_networks_are_trained_as_one(laid_out, targets, tmp_path, device: Device) -> None:
    material = job().data.open(laid_out, job())
    shape, pdfs = material.input_shape, material.num_classes
    members = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        objective = objective_of(job().losses)
        members.append(Member(str(seed), seeded(NETWORK, shape, pdfs, seed), objective, seed, folder))
    options = {"device": device, "validate": None, "updates": 3}
    together = fit_stacked(members, material.examples, BUDGET, **options)
    alone = seeded(NETWORK, shape, pdfs, 2)
    options |= {"seed": 2, "folder": tmp_path / "alone", "after_update": keep_semi_orthogonal}
    fit(alone, material.examples, objective_of(job().losses), BUDGET, **options)
    for name, value in alone.state_dict().items():
        near = torch.allclose(together[1].last_weights[name], value, rtol=1e-3, atol=1e-4)
        assert near or "updates" in name, name


def test_the_loss_stays_on_its_device_and_is_not_looked_at(laid_out, targets) -> None:
    """Tensors on `meta` have no numbers, so that whoever looks at one, or mixes it with one of the host, fails."""
    material = job().data.open(laid_out, job())
    far, teacher = Device("meta"), material.examples.teacher
    teacher.put(far)
    batch = far.put(material.examples.batch(torch.arange(3)))
    batch = replace(batch, signal=teacher.answer(batch))
    outputs = torch.empty(36, 2 * material.num_classes, device="meta", requires_grad=True)
    objective_of(job().losses)(Outputs(outputs), batch).total.backward()
    assert outputs.grad.shape == outputs.shape


def test_what_cannot_be_trained_is_refused(laid_out, targets) -> None:
    with pytest.raises(UserError, match="chunks of every third frame"):
        job().data.open(laid_out, job(networks={"model": named("network", "tdnn")}))
    with pytest.raises(UserError, match="the loss 'hard' cannot tell the outputs of a network with"):
        job().data.open(laid_out, job(losses=(weighted("lfmmi"), weighted("hard"))))
    with pytest.raises(UserError, match="'lfmmi' needs graphs, but its teacher gives labels"):
        job(data=SpeechData(AugmentSettings()))



def test_outputs_of_every_third_frame_are_those_of_all_frames(laid_out, targets) -> None:
    store = FrameStore.open(laid_out / "features" / "dev")
    model = seeded(NETWORK, (FEATURES.num_mel_bins,), 10, 1)
    for name in store.utterance_ids:
        everything, third = (
            posteriors_of([model], store, [name], precision="fp32", stride=stride)[0] for stride in (1, 3)
        )
        assert torch.allclose(third, everything[::3], atol=1e-5)
        [in_bf16] = posteriors_of([model], store, [name], precision="bf16", stride=3)
        assert in_bf16.shape == third.shape and not model.only_labelled


@pytest.mark.parametrize("taught", ["posteriors", "occupations"])
def test_a_student_learns_from_what_is_stored_of_its_teachers(laid_out, targets, taught) -> None:
    loss = weighted("occupations" if taught == "occupations" else "sequence_soft")
    settings = replace(
        SETTINGS,
        features=FEATURES,
        jobs=1,
        device="cpu",
        network=NETWORK,
        train=replace(BUDGET, epochs=1),
        sequence=replace(SETTINGS.sequence, taught=taught),
        ensemble=EnsembleSettings(members=2, average="geometric"),
        distil=DistilSettings(students=1, sweep_temperatures=(), copies=1),
        methods=(named("method", "hinton", HintonMethodSettings((weighted("lfmmi"), loss))),),
    )
    assert settings.problems() == []
    for stage in (ensemble, transfer, posteriors):
        stage(laid_out, settings)
    copies = AlignmentStore.open(laid_out / "transfer" / "alignments")
    originals = AlignmentStore.open(targets.path / "train")
    for one in copies.utterance_ids:
        original, copied = originals.phones(one.split("+")[0]), copies.phones(one)
        assert [item.phone for item in copied] == [item.phone for item in original]
        assert sum(item.num_frames for item in copied) == len(copies.pdfs(one))
    store, frames = PosteriorStore(laid_out / "posteriors"), FrameStore.open(laid_out / "features" / "train")
    members = load_networks(laid_out, [NetworkRef(name) for name in member_names(settings)], frames.features)
    each = posteriors_of(members, frames, ["train-3"], precision="fp32")
    expected = (sum(each) / 2).softmax(1)
    if taught == "occupations":
        sums = settings.targets.denominator(laid_out)
        expected = torch.zeros_like(expected)
        for shift in range(3):
            expected[shift::3] = sum(sums(one[shift::3][None]).occupation[0] / 2 for one in each)
    # All ten classes are stored; as 16 bits.
    rows = store.rows("train-3")
    found = store.targets(torch.arange(rows.start, rows.stop)).dense_log_probs(1.0).exp()
    assert torch.allclose(found, expected, atol=2e-3)
    [student] = distil(laid_out, settings)[:1]
    assert student.name == "distil/student-00" and student.metrics["updates"] == job().updates(laid_out) / 8


def test_the_divergence_of_paths_is_the_difference_of_occupations(laid_out, targets) -> None:
    """Its gradient against finite differences, and 0 where the student is its teacher."""
    material = job().data.open(laid_out, job())
    batch, pdfs = batch_of(material, torch.arange(2)), material.num_classes
    denominator = batch.signal.graphs.denominator
    generator = torch.Generator().manual_seed(1)
    teacher, student = (torch.randn(24, pdfs, generator=generator) for _ in range(2))
    of_teacher, of_student = (denominator(one.view(2, 12, pdfs)).occupation for one in (teacher, student))
    signal = replace(batch.signal, targets=top_k_targets(of_teacher.flatten(0, 1).log(), pdfs))
    loss = OccupationsLoss(OccupationsSettings())
    logits = student.requires_grad_()
    loss(Outputs(torch.cat([logits, teacher], dim=1)), signal, batch).sum().backward()
    assert torch.allclose(logits.grad, (of_student - of_teacher).flatten(0, 1), atol=1e-4)
    alike = teacher.clone().requires_grad_()
    loss(Outputs(alike), signal, batch).sum().backward()
    assert float(alike.grad.abs().max()) < 1e-4
    # The divergence itself is least there.
    values = [float(loss(Outputs(one.detach()), signal, batch).sum()) for one in (alike, logits)]
    assert values[0] < values[1]


def test_settings_that_sequences_cannot_bear_are_refused() -> None:
    settings = replace(
        SETTINGS,
        network=NETWORK,
        train=BUDGET,
        methods=(named("method", "hinton", HintonMethodSettings((weighted("lfmmi"), weighted("occupations")))),),
    )
    assert settings.problems() == [
        "distil.sweep_temperatures: not for networks that learn sequences (losses: lfmmi); leave it out",
        "sequence.taught: the loss occupations learns occupations, not posteriors",
    ]
