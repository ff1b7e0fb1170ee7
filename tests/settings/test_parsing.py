"""Types, ranges and messages of plain settings, from files, flags and Python."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from made_up import MadeUpSettings, SearchSettings, only_made_up  # noqa: F401

from kd_asr.errors import UserError
from kd_asr.settings.build import build, validate
from kd_asr.settings.fields import defaults, settings_of
from kd_asr.settings.files import load_settings_of, parse_settings_of, save_settings


def parse(text: str, *flags: str, folder: Path) -> MadeUpSettings:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return parse_settings_of(MadeUpSettings, flags, path)


def message(text: str, *flags: str, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        parse(text, *flags, folder=folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return sentence


def test_flags_lie_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    text = "seed: 7\nsearch:\n  beam: 5\n  scales: [1, 2, 3]\n"
    settings = parse(text, "--search.beam", "6", "--search.words=[a, b]", folder=tmp_path)
    assert settings.seed == 7
    assert settings.search == SearchSettings(beam=6.0, scales=(1.0, 2.0, 3.0), words=("a", "b"))
    assert isinstance(settings.search.scales[0], float)
    assert parse("# nothing\n", folder=tmp_path) == MadeUpSettings()


def test_a_whole_section_as_a_flag_merges_and_later_flags_win(tmp_path: Path) -> None:
    flags = ["--search", "{beam: 3, fast: false}", "--search.beam", "4"]
    assert parse("search: {name: x}", *flags, folder=tmp_path).search == SearchSettings(beam=4.0, fast=False, name="x")


@pytest.mark.parametrize("text", ["123", "true", "null", "a: b", "[x", "#1", "*x", "1e-3", "", " ", "ä", "{}", "-1"])
def test_text_of_a_flag_is_taken_as_it_stands(text: str) -> None:
    settings = parse_settings_of(MadeUpSettings, [f"--search.name=x{text}", f"--search.note={text}"])
    assert settings.search.name == f"x{text}"
    assert settings.search.note == (None if text == "null" else text)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", '"3"', "seed: '3' is not a whole number"),
        ("seed", "true", "seed: true is not a whole number"),
        ("seed", "3.0", "seed: 3.0 is not a whole number"),
        ("seed", "null", "seed: null is not a whole number"),
        ("seed", "[1]", "seed: [1] is not a whole number"),
        ("seed", "{a: 1}", "seed: {'a': 1} is not a whole number"),
        ("seed", "-1", "seed: -1 is less than 0"),
        ("seed", "9223372036854775808", "seed: 9223372036854775808 is beyond 2^63"),
        ("search.beam", "0", "search.beam: 0 is not above 0"),
        ("search.beam", ".nan", "search.beam: nan is not a finite number"),
        ("search.beam", "-.inf", "search.beam: -inf is not a finite number"),
        ("search.beam", "1e999", "search.beam: inf is not a finite number"),
        ("search.beam", "true", "search.beam: true is not a number"),
        ("search.beam", "yes", "search.beam: 'yes' is not a number"),
        ("search.wide_beam", "1000.1", "search.wide_beam: 1000.1 is more than 1000"),
        ("search.scales", "[]", "search.scales: is empty"),
        ("search.scales", "3", "search.scales: 3 is not a list"),
        ("search.scales", "[1, 10]", "search.scales: 10 is not below 10"),
        ("search.scales", "[0, x, .nan, [1], null]", "search.scales: nan is not a finite number"),
        ("search.scales", "[0, x, .nan, [1], null]", "search.scales: [1] is not a number"),
        ("search.scales", "[0, x, .nan, [1], null]", "search.scales: null is not a number"),
        ("search.words", "[a, 1]", "search.words: 1 is not text"),
        ("search.words", "abc", "search.words: 'abc' is not a list"),
        ("search.average", "mean", "search.average: 'mean' is not one of 'arithmetic', 'geometric'"),
        ("search.name", '""', "search.name: is empty"),
        ("search.name", "12", "search.name: 12 is not text"),
        ("search.name", '"a\\0b"', "is not text that a file can hold"),
        ("search.name", '"\\ud800"', "is not text that a file can hold"),
        ("search.limit", "-1", "search.limit: -1 is less than 0"),
        ("search.limit", "x", "search.limit: 'x' is not a whole number"),
        ("search.fast", "yes", "search.fast: 'yes' is not true or false"),
        ("search.fast", "1", "search.fast: 1 is not true or false"),
        ("search", "null", "search: null is not a section"),
        ("search", "3", "search: 3 is not a section"),
        ("search", "[1, 2]", "search: [1, 2] is not a section"),
        ("serch", "{}", "unknown setting 'serch'; do you mean 'search'?"),
        ("search.beams", "3", "unknown setting 'search.beams'; do you mean 'search.beam'?"),
        ("wide_beam", "3", "unknown setting 'wide_beam'; do you mean 'search.wide_beam'?"),
        ("search.1", "3", "unknown setting 'search.1'"),
        ("search.beam", "30", "search.wide_beam: 20.0 is less than beam, 30.0"),
        ("seed", "99", "search.beam: seed 99 wants 99"),
    ],
)
def test_a_wrong_value_is_named_in_the_file(tmp_path: Path, key: str, value: str, says: str) -> None:
    section, _, inner = key.rpartition(".")
    text = f"{section}:\n  {inner}: {value}\n" if section else f"\n{key}: {value}\n"
    sentence = message(text, folder=tmp_path)
    assert sentence.startswith("settings that cannot work: ")
    assert says in sentence
    if "seed 99" not in says:
        assert f"in {tmp_path / 'my.yaml'}: line " in sentence


def test_the_line_is_that_of_the_key_and_flags_are_not_said_of_the_file(tmp_path: Path) -> None:
    text = "# mine\nseed: -2\n\nsearch:\n  name: ok\n  beam: 0\n"
    assert message(text, "--search.limit", "-3", folder=tmp_path) == (
        f"settings that cannot work: search.limit: -3 is less than 0; in {tmp_path / 'my.yaml'}: "
        "line 2: seed: -2 is less than 0; line 6: search.beam: 0 is not above 0"
    )
    assert message(text, "--seed=-3", "--search.beam=1", folder=tmp_path) == (
        "settings that cannot work: seed: -3 is less than 0"
    )
    assert parse(text, "--seed=3", "--search.beam=1", folder=tmp_path).seed == 3  # flags mend what is wrong in it


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b\n", "must hold `key: value` lines, not a list"),
        ("abc", "must hold `key: value` lines, not a single value"),
        ("", "is empty: write `key: value` lines"),
        (" \n\n", "is empty: write `key: value` lines"),
        ("seed: 1\nsearch: {}\nseed: 2\n", "line 3: 'seed' is there twice"),
        ("search: {beam: 1, beam: 2}\n", "line 1: 'beam' is there twice"),
        ("seed: 010\n", "line 1: 010 begins with 0: write 10, or '010' for text"),
        ("seed: -007\n", "line 1: -007 begins with 0"),
        ("seed: " + "9" * 5000, "line 1: a whole number of 5000 digits is too large"),
        ("seed: " + "[" * 5000, "nested too deeply"),
        ("seed: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("seed: &a [*a]", "nested too deeply"),
        ("seed: !!python/object:os.system 1", "line 1: the tag"),
        ("seed: !!int x", "line 1: the tag"),
        ("seed: !!timestamp 2020-01-01", "line 1: the tag"),
        ("? [1, 2]\n: 3", "line 1: a key must be a word"),
        ("seed: [1, 2", "not valid YAML"),
        ("seed: 1\n---\nseed: 2\n", "not valid YAML"),
        ("seed: *nothing", "not valid YAML"),
        ("seed: \x07", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    sentence = message(text, folder=tmp_path)
    assert says in sentence
    assert str(tmp_path / "my.yaml") in sentence


@pytest.mark.parametrize("text", ["# nothing\n", "---\n", "{}", "\ufeffseed: 1\n"])
def test_a_file_without_settings_has_the_defaults(tmp_path: Path, text: str) -> None:
    assert parse(text, folder=tmp_path) == MadeUpSettings()


def test_what_looks_like_a_number_is_one_and_what_looks_like_text_is_text(tmp_path: Path) -> None:
    for text, value in [
        ("1e-3", 1e-3),
        ("2.", 2.0),
        (".5", 0.5),
        ("+3", 3.0),
        ("1E2", 100.0),
        ("0", None),
        ("00.5", 0.5),
    ]:
        if value is not None:
            assert parse(f"search: {{beam: {text}, wide_beam: 500}}", folder=tmp_path).search.beam == value
    for text in ("no", "on", "1:30", "2020-01-01", "0x1F", "1_000", "0o17", "=", "<<"):
        assert parse(f"search:\n  name: {text}", folder=tmp_path).search.name == text


def test_thousandfold_aliases_cost_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert "unknown setting 'a0'" in str(_refusal("\n".join(lines) + "\nsearch: {beam: *a39}", tmp_path))


def _refusal(text: str, folder: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        parse(text, folder=folder)
    return caught.value


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--nothing=3"], "--nothing=3: unknown setting 'nothing'"),
        (["--search.baem", "3"], "--search.baem: unknown setting 'search.baem'; do you mean 'search.beam'?"),
        (["--seed.x", "3"], "--seed.x: unknown setting 'seed.x'"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "--search.beam", "3"], "--seed needs a value"),
        (["seed", "3"], "'seed' is not a setting: write --section.key VALUE"),
        (["--", "3"], "'--' is not a setting"),
        (["--seed", "010"], "--seed: line 1: 010 begins with 0"),
        (["--seed", "[1"], "--seed: while parsing"),
        (["--seed", "[" * 5000], "--seed: nested too deeply"),
        (["--seed", ""], "seed: null is not a whole number"),
        (["--search..beam", "3"], "unknown setting 'search..beam'"),
        (["--seed=-1", "--search.beam=0"], "seed: -1 is less than 0; search.beam: 0 is not above 0"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_settings_of(MadeUpSettings, flags)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_made_in_python_are_checked_alike() -> None:
    validate(MadeUpSettings())
    with pytest.raises(UserError, match=r"search\.beam: nan is not a finite number"):
        validate(MadeUpSettings(search=SearchSettings(beam=math.nan)))
    with pytest.raises(UserError, match=r"search\.wide_beam: 20\.0 is less than beam, 21\.0"):
        validate(MadeUpSettings(search=SearchSettings(beam=21.0)))
    with pytest.raises(UserError, match="seed: '3' is not a whole number"):
        validate(replace(MadeUpSettings(), seed="3"))  # type: ignore[arg-type]


def test_fields_of_other_types_are_refused_where_they_are_written() -> None:
    @dataclass(frozen=True)
    class OddSettings:
        extra: dict = dataclasses.field(default_factory=dict)  # type: ignore[type-arg]

    OddSettings.__annotations__["extra"] = dict
    with pytest.raises(TypeError, match=r"OddSettings\.extra: settings cannot be of type"):
        settings_of(OddSettings)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
SEARCHES = st.builds(
    SearchSettings,
    beam=st.floats(0, 1000, exclude_min=True),
    wide_beam=st.just(1000.0),
    scales=st.lists(st.floats(0, 10, exclude_min=True, exclude_max=True), min_size=1, max_size=3).map(tuple),
    words=st.lists(TEXTS, max_size=3).map(tuple),
    name=TEXTS,
    note=st.none() | TEXTS,
    limit=st.none() | st.integers(0, 2**63 - 1),
    fast=st.booleans(),
)


@given(search=SEARCHES)
@example(search=SearchSettings(name="a\x85b", note="\u2028", words=("ü", "漢")))
def test_a_run_folder_gives_back_any_settings_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, search: Any
) -> None:
    folder = tmp_path_factory.mktemp("run")
    settings = MadeUpSettings(search=search)
    save_settings(folder, settings)
    assert load_settings_of(MadeUpSettings, folder, "configure") == settings


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["seed", "network", "wide", "soft", "weight", "beam", "losses", "classic", "units", "shape"]
            )
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*defaults(MadeUpSettings), "x"]), ANYTHING, max_size=4))
def test_anything_is_settings_or_one_sentence(content: dict[str, Any]) -> None:
    try:
        validate(build(MadeUpSettings, content))
    except UserError as error:
        assert "\n" not in str(error)


@given(content=st.dictionaries(st.sampled_from([*defaults(MadeUpSettings), "x"]), ANYTHING, max_size=4))
def test_any_yaml_is_settings_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for flags in ([], ["--network.wide.units", "3"], ["--methods.classic.losses.soft.weight", "3"]):
        try:
            parse_settings_of(MadeUpSettings, flags, folder / "any.yaml")
        except UserError as error:
            assert "\n" not in str(error)
