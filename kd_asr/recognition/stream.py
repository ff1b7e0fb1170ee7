"""Recognition of speech that is still going on: words as they become certain, and utterances as they end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.lexicon import read_lexicon, select
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.words import words_in_time
from kd_asr.decoding.decoder import penalised
from kd_asr.decoding.online import OnlineDecoder, OnlineGraph, is_over, silent_pdfs
from kd_asr.features.store import MARGIN
from kd_asr.recognition.networks import LoadedNetworks
from kd_asr.recognition.online_frames import OnlineFrames, StreamStore
from kd_asr.recognition.own_audio import align_words
from kd_asr.recognition.recogniser import Recogniser

# What is recognised at a time; with the frames after each that the network sees, it decides the delay of words.
CHUNK_SECONDS = 0.16
# Words that every best path of so many seconds has begun with are certain.
_CERTAIN_SECONDS = 0.64


@dataclass(frozen=True)
class Heard:
    """What is known of an utterance.

    Attributes:
        kind: `partial` while it goes on, `final` when it has ended.
        start: seconds from the beginning of the stream to that of the utterance.
        heard: seconds of the stream that have been recognised.
        words: recognised words.
        certain: how many of them, from the first, will hardly change.
        timed: for a final one, its words with their start, end and mean posterior, as `transcribe --json` has them.
    """

    kind: str
    start: float
    heard: float
    words: tuple[str, ...]
    certain: int
    timed: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain form, one line of the output."""
        fields: dict[str, Any] = {
            "kind": self.kind,
            "start": round(self.start, 3),
            "heard": round(self.heard, 3),
            "text": " ".join(self.words),
        }
        return {**fields, "words": list(self.timed)} if self.kind == "final" else {**fields, "certain": self.certain}


class LoadedRecogniser:
    """What streams need of a recogniser, in memory: any number of them can share it."""

    def __init__(self, recogniser: Recogniser) -> None:
        """Load networks, graph and lexicon.

        Raises:
            UserError: a file is missing or damaged, or the system can only align.
        """
        recogniser.settings.check_frames(f"streams of {recogniser.name}")
        self.recogniser = recogniser
        self.features = recogniser.settings.features
        self.networks = LoadedNetworks(recogniser, self.features.described())
        graph, search = recogniser.searches_with
        with (
            tempfile.TemporaryDirectory(prefix="kd_asr-") as scratch,
            penalised(graph, search.insertion_penalty, Path(scratch)) as file,
        ):
            self.graph = OnlineGraph(graph, file, search)
        self.silent = silent_pdfs(Topology.load(recogniser.topology))
        self.lexicon = read_lexicon(recogniser.lexicon)
        self.log_prior = recogniser.log_prior


class StreamRecogniser:
    """One stream of speech through a recogniser.

    Memory does not grow with its length, but with that of an utterance, which ends after 40 s at the latest.
    """

    def __init__(self, loaded: LoadedRecogniser) -> None:
        """Begin a stream."""
        self._loaded = loaded
        self._features = loaded.features
        self._after = max(context[1] for context in loaded.networks.contexts)
        self._decoder = OnlineDecoder(loaded.graph)
        self._online = OnlineFrames(self._features, loaded.recogniser.usual)
        self._frames = np.zeros((0, self._features.num_mel_bins), dtype=np.float32)
        self._next = 0  # row of the first frame that has no outputs yet
        self._done = 0  # frames of the stream that have
        self._scores: list[NDArray[np.float32]] = []
        self._paths: list[tuple[str, ...]] = []
        self._told: tuple[tuple[str, ...], int] = ((), 0)

    def accept(self, samples: NDArray[np.float32]) -> list[Heard]:
        """What is new after some more (samples,) float32 in -1..1, at the rate of the features."""
        return self._accept(samples, last=False)

    def finish(self) -> list[Heard]:
        """What is new when the stream ends; the recogniser can begin with another stream of the same speaker."""
        found = self._accept(np.zeros(0, dtype=np.float32), last=True)
        return [*found, *self._ended()]

    def _accept(self, samples: NDArray[np.float32], *, last: bool) -> list[Heard]:
        self._frames = np.concatenate([self._frames, self._online.accept(samples, last=last)])
        ready = len(self._frames) - self._next - (0 if last else self._after)
        if ready <= 0:
            return []
        store = StreamStore(self._frames, self._next, ready, self._features)
        scores = self._loaded.networks.log_posteriors(store, store.utterance_ids[0]) - self._loaded.log_prior
        self._next += ready
        self._done += ready
        kept = max(0, self._next - MARGIN)
        self._frames, self._next = self._frames[kept:], self._next - kept
        self._scores.append(scores)
        self._decoder.advance(scores)
        path = self._decoder.best()
        if is_over(path, self._loaded.silent, self._features.frame_shift):
            return self._ended()
        return self._partial(path.words)

    def _partial(self, words: tuple[str, ...]) -> list[Heard]:
        """The words up to now, if something about them is new."""
        chunks = round(_CERTAIN_SECONDS / CHUNK_SECONDS)
        self._paths = [*self._paths, words][-chunks:]
        certain = _shared(self._paths) if len(self._paths) == chunks else 0
        if (words, certain) == self._told:
            return []
        self._told = words, certain
        return [Heard("partial", self._seconds(self._start), self._seconds(self._done), words, certain)]

    def _ended(self) -> list[Heard]:
        """The utterance as a whole, if it has words; the next one begins."""
        found: list[Heard] = []
        words = self._decoder.best(ended=True).words
        if words:
            timed = self._in_time(words)
            start, heard = self._seconds(self._start), self._seconds(self._done)
            found = [Heard("final", start, heard, words, len(words), timed)]
        self._decoder.start()
        self._scores, self._paths, self._told = [], [], ((), 0)
        return found

    def _in_time(self, words: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
        used, _ = select(self._loaded.lexicon, set(words))
        aligned = align_words(self._loaded.recogniser, np.concatenate(self._scores), words, used)
        if aligned is None:
            return ()
        in_time = words_in_time(aligned[0], self._features.frame_shift)
        begin = self._seconds(self._start)
        return tuple(
            {
                "word": label,
                "start": round(begin + start, 3),
                "end": round(begin + end, 3),
                "mean_posterior": round(word.posterior, 4),
            }
            for word, (label, start, end) in zip(aligned[0], in_time, strict=True)
        )

    @property
    def _start(self) -> int:
        """Frame of the stream with which the utterance began."""
        return self._done - self._decoder.frames

    def _seconds(self, frames: int) -> float:
        return frames * self._features.frame_shift


def _shared(paths: list[tuple[str, ...]]) -> int:
    """Number of words that all of some sequences begin with."""
    count = 0
    for words in zip(*paths, strict=False):
        if len(set(words)) > 1:
            break
        count += 1
    return count
