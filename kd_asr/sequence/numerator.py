"""Numerators: the paths of the denominator that agree with an alignment, up to a tolerance in time.

Of an utterance's phones, the k-th begins and ends at most 50 ms before or after what the alignment says (Povey and
others, Interspeech 2016, section 2.4). As no state of the denominator has two arcs into the same phone, the phones have
one sequence of states and of weights; a path only chooses in which output frames it goes from one to the next. So a
chunk's numerator is a table with a row, here called place, for each phone, and its paths are a subset of the
denominator's: the objective cannot be above 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import SILENCE
from kd_asr.device import Movable
from kd_asr.sequence.denominator import SAME, Denominator
from kd_asr.sequence.topology import FRAME_STRIDE, OneStateTopology

# In frames of the features, of 10 ms.
TOLERANCE = 5
# The first frame of the start of an utterance.
BEFORE_ALL = -(1 << 40)


@dataclass(frozen=True)
class Numerators:
    """The numerators of a batch of chunks.

    Attributes:
        first_pdfs: (chunks, places) int64, pdf of the arc into each phone.
        other_pdfs: (chunks, places) int64, pdf of its loop.
        enter: (chunks, places) float32 log-probability of the arc into it, from the phone before.
        stay: (chunks, places) float32 log-probability of its loop.
        begin: (chunks, places) float32 log-probability of a path's beginning in its state, -inf where none may.
        allowed: (chunks, frames, places) bool, whether it may be there in an output frame.
    """

    first_pdfs: Tensor
    other_pdfs: Tensor
    enter: Tensor
    stay: Tensor
    begin: Tensor
    allowed: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Chunks, output frames of each, and places of each."""
        chunks, frames, places = self.allowed.shape
        return chunks, frames, places


@dataclass(frozen=True)
class Track:
    """The places of one utterance; the first one is the start, before all phones.

    Attributes:
        states: (places,) int64, state of the denominator in each.
        arcs: (places,) int64, arc into it; -1 for the start.
        enter: (places,) float64 log-probability of the way into it: of the arc, or of a restart and the arc.
        starts: (places,) int64, first frame of each phone; of the start a frame before all.
    """

    states: np.ndarray
    arcs: np.ndarray
    enter: np.ndarray
    starts: np.ndarray


class Follower:
    """Finds the states of phone sequences in a denominator."""

    def __init__(self, denominator: Denominator, phones: Sequence[str], *, leaky: float) -> None:
        """Index the arcs.

        Args:
            denominator: the graph.
            phones: its phones by number.
            leaky: coefficient of the leaky HMM, with which a phone that cannot follow is reached.
        """
        self._number = {phone: index for index, phone in enumerate(phones)}
        self._start = denominator.start
        sources, targets = denominator.sources.numpy(), denominator.targets.numpy()
        entered = denominator.phones.numpy()
        self._targets, self._log_probs = targets, denominator.log_probs.numpy().astype(np.float64)
        self._next = {
            (int(source), int(phone)): arc
            for arc, (source, phone) in enumerate(zip(sources, entered, strict=True))
            if phone != SAME
        }
        initial = denominator.initial.numpy().astype(np.float64)
        # By phone and pdf: the most probable restart from which an arc leads there.
        self._restart: dict[tuple[int, int], tuple[float, int]] = {}
        self._anywhere: dict[int, tuple[float, int]] = {}
        pdfs = denominator.pdfs.numpy()
        for arc in np.flatnonzero(entered != SAME):
            chance = initial[sources[arc]] * math.exp(self._log_probs[arc]) * leaky
            phone, found = int(entered[arc]), (chance, int(arc))
            if chance > 0:
                self._anywhere[phone] = max(self._anywhere.get(phone, found), found)
                key = phone, int(pdfs[arc])
                self._restart[key] = max(self._restart.get(key, found), found)

    def follow(self, segments: Sequence[PhoneSegment], first_pdfs: Sequence[int]) -> Track:
        """The places of an utterance.

        A phone that cannot follow the ones before, as may be on dev, is reached as the leaky HMM reaches it: by the
        most probable restart before an arc into this phone, if possible with the pdf it has here. Into a phone that
        occurs nowhere in the denominator leads nothing: chunks with it have no path.

        Args:
            segments: phones of the utterance.
            first_pdfs: pdf of the first output frame of each.
        """
        state = self._start
        states, arcs, enter = [state], [-1], [-math.inf]
        for item, pdf in zip(segments, first_pdfs, strict=True):
            phone = self._number[item.phone]
            arc = self._next.get((state, phone), -1)
            log_prob = float(self._log_probs[arc])
            if arc < 0:
                chance, arc = self._restart.get((phone, pdf)) or self._anywhere.get(phone, (0.0, 0))
                log_prob = math.log(chance) if chance > 0 else -math.inf
            state = int(self._targets[arc])
            states.append(state)
            arcs.append(arc)
            enter.append(log_prob)
        starts = [BEFORE_ALL, *(item.start_frame for item in segments)]
        return Track(np.array(states), np.array(arcs), np.array(enter), np.array(starts))


