"""The list of settings in `--help`."""

from __future__ import annotations

from made_up import MadeUpSettings, only_made_up  # noqa: F401

from kd_asr.settings.help import entries, help_text, kinds_in


def test_a_setting_has_type_sentence_unit_range_and_default() -> None:
    found = {entry.name: entry for entry in entries(MadeUpSettings)}
    assert found["search.beam"].type == "NUMBER"
    assert found["search.beam"].sentence == "Narrow beam."
    assert found["search.beam"].facts == "nats, above 0, default: 10.0"
    assert found["search.scales"].type == "[NUMBER, ...]"
    assert found["search.scales"].facts == "not empty, above 0, below 10, default: [0.1, 0.2]"
    assert found["search.average"].type == "arithmetic|geometric"
    assert found["search.limit"].type == "INT|null"
    assert (found["search.limit"].facts, found["search.words"].facts) == ("at least 0, default: null", "default: []")
    assert (found["network"].type, found["network"].facts) == ("NETWORK", "default: wide")
    assert (found["methods"].type, found["methods"].facts) == ("[METHOD, ...]", "default: [classic, mutual]")


def test_what_can_be_named_is_listed_with_its_settings() -> None:
    text = help_text(MadeUpSettings)
    assert kinds_in(MadeUpSettings) == ["network", "loss", "method"]
    for words in (
        "--search.beam NUMBER\n      Narrow beam. (nats, above 0, default: 10.0)",
        "Each NETWORK; its settings follow its name",
        "wide: A network with wide layers.",
        ".wide.shape.rows INT\n      Rows. (at least 1, default: 5)",
        ".deep.layers INT\n      Layers.\n",
        ".classic.losses [{LOSS: {...}, weight: NUMBER}, ...]",
        "default: [{soft: {...}, weight: 1}, {hard: {...}, weight: 0.5}]",
    ):
        assert " ".join(words.split()) in " ".join(text.split())
