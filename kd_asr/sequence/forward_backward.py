"""Sums over all paths of graphs, for a batch of chunks at once, and the pdfs' occupation, which is their gradient.

The denominator is summed in probabilities that are normalised in every frame, not in logarithms: a frame is two sparse
sums, whose indices are the same for all frames and chunks. Arcs into one state with one pdf, an entry, share an
emission, so the arcs are summed into entries (the larger sum), these are multiplied by their emissions, and summed into
states.
The leaky HMM (Povey and others, Interspeech 2016, section 2.6) adds, between frames, a small probability of going on
anywhere. Everything has fixed shapes, and the host never waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_asr.device import Movable
from kd_asr.sequence.denominator import Denominator
from kd_asr.sequence.numerator import Numerators, NumeratorTable, places_of

# Logits are cut here, so that exponentials stay numbers (Kaldi's `chain-training.cc` does the same).
LARGEST_LOGIT = 30.0


@dataclass(frozen=True)
class Sum:
    """Sum over the paths of a graph, for each chunk.

    Attributes:
        log_probs: (chunks,) float64 natural logarithm of the sum; not finite where there is no path.
        occupation: (chunks, frames, pdfs) probability of each pdf in each frame, given that the path is in the graph:
            the gradient of `log_probs` with respect to the logits. Not finite where there is no path.
    """

    log_probs: Tensor
    occupation: Tensor


@dataclass(frozen=True)
class _Gather(Movable):
    """Sparse sums of rows: out[i] = sum of weights[k] * rows[indices[k]] over k from offsets[i] to offsets[i + 1]."""

    indices: Tensor
    offsets: Tensor
    weights: Tensor | None = None

    @classmethod
    def of(cls, into: Tensor, out_of: Tensor, rows: int, weights: Tensor | None = None) -> _Gather:
        """The sum with a term for each pair of an output row, below `rows`, and an input row."""
        order = torch.argsort(into, stable=True)
        offsets = torch.searchsorted(into[order], torch.arange(rows))
        return cls(out_of[order], offsets, weights[order] if weights is not None else None)

    def __call__(self, rows: Tensor) -> Tensor:
        """(outputs, chunks) sums of (inputs, chunks)."""
        weights = self.weights if self.weights is None else self.weights.to(rows.dtype)
        # Torch's quickest sparse product on a processor, six times as fast as its CSR matrices.
        return F.embedding_bag(self.indices, rows, self.offsets, mode="sum", per_sample_weights=weights)


class DenominatorSums(Movable):
    """Sums over the paths of a denominator, of which the indices are sorted once."""

    def __init__(self, denominator: Denominator, *, leaky: float) -> None:
        """Sort the arcs.

        Args:
            denominator: the graph.
            leaky: probability, in each frame, of going on anywhere, relative to that of going on along an arc. With 0,
                states that no path is likely to reach may make the backward sum overflow in float32.
        """
        self.num_pdfs, self.leaky = denominator.num_pdfs, leaky
        probabilities = denominator.log_probs.exp()
        keys, entry = torch.unique(denominator.targets * self.num_pdfs + denominator.pdfs, return_inverse=True)
        number = torch.arange(len(keys))
        self._state, self._pdf = keys // self.num_pdfs, keys % self.num_pdfs
        states = denominator.num_states
        self._into_entries = _Gather.of(entry, denominator.sources, len(keys), probabilities)
        self._out_of_entries = _Gather.of(denominator.sources, entry, states, probabilities)
        self._into_states = _Gather.of(self._state, number, states)
        self._into_pdfs = _Gather.of(self._pdf, number, self.num_pdfs)
        self.initial = denominator.initial[:, None]

    def __call__(self, logits: Tensor, *, occupied: bool = True) -> Sum:
        """Sum over all paths.

        Args:
            logits: (chunks, frames, pdfs) float, at most `LARGEST_LOGIT`.
            occupied: whether the occupation is wanted, for which everything is computed a second time backwards.
        """
        chunks, frames, _ = logits.shape
        emissions = logits.permute(1, 2, 0).contiguous().exp_()
        initial = self.initial.to(logits.dtype)
        before = initial.expand(-1, chunks)
        total = torch.zeros(chunks, dtype=torch.float64, device=logits.device)
        entries, sums = [], []
        for frame in range(frames):
            entered = self._into_entries(before).mul_(emissions[frame].index_select(0, self._pdf))
            states = self._into_states(entered)
            of_frame = states.sum(dim=0)
            total = total + of_frame.double().log()
            before = torch.addmm(states / of_frame, initial, initial.new_ones(1, chunks), alpha=self.leaky)
            if occupied:
                entries.append(entered)
                sums.append(of_frame)
        if not occupied:
            return Sum(total, logits.new_zeros(0))
        occupation = torch.empty_like(emissions)
        after = logits.new_ones(len(initial), chunks)
        for frame in reversed(range(frames)):
            later = after.index_select(0, self._state).div_(sums[frame])
            occupation[frame] = self._into_pdfs(entries[frame] * later)
            if frame:
                before = self._out_of_entries(later.mul_(emissions[frame].index_select(0, self._pdf)))
                after = before + self.leaky * (initial * before).sum(dim=0)
        return Sum(total, occupation.permute(2, 0, 1))


def numerator_sums(logits: Tensor, numerators: Numerators) -> Sum:
    """Sum over all paths of the numerators.

    A path goes from each place to itself or the next, as in connectionist temporal classification; computed with
    logarithms in float64, since all paths but those near the alignment are cut off and what is left may be improbable.

    Args:
        logits: (chunks, frames, pdfs) float, at most `LARGEST_LOGIT`.
        numerators: of as many chunks and frames.
    """
    chunks, frames, places = numerators.shape
    wanted = torch.cat([numerators.first_pdfs, numerators.other_pdfs], dim=1)[:, None].expand(-1, frames, -1)
    found = logits.gather(2, wanted).double()
    enter, stay = found[..., :places] + numerators.enter[:, None], found[..., places:] + numerators.stay[:, None]
    enter = enter.masked_fill(~numerators.allowed, -torch.inf)
    stay = stay.masked_fill(~numerators.allowed, -torch.inf)
    here = numerators.begin.double()
    entered = []
    for frame in range(frames):
        new = F.pad(here, (1, 0), value=-torch.inf)[:, :-1] + enter[:, frame]
        here = torch.logaddexp(new, here + stay[:, frame])
        # Share of those that have just come; of a place where nobody is, none.
        entered.append((new - here.clamp_min(-1e300)).exp())
    total = here.logsumexp(dim=1)
    at = (here - total[:, None]).exp()
    occupied = torch.empty(chunks, frames, 2 * places, dtype=torch.float64, device=logits.device)
    for frame in reversed(range(frames)):
        new = at * entered[frame]
        old = at - new
        occupied[:, frame, :places], occupied[:, frame, places:] = new, old
        at = old + F.pad(new, (0, 1))[:, 1:]
    # As a product, because a card adds what is scattered in an order of its own each time.
    pdf_of = logits.new_zeros(chunks, 2 * places, logits.shape[2]).scatter_(2, wanted[:, 0, :, None], 1.0)
    return Sum(total, torch.bmm(occupied.to(logits.dtype), pdf_of))


@dataclass(frozen=True)
class SequenceObjective:
    """What `lattice_free_mmi` returns.

    Attributes:
        log_probs: (chunks,) float, numerator minus denominator, at most 0; 0 without a gradient for broken chunks.
        broken: (chunks,) bool, chunks without a path, or whose logits are not numbers.
        occupation: (chunks, frames, pdfs) of the pdfs in the numerator, constants; 0 in broken chunks.
    """

    log_probs: Tensor
    broken: Tensor
    occupation: Tensor


class _Difference(torch.autograd.Function):
    """The objective; its gradient is computed with it, and autograd never sees a frame."""

    @staticmethod
    def forward(
        context: Any, logits: Tensor, numerators: Numerators, denominator: DenominatorSums
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(chunks,) objective and broken chunks of (chunks, frames, pdfs) logits, and the numerators' occupation."""
        wanted = context.needs_input_grad[0]
        above = numerator_sums(logits, numerators)
        below = denominator(logits, occupied=wanted)
        difference = above.log_probs - below.log_probs
        broken = ~torch.isfinite(difference)
        occupation = above.occupation.masked_fill_(broken[:, None, None], 0.0)
        if wanted:
            gradient = occupation - below.occupation
            context.save_for_backward(gradient.masked_fill_(broken[:, None, None], 0.0))
        context.mark_non_differentiable(broken, occupation)
        return difference.masked_fill(broken, 0.0).to(logits.dtype), broken, occupation

    @staticmethod
    def backward(context: Any, of_difference: Tensor, *constants: Tensor) -> tuple[Tensor, None, None]:
        """Gradient with respect to the logits."""
        (gradient,) = context.saved_tensors
        return gradient * of_difference[:, None, None], None, None


