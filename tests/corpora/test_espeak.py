"""espeak-ng in its own process: phonemes, times, the same bytes every time."""

import sys

import numpy as np
import pytest

from kd_asr.corpora import espeak
from kd_asr.corpora.espeak import Voice, espeak_phonemes, speak
from kd_asr.errors import UserError

TEXTS = ["the thief has six fresh fish", "on monday, she was here"]


def test_phonemes_of_words_are_ipa_with_stress_marks():
    # As espeak-ng 1.52 says them: `espeak-ng -v en-us --ipa --sep=_ hello` and so on.
    assert espeak_phonemes(["HELLO", "church", "'", "Judge"]) == [
        ["h", "ə", "l", "\u02c8oʊ"],
        ["tʃ", "\u02c8\u025c\u02d0", "tʃ"],
        [],
        ["dʒ", "\u02c8ʌ", "dʒ"],
    ]
    assert espeak_phonemes([]) == []


def test_a_word_sounds_the_same_whatever_is_asked_beside_it():
    words = ["through", "o'neil", "naïve", "xqzt", "a", "the", "read", "42"]
    together = espeak_phonemes(words)
    assert all(together)
    assert [espeak_phonemes([word])[0] for word in words] == together


def test_speech_is_the_same_bytes_in_every_process():
    voice = Voice("en-us+f3", rate=170, pitch=55, pitch_range=60)
    assert speak(TEXTS, voice) == speak(TEXTS, voice)


def test_phonemes_are_in_order_and_lie_where_the_energy_is():
    for speech in speak(TEXTS, Voice("en-us")):
        samples = np.frombuffer(speech.pcm, "<i2").astype(float)
        starts = [sample for _, sample in speech.phonemes]
        assert starts == sorted(starts)
        assert 0 <= starts[0] < starts[-1] <= len(samples)
        spoken = [
            np.sqrt(np.mean(samples[start:end] ** 2))
            for (name, start), end in zip(speech.phonemes, starts[1:], strict=False)
            if not name.startswith("_")
        ]
        pauses = [
            np.abs(samples[start:end]).max()
            for (name, start), end in zip(speech.phonemes, starts[1:], strict=False)
            if name.startswith("_") and end > start
        ]
        # The vowels are loud; nothing is said in a pause but the last moment of the phoneme before it.
        assert np.median(spoken) > 500
        assert pauses
        assert min(pauses) < 0.2 * np.median(spoken)


def test_rate_and_pitch_are_heard():
    slow, fast = (speak(TEXTS, Voice("en-us", rate=rate))[0] for rate in (120, 240))
    assert len(slow.pcm) > 1.5 * len(fast.pcm)
    low, high = (speak(TEXTS, Voice("en-us", pitch=pitch))[0] for pitch in (20, 80))
    assert low.pcm != high.pcm


def test_an_unknown_voice_is_one_sentence():
    with pytest.raises(UserError, match="there is no voice 'xx-nowhere'"):
        speak(["hello"], Voice("xx-nowhere"))
    with pytest.raises(UserError, match="there is no voice 'xx-nowhere'"):
        espeak_phonemes(["hello"], "xx-nowhere")


def test_a_process_that_dies_is_one_sentence(monkeypatch):
    monkeypatch.setattr(espeak.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="espeak-ng ended after 0 of 1 requests"):
        espeak_phonemes(["hello"])


def test_the_library_is_never_loaded_here():
    espeak_phonemes(["hello"])
    assert "espeakng_loader" not in sys.modules
