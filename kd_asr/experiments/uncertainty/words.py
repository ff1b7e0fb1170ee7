"""Recognised words of a system with their frames, and whether they are wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import read_lexicon, select
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.viterbi import best_path
from kd_asr.alignment.words import word_segments
from kd_asr.evaluation.wer import GAP
from kd_asr.jobs.systems import System
from kd_asr.reporting.run_results import read_decoded
from kd_asr.stages.recognise import set_scores
from kd_asr.stages.settings import Settings
from kd_asr.tasks.targets import log_prior


@dataclass(frozen=True)
class Word:
    """A recognised word.

    Attributes:
        first_frame: First frame.
        frames: Number of frames.
        wrong: Whether the reference has another word in its place, or none.
    """

    first_frame: int
    frames: int
    wrong: bool


def recognised_words(
    run_dir: Path, settings: Settings, system: System, utterance_ids: Collection[str]
) -> dict[str, list[Word]]:
    """Words of the test set that `decode` recognised, with the frames that the system itself aligns them to.

    An utterance without words, or whose words cannot be aligned, is left out; deletions have no frames.
    """
    topology = Topology.load(run_dir / "align" / "topology.json")
    prior = log_prior(AlignmentStore.open(run_dir / "align" / "train"), topology.num_pdfs)
    scores = set_scores(run_dir, "test", system, settings, prior)
    whole = read_lexicon(run_dir / "lexicon" / "lexicon.txt")
    align, found = settings.align, {}
    for one in read_decoded(run_dir / "decode" / system.name / "test.jsonl"):
        pairs = zip(one.aligned.reference, one.aligned.hypothesis, strict=True)
        said = [(word, word != reference) for reference, word in pairs if word != GAP]
        if one.utterance_id not in utterance_ids or not said:
            continue
        words = [word for word, _ in said]
        lexicon, _ = select(whole, words)
        graph = training_graph(words, lexicon, topology, silence_probability=align.silence_probability)
        likelihoods = scores(one.utterance_id)
        path = best_path(likelihoods, graph, beam=align.beam, retry_beam=align.retry_beam)
        if path is not None:
            segments = word_segments(path, words, likelihoods)
            found[one.utterance_id] = [
                Word(segment.start_frame, segment.num_frames, wrong)
                for segment, (_, wrong) in zip(segments, said, strict=True)
            ]
    return found
