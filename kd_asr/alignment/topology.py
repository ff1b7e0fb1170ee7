"""The hidden Markov model's shape: which pdf each state of each phone has, and how long it stays there.

A phone is a left-to-right chain of three emitting states, each with a loop on itself. Graphs carry pdf + 1 as input
labels, 0 is epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_asr.artifacts import damaged, read_json, write_json

SILENCE = "SIL"
UNKNOWN_PHONE = "SPN"
STATES_PER_PHONE = 3


@dataclass(frozen=True)
class Topology:
    """Monophone states: each phone's states have pdfs of their own.

    Attributes:
        phones: `SIL` first.
        self_loop: (num_pdfs,) probability of staying in the state for one more frame.
    """

    phones: tuple[str, ...]
    self_loop: tuple[float, ...]

    @classmethod
    def uniform(cls, phones: tuple[str, ...], self_loop: float = 0.7) -> Topology:
        """The same loop probability everywhere: what a flat start begins with."""
        return cls(phones, (self_loop,) * (STATES_PER_PHONE * len(phones)))

    @property
    def num_pdfs(self) -> int:
        """Output classes of an acoustic model."""
        return STATES_PER_PHONE * len(self.phones)

    def pdf(self, phone: str, state: int) -> int:
        """Class of a phone's state 0, 1 or 2."""
        return STATES_PER_PHONE * self._number[phone] + state

    @cached_property
    def _number(self) -> dict[str, int]:
        return {phone: number for number, phone in enumerate(self.phones)}

    def phone_of_pdf(self, pdf: int) -> str:
        """The phone that a pdf belongs to."""
        return self.phones[pdf // STATES_PER_PHONE]

    def with_self_loop(self, self_loop: np.ndarray) -> Topology:
        """The same phones with other loop probabilities, (num_pdfs,)."""
        return Topology(self.phones, tuple(float(value) for value in self_loop))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"phones": list(self.phones), "self_loop": list(self.self_loop)})

    @classmethod
    def load(cls, path: Path) -> Topology:
        """Read what `save` wrote; a damaged file is a `UserError`."""
        fields = read_json(path)
        try:
            return cls(tuple(fields["phones"]), tuple(fields["self_loop"]))
        except (KeyError, TypeError) as error:
            raise damaged(path, f"no {error}") from error
