"""Made-up settings with every type of field, and named things to go with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from kd_asr import registry
from kd_asr.registry import Named, Weighted
from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Inherits, NotEmpty, OfKind, Unit


@dataclass(frozen=True)
class ShapeSettings:
    """A section inside the settings of a named thing.

    Attributes:
        rows: Rows.
        columns: Columns.
    """

    rows: Annotated[int, AtLeast(1)] = 1
    columns: int = 1


@dataclass(frozen=True)
class WideSettings:
    """A network with wide layers.

    Attributes:
        units: Units in each layer.
        dropout: Probability that a unit is dropped.
        shape: Shape.
    """

    units: Annotated[int, AtLeast(1)] = 8
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    shape: ShapeSettings = ShapeSettings(rows=5, columns=6)


class Wide:
    """A wide network."""

    Settings = WideSettings


@dataclass(frozen=True)
class DeepSettings:
    """Settings of `Deep`, one of which must be given.

    Attributes:
        layers: Layers.
    """

    layers: int


class Deep:
    """A deep network."""

    Settings = DeepSettings


@dataclass(frozen=True)
class SoftSettings:
    """Settings of `Soft`.

    Attributes:
        temperature: Temperature.
    """

    temperature: Annotated[float, Above(0)] = 2.0


class Soft:
    """A soft loss."""

    Settings = SoftSettings


@dataclass(frozen=True)
class HardSettings:
    """Settings of `Hard`, of which there are none."""


class Hard:
    """A hard loss."""

    Settings = HardSettings


@dataclass(frozen=True)
class ClassicSettings:
    """Settings of `Classic`.

    Attributes:
        losses: Losses and their weights.
    """

    losses: tuple[Weighted, ...] = (
        Weighted(Named("loss", "soft", SoftSettings())),
        Weighted(Named("loss", "hard", HardSettings()), 0.5),
    )


class Classic:
    """A method with losses."""

    Settings = ClassicSettings


@dataclass(frozen=True)
class MutualSettings:
    """Settings of `Mutual`.

    Attributes:
        networks: Networks that learn from each other.
    """

    networks: Annotated[int, AtLeast(2)] = 3

    def problems(self) -> list[str]:
        """A check of its own."""
        return ["networks: 13 brings bad luck"] if self.networks == 13 else []


class Mutual:
    """A method with networks."""

    Settings = MutualSettings


@dataclass(frozen=True)
class StudentSettings:
    """The student.

    Attributes:
        network: Network of the student; null: that of the teacher.
        copies: Copies.
    """

    network: Annotated[Named | None, OfKind("network"), Inherits("network")] = None
    copies: int = 0


@dataclass(frozen=True)
class SearchSettings:
    """The search.

    Attributes:
        beam: Narrow beam.
        wide_beam: Wide beam.
        scales: Scales to try.
        words: Words.
        average: Mean.
        name: Name.
        note: Note.
        limit: Limit.
        fast: Whether it is fast.
    """

    beam: Annotated[float, Above(0), Unit("nats")] = 10.0
    wide_beam: Annotated[float, AtMost(1000)] = 20.0
    scales: Annotated[tuple[Annotated[float, Above(0), Below(10)], ...], NotEmpty] = (0.1, 0.2)
    words: tuple[str, ...] = ()
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    name: Annotated[str, NotEmpty] = "search"
    note: str | None = None
    limit: Annotated[int | None, AtLeast(0)] = None
    fast: bool = True

    def problems(self) -> list[str]:
        """A check of fields against each other."""
        if self.wide_beam < self.beam:
            return [f"wide_beam: {self.wide_beam} is less than beam, {self.beam}"]
        return []


@dataclass(frozen=True)
class MadeUpSettings:
    """All of them.

    Attributes:
        seed: Seed.
        network: Network.
        student: Student.
        search: Search.
        methods: Methods to compare.
    """

    seed: Annotated[int, AtLeast(0)] = 1
    network: Annotated[Named, OfKind("network")] = field(
        default_factory=lambda: Named("network", "wide", WideSettings())
    )
    student: StudentSettings = field(default_factory=StudentSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    methods: Annotated[tuple[Named, ...], OfKind("method")] = (
        Named("method", "classic", ClassicSettings()),
        Named("method", "mutual", MutualSettings()),
    )

    def problems(self) -> list[str]:
        """A check of sections against each other."""
        return ["search.beam: seed 99 wants 99"] if self.seed == 99 and self.search.beam != 99 else []


CLASSES = {
    "network": {"wide": Wide, "deep": Deep},
    "loss": {"soft": Soft, "hard": Hard},
    "method": {"classic": Classic, "mutual": Mutual},
}


@pytest.fixture(autouse=True)
def only_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known names are the made-up ones while a test of the module that imports this runs."""
    monkeypatch.setattr(registry, "_import_folder", lambda kind: None)
    monkeypatch.setattr(registry, "_CLASSES", {kind: CLASSES.get(kind, {}) for kind in registry.FOLDERS})
