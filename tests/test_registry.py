"""Names of classes: registered ones, and import paths of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kd_asr import registry
from kd_asr.errors import UserError
from kd_asr.registry import Named, find, named, names


@dataclass(frozen=True)
class SmallSettings:
    """Made up.

    Attributes:
        width: Width.
    """

    width: int = 3


class Small:
    """A made-up network."""

    Settings = SmallSettings

    def __init__(self, inputs: int, settings: SmallSettings) -> None:
        self.weights = inputs * settings.width


@pytest.fixture(autouse=True)
def _only_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._CLASSES, "network", {})
    monkeypatch.setattr(registry, "_import_folder", lambda kind: None)


def test_a_registered_class_is_found_by_its_name() -> None:
    registry.network("small")(Small)
    registry.network("another")(type("Another", (Small,), {}))
    assert find("network", "small") is Small
    assert names("network") == ["another", "small"]
    assert named("network", "small") == Named("network", "small", SmallSettings())
    assert Named("network", "small", SmallSettings(width=5)).make(4).weights == 20


def test_an_unknown_name_is_told_with_the_nearest_and_all_known_ones() -> None:
    registry.network("small")(Small)
    registry.network("tall")(type("Tall", (Small,), {}))
    with pytest.raises(UserError, match=r"no network 'smal', do you mean 'small'\? known ones: small, tall"):
        find("network", "smal")
    with pytest.raises(UserError, match="no network 'x', known ones: small, tall"):
        find("network", "x")


def test_a_class_of_ones_own_is_found_by_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass S:\n    width: int = 3\n"
        "@dataclass\nclass Loose:\n    width: int = 3\n"
        "class Mine:\n    Settings = S\n"
        "class Nested:\n    class Inner:\n        Settings = S\n"
        "class Bare:\n    pass\n"
        "class Thawed:\n    Settings = Loose\n"
        "def function(): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find("network", "my_networks:Mine").__name__ == "Mine"
    assert find("network", "my_networks:Nested.Inner").__name__ == "Inner"
    for path, message in [
        ("my_network:Mine", r"cannot be imported \(No module named 'my_network'\).*PYTHONPATH"),
        ("my_networks:Nine", "my_networks has no 'Nine'"),
        ("my_networks:function", "is not a class"),
        ("my_networks:Bare", "needs an attribute Settings, a frozen dataclass"),
        ("my_networks:Thawed", "needs an attribute Settings, a frozen dataclass"),
        (":Mine", "cannot be imported"),
        ("my_networks:", "my_networks has no ''"),
    ]:
        with pytest.raises(UserError, match=message):
            find("network", path)


def test_what_cannot_be_registered_is_refused_where_it_is_written() -> None:
    registry.network("small")(Small)
    with pytest.raises(ValueError, match="two classes want to be the network 'small'"):
        registry.network("small")(type("Other", (Small,), {}))
    with pytest.raises(ValueError, match="needs an attribute Settings"):
        registry.network("bare")(type("Bare", (), {}))
    for name in ("weight", "a.b", "a:b", ""):
        with pytest.raises(ValueError, match="cannot name a network"):
            registry.network(name)
    heavy = dataclass(frozen=True)(type("HeavySettings", (), {"__annotations__": {"weight": float}, "weight": 1.0}))
    with pytest.raises(ValueError, match="must not have a setting `weight`"):
        registry.loss("heavy")(type("Heavy", (), {"Settings": heavy}))


def test_every_module_of_a_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    folder = tmp_path / "made_up_networks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "small.py").write_text(
        "from dataclasses import dataclass\nfrom kd_asr.registry import network\n"
        "@dataclass(frozen=True)\nclass SmallSettings:\n    width: int = 3\n"
        "@network('small')\nclass Small:\n    Settings = SmallSettings\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry._CLASSES, "network", {})
    monkeypatch.setitem(registry.FOLDERS, "network", "made_up_networks")
    registry._import_folder.cache_clear()
    try:
        assert names("network") == ["small"]
    finally:
        registry._import_folder.cache_clear()
