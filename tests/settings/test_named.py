"""Named things in settings: networks, methods and weighted losses."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import (
    ClassicSettings,
    DeepSettings,
    HardSettings,
    MadeUpSettings,
    MutualSettings,
    ShapeSettings,
    SoftSettings,
    WideSettings,
    only_made_up,  # noqa: F401
)

from kd_asr.errors import UserError
from kd_asr.registry import Named, Weighted
from kd_asr.settings.build import build, validate
from kd_asr.settings.files import load_settings_of, parse_settings_of, save_settings


def parse(text: str, *flags: str, folder: Path) -> MadeUpSettings:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return parse_settings_of(MadeUpSettings, flags, path)


def wide(**settings: object) -> Named:
    return Named("network", "wide", WideSettings(**settings))  # type: ignore[arg-type]


def soft(temperature: float = 2.0, weight: float = 1.0) -> Weighted:
    return Weighted(Named("loss", "soft", SoftSettings(temperature)), weight)


def hard(weight: float = 1.0) -> Weighted:
    return Weighted(Named("loss", "hard", HardSettings()), weight)


def classic(*losses: Weighted) -> Named:
    return Named("method", "classic", ClassicSettings(losses))


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("wide", wide()),
        ("{wide: {}}", wide()),
        ("{wide: {units: 9}}", wide(units=9)),
        ("{wide: {shape: {columns: 2}}}", wide(shape=ShapeSettings(rows=5, columns=2))),  # of the field, not the class
        ("{deep: {layers: 2}}", Named("network", "deep", DeepSettings(2))),
    ],
)
def test_a_network_is_a_name_or_a_name_with_settings(tmp_path: Path, text: str, network: Named) -> None:
    assert parse(f"network: {text}", folder=tmp_path).network == network
    assert parse_settings_of(MadeUpSettings, ["--network", text]).network == network


def test_a_class_of_ones_own_is_named_by_its_import_path(tmp_path: Path) -> None:
    expected = Named("network", "made_up:Wide", WideSettings(units=9))
    assert parse('network: {"made_up:Wide": {units: 9}}', folder=tmp_path).network == expected
    assert parse_settings_of(MadeUpSettings, ["--network.made_up:Wide.units=9"]).network == expected
    flags = ["--network=made_up:Wide", "--network.made_up:Wide.units", "9"]
    assert parse_settings_of(MadeUpSettings, flags).network == expected
    save_settings(tmp_path, MadeUpSettings(network=expected))
    assert load_settings_of(MadeUpSettings, tmp_path, "configure").network == expected


def test_import_paths_with_dots_are_told_from_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "inner.py").write_text("from made_up import Wide\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = parse_settings_of(MadeUpSettings, ["--student.network.outer.inner:Wide.shape.rows", "2"])
    assert settings.student.network == Named(
        "network", "outer.inner:Wide", WideSettings(shape=ShapeSettings(rows=2, columns=6))
    )


def test_the_same_name_merges_and_another_replaces(tmp_path: Path) -> None:
    text = "network: {wide: {units: 9, dropout: 0.5}}"
    assert parse(text, "--network.wide.units", "7", folder=tmp_path).network == wide(units=7, dropout=0.5)
    assert parse(text, "--network", "{wide: {units: 7}}", folder=tmp_path).network == wide(units=7, dropout=0.5)
    assert parse(text, "--network.deep.layers", "7", folder=tmp_path).network.settings == DeepSettings(7)
    assert parse(text, "--network.deep", "{layers: 7}", folder=tmp_path).network.settings == DeepSettings(7)
    assert parse("network: {deep: {layers: 1}}", "--network=wide", folder=tmp_path).network == wide()


def test_a_student_inherits_what_it_does_not_give_of_the_same_network(tmp_path: Path) -> None:
    text = "network: {wide: {units: 9, dropout: 0.5, shape: {rows: 2}}}\n"
    assert parse(text, folder=tmp_path).student.network is None
    shape = ShapeSettings(rows=2, columns=6)
    expected = wide(units=4, dropout=0.5, shape=shape)
    assert parse(f"{text}student: {{network: {{wide: {{units: 4}}}}}}", folder=tmp_path).student.network == expected
    settings = parse(text, "--student.network.wide.units", "4", folder=tmp_path)
    assert settings.student.network == expected
    save_settings(tmp_path, settings)
    assert load_settings_of(MadeUpSettings, tmp_path, "configure") == settings
    flags = ["--student.network.wide.units=4", "--network.wide.dropout=0.2"]
    assert parse(text, *flags, folder=tmp_path).student.network == wide(units=4, dropout=0.2, shape=shape)
    assert parse(text, "--student.network", "wide", folder=tmp_path).student.network == wide(
        units=9, dropout=0.5, shape=shape
    )
    other = parse(text, "--student.network.deep.layers", "4", folder=tmp_path).student.network
    assert other == Named("network", "deep", DeepSettings(4))
    assert parse(text, "--student.network=wide", "--student.network=null", folder=tmp_path).student.network is None


def test_a_list_replaces_another_but_keeps_the_settings_of_names_in_both(tmp_path: Path) -> None:
    assert parse("methods: [mutual]", folder=tmp_path).methods == (Named("method", "mutual", MutualSettings()),)
    assert parse("methods: []", folder=tmp_path).methods == ()
    text = "methods: [{mutual: {networks: 2}}, classic]"
    assert parse(text, folder=tmp_path).methods == (
        Named("method", "mutual", MutualSettings(2)),
        classic(soft(), hard(0.5)),
    )
    kept = (Named("method", "mutual", MutualSettings(2)),)
    assert parse(text, "--methods", "[mutual]", folder=tmp_path).methods == kept
    assert parse(text, "--methods", "[mutual, classic]", folder=tmp_path).methods == (*kept, classic(soft(), hard(0.5)))
    twice = "methods: [{mutual: {networks: 2}}, {mutual: {networks: 4}}]"
    default = (Named("method", "mutual", MutualSettings()),)
    assert parse(twice, "--methods", "[mutual]", folder=tmp_path).methods == default


def test_losses_have_settings_and_weights(tmp_path: Path) -> None:
    text = (
        "methods: [{classic: {losses: [{soft: {temperature: 4}, weight: 1}, {weight: 0, hard: {}}, hard, {soft: {}}]}}]"
    )
    assert parse(text, folder=tmp_path).methods == (classic(soft(4.0), hard(0.0), hard(), soft()),)


def test_flags_find_entries_of_lists_by_their_names(tmp_path: Path) -> None:
    flags = [
        *("--methods.mutual.networks", "5"),
        *("--methods.classic.losses.soft.temperature", "1"),
        *("--methods.classic.losses.hard.weight", "0.25"),
    ]
    expected = (classic(soft(1.0), hard(0.25)), Named("method", "mutual", MutualSettings(5)))
    assert parse_settings_of(MadeUpSettings, flags).methods == expected
    assert parse("methods: [classic, mutual]", *flags, folder=tmp_path).methods == expected
    whole = ["--methods", "[classic]", "--methods.classic.losses", "[soft]", "--methods.classic.losses.soft.weight=2"]
    assert parse_settings_of(MadeUpSettings, whole).methods == (classic(soft(weight=2.0)),)
    assert parse_settings_of(MadeUpSettings, ["--methods.mutual", "{networks: 4}"]).methods[1].settings.networks == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network: wid", "network: there is no network 'wid', do you mean 'wide'? known ones: deep, wide"),
        ("network: {wide: {unit: 3}}", "unknown setting 'network.wide.unit'; do you mean 'network.wide.units'?"),
        ("network: {wide: {units: 0}}", "network.wide.units: 0 is less than 1"),
        ("network: {wide: {shape: {rows: 0}}}", "network.wide.shape.rows: 0 is less than 1"),
        ("network: {wide: null}", "network.wide: null is not a section of `key: value` lines"),
        (
            "network: {wide: {}, deep: {layers: 1}}",
            "network: {'wide': {}, 'deep': {'layers': 1}} does not name a network",
        ),
        ("network: null", "network: null does not name a network: write deep | wide, or {NAME: {key: value}}"),
        ("network: [wide]", "network: ['wide'] does not name a network"),
        ("network: 3", "network: 3 does not name a network"),
        ("network: deep", "network.deep.layers: is missing"),
        ('network: "nowhere:Net"', "network: the network 'nowhere:Net' cannot be imported"),
        ("methods: mutual", "methods: 'mutual' is not a list such as [NAME, {NAME: {key: value}}]"),
        ("methods: [mutual, 3]", "methods: 3 does not name a method"),
        ("methods: [{mutual: {networks: 1}}]", "methods.mutual.networks: 1 is less than 2"),
        ("methods: [{mutual: {networks: 13}}]", "methods.mutual.networks: 13 brings bad luck"),
        ("methods: [{classic: {losses: [{soft: {}, weight: -1}]}}]", "losses.soft.weight: -1 is less than 0"),
        ("methods: [{classic: {losses: [{soft: {}, weight: .nan}]}}]", "losses.soft.weight: nan is not a finite"),
        ("methods: [{classic: {losses: [{soft: {}, wieght: 1}]}}]", "does not name a loss: write {hard | soft: {key"),
        ("methods: [{classic: {losses: [{weight: 1}]}}]", "methods.classic.losses: {'weight': 1} does not name a loss"),
        ("methods: [{classic: {losses: [{soft: {temperature: 0}}]}}]", "losses.soft.temperature: 0 is not above 0"),
    ],
)
def test_a_wrong_named_thing_is_one_sentence_of_the_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, folder=tmp_path)
    assert says in str(caught.value)
    assert f"in {tmp_path / 'my.yaml'}: line 1: " in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--network.wid.units=3"], "--network.wid.units=3: there is no network 'wid', do you mean 'wide'?"),
        (["--network.wide.unit=3"], "unknown setting 'network.wide.unit'; do you mean 'network.wide.units'?"),
        (["--network.wide.units=0"], "cannot work: network.wide.units: 0 is less than 1"),
        (["--methods.born_again.x=3"], "there is no 'born_again' in methods, which has classic, mutual"),
        (["--methods.classic.losses.l2.x=3"], "there is no 'l2' in methods.classic.losses, which has soft, hard"),
        (["--methods=[]", "--methods.mutual.networks=3"], "there is no 'mutual' in methods, which has nothing"),
        (["--methods=[mutual, mutual]", "--methods.mutual.networks=3"], "methods has 'mutual' more than once"),
        (["--methods.classic.losses.hard.weight=-1"], "methods.classic.losses.hard.weight: -1 is less than 0"),
        (["--methods.classic.losses.hard.heat=1"], "unknown setting 'methods.classic.losses.hard.heat'"),
        (["--student.network.wide=3"], "student.network.wide: 3 is not a section"),
    ],
)
def test_a_wrong_flag_to_a_named_thing_is_one_sentence(flags: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_settings_of(MadeUpSettings, flags)
    assert says in str(caught.value)


def test_what_a_flag_sets_is_not_said_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse("network: {wide: {dropout: 2}}", "--network.wide.units=0", folder=tmp_path)
    path = tmp_path / "my.yaml"
    assert str(caught.value) == (
        "settings that cannot work: network.wide.units: 0 is less than 1; "
        f"in {path}: line 1: network.wide.dropout: 2 is not below 1"
    )


def test_settings_with_named_things_survive_a_file(tmp_path: Path) -> None:
    settings = MadeUpSettings(
        network=Named("network", "deep", DeepSettings(3)),
        methods=(classic(), Named("method", "mutual", MutualSettings(2)), classic(hard(), soft(3.0, 0.5), hard(0.1))),
    )
    validate(settings)
    save_settings(tmp_path, settings)
    assert load_settings_of(MadeUpSettings, tmp_path, "configure") == settings
    assert build(MadeUpSettings, {"methods": ["mutual"]}).methods == (Named("method", "mutual", MutualSettings()),)


def test_a_run_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("hard: {epochs: 2}\nmembers: 3\nheld_out: 0.1\nnetwork: wide\n")
    with pytest.raises(UserError, match="is a run of another kind than `kd-asr configure` makes"):
        load_settings_of(MadeUpSettings, tmp_path, "configure")
    (tmp_path / "settings.yaml").write_text("hard: {epochs: 2}\nnetwork: wide\n")
    with pytest.raises(UserError, match="unknown setting 'hard'"):
        load_settings_of(MadeUpSettings, tmp_path, "configure")