def lattice_free_mmi(logits: Tensor, numerators: Numerators, denominator: DenominatorSums) -> SequenceObjective:
    """The objective of maximum mutual information: log of the numerator's share of the denominator.

    Args:
        logits: (chunks, frames, pdfs) float; beyond +-`LARGEST_LOGIT` they count as that, and have no gradient.
        numerators: of these chunks.
        denominator: of the same pdfs.

    Raises:
        ValueError: the shapes do not agree.
    """
    if numerators.shape[:2] != logits.shape[:2] or logits.shape[2] != denominator.num_pdfs:
        shown = tuple(logits.shape)
        raise ValueError(f"logits of shape {shown} for numerators {numerators.shape}, {denominator.num_pdfs} pdfs")
    limited = logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
    return SequenceObjective(*_Difference.apply(limited, numerators, denominator))


class _AllPaths(torch.autograd.Function):
    """The denominator's sum, whose gradient is computed with it."""

    @staticmethod
    def forward(context: Any, logits: Tensor, denominator: DenominatorSums) -> tuple[Tensor, Tensor]:
        """(chunks,) log of the sum over all paths, and broken chunks."""
        found = denominator(logits, occupied=context.needs_input_grad[0])
        broken = ~torch.isfinite(found.log_probs)
        if context.needs_input_grad[0]:
            context.save_for_backward(found.occupation.masked_fill_(broken[:, None, None], 0.0))
        context.mark_non_differentiable(broken)
        return found.log_probs.masked_fill(broken, 0.0).to(logits.dtype), broken

    @staticmethod
    def backward(context: Any, of_sum: Tensor, *constants: Tensor) -> tuple[Tensor, None]:
        """Gradient with respect to the logits."""
        (occupation,) = context.saved_tensors
        return occupation * of_sum[:, None, None], None


