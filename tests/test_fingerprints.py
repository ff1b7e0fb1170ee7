"""Fingerprints: of settings by value, of code by what it imports and uses."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from kd_asr import fingerprints
from kd_asr.fingerprints import canonical, code_digest, digest, import_closure
from kd_asr.settings.ranges import AbsentMeans, DecidesNothing


@dataclass(frozen=True)
class Old:
    width: int = 3


@dataclass(frozen=True)
class New:
    width: int = 3
    tilt: Annotated[float, AbsentMeans(0.0)] = 0.0
    jobs: Annotated[int, DecidesNothing()] = 0


def test_a_digest_depends_on_values_not_on_order() -> None:
    assert digest({"a": 1, "b": Old()}) == digest({"b": Old(), "a": 1})
    assert digest(Old()) != digest(Old(width=4))
    with pytest.raises(TypeError, match="cannot fingerprint object"):
        digest(object())


def test_a_new_field_at_the_value_that_absence_means_changes_nothing() -> None:
    assert canonical(New()) == canonical(Old()) == {"width": 3}
    assert digest({"x": [New()]}) == digest({"x": (Old(),)})
    assert digest(New(tilt=0.5)) != digest(Old())


def test_a_field_that_decides_nothing_is_never_in_it() -> None:
    assert digest(New(jobs=7)) == digest(New())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one's own, whose `main` names `typed` in annotations alone."""
    root = tmp_path / "house"
    files = {
        "__init__.py": "",
        "main.py": '''"""Main."""
from __future__ import annotations
import house.effects
from house.typed import Kind
from .used import helper
from house.deep import inner

def run(kind: Kind) -> Kind:
    """Run."""
    import house.lazy as lazy
    return helper(inner.CONSTANT, lazy.VALUE)  # a comment
''',
        "used.py": "from house.later import VALUE\n\ndef helper(*values):\n    return VALUE\n",
        "later.py": "VALUE = 1\n",
        "lazy.py": "VALUE = 1\n",
        "typed.py": "class Kind: ...\n",
        "effects.py": "print\n",
        "unused.py": "VALUE = 1\n",
        "deep/__init__.py": "",
        "deep/inner.py": "CONSTANT = 3\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    for name in [one for one in sys.modules if one.split(".")[0] == "house"]:
        del sys.modules[name]


def changed(root: Path, name: str, text: str) -> bool:
    """Whether the digest of `house.main` changes with a file, which is restored."""
    before = code_digest(["house.main"])
    path = root / name
    old = path.read_text() if path.exists() else None
    path.write_text(text)
    forget()
    after = code_digest(["house.main"])
    path.unlink() if old is None else path.write_text(old)
    forget()
    return after != before


def forget() -> None:
    for cached in (fingerprints._tree, fingerprints._code, fingerprints._source_file):
        cached.cache_clear()
    fingerprints._known.clear()
    importlib.invalidate_caches()


def test_the_closure_is_what_the_code_imports_and_uses(package) -> None:
    expected = {"main", "used", "later", "lazy", "effects", "deep.inner"}
    assert import_closure(["house.main"]) == {f"house.{name}" for name in expected}


def test_code_that_is_used_changes_the_digest_and_nothing_else_does(package) -> None:
    assert changed(package, "used.py", "from house.later import VALUE\n\ndef helper(*values):\n    return VALUE + 1\n")
    assert changed(package, "later.py", "VALUE = 2\n")
    assert changed(package, "lazy.py", "VALUE = 2\n")
    assert changed(package, "deep/inner.py", "CONSTANT = 4\n")
    assert not changed(package, "typed.py", "class Kind:\n    more = 1\n")
    assert not changed(package, "unused.py", "VALUE = 2\n")
    assert not changed(package, "deep/empty.py", "")
    assert not changed(package, "later.py", '"""A docstring."""\n\nVALUE = 1  # and a comment\n')


def test_fields_of_settings_are_the_settings_part(package) -> None:
    text = "VALUE = 1\n\nclass FineSettings:\n    a: int = 1\n{}\n    def half(self):\n        return self.a / {}\n"
    (package / "later.py").write_text(text.format("", 2))
    forget()
    assert not changed(package, "later.py", text.format("    b: int = 7\n", 2))
    assert changed(package, "later.py", text.format("", 3))
    checked = text.format("    b: Annotated[int, Above(0)] = 7\n    def problems(self):\n        return []\n", 2)
    markers = "from typing import Annotated\nfrom kd_asr.settings.ranges import Above\nimport house.effects\n"
    (package / "later.py").write_text("import house.effects\n" + text.format("", 2))
    forget()
    assert not changed(package, "later.py", markers + checked)
    assert changed(package, "later.py", markers + checked.replace("problems", "halves"))


def test_the_ground_floor_is_in_no_closure() -> None:
    closure = import_closure(["kd_asr.stages.features"])
    assert "kd_asr.features.frames" in closure
    floors = {name.split(".")[1] for name in closure}
    assert not floors & fingerprints.GROUND_FLOOR


def test_what_is_no_module_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"kd_asr\.nowhere is no module"):
        code_digest(["kd_asr.nowhere"])
