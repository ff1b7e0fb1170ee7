"""Growing a state-tying tree from an alignment: statistics of triphones, questions by clustering, splits best first.

S. Young, J. Odell, P. Woodland, "Tree-based state tying for high accuracy acoustic modelling", ARPA Human Language
Technology Workshop 1994; questions found by clustering as in Kaldi's `cluster-phones`. All log-likelihoods are in nats,
of one Gaussian with diagonal covariance over the frames of a node.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.fit import VARIANCE_FLOOR
from kd_asr.alignment.gmm import Doubles, Floats
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import POSITIONS, SILENCE, STATES_PER_PHONE, UNKNOWN_PHONE, Topology, without_position
from kd_asr.alignment.tree import PLACES, Leaf, Node, Place, Root, Split, StateTree
from kd_asr.alignment.viterbi import BestPath

_STRESS = "012"
_CONTEXT_FREE = (SILENCE, UNKNOWN_PHONE)  # their states are never split


@dataclass(frozen=True)
class Moments:
    """Zeroth, first and second moments of n sets of frames: (n,), (n, dimension), (n, dimension) float64."""

    counts: Doubles
    sums: Doubles
    squares: Doubles

    def gather(self, weights: Doubles) -> Moments:
        """Moments of m weighted sums, with (m, n) weights."""
        return Moments(weights @ self.counts, weights @ self.sums, weights @ self.squares)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)

    def select(self, which: NDArray[np.generic]) -> Moments:
        """Moments of some of the sets."""
        return Moments(self.counts[which], self.sums[which], self.squares[which])

    def log_likelihoods(self, variance_floor: Doubles) -> Doubles:
        """(n,) log-likelihood of each set's frames given their own mean and variance; 0 without frames.

        Args:
            variance_floor: (dimension,) smallest variance.
        """
        counts = np.maximum(self.counts, 1e-10)[:, None]
        scatter = np.maximum(self.squares / counts - np.square(self.sums / counts), 0.0)
        variances = np.maximum(scatter, variance_floor)
        per_frame = np.log(2 * np.pi * variances) + scatter / variances
        return np.asarray(-0.5 * self.counts * per_frame.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class ContextStatistics:
    """Statistics from which a tree is grown.

    Attributes:
        phones: Phones to which the contexts refer.
        contexts: (n, 4) int64, left phone, phone, right phone and state, of all that occur, in ascending order.
        moments: Moments of the frames of each context.
        variance_floor: (dimension,) float64.
    """

    phones: tuple[str, ...]
    contexts: NDArray[np.int64]
    moments: Moments
    variance_floor: Doubles


def frame_contexts(
    segments: Sequence[PhoneSegment], states: NDArray[np.integer], phones: Sequence[str]
) -> NDArray[np.int64]:
    """(frames, 4) int64 left phone, phone and right phone, as places in `phones`, and state of every frame.

    Args:
        segments: timed phones, without gaps. Silence is assumed before and after the utterance.
        states: (frames,) state of each frame, 0, 1 or 2.
        phones: all phones.
    """
    number = {phone: index for index, phone in enumerate(phones)}
    numbered = [[number[phone] for phone in triphone] for triphone in _triphones(segments)]
    triphones = np.array(numbered, dtype=np.int64).reshape(-1, len(PLACES))
    place = np.repeat(np.arange(len(segments)), [item.num_frames for item in segments])
    return np.concatenate([triphones[place], states.astype(np.int64)[:, None]], axis=1)


def _triphones(segments: Sequence[PhoneSegment]) -> list[tuple[str, str, str]]:
    """Left phone, phone, right phone of each segment."""
    spoken = [SILENCE, *(item.phone for item in segments), SILENCE]
    return list(zip(spoken[:-2], spoken[1:-1], spoken[2:], strict=True))


def context_statistics(
    observations: Floats, contexts: NDArray[np.int64], phones: tuple[str, ...]
) -> ContextStatistics:
    """Moments of every triphone state that occurs.

    Args:
        observations: (frames, dimension) float32.
        contexts: (frames, 4) int64, see `frame_contexts`.
        phones: phones to which the contexts refer.
    """
    size = (len(phones), len(phones), len(phones), STATES_PER_PHONE)
    keys = np.ravel_multi_index(tuple(contexts.T), size)
    order = np.argsort(keys, kind="stable")
    present, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
    ordered = observations[order].astype(np.float64)
    moments = Moments(
        counts.astype(np.float64), np.add.reduceat(ordered, first), np.add.reduceat(np.square(ordered), first)
    )
    floor = VARIANCE_FLOOR * observations.var(axis=0, dtype=np.float64)
    return ContextStatistics(phones, np.stack(np.unravel_index(present, size), axis=1), moments, floor)


def base_phone(phone: str) -> str:
    """A phone without its position in the word and its stress digit."""
    plain = without_position(phone)
    return plain.rstrip(_STRESS) or plain


def phone_questions(
    statistics: ContextStatistics, num_states: int = STATES_PER_PHONE
) -> dict[str, tuple[str, ...]]:
    """Sets of phones for questions: clusters of phones that sound alike, stresses, positions in a word.

    The phones without stress and position are merged two by two, first those that lose the least log-likelihood when
    their states are modelled as one, until two clusters are left. Every cluster on the way is a question, including
    single phones. Each phone has the same weight: weighted by their frames, the rarest would gather in one cluster.

    Args:
        statistics: statistics of the training set.
        num_states: number of states of a phone.

    Returns:
        The phones of each set by its name: a phone, `cluster-1`, `cluster-2`, ..., `stress-0`, `stress-1`, `stress-2`,
        `position-B`, `position-I`, `position-E`, `position-S`. Phones that never occur are only in the sets of stress
        and position.
    """
    variants = _variants(statistics.phones)
    moments: dict[str, Moments] = {}
    for name, phones in variants.items():
        numbers = [statistics.phones.index(phone) for phone in phones]
        own = np.isin(statistics.contexts[:, 1], numbers)
        of_state = [own & (statistics.contexts[:, 3] == state) for state in range(num_states)]
        joint = statistics.moments.gather(np.array(of_state, dtype=np.float64))
        if joint.counts.all():
            scale = joint.counts[:, None]
            moments[name] = Moments(np.ones(num_states), joint.sums / scale, joint.squares / scale)
    asked = {name: variants[name] for name in moments}
    for number, names in enumerate(_merges(moments, statistics.variance_floor), start=1):
        asked[f"cluster-{number}"] = tuple(phone for name in names for phone in variants[name])
    for digit in _STRESS:
        stressed = tuple(p for p in statistics.phones if base_phone(p) + digit == without_position(p))
        if stressed:
            asked[f"stress-{digit}"] = stressed
    for mark in POSITIONS:
        placed = tuple(phone for phone in statistics.phones if f"{without_position(phone)}_{mark}" == phone)
        if placed:
            asked[f"position-{mark}"] = placed
    return asked


def _variants(phones: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Phones of each base phone, in order."""
    variants: dict[str, tuple[str, ...]] = {}
    for phone in phones:
        variants[base_phone(phone)] = (*variants.get(base_phone(phone), ()), phone)
    return variants


