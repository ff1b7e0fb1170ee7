"""What a pretrained model gives: posteriors of its own classes at its own frame rate, words, or both.

A kind of model is one file in this folder: a class with `@pretrained("name")`, derived from `Pretrained`, and a frozen
dataclass of its settings. Its packages are imported when it is made, by `package`, and belong to the extra `teachers`.
"""

from __future__ import annotations

import importlib
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kd_asr.errors import UserError
from kd_asr.registry import Named, find

Samples = NDArray[np.float32]
Given = Literal["posteriors", "words"]


@dataclass(frozen=True)
class Heard:
    """What a recogniser heard.

    Attributes:
        text: As the recogniser writes it.
        confidence: How sure it is, 0 to 1; what is measured depends on the model, so that limits do too.
    """

    text: str
    confidence: float


class Pretrained(ABC):
    """A model that is loaded when it is made.

    Attributes:
        Settings: Frozen dataclass of the settings.
        gives: `posteriors`, `words` or both; each has a method.
        packages: Distributions whose versions decide what it gives.
        sample_rate: Hz of the samples that it is given.
        frame_shift: Seconds from one frame of its posteriors to the next.
        num_classes: Classes of its posteriors.
        blanks: Classes that mean no sound, of a CTC network.
    """

    Settings: ClassVar[type[Any]]
    gives: ClassVar[frozenset[Given]]
    packages: ClassVar[tuple[str, ...]]
    sample_rate: int = 16000
    frame_shift: float = 0.0
    num_classes: int = 0
    blanks: Sequence[int] = ()

    def __init__(self, settings: Any) -> None:
        """Load the model.

        Raises:
            UserError: its package is not installed, or there is no such model.
        """
        self.settings = settings

    def log_posteriors(self, samples: Samples) -> NDArray[np.float32]:
        """(frames, classes) float32 log-posteriors of (samples,) float32 in -1..1, where it gives posteriors."""
        raise NotImplementedError

    def recognise(self, samples: Samples) -> Heard:
        """The words of (samples,) float32 in -1..1, where it gives words."""
        raise NotImplementedError

    def recognise_all(self, pieces: Sequence[Samples]) -> list[Heard]:
        """The words of several pieces, of which a model may make more when they come together."""
        return [self.recognise(one) for one in pieces]

    @classmethod
    def content(cls, settings: Any) -> str:
        """What decides its outputs beside settings and versions: a digest of the user's files; empty: nothing."""
        return ""


def package(name: str, distribution: str = "") -> Any:
    """A module of the extra `teachers`.

    Raises:
        UserError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UserError(
            f"{distribution or name} cannot be imported ({error}): pip install 'kd-asr[teachers]'"
        ) from error


def open_model(model: Named, need: Given) -> Pretrained:
    """The loaded model of a setting.

    Raises:
        UserError: it gives something else, or cannot be loaded.
    """
    cls = checked(model, need)
    made: Pretrained = cls(model.settings)
    return made


def checked(model: Named, need: Given) -> type[Pretrained]:
    """The class of a model, which is not loaded.

    Raises:
        UserError: it is no model, or gives something else.
    """
    cls = find("pretrained", model.name)
    if not issubclass(cls, Pretrained):
        raise UserError(f"{model.name!r} is not a subclass of {Pretrained.__module__}.{Pretrained.__name__}")
    if need not in cls.gives:
        raise UserError(f"the model {model.name} gives no {need}, but {', '.join(sorted(cls.gives))}")
    return cls


def identity(model: Named) -> dict[str, Any]:
    """What decides the outputs of a model: name, settings, versions of its packages, content of its files.

    Raises:
        UserError: a package is not installed, or a file is missing.
    """
    cls = find("pretrained", model.name)
    versions = {}
    for name in cls.packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError as error:
            raise UserError(
                f"the model {model.name} needs {name}, which is not installed: pip install 'kd-asr[teachers]'"
            ) from error
    return {"model": model, "versions": versions, "content": cls.content(model.settings)}


def log_softmax(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(frames, classes) float32: each row less the logarithm of the sum of its exponentials."""
    shifted = values.astype(np.float64) - values.max(axis=1, keepdims=True)
    found: NDArray[np.float32] = (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).astype(np.float32)
    return found


def ctc_confidence(log_probs: NDArray[np.float32], blank: int) -> float:
    """Geometric mean, over the frames whose best class is no blank, of the probability of that class; 0 without any."""
    best = log_probs.argmax(axis=1)
    spoken = best != blank
    return float(np.exp(log_probs.max(axis=1)[spoken].mean())) if spoken.any() else 0.0
