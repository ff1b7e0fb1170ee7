"""Settings of pronunciations and of the aligner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.settings.ranges import Above, AtLeast, AtMost, Below, Unit


@dataclass(frozen=True)
class LexiconSettings:
    """Pronunciations.

    Attributes:
        path: Lexicon in the format of CMUdict, Kaldi (lexicon.txt, lexiconp.txt) or MFA, whose probabilities of
            pronunciations are used; empty: the lexicon of the cmudict package.
        stress: Whether vowels that differ in their stress digit are different phones.
        word_position: Whether phones are marked with their position in the word (first, inside, last, alone), so that
            tied states (`align.leaves`) can depend on it.
    """

    path: str = ""
    stress: bool = True
    word_position: bool = False


@dataclass(frozen=True)
class AlignSettings:
    """Training of the aligner, and the targets it gives: a flat start with monophones, then triphones with tied states.

    Attributes:
        cepstral_iterations: Passes over the shortest utterances with cepstra and their derivatives; the first one gives
            every state an equal share of the frames.
        discriminant_iterations: Alignments of all utterances by monophones, each followed by new linear discriminants
            and mixtures.
        gaussians: Gaussians of all monophones together at the end.
        leaves: Tied triphone states (senones) to use as targets; 0: monophone states are the targets. About 2000 suit
            two hours of speech; more speech supports more.
        leaf_min_frames: Smallest number of training frames of a tied state.
        tied_gaussians: Gaussians of all tied states together.
        tied_iterations: Alignments of all utterances by tied states, each followed by new discriminants and mixtures.
        early_minutes: Amount of speech for the cepstral passes, taken from the shortest utterances.
        beam: Search beam of the alignment.
        retry_beam: Widest search beam, tried when `beam` finds no path.
        silence_probability: Prior probability of silence between two words in alignment. The decoding graph uses the
            share of such places where the alignment found silence.
        networks: Networks to train on the aligner's targets, which together realign all utterances; 0: no realignment.
        network_epochs: Epochs for each realignment network.
    """

    cepstral_iterations: Annotated[int, AtLeast(2), AtMost(1000)] = 10
    discriminant_iterations: Annotated[int, AtLeast(0), AtMost(1000)] = 2
    gaussians: Annotated[int, AtLeast(1), AtMost(10_000_000)] = 2000
    leaves: Annotated[int, AtLeast(0), AtMost(65_000)] = 0
    leaf_min_frames: Annotated[int, AtLeast(1), AtMost(1_000_000_000), Unit("frames")] = 100
    tied_gaussians: Annotated[int, AtLeast(1), AtMost(10_000_000)] = 8000
    tied_iterations: Annotated[int, AtLeast(0), AtMost(1000)] = 1
    early_minutes: Annotated[float, Above(0), Unit("minutes")] = 30.0
    beam: Annotated[float, Above(0), Unit("nats")] = 200.0
    retry_beam: Annotated[float, Unit("nats")] = 1000.0
    silence_probability: Annotated[float, Above(0), Below(1)] = 0.5
    networks: Annotated[int, AtLeast(0), AtMost(1000)] = 0
    network_epochs: Annotated[int, AtLeast(1), AtMost(100_000)] = 3

    def problems(self) -> list[str]:
        """Settings that contradict each other."""
        if self.retry_beam < self.beam:
            return [f"retry_beam: {self.retry_beam} is less than beam, {self.beam}"]
        return []