def _merges(moments: Mapping[str, Moments], variance_floor: Doubles) -> list[tuple[str, ...]]:
    """Clusters in the order in which agglomeration makes them, until two are left."""

    def likelihood(one: Moments) -> float:
        return float(one.log_likelihoods(variance_floor).sum())

    def loss(one: tuple[str, ...], other: tuple[str, ...]) -> float:
        return alone[one] + alone[other] - likelihood(clusters[one] + clusters[other])

    clusters: dict[tuple[str, ...], Moments] = {(name,): one for name, one in moments.items()}
    alone = {names: likelihood(one) for names, one in clusters.items()}
    losses = {pair: loss(*pair) for pair in combinations(clusters, 2)}
    merges: list[tuple[str, ...]] = []
    while len(clusters) > 2:
        pair = min(losses, key=lambda key: losses[key])
        losses = {key: value for key, value in losses.items() if not set(key) & set(pair)}
        merged = pair[0] + pair[1]
        clusters[merged] = clusters.pop(pair[0]) + clusters.pop(pair[1])
        alone[merged] = likelihood(clusters[merged])
        losses |= {(names, merged): loss(names, merged) for names in clusters if names != merged}
        merges.append(merged)
    return merges


@dataclass
class _Growing:
    """A node of a growing tree: `members` are indices of contexts; `best` is its best possible split."""

    members: NDArray[np.int64]
    frames: float
    best: _Candidate | None = None
    split: tuple[_Growing, _Growing] | None = None


@dataclass(frozen=True)
class _Candidate:
    gain: float
    place: Place
    question: str
    answers: NDArray[np.bool_]


