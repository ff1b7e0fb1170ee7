"""The forms in which a network can be smaller, by name: some need training, and all can be written in several ways."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kd_asr.errors import UserError
from kd_asr.networks.low_rank import LowRankSettings
from kd_asr.networks.pruned import PrunedSettings
from kd_asr.networks.pruned_units import PrunedUnitsSettings
from kd_asr.networks.quantised import QuantisedSettings
from kd_asr.registry import Named

# A network as it is.
FULL = "full"
DEFAULT_FORMS = ("pruned-50", "pruned-70", "pruned-90", "units-50", "low-rank-50", "quantised")
# How weights are written: safetensors in three precisions, ONNX in 8 bits after training.
Writing = Literal["fp32", "fp16", "bf16", "int8"]
WRITINGS: tuple[Writing, ...] = ("fp32", "fp16", "bf16", "int8")
# Weights that are trained for 8 bits are written so.
TRAINED_FOR: dict[str, tuple[Writing, ...]] = {"quantised": ("int8",)}

_KINDS: dict[str, tuple[str, Callable[[float, Named], Any]]] = {
    "pruned": ("pruned", lambda share, body: PrunedSettings(sparsity=share, body=body)),
    "units": ("pruned_units", lambda share, body: PrunedUnitsSettings(kept=share, body=body)),
    "low-rank": ("low_rank", LowRankSettings),
    "quantised": ("quantised", lambda share, body: QuantisedSettings(body)),
}


@dataclass(frozen=True)
class Form:
    """A form that takes training.

    Attributes:
        name: Such as `pruned-70` (70 % of the weights are 0), `units-50` (50 % of the units stay), `low-rank-50`
            (factors with 50 % of the weights) or `quantised`.
        around: Puts the network of that form around another one.
        keep: Weights of its training to keep.
    """

    name: str
    around: Callable[[Named], Named]
    keep: Literal["best", "last"]


def form_of(name: str) -> Form:
    """The form of a name.

    Raises:
        UserError: there is none.
    """
    found = re.fullmatch(r"(pruned|units|low-rank)-([1-9]\d?)|(quantised)", name)
    if found is None:
        raise UserError(
            f"{name!r} is no form of a network: choose pruned-N (N % of the weights become 0), units-N (N % of the "
            "hidden units stay), low-rank-N (factors with N % of the weights) or quantised, with N from 1 to 99"
        )
    kind, share = found[1] or found[3], int(found[2] or 0) / 100
    network, settings = _KINDS[kind]

    def around(body: Named) -> Named:
        return Named("network", network, settings(share, body))

    return Form(name, around, "last" if kind in ("pruned", "units") else "best")


def writings_of(form: str) -> tuple[Writing, ...]:
    """Ways in which the weights of a form are written."""
    return TRAINED_FOR.get(form, WRITINGS)
