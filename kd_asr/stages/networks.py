"""Outputs of networks for utterances, and their scores, shared by several stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from kd_asr.alignment.store import AlignmentStore
from kd_asr.device import HOST, Precision, device_of
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores, score_frames
from kd_asr.features.store import FrameStore
from kd_asr.networks.base import Network
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.stages.speech import utterance_chunks

# Frames of a group of utterances, few enough for the outputs of ten networks to stay in the processor's cache.
PIECE = 4096
_PADDED = 256


def log_posteriors_of_inputs(model: nn.Module, inputs: Sequence[torch.Tensor], *, precision: Precision) -> torch.Tensor:
    """(frames, pdfs) float32 log-posteriors of the batches of `View.utterances`."""
    found = [log_posteriors_of_batch(model, batch, precision=precision) for batch in inputs]
    return found[0] if len(found) == 1 else torch.cat(found)


def posteriors_by_group(
    models: Sequence[Network],
    store: FrameStore,
    alignments: AlignmentStore,
    utterance_ids: Sequence[str],
    *,
    precision: Precision,
) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """Groups of consecutive utterances, with every model's (frames, pdfs) log-posteriors."""
    for names, _ in utterance_chunks(alignments, PIECE, utterance_ids):
        yield names, posteriors_of(models, store, names, precision=precision)


def posteriors_of(
    models: Sequence[Network],
    store: FrameStore,
    utterance_ids: Sequence[str],
    *,
    precision: Precision,
    stride: int = 1,
) -> list[torch.Tensor]:
    """(frames, pdfs) float32 log-posteriors of some utterances by every model, each through its own view.

    With a stride they are those of every `stride`-th frame of a single utterance, for which alone networks that were
    trained so are computed.
    """
    if stride > 1:
        return _strided_posteriors(models, store, utterance_ids, precision=precision, stride=stride)
    inputs = {view: view.utterances(store, utterance_ids) for view in {model.own_view for model in models}}
    return [log_posteriors_of_inputs(model, inputs[model.own_view], precision=precision) for model in models]


def _strided_posteriors(
    models: Sequence[Network], store: FrameStore, utterance_ids: Sequence[str], *, precision: Precision, stride: int
) -> list[torch.Tensor]:
    [name] = utterance_ids
    count, found = -(-store.num_frames(name) // stride), []
    for model in models:
        [batch] = model.own_view.utterances(store, [name])
        if device_of(model).uses_bf16(precision):
            # As for all frames, so that batches have few sizes; here, since of what is padded few frames have outputs.
            batch = F.pad(batch, (0, 0, 0, -batch.shape[1] % _PADDED))
        asked, model.only_labelled = model.only_labelled, True
        try:
            found.append(log_posteriors_of_batch(model, batch, precision=precision)[:count])
        finally:
            model.only_labelled = asked
    return found


def score_utterances(alignments: AlignmentStore, utterance_ids: Sequence[str], log_probs: torch.Tensor) -> FrameScores:
    """Frame accuracy of (frames, pdfs) log-posteriors that belong to some utterances, one after the other."""
    scores, first, found = [], 0, HOST.put(log_probs).numpy()
    for name in utterance_ids:
        pdfs = alignments.pdfs(name)
        scores.append(score_frames(name, found[first : first + len(pdfs)], pdfs))
        first += len(pdfs)
    return join_scores(scores)