def grow_tree(
    statistics: ContextStatistics, *, leaves: int, min_frames: float, num_states: int = STATES_PER_PHONE
) -> StateTree:
    """Grow a tree by splitting the node that gains most, again and again.

    A phone's variants in stress and position share a root for each of their states, so that rare ones learn from the
    others; silence and the phone of unknown words are never split.

    Args:
        statistics: statistics of the training set.
        leaves: number of leaves. There are fewer if no further split gains anything, and never fewer than roots.
        min_frames: smallest number of frames of a leaf that a split makes.
        num_states: number of states of a phone.
    """
    questions = phone_questions(statistics, num_states)
    sets = np.array([[phone in asked for phone in statistics.phones] for asked in questions.values()], dtype=np.float64)
    names = list(questions)
    variants = _variants(statistics.phones)
    contexts = statistics.contexts

    def node(members: NDArray[np.int64], *, splits: bool) -> _Growing:
        made = _Growing(members, float(statistics.moments.counts[members].sum()))
        if splits:
            made.best = _best_split(statistics, members, sets, names, min_frames)
        return made

    trees: dict[str, list[_Growing]] = {}
    for name, phones in variants.items():
        own = np.isin(contexts[:, 1], [statistics.phones.index(phone) for phone in phones])
        trees[name] = [
            node(np.flatnonzero(own & (contexts[:, 3] == state)), splits=name not in _CONTEXT_FREE)
            for state in range(num_states)
        ]
    # The best split first; among equal ones, that of the node made first.
    waiting: list[tuple[float, int, _Growing]] = []
    made = 0
    for one in (item for states in trees.values() for item in states):
        if one.best is not None:
            waiting.append((-one.best.gain, made, one))
        made += 1
    heapq.heapify(waiting)
    count = made
    while waiting and count < leaves:
        _, _, one = heapq.heappop(waiting)
        assert one.best is not None
        one.split = (
            node(one.members[one.best.answers], splits=True),
            node(one.members[~one.best.answers], splits=True),
        )
        for child in one.split:
            if child.best is not None:
                heapq.heappush(waiting, (-child.best.gain, made, child))
            made += 1
        count += 1
    pdfs = iter(range(count))

    def finished(one: _Growing) -> Node:
        if one.split is None or one.best is None:
            return Leaf(next(pdfs), round(one.frames))
        yes, no = (finished(child) for child in one.split)
        return Split(one.best.place, one.best.question, round(one.best.gain, 3), yes, no)

    roots = tuple(Root(variants[name], tuple(finished(one) for one in states)) for name, states in trees.items())
    return StateTree(questions, roots)


def _best_split(
    statistics: ContextStatistics,
    members: NDArray[np.int64],
    sets: Doubles,
    names: Sequence[str],
    min_frames: float,
) -> _Candidate | None:
    """The best split of some contexts, the first among equals; None if no split is possible or gains anything.

    `sets` is (questions, phones), 1 where a question says yes.
    """
    here = statistics.moments.select(members)
    if len(members) < 2 or here.counts.sum() < 2 * min_frames:
        return None
    floor = statistics.variance_floor
    whole = here.gather(np.ones((1, len(members)))).log_likelihoods(floor)[0]
    best: _Candidate | None = None
    for column, place in enumerate(PLACES):
        asked = statistics.contexts[members, column]
        present = np.unique(asked)
        by_phone = here.gather((present[:, None] == asked).astype(np.float64))
        inside = sets[:, present]
        yes, no = by_phone.gather(inside), by_phone.gather(1.0 - inside)
        gains = yes.log_likelihoods(floor) + no.log_likelihoods(floor) - whole
        gains[np.minimum(yes.counts, no.counts) < min_frames] = -np.inf
        question = int(np.argmax(gains))
        if gains[question] > (best.gain if best else 0.0):
            answers = sets[question, asked] > 0
            best = _Candidate(float(gains[question]), place, names[question], answers)
    return best


def tied_path(path: BestPath, topology: Topology) -> BestPath:
    """A path of monophone states, converted to the tied states of `topology`."""
    of_phones = [topology.pdfs(phone, left, right) for left, phone, right in _triphones(path.phones)]
    place = np.repeat(np.arange(len(path.phones)), [item.num_frames for item in path.phones])
    return replace(path, pdfs=np.array(of_phones, dtype=np.int32)[place, path.pdfs % STATES_PER_PHONE])
