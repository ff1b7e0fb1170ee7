"""Batch normalisation that follows the speaker, against the same arithmetic by hand."""

import numpy as np
import torch
from torch import nn

from kd_asr.networks.adaptation import SpeakerStatistics

SPEECH = torch.from_numpy(np.random.default_rng(1).normal(3.0, 2.0, (50, 4))).float()
PRIOR = 150


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = nn.Sequential(
            nn.BatchNorm1d(4), nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2)
        ).eval()
    for layer in (made[0], made[3]):
        layer.running_mean.fill_(1.0)
        layer.running_var.fill_(9.0)
    return made


def normalised(inputs: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.asarray((inputs - mean) / np.sqrt(variance + 1e-5))


def blended(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = len(inputs) / (len(inputs) + PRIOR)
    return share * inputs.mean(axis=0) + (1 - share) * 1.0, share * inputs.var(axis=0, ddof=1) + (1 - share) * 9.0


def by_hand(model: nn.Sequential, inputs: torch.Tensor) -> np.ndarray:
    """The outputs for `inputs` by a network that has adapted to them."""
    weights = {name: value.detach().double().numpy() for name, value in model.named_parameters()}

    def hidden(seen: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(seen @ weights["1.weight"].T + weights["1.bias"], 0.0))

    seen = inputs.double().numpy()
    # What the second layer is measured on is normalised by the speaker's own statistics alone, with biased variance.
    measured = hidden(normalised(seen, seen.mean(axis=0), seen.var(axis=0)))
    above = normalised(hidden(normalised(seen, *blended(seen))), *blended(measured))
    return np.asarray(above @ weights["5.weight"].T + weights["5.bias"])


def test_the_statistics_are_those_of_speaker_and_training_set_in_proportion() -> None:
    model = network()
    expected = by_hand(model, SPEECH)
    adaptation = SpeakerStatistics([model], PRIOR, precision="fp32")
    adaptation.adapt_to("someone", lambda: (SPEECH, len(SPEECH)))
    assert not any(layer.training for layer in model.modules())
    assert {layer.momentum for layer in (model[0], model[3])} == {0.1}
    np.testing.assert_allclose(model(SPEECH).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_speakers_are_measured_once_and_change_nothing_for_others() -> None:
    model, other = network(), network()
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    adaptation = SpeakerStatistics([model, other], PRIOR, precision="fp32")
    asked: list[str] = []

    def speech(speaker: str, factor: float) -> tuple[torch.Tensor, int]:
        asked.append(speaker)
        return factor * SPEECH, len(SPEECH)

    outputs = []
    for speaker, factor in [("a", 1.0), ("b", 2.0), ("a", 1.0), ("b", 2.0)]:
        adaptation.adapt_to(speaker, lambda speaker=speaker, factor=factor: speech(speaker, factor))  # type: ignore[misc]
        outputs.append(model(SPEECH))
        assert torch.equal(other(SPEECH), outputs[-1])
    assert asked == ["a", "b"]
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])
    assert not torch.equal(outputs[0], outputs[1])
    adaptation.restore()
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained[name]) or name.endswith("num_batches_tracked")


def test_too_little_speech_and_networks_without_normalisation_stay_as_they_are() -> None:
    model, plain = network(), nn.Linear(4, 2)
    before = model(SPEECH), plain(SPEECH)
    adaptation = SpeakerStatistics([model, plain], PRIOR, precision="fp32")
    adaptation.adapt_to("silent", lambda: (SPEECH[:1], 1))
    assert torch.equal(model(SPEECH), before[0])
    adaptation.adapt_to("someone", lambda: (SPEECH, len(SPEECH)))
    assert torch.equal(plain(SPEECH), before[1])
    assert not torch.equal(model(SPEECH), before[0])
