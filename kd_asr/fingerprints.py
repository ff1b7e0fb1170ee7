"""Digests of what a result depends on: the settings that decide it, and the code that makes it.

Settings: the canonical form of a frozen value. A field marked `DecidesNothing` is always left out, and one with
`AbsentMeans` is left out while it has that value, so that a new field changes no existing digest.

Code: the modules that a module imports, directly or through others, found in their source with `ast` and followed
inside the package they belong to. Comments, docstrings and layout decide nothing, nor do imports that only annotations
use, nor the ground floor, which passes values on and decides none. The fields and `problems` of a class named
`...Settings` are left out as well, since the values are in the settings' part.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from kd_asr.settings.ranges import AbsentMeans, DecidesNothing

# Files and folders of the package that every room may import and whose code is in no fingerprint.
GROUND_FLOOR = frozenset(
    {
        *("artifacts", "checksums", "console", "errors", "executors", "fingerprints", "nearest"),
        *("parallel", "ranks", "registry", "settings", "text"),
    }
)
_known: dict[frozenset[str], str] = {}
_PACKAGE = __name__.split(".", maxsplit=1)[0]


def canonical(value: object) -> Any:
    """Canonical form of a value, from which its digest is computed: mappings, lists, strings, numbers, booleans, None.

    Raises:
        TypeError: a value is of none of these types, nor a dataclass or path.
    """
    if is_dataclass(value) and not isinstance(value, type):
        marks = _marks(type(value))
        found = {}
        for item in fields(value):
            absent, decides = marks[item.name]
            own = getattr(value, item.name)
            if decides and not (absent is not None and own == absent.value):
                found[item.name] = canonical(own)
        return found
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (frozenset, set)):
        return sorted(canonical(item) for item in value)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"cannot fingerprint {type(value).__name__}")


@cache
def _marks(kind: type) -> dict[str, tuple[AbsentMeans | None, bool]]:
    """The `AbsentMeans` of each field of a dataclass, and whether the field decides anything."""
    hints = get_type_hints(kind, include_extras=True)
    marks: dict[str, tuple[AbsentMeans | None, bool]] = {}
    for item in fields(kind):
        notes = getattr(hints[item.name], "__metadata__", ())
        absent = next((note for note in notes if isinstance(note, AbsentMeans)), None)
        marks[item.name] = absent, not any(isinstance(note, DecidesNothing) for note in notes)
    return marks


def digest(value: object) -> str:
    """SHA-256 (16 hexadecimal digits) of the canonical form of `value`."""
    return hashlib.sha256(json.dumps(canonical(value), sort_keys=True).encode()).hexdigest()[:16]


def code_digest(modules: Collection[str]) -> str:
    """SHA-256 (16 hexadecimal digits) over the code of some modules and of all that they import.

    Args:
        modules: dotted names, such as `kd_asr.networks.tdnn`.

    Raises:
        ValueError: one of them is no module with a source file.
    """
    wanted = frozenset(modules)
    if wanted not in _known:
        total = hashlib.sha256()
        for name in sorted(import_closure(wanted)):
            total.update(name.encode() + b"\0" + _code(_source_file(name)).encode() + b"\0")
        _known[wanted] = total.hexdigest()[:16]
    return _known[wanted]


def known_digests() -> dict[frozenset[str], str]:
    """What `code_digest` has found in this process, by the modules it was asked for."""
    return dict(_known)


def remember(digests: Mapping[frozenset[str], str]) -> None:
    """Have `code_digest` give what it has found in the process that started this one, whose code is the same: it takes
    a second of processor time to find."""
    _known.update(digests)


def import_closure(modules: Collection[str]) -> frozenset[str]:
    """Some modules and those that they import, directly or through others, the ground floor excepted.

    A module is followed into its own top package and into this one, not into libraries.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _source_file(name)
        if path is None:
            raise ValueError(f"{name} is no module with a source file")
        found.add(name)
        waiting += [one for one in _imports(name, path) if one not in found and not _on_ground_floor(one)]
    return frozenset(found)


def _on_ground_floor(name: str) -> bool:
    package, *below = name.split(".")
    return package == _PACKAGE and (not below or below[0] in GROUND_FLOOR)


@cache
def _source_file(name: str) -> Path | None:
    """Source file of a module, None if there is none; imports the packages around it, but not the module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(name: str, path: Path) -> list[str]:
    """Modules that a file imports and uses, of its own top package and of this one."""
    used, annotating = _used_names(_tree(path))
    packages = frozenset({name.split(".", maxsplit=1)[0], _PACKAGE})
    return [
        module
        for bound, module in _bindings(_tree(path), name, packages, is_package=path.name == "__init__.py")
        # An import that is used nowhere is there for its effects.
        if module.split(".", maxsplit=1)[0] in packages and (bound in used or bound not in annotating)
    ]


def _bindings(tree: ast.Module, name: str, packages: frozenset[str], *, is_package: bool) -> Iterator[tuple[str, str]]:
    """The name that each import binds, and the module that it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield item.asname or item.name.split(".", maxsplit=1)[0], item.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")
                parents = parents[: len(parents) - node.level + (1 if is_package else 0)]
                base = ".".join([*parents, base] if base else parents)
            for item in node.names:
                below = f"{base}.{item.name}"
                is_module = base.split(".", maxsplit=1)[0] in packages and _source_file(below) is not None
                yield item.asname or item.name, below if is_module else base


def _used_names(tree: ast.Module) -> tuple[frozenset[str], frozenset[str]]:
    """Names that the code reads, and names that annotations read."""
    used: set[str] = set()
    annotating: set[str] = set()
    waiting: list[tuple[ast.AST, set[str]]] = [(tree, used)]
    while waiting:
        node, names = waiting.pop()
        if isinstance(node, ast.Name):
            names.add(node.id)
        for field, value in ast.iter_fields(node):
            into = annotating if field in ("annotation", "returns") else names
            items = value if isinstance(value, list) else [value]
            waiting += [(item, into) for item in items if isinstance(item, ast.AST)]
    return frozenset(used), frozenset(annotating)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _code(path: Path) -> str:
    """A file's code without the parts that decide nothing."""
    tree = _Plain().visit(ast.parse(path.read_text(encoding="utf-8")))
    # Imports that only the removed fields need, such as the markers of their ranges, are removed with them.
    before = frozenset().union(*_used_names(_tree(path)))
    still_used = frozenset().union(*_used_names(tree))
    gone = before - still_used
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            node.names = [item for item in node.names if (item.asname or item.name.split(".")[0]) not in gone]
    tree.body = [node for node in tree.body if getattr(node, "names", True)]
    return ast.unparse(tree)


class _Plain(ast.NodeTransformer):
    """Removes docstrings, and the fields and checks of settings classes."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = _without_docstring(node.body) or [ast.Pass()]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        body = _without_docstring(node.body)
        if node.name.endswith("Settings"):
            body = [statement for statement in body if not _is_field_or_check(statement)]
        node.body = body or [ast.Pass()]
        return self.generic_visit(node)


def _is_field_or_check(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) or (
        isinstance(statement, ast.FunctionDef) and statement.name == "problems"
    )


def _without_docstring(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return list(body[1:] if is_docstring else body)