def all_paths(logits: Tensor, denominator: DenominatorSums) -> tuple[Tensor, Tensor]:
    """(chunks,) float logarithm of the sum over all paths of the denominator, 0 without a gradient for broken chunks;
    and (chunks,) bool, which these are.

    Args:
        logits: (chunks, frames, pdfs) float; beyond +-`LARGEST_LOGIT` they count as that, and have no gradient.
        denominator: of the same pdfs.
    """
    total, broken = _AllPaths.apply(logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT), denominator)
    return total, broken


@dataclass(frozen=True)
class SequenceGraphs(Movable):
    """What a sequence loss compares: the alignments of a set of utterances, and all that could have been said.

    Attributes:
        numerators: Places of the utterances whose frames are numbered one after the other.
        denominator: Sums over the denominator.
    """

    numerators: NumeratorTable
    denominator: DenominatorSums

    def objective(self, logits: Tensor, frames: Tensor) -> SequenceObjective:
        """`lattice_free_mmi` of chunks.

        Args:
            logits: (chunks, frames, pdfs) float.
            frames: (chunks, frames) int64, numbers of the frames to which they belong.
        """
        numerators = self.numerators.gather(frames, places_of(frames.shape[1]))
        return lattice_free_mmi(logits, numerators, self.denominator)


@torch.no_grad()
def averaged_occupation(logits: list[Tensor], denominator: DenominatorSums) -> Tensor:
    """(chunks, frames, pdfs) mean of several teachers' occupations of the pdfs on the denominator.

    With the same graph, the gradient of the divergence between a teacher's and a student's paths is the difference of
    their occupations; so the mean over teachers is the soft target of their ensemble (Wong, Gales, Interspeech 2016).
    Chunks in which a teacher's sum is not finite are NaN.

    Args:
        logits: (chunks, frames, pdfs) float of each teacher.
        denominator: of the same pdfs.
    """
    found = [denominator(one.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)).occupation for one in logits]
    return torch.stack(found).mean(dim=0)
