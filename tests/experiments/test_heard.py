"""Privileged information on speech: what students hear, what they learn from, and how they are compared."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.device import HOST
from kd_asr.errors import UserError
from kd_asr.experiments.heard.degraded import by_telephone, in_noise
from kd_asr.experiments.heard.page import figures, page
from kd_asr.experiments.heard.plan import ARMS, students, teachers_as_heard
from kd_asr.experiments.heard.settings import HeardSettings
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.registry import named
from kd_asr.stages.plan import variation
from kd_asr.stages.settings import parse_settings
from kd_asr.tasks.member_stores import write_posteriors

RATE = 16_000
SECOND = np.arange(RATE) / RATE


def test_noise_has_the_power_that_is_drawn_and_depends_on_its_generator_alone() -> None:
    speech = (0.1 * np.sin(2 * np.pi * 440 * SECOND)).astype(np.float32)
    settings = HeardSettings(least_snr_db=5.0, most_snr_db=5.0)
    heard, again = (in_noise(speech, np.random.default_rng(3), settings) for _ in range(2))
    other = in_noise(speech, np.random.default_rng(4), settings)
    assert np.array_equal(heard, again) and not np.array_equal(heard, other)
    noise = heard.astype(np.float64) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(5.0, abs=0.05)
    with pytest.raises(UserError, match="least_snr_db: 20 is more than most_snr_db, 15"):
        parse_settings(["--privileged.least_snr_db=20"])


def test_a_telephone_lets_its_band_through_and_nothing_else() -> None:
    tones = {frequency: np.sin(2 * np.pi * frequency * SECOND) for frequency in (100, 1000, 3000, 6000)}
    heard = by_telephone((0.2 * sum(tones.values())).astype(np.float32), RATE)
    assert len(heard) == RATE
    gains = {frequency: 2 * float(np.mean(heard * tone)) / 0.2 for frequency, tone in tones.items()}
    assert gains[1000] == pytest.approx(1.0, abs=0.03) and gains[3000] == pytest.approx(1.0, abs=0.03)
    assert abs(gains[100]) < 0.02 and abs(gains[6000]) < 0.02
    # Eight bits are told from none by their noise: the logarithmic steps of G.711 leave some 38 dB.
    inside = 0.2 * (tones[1000] + tones[3000])
    assert 30 < 10 * np.log10(np.mean(inside**2) / np.mean((heard - inside) ** 2)) < 50
    assert not by_telephone(np.zeros(100, dtype=np.float32), RATE).any()


def test_students_of_a_case_differ_only_in_what_they_learn_from() -> None:
    settings = parse_settings(["--privileged.students=2", "--ensemble.members=3"])
    planned = students(settings)
    assert len(planned) == 3 * 3 * 2 and len({one.job.name for one in planned}) == 18
    for case in settings.privileged.cases:
        of_first = {one.arm: one.job for one in planned if (one.case, one.number) == (case, 0)}
        assert len({job.seed for job in of_first.values()}) == 1
        assert len({repr(job.network) for job in of_first.values()}) == 1
        stores = {arm: job.teacher.artifacts for arm, job in of_first.items() if job.teacher}
        assert stores == {"unprivileged": (f"heard_posteriors/{case}",), "privileged": ("posteriors",)}
        assert of_first["privileged"].data.of_teacher == "features"
        assert of_first["unprivileged"].data.of_teacher == of_first["plain"].data.frames
        assert len(teachers_as_heard(settings, case)) == 3
    late = [one.job for one in planned if one.case == "low_latency"]
    assert {job.network.settings.right_context for job in late} == {0} and late[0].data.frames == "features"
    with pytest.raises(UserError, match="the network tdnn has no setting right_context"):
        students(parse_settings(["--network=tdnn", "--train.batch_frames=640"]))


def test_inputs_are_those_of_the_student_and_targets_those_of_the_teacher(run_dir: Path) -> None:
    features, counts = FeatureSettings(num_mel_bins=5), {"a": 9, "b": 4}
    network = named("network", "dnn", DnnSettings(left_context=1, right_context=0, hidden_layers=1, hidden_units=6))

    def frames(folder: Path, seed: int) -> dict[str, int]:
        for name in ("train", "dev"):
            create_store(folder / name, list(counts), list(counts.values()), features)
            store, generator = FrameStore(folder / name, writable=True), np.random.default_rng(seed)
            for one, count in counts.items():
                store.write(one, generator.standard_normal((count, 5)).astype(np.float32))
        return {}

    def align(folder: Path) -> dict[str, int]:
        topology = Topology.uniform(("SIL", "AA"))
        topology.save(folder / "topology.json")
        silent = {name: (PhoneSegment("SIL", 0, count),) for name, count in counts.items()}
        for name in ("train", "dev"):
            found = [Alignment(one, np.zeros(count, np.int32), silent[one]) for one, count in counts.items()]
            write_alignments(folder / name, found)
        return {}

    def make(name: str, work) -> None:
        build_artifact(run_dir, name, code="kd_asr.text", settings={"name": name}, inputs=[], work=work)

    make("features", lambda folder: frames(folder, 1))
    make("heard_features/noisy", lambda folder: frames(folder, 2))
    make("align", align)
    classes = Topology.load(run_dir / "align" / "topology.json").num_pdfs
    clean = FrameStore.open(run_dir / "features" / "train")
    teacher = seeded(network, (2, 5), classes, 1).eval()
    seen = {name: load_artifact(run_dir, name).fingerprint for name in ("features", "align")}
    make("posteriors", lambda folder: write_posteriors(
        folder, [teacher], [(clean, list(counts))], average="arithmetic", top_k=classes, num_classes=classes,
        precision="fp32", fingerprints=seen,
    ))  # fmt: skip
    settings = parse_settings(["--privileged.cases=[noisy]"])
    job = next(one.job for one in students(settings) if one.arm == "privileged")
    job = type(job)(**{**vars(job), "networks": {"model": network}})
    material = job.data.open(run_dir, job)
    examples = material.examples
    examples.teacher.put(HOST)
    batch = examples.batch(torch.arange(13))
    heard = FrameStore.open(run_dir / "heard_features" / "noisy" / "train")
    view = teacher.own_view
    assert torch.equal(batch.inputs, view.examples(heard, list(counts)).inputs[torch.arange(13)])
    expected = teacher(view.examples(clean, list(counts)).inputs[torch.arange(13)]).log_softmax(1)
    assert torch.allclose(examples.teacher.answer(batch).targets.dense_log_probs(1.0), expected, atol=2e-3)
    assert variation(settings) == job.data.augment


def test_figures_are_word_error_rates_and_their_differences() -> None:
    errors = {"plain": [4, 6], "unprivileged": [4, 4], "privileged": [3, 3]}
    rows = [
        {"case": "noisy", "arm": arm, "word_errors": counts, "words": [10, 10], "frame_accuracy": 0.5}
        for arm, counts in errors.items()
    ]
    found = figures(rows)
    assert [one["wer"] for one in found["systems"]] == [0.5, 0.4, 0.3]
    first = found["comparisons"][0]
    assert first["arms"] == ["privileged", "unprivileged"]
    assert first["value"] == pytest.approx(-0.1) and first["relative"] == pytest.approx(-0.25)
    text = page({"title": "T", "description": "D", "privileged": 4, "unprivileged": 2, **found})
    assert all(label in text for label in ARMS.values()) and "(-25.0 % relative" in text
