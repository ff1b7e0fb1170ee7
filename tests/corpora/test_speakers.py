"""Sets share no speakers, and are set apart by speaker."""

from __future__ import annotations

import pytest

from kd_asr.corpora.manifest import Utterance
from kd_asr.corpora.speakers import check_speakers, set_apart
from kd_asr.errors import UserError


def spoken(speaker: str, seconds: int = 1, number: int = 0) -> Utterance:
    return Utterance(f"{speaker}-{number:04d}", speaker, "", "/x.flac", 8000, 8000 * seconds, ("A",))


def test_shared_speakers_are_named() -> None:
    check_speakers({"train": [spoken("1")], "dev": [spoken("2")], "test": [spoken("3")]})
    with pytest.raises(UserError, match=r"train and test share speakers \(7\)"):
        check_speakers({"train": [spoken("7")], "dev": [spoken("2")], "test": [spoken("7")]})


def test_sets_are_set_apart_by_speaker_and_share_none() -> None:
    utterances = [spoken(str(speaker), number=number) for number in range(3) for speaker in range(50)]
    sets = set_apart(utterances, {"dev": 0.1, "test": 0.2}, seed=1)
    check_speakers(sets)
    assert {name: len(items) for name, items in sets.items()} == {"train": 105, "dev": 15, "test": 30}
    assert sorted(item.utterance_id for items in sets.values() for item in items) == sorted(
        item.utterance_id for item in utterances
    )
    # The seed decides, and the order of what is given does not.
    again = set_apart(utterances[::-1], {"dev": 0.1, "test": 0.2}, seed=1)
    assert {item.speaker_id for item in again["dev"]} == {item.speaker_id for item in sets["dev"]}
    other = set_apart(utterances, {"dev": 0.1, "test": 0.2}, seed=2)
    assert {item.speaker_id for item in other["dev"]} != {item.speaker_id for item in sets["dev"]}


def test_shares_are_of_the_seconds_and_every_set_has_a_speaker() -> None:
    """Six speakers, one of whom speaks nearly all the time."""
    utterances = [spoken("loud", 1000), *(spoken(str(number)) for number in range(5))]
    for seed in range(20):
        sets = set_apart(utterances, {"dev": 0.4, "test": 0.4}, seed=seed)
        assert all(sets.values())
        check_speakers(sets)
    assert set(set_apart(utterances, {"test": 0.01}, seed=3)) == {"train", "test"}


def test_too_few_speakers_are_said() -> None:
    with pytest.raises(UserError, match=r"dev, test cannot be set apart from train, which has 2 speakers: name --dev"):
        set_apart([spoken("1"), spoken("2")], {"dev": 0.1, "test": 0.1}, seed=1)
    with pytest.raises(UserError, match=r"test cannot be set apart from train, which has 1 speaker: name --test"):
        set_apart([spoken("1"), spoken("1", number=1)], {"test": 0.1}, seed=1)
    assert len(set_apart([spoken("1"), spoken("2"), spoken("3")], {"dev": 0.1, "test": 0.1}, seed=1)["train"]) == 1