class NumeratorTable(Movable):
    """The places of many utterances, from which the numerators of chunks are gathered; 44 bytes for each phone.

    Frames are numbered across all utterances, one after the other.
    """

    def __init__(self, tracks: Sequence[Track], counts: Sequence[int], denominator: Denominator) -> None:
        """Join the places of utterances.

        Args:
            tracks: places of each utterance.
            counts: its frames.
            denominator: graph in which they lie.
        """
        firsts = np.cumsum(counts) - counts
        loops = denominator.phones == SAME
        loop_of = torch.zeros(denominator.num_states, dtype=torch.int64)
        loop_of[denominator.sources[loops]] = loops.nonzero()[:, 0]
        states = torch.from_numpy(np.concatenate([track.states for track in tracks]))
        arcs = torch.from_numpy(np.concatenate([track.arcs for track in tracks]))
        enter = torch.from_numpy(np.concatenate([track.enter for track in tracks]))
        ends = np.cumsum([len(track.states) for track in tracks])
        loop = loop_of[states]
        starts, stops = [], []
        for track, first, count in zip(tracks, firsts.tolist(), counts, strict=True):
            own = np.where(track.starts == BEFORE_ALL, BEFORE_ALL, track.starts + first)
            starts.append(own)
            stops.append(np.append(own[1:], first + count))
        self._starts = torch.from_numpy(np.concatenate(starts))
        self._stops = torch.from_numpy(np.concatenate(stops))
        self._first_pdfs = denominator.pdfs[arcs.clamp_min(0)].to(torch.int32)
        self._other_pdfs = denominator.pdfs[loop].to(torch.int32)
        self._enter = enter.float()
        at_start = arcs < 0
        stay = denominator.log_probs[loop].clone()
        stay[at_start] = -torch.inf
        self._stay = stay
        self._begin = denominator.initial[states].log()
        # Utterances by the number of their last place and of their last frame.
        self._last_places = torch.from_numpy(ends - 1)
        self._last_frames = torch.from_numpy(np.cumsum(counts) - 1)
        # Ascending, for a search; the start of an utterance lies a frame before its first phone.
        self._keys = torch.where(self._starts == BEFORE_ALL, self._starts.roll(-1) - 1, self._starts)

    def gather(self, frames: Tensor, places: int) -> Numerators:
        """Numerators of chunks.

        Args:
            frames: (chunks, frames) int64, feature frames at which the output frames of each lie; of one utterance,
                equally far apart, except that its last frame may be repeated.
            places: places of a chunk, enough for all phones that it touches: see `places_of`.
        """
        begin = frames[:, 0].contiguous()
        utterance = torch.searchsorted(self._last_frames, begin)
        last = self._last_places[utterance]
        # The first place that may be there before the first output frame.
        before = begin - FRAME_STRIDE
        here = torch.searchsorted(self._keys, before - TOLERANCE, right=True) - 1
        first_place = torch.where(utterance > 0, self._last_places[(utterance - 1).clamp_min(0)] + 1, 0)
        here = here.maximum(first_place)
        wanted = here[:, None] + torch.arange(places, device=frames.device)
        inside = wanted <= last[:, None]
        wanted = wanted.minimum(last[:, None])
        starts, stops = self._starts[wanted] - TOLERANCE, self._stops[wanted] + TOLERANCE
        allowed = (frames[:, :, None] >= starts[:, None]) & (frames[:, :, None] < stops[:, None]) & inside[:, None]
        early = (before[:, None] >= starts) & (before[:, None] < stops) & inside
        return Numerators(
            self._first_pdfs[wanted].long(),
            self._other_pdfs[wanted].long(),
            self._enter[wanted],
            self._stay[wanted],
            self._begin[wanted].masked_fill(~early, -torch.inf),
            allowed,
        )


def places_of(frames: int) -> int:
    """Places that a chunk of so many output frames can touch: a phone for each, those that the tolerance adds before
    and after, and the one before the first."""
    return frames + 2 * -(-TOLERANCE // FRAME_STRIDE) + 2


def follow_all(
    denominator: Denominator, topology: OneStateTopology, utterances: Iterable[Sequence[PhoneSegment]], *, leaky: float
) -> list[Track]:
    """`Follower.follow` for the timed phones of many utterances."""
    follower = Follower(denominator, topology.phones, leaky=leaky)
    tracks = []
    for segments in utterances:
        lefts = [SILENCE, *(item.phone for item in segments)]
        pairs = zip(segments, lefts, strict=False)
        tracks.append(follower.follow(segments, [topology.pdfs(item.phone, left)[0] for item, left in pairs]))
    return tracks
