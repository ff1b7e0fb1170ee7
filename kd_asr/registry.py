"""Names of networks, losses, teachers, methods, corpora, executors and pretrained models, by which YAML, flags and
Python choose a class.

A class is registered with a decorator and has a frozen dataclass of settings:

    @network("tdnn")
    class Tdnn(nn.Module):
        Settings = TdnnSettings

It is then found by its name, because the modules in the folder of its kind are imported when the first name of that
kind is looked up. Your own class needs no registration: `my_package.my_module:MyClass` is a name as well.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar

from kd_asr.errors import UserError
from kd_asr.nearest import nearest
from kd_asr.settings.ranges import AtLeast, OfKind

AnyClass = TypeVar("AnyClass", bound=type)

FOLDERS = {
    "network": "kd_asr.networks",
    "loss": "kd_asr.distillation.losses",
    "teacher": "kd_asr.distillation.teachers",
    "method": "kd_asr.methods",
    "corpus": "kd_asr.corpora",
    "executor": "kd_asr.executors",
    "pretrained": "kd_asr.pretrained",
}
_CLASSES: dict[str, dict[str, type]] = {kind: {} for kind in FOLDERS}


@dataclass(frozen=True)
class Named:
    """Something chosen by name, with its settings.

    Attributes:
        kind: Kind of thing, one of `FOLDERS`.
        name: Registered name, or import path `package.module:Class`.
        settings: An instance of the class's `Settings`.
    """

    kind: str
    name: str
    settings: Any

    def make(self, *arguments: Any) -> Any:
        """An instance of the class: `Class(*arguments, settings)`."""
        return find(self.kind, self.name)(*arguments, self.settings)


@dataclass(frozen=True)
class Weighted:
    """A loss and its factor in the sum of losses; in YAML `{soft: {temperature: 2}, weight: 1}`.

    Attributes:
        loss: The loss.
        weight: Factor of the loss in the sum.
    """

    loss: Annotated[Named, OfKind("loss")]
    weight: Annotated[float, AtLeast(0)] = 1.0


def network(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a network, as a class decorator."""
    return _registering("network", name)


def loss(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a distillation loss, as a class decorator."""
    return _registering("loss", name)


def teacher(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a teacher, as a class decorator."""
    return _registering("teacher", name)


def method(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a method, as a class decorator."""
    return _registering("method", name)


def corpus(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a corpus, as a class decorator."""
    return _registering("corpus", name)


def executor(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register an executor, as a class decorator."""
    return _registering("executor", name)


def pretrained(name: str) -> Callable[[AnyClass], AnyClass]:
    """Register a kind of pretrained model, as a class decorator."""
    return _registering("pretrained", name)


def _registering(kind: str, name: str) -> Callable[[AnyClass], AnyClass]:
    if not name.replace("_", "").isalnum() or name == "weight":
        raise ValueError(f"{name!r} cannot name a {kind}: use letters, digits and _, and not the word weight")

    def register(cls: AnyClass) -> AnyClass:
        _check(kind, cls)
        known = _CLASSES[kind].setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"two classes want to be the {kind} {name!r}: {known} and {cls}")
        _CLASSES[kind][name] = cls
        return cls

    return register


def _check(kind: str, cls: type) -> None:
    """Refuse a class without settings that can be parsed."""
    settings = getattr(cls, "Settings", None)
    parameters = getattr(settings, "__dataclass_params__", None)
    if not isinstance(settings, type) or parameters is None or not parameters.frozen:
        raise ValueError(f"the {kind} {cls.__name__} needs an attribute Settings, a frozen dataclass")
    if kind == "loss" and any(item.name == "weight" for item in dataclasses.fields(settings)):
        raise ValueError(
            f"the loss {cls.__name__} must not have a setting `weight`: its factor in the sum is called so"
        )


@cache
def _import_folder(kind: str) -> None:
    """Import every module of a kind's folder, so that its classes register."""
    if importlib.util.find_spec(FOLDERS[kind]) is None:
        return
    package = importlib.import_module(FOLDERS[kind])
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        importlib.import_module(f"{package.__name__}.{module.name}")


def names(kind: str) -> list[str]:
    """The registered names of a kind, sorted."""
    _import_folder(kind)
    return sorted(_CLASSES[kind])


def find(kind: str, name: str) -> type[Any]:
    """The class with a name.

    Raises:
        UserError: no class is registered under the name (names the nearest one and all others), or there is no usable
            class at the import path.
    """
    if ":" in name:
        return _import(kind, name)
    known = names(kind)
    if name not in known:
        near = nearest(name, known)
        raise UserError(
            f"there is no {kind} {name!r}"
            + (f", do you mean {near!r}?" if near else ",")
            + f" known ones: {', '.join(known) or 'none'}; a class of your own is named as package.module:Class"
        )
    return _CLASSES[kind][name]


def name_of(kind: str, cls: type) -> str:
    """The name under which `find` returns a class: its registered name, or its import path."""
    for name in names(kind):
        if _CLASSES[kind][name] is cls:
            return name
    return f"{cls.__module__}:{cls.__qualname__}"


def _import(kind: str, path: str) -> type[Any]:
    module_name, _, class_name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in class_name.split("."):
            found = getattr(found, part)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"the {kind} {path!r} cannot be imported ({error}): is the folder of {module_name!r} on PYTHONPATH?"
        ) from error
    except AttributeError as error:
        raise UserError(f"the {kind} {path!r} cannot be imported: {module_name} has no {class_name!r}") from error
    if not isinstance(found, type):
        raise UserError(f"the {kind} {path!r} is not a class")
    try:
        _check(kind, found)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return found


def named(kind: str, name: str, settings: Any = None) -> Named:
    """A `Named`; without `settings` it has the defaults of its class."""
    return Named(kind, name, find(kind, name).Settings() if settings is None else settings)
