from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from conftest import random_tree

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.training import (
    AlignerModel,
    Sample,
    Transitions,
    discriminant_model,
    equal_path,
    first_model,
    gaussians_after,
    model_path,
    next_model,
    run_pass,
    schedule,
    state_tree,
)
from kd_asr.alignment.tying import tied_path
from kd_asr.alignment.viterbi import BestPath

PHONES = ("SIL", "SPN", "A", "B", "C")
LEXICON = Lexicon({"AB": (("A", "B"),), "CA": (("C", "A"), ("C", "B")), "B": (("B",),)})
SETTINGS = AlignSettings(cepstral_iterations=6, discriminant_iterations=1, gaussians=30)


def speak(phones: list[str], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames in which every state has a mean of its own, and the pdfs they were drawn from."""
    means = np.random.default_rng(99).standard_normal((3 * len(PHONES), 20)) * 2
    pdfs = [3 * PHONES.index(phone) + state for phone in phones for state in range(3)]
    labels = np.repeat(pdfs, rng.integers(3, 9, len(pdfs))).astype(np.int32)
    return (means[labels] + rng.standard_normal((len(labels), 20))).astype(np.float32), labels


@pytest.fixture(scope="module")
def corpus() -> list[tuple[Sample, np.ndarray]]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(40):
        silence = ["SIL"] if number % 2 else []
        last = ["C", "B"] if number % 3 else ["C", "A"]
        frames, labels = speak(["SIL", "A", "B", *silence, "B", *last, "SIL"], rng)
        made.append((Sample(frames, ("AB", "B", "CA")), labels))
    return made


@pytest.fixture(scope="module")
def taught(corpus) -> AlignerModel:
    """The model of the true labels."""
    model, _ = discriminant_model(
        Topology.uniform(PHONES),
        [str(number) for number in range(len(corpus))],
        lambda name: corpus[int(name)][0].log_mel,
        lambda name: corpus[int(name)][1],
        gaussians=15,
    )
    return model


def test_a_taught_model_finds_boundaries_variants_and_silences(corpus, taught) -> None:
    for sample, labels in corpus:
        path = model_path(taught, sample, LEXICON, SETTINGS)
        assert path is not None
        assert (path.pdfs == labels).mean() > 0.97
        truth = [PHONES[pdf // 3] for pdf in labels[np.diff(labels // 3, prepend=-1) != 0]]
        found = [segment.phone for segment in path.phones]
        # B after B without silence is one run of phones in `truth`, two segments in `found`.
        merged = [phone for place, phone in enumerate(found) if place == 0 or found[place - 1] != phone]
        assert merged == truth


def test_a_model_of_tied_states_finds_them_too(corpus, taught) -> None:
    settings = replace(SETTINGS, leaves=20, leaf_min_frames=30)
    paths = {str(number): model_path(taught, sample, LEXICON, SETTINGS) for number, (sample, _) in enumerate(corpus)}
    names = list(paths)
    tree = state_tree(
        taught,
        names,
        lambda name: corpus[int(name)][0].log_mel,
        lambda name: paths[name].pdfs,
        lambda name: paths[name].phones,
        settings=settings,
    )
    topology = Topology.uniform(PHONES, tree=tree)
    tied = {name: tied_path(path, topology) for name, path in paths.items()}
    model, _ = discriminant_model(
        topology,
        names,
        lambda name: corpus[int(name)][0].log_mel,
        lambda name: tied[name].pdfs,
        gaussians=20,
    )
    assert model.topology.num_pdfs == 20
    for name, (sample, labels) in zip(names, corpus, strict=True):
        path = model_path(model, sample, LEXICON, SETTINGS)
        assert path is not None
        phones = np.repeat([segment.phone for segment in path.phones], [item.num_frames for item in path.phones])
        assert (phones == np.array(PHONES)[labels // 3]).mean() > 0.97
        assert (path.pdfs == tied[name].pdfs).mean() > 0.97


def test_tied_states_come_after_monophones() -> None:
    settings = AlignSettings(cepstral_iterations=2, discriminant_iterations=1, leaves=50, tied_iterations=2)
    monophones = ["equal", "cepstra", "discriminants"]
    assert schedule(settings) == [*monophones, "tie", "discriminants", "discriminants"]
    assert schedule(replace(settings, leaves=0)) == monophones


def test_a_flat_start_finds_the_truth_by_itself(corpus) -> None:
    samples = [sample for sample, _ in corpus]
    model = first_model(PHONES, (sample.log_mel for sample in samples))
    figures = []
    for number, step in enumerate(schedule(SETTINGS)[:-1]):
        if step == "equal":
            find = partial(equal_path, lexicon=LEXICON, topology=model.topology)
        else:
            find = partial(model_path, model, lexicon=LEXICON, settings=SETTINGS)
        result = run_pass(model, samples, find)
        figures.append(result.statistics.log_likelihood / result.statistics.frames)
        model = next_model(model, result, gaussians_after(number, SETTINGS, 15))
    assert all(later > earlier - 1e-3 for earlier, later in pairwise(figures))
    agreeing = frames = 0
    for sample, labels in corpus:
        path = model_path(model, sample, LEXICON, SETTINGS)
        assert path is not None
        agreeing += int((path.pdfs // 3 == labels // 3).sum())
        frames += len(labels)
    assert agreeing / frames > 0.8


def test_passes_over_parts_add_up(corpus, taught) -> None:
    samples = [sample for sample, _ in corpus]
    find = partial(model_path, taught, lexicon=LEXICON, settings=SETTINGS)
    whole, parts = run_pass(taught, samples, find), run_pass(taught, samples[:15], find)
    parts += run_pass(taught, samples[15:], find)
    assert parts.statistics.frames == whole.statistics.frames
    assert parts.statistics.occupancy == pytest.approx(whole.statistics.occupancy, rel=1e-4, abs=1e-3)
    assert parts.transitions.stays.tolist() == whole.transitions.stays.tolist()


def test_too_short_for_its_words_is_counted_not_fatal(taught) -> None:
    short = Sample(np.zeros((14, 20), np.float32), ("AB", "B", "CA"))
    assert model_path(taught, short, LEXICON, SETTINGS) is None
    assert equal_path(short, LEXICON, taught.topology) is None
    result = run_pass(taught, [short], partial(equal_path, lexicon=LEXICON, topology=taught.topology))
    assert (result.failed, result.statistics.frames) == (1, 0)


def test_equal_shares_and_loops_by_counting() -> None:
    topology = Topology.uniform(PHONES)
    path = equal_path(Sample(np.zeros((27, 20), np.float32), ("B",)), LEXICON, topology)
    assert path is not None
    assert path.pdfs.tolist() == [pdf for pdf in (0, 1, 2, 9, 10, 11, 0, 1, 2) for _ in range(3)]
    transitions = Transitions.zeros(15)
    for _ in range(10):
        transitions.add(path)
    loops = transitions.apply(topology).self_loop
    assert loops[9] == pytest.approx(2 / 3)  # two of three frames stayed
    assert loops[0] == pytest.approx(2 / 3)
    assert loops[6] == topology.self_loop[6]  # never seen


def test_a_state_that_is_entered_from_an_equal_one_counts_as_entered() -> None:
    path = BestPath(np.array([1, 1, 1], np.int32), (), np.array([True, False, True]), 0.0)
    transitions = Transitions.zeros(2)
    transitions.add(path)
    assert (transitions.visits[1], transitions.stays[1]) == (2, 1)


def test_the_gaussians_grow_to_half_and_rest() -> None:
    settings = AlignSettings(cepstral_iterations=10, gaussians=2000)
    wanted = [gaussians_after(number, settings, 213) for number in range(10)]
    assert wanted == sorted(wanted)
    assert wanted[0] == 213
    assert wanted[7:] == [1000, 1000, 1000]
    assert gaussians_after(5, AlignSettings(gaussians=10), 213) == 213


def test_a_model_of_tied_states_survives_its_file_with_the_same_bits(tmp_path, taught) -> None:
    topology = Topology.uniform(PHONES, tree=random_tree(PHONES, 1))
    written = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        replace(taught, topology=topology).save(path)
        written.add(path.read_bytes())
        assert AlignerModel.load(path).topology == topology
    assert len(written) == 1


def test_a_model_survives_its_file(tmp_path, taught) -> None:
    taught.save(tmp_path / "model.safetensors")
    again = AlignerModel.load(tmp_path / "model.safetensors")
    frames = np.random.default_rng(1).standard_normal((9, 20)).astype(np.float32)
    assert again.topology == taught.topology
    assert np.array_equal(again.observations(frames), taught.observations(frames))
    pdfs = np.arange(15)
    wanted = taught.mixtures.log_likelihoods(taught.observations(frames), pdfs)
    assert np.array_equal(again.mixtures.log_likelihoods(again.observations(frames), pdfs), wanted)
