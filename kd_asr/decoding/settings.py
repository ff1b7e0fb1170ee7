"""Settings of the language model, of the search, and of rescoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.settings.ranges import Above, AtLeast, AtMost, Distinct, NotEmpty, Unit

Beam = Annotated[float, Above(0), AtMost(10_000), Unit("nats")]
MaxActive = Annotated[int, AtLeast(2), AtMost(10_000_000)]


@dataclass(frozen=True)
class LanguageModelSettings:
    """The n-gram model.

    Attributes:
        arpa: ARPA file, gzipped or not; empty: a modified Kneser-Ney model (Chen and Goodman 1999) is estimated from
            the training text.
        order: Order of the estimated model, or the highest order that is read from `arpa`.
    """

    arpa: str = ""
    order: Annotated[int, AtLeast(1), AtMost(10)] = 3


@dataclass(frozen=True)
class DecodeSettings:
    """Beam search.

    Attributes:
        beam: Pruning beam of the search.
        max_active: Largest number of states to keep per frame.
        tuning_beam: Beam while acoustic scale and insertion penalty are chosen, where a wider one would only take time.
        self_loop_scale: Weight, in the graph, of the costs of staying in an HMM state and of leaving it. At weight 1
            their sum over an utterance would outweigh the language model: on dev it gave a word error rate of 48.3 %,
            equal costs for all states 39.9 %.
        acoustic_scales: Weights of the acoustic score to try on dev; 0.08 to 0.1 suit tied states.
        insertion_penalties: Costs per recognised word to try on dev; negative ones reward words.
    """

    beam: Beam = 13.0
    max_active: MaxActive = 3000
    tuning_beam: Beam = 10.0
    self_loop_scale: Annotated[float, AtLeast(0)] = 0.1
    acoustic_scales: Annotated[tuple[Annotated[float, Above(0)], ...], NotEmpty, Distinct()] = (
        0.12, 0.16, 0.2, 0.25, 0.3,
    )
    insertion_penalties: Annotated[tuple[Annotated[float, Unit("nats")], ...], NotEmpty, Distinct()] = (
        -0.5, 0.0, 0.5, 1.0,
    )


@dataclass(frozen=True)
class BeamsSettings:
    """The comparison of search beams.

    Attributes:
        values: Beams to compare.
        max_active: Largest number of states to keep per frame.
    """

    values: Annotated[tuple[Beam, ...], NotEmpty, Distinct()] = (6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 13.0, 15.0)
    max_active: MaxActive = 7000


@dataclass(frozen=True)
class RescoreSettings:
    """Rescoring of the search's alternatives with another language model.

    Attributes:
        arpa: ARPA file of the other language model.
        alternatives: Largest number of word sequences to rescore for each utterance.
        beam: Beam of the search for the alternatives.
        lattice_beam: Largest cost of an alternative above that of the best one.
        weights: Weights w of the other language model to try on dev; the graph's own model has 1 - w. 0 is always
            tried.
    """

    arpa: str = ""
    alternatives: Annotated[int, AtLeast(1), AtMost(10_000)] = 100
    beam: Beam = 10.0
    lattice_beam: Annotated[float, Above(0), Unit("nats")] = 7.0
    weights: Annotated[tuple[Annotated[float, AtLeast(0), AtMost(1)], ...], Distinct()] = (0.25, 0.5, 0.75, 1.0)
