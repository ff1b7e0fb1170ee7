"""What systems say of their uncertainty, and the audio that it is tried on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kd_asr.corpora.manifest import Utterance
from kd_asr.distillation.losses.dirichlet import concentrations
from kd_asr.distillation.objectives import concentrations_of, weighted
from kd_asr.evaluation.uncertainty import uncertainty_of_dirichlet, uncertainty_of_members
from kd_asr.experiments.uncertainty.measures import MEASURES, frame_measures
from kd_asr.experiments.uncertainty.odd_audio import SPEECH, chords, narrowed, write_odd_audio
from kd_asr.experiments.uncertainty.page import page, table_of
from kd_asr.experiments.uncertainty.uncertainty import Row, summarised
from kd_asr.features.settings import FeatureSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.base import Network, outputs_of, seeded, view_of
from kd_asr.networks.heads import HeadsSettings
from kd_asr.registry import named
from kd_asr.reporting.tables import NOT_KNOWN

RATE, CLASSES = 16_000, 7


def network(seed: int, heads: int = 0) -> Network:
    body = named("network", "tdnn", replace(named("network", "tdnn").settings, hidden_units=8, dilations=(1, 2)))
    whole = named("network", "heads", HeadsSettings(heads, body)) if heads else body
    return seeded(whole, view_of(whole).input_shape(5), CLASSES, seed).eval()


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    create_store(tmp_path / "frames", ["a", "b"], [300, 20], FeatureSettings(num_mel_bins=5))
    found = FrameStore(tmp_path / "frames", writable=True)
    generator = np.random.default_rng(1)
    for name, count in (("a", 300), ("b", 20)):
        found.write(name, generator.standard_normal((count, 5)).astype(np.float32))
    return found


def values_of(models, store, concentrations=None):
    found = dict(
        frame_measures(models, store, ["a", "b"], average="arithmetic", concentrations=concentrations, precision="fp32")
    )
    assert {name: one.frames for name, one in found.items()} == {"a": 300, "b": 20}
    return found["a"]


@torch.no_grad()
def test_each_kind_of_system_gives_what_it_keeps(store) -> None:
    models = [network(seed) for seed in (1, 2, 3)]
    [batch] = models[0].own_view.utterances(store, ["a"])
    each = [model(batch).log_softmax(1) for model in models]
    single = values_of(models[:1], store)
    assert list(single.values) == ["total"]
    assert np.array_equal(single.predicted, each[0].argmax(1).numpy())
    ensemble = values_of(models, store)
    several = network(4, heads=3)
    of_heads = list(outputs_of(several, batch).heads.log_softmax(2))
    expected = uncertainty_of_members(each), uncertainty_of_members(of_heads)
    for found, true in zip((ensemble, values_of([several], store)), expected, strict=True):
        for name in MEASURES:
            assert np.allclose(found.values[name], getattr(true, name), atol=1e-6)
    dirichlet = values_of(models[:1], store, concentrations_of([weighted("dirichlet")]))
    assert np.allclose(dirichlet.values["total"], single.values["total"])
    knowledge = uncertainty_of_dirichlet(concentrations(models[0](batch))).knowledge
    assert np.allclose(dirichlet.values["knowledge"], knowledge, atol=1e-6)
    assert np.allclose(dirichlet.values["data"], dirichlet.values["total"] - dirichlet.values["knowledge"])


def test_only_losses_that_teach_a_dirichlet_distribution_give_one() -> None:
    assert concentrations_of([weighted("soft"), weighted("hard")]) is None
    likelihood = concentrations_of([weighted("hard"), weighted("dirichlet_likelihood")])
    assert torch.allclose(likelihood(torch.tensor([[0.0, 1.0]])), torch.tensor([[0.0, 1.0]]).exp())


def test_a_chain_at_8_khz_leaves_nothing_above_4_khz_and_tones_have_their_length() -> None:
    samples = np.random.default_rng(0).standard_normal(RATE)
    power = np.abs(np.fft.rfft(narrowed(samples, RATE))) ** 2
    assert power[4200:].sum() < 1e-3 * power[:4000].sum()
    tones = chords(np.random.default_rng(0), 12_345, RATE)
    assert tones.shape == (12_345,) and np.isfinite(tones).all() and tones.std() > 0


def test_every_kind_of_audio_is_written_again_with_the_same_samples(tmp_path: Path) -> None:
    tone = 0.1 * np.sin(np.arange(RATE // 2) / 20)
    soundfile.write(tmp_path / "a.wav", tone, RATE)
    utterances = [Utterance(name, "s", "c", str(tmp_path / "a.wav"), RATE, len(tone), ("A",)) for name in ("x", "y")]
    once, again = (write_odd_audio(utterances, tmp_path / name, rate=RATE, seed=1) for name in ("one", "two"))
    assert set(once) == {SPEECH, "8 kHz", "noise", "tones", "foreign", "English"}
    for kind, files in once.items():
        assert len(files) == 2
        for first, second in zip(files, again[kind], strict=True):
            assert first.read_bytes() == second.read_bytes()
    assert np.allclose(soundfile.read(once[SPEECH][0])[0], tone, atol=1e-4)
    assert len(soundfile.read(once["noise"][0])[0]) == RATE  # a second at least


def test_the_table_has_the_mean_of_a_group_and_leaves_out_what_is_detail() -> None:
    rows = [
        Row("wrong frames", "frame", "students", "one", "total", 0.5, 3, 10),
        Row("wrong frames", "frame", "students", "two", "total", 0.7, 3, 10),
        Row("noise", "frame", "students", "one", "total", 0.9, 3, 10),
        Row("noise", "file", "students", "one", "total", None, 0, 10),
        Row("noise", "file", "students", "one", "data", 0.1, 3, 10),
    ]
    content = {
        "title": "T", "description": "D.", "groups": [{"name": "students", "label": "my students"}],
        "rows": summarised(rows),
    }  # fmt: skip
    table = table_of(content)
    assert table.columns == ("uncertainty", "wrong frames", "noise")
    assert table.rows == (("my students, total", "0.600", NOT_KNOWN),)
    assert table_of(content, narrow=True).rows[0][0] == "my students,\ntotal"
    assert page(content).startswith("# T\n\nD.\n\n| uncertainty |")
