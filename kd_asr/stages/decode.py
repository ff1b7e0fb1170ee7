"""Stage `decode`: words of dev and test by every system; scale and penalty are chosen on dev, test is decoded once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import NetworkSettings, Settings
from kd_asr.console import say
from kd_asr.corpora.manifest import Utterance, read_manifest
from kd_asr.decoding.decoder import Hypothesis, Search, decode_set
from kd_asr.decoding.tuning import Choice, choose_on_grid
from kd_asr.evaluation.wer import score_words, total_errors
from kd_asr.features.store import FrameStore
from kd_asr.models.inference import log_posteriors
from kd_asr.parallel import Workers
from kd_asr.stages.networks import ROOMS, windows
from kd_asr.stages.systems import BASELINE, combine, load_networks, student_names, systems


class NetworkScores:
    """Log-likelihoods, up to a constant of the frame, of a set's utterances: log posterior - log prior.

    The networks are loaded in the process that asks first, so that an object is cheap to send to a worker.
    """

    def __init__(self, run_dir: Path, set_name: str, names: list[str], settings: Settings, log_prior: torch.Tensor):
        self._run_dir = run_dir
        self._set_name = set_name
        self._names = names
        self._settings = settings
        self._log_prior = log_prior.numpy()  # the same bytes each time it is pickled, unlike a tensor
        self._loaded: tuple[nn.Module, NetworkSettings, FrameStore] | None = None

    def __call__(self, utterance_id: str) -> NDArray[np.float32]:
        """(frames, pdfs) float32."""
        if self._loaded is None:
            store = FrameStore.open(self._run_dir / "features" / self._set_name)
            models, network, _ = load_networks(self._run_dir, self._names, store.features)
            self._loaded = combine(models, self._settings), network, store
        model, network, store = self._loaded
        inputs = windows(store, [utterance_id], network)
        scores = log_posteriors(
            model, inputs, torch.arange(len(inputs)), precision=self._settings.train.precision
        )
        return np.asarray(scores.numpy() - self._log_prior, dtype=np.float32)


def log_prior(alignments: AlignmentStore, num_pdfs: int) -> torch.Tensor:
    """(pdfs,) log share of the training frames; a pdf that was never seen counts as seen once."""
    counts = np.zeros(num_pdfs)
    for name in alignments.utterance_ids:
        counts += np.bincount(alignments.pdfs(name), minlength=num_pdfs)
    counts = np.maximum(counts, 1.0)
    return torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))


def _write(path: Path, utterances: list[Utterance], hypotheses: list[Hypothesis]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for utterance, hypothesis in zip(utterances, hypotheses, strict=True):
            record = {
                "utterance_id": utterance.utterance_id,
                "reference": list(utterance.words),
                "hypothesis": list(hypothesis.words),
                "seconds": utterance.seconds,
                "search_seconds": round(hypothesis.search_seconds, 4),
                "reached_final": hypothesis.reached_final,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _wer(utterances: list[Utterance], hypotheses: list[Hypothesis]) -> float:
    pairs = zip(utterances, hypotheses, strict=True)
    return total_errors(score_words(item.words, hypothesis.words) for item, hypothesis in pairs).wer


def decode(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `decode/<system>/dev.jsonl` and `test.jsonl` for baseline, ensemble and every student.

    The baseline's choice of scale and penalty is where the others' search begins. The students are one system: the
    first one's choice holds for all.
    """
    made: list[Artifact] = []
    begin: dict[str, Artifact] = {}
    first_student = student_names(settings)[0].rsplit("/", maxsplit=1)[1]
    with Workers(settings.jobs) as workers:
        for system in systems(settings):
            is_later_student = system.startswith("student") and system != first_student
            start = begin.get(first_student) if is_later_student else begin.get(BASELINE)
            artifact = _decode_system(run_dir, settings, system, start, workers, frozen=is_later_student)
            begin[system] = artifact
            made.append(artifact)
    return made


def _decode_system(
    run_dir: Path, settings: Settings, system: str, start: Artifact | None, workers: Workers, *, frozen: bool
) -> Artifact:
    """Decode both sets with one system; `start` is another system's artifact whose choice is begun with or, if
    `frozen`, kept."""
    names = systems(settings)[system]
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "align", "graph", *names)]
    aligned, graph = inputs[2], inputs[3]

    def work(folder: Path) -> dict[str, Any]:
        num_pdfs = Topology.load(aligned.path / "topology.json").num_pdfs
        prior = log_prior(AlignmentStore.open(aligned.path / "train"), num_pdfs)
        search = Search(acoustic_scale=1.0, beam=settings.decode.beam, max_active=settings.decode.max_active)

        def run(set_name: str, scale: float, penalty: float) -> tuple[list[Utterance], list[Hypothesis]]:
            store = FrameStore.open(run_dir / "features" / set_name)
            present = set(store.utterance_ids)
            manifest = read_manifest(run_dir / "prepare" / f"{set_name}.jsonl")
            utterances = [item for item in manifest if item.utterance_id in present]
            hypotheses = decode_set(
                graph.path,
                [(item.utterance_id, store.num_frames(item.utterance_id)) for item in utterances],
                NetworkScores(run_dir, set_name, names, settings, prior),
                replace(search, acoustic_scale=scale, insertion_penalty=penalty),
                workers,
                scratch=folder,
                description=f"decode {system} {set_name} ({scale:g}, {penalty:g})",
            )
            return utterances, hypotheses

        decoded: dict[tuple[float, float], tuple[list[Utterance], list[Hypothesis]]] = {}

        def dev_wer(scale: float, penalty: float) -> float:
            decoded[scale, penalty] = run("dev", scale, penalty)
            return _wer(*decoded[scale, penalty])

        scales, penalties = settings.decode.acoustic_scales, settings.decode.insertion_penalties
        if frozen and start is not None:
            scales, penalties = (start.metrics["acoustic_scale"],), (start.metrics["insertion_penalty"],)
        origin = (start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]) if start is not None else None
        choice: Choice = choose_on_grid(dev_wer, scales, penalties, start=origin)
        _write(folder / "dev.jsonl", *decoded[choice.acoustic_scale, choice.insertion_penalty])
        utterances, hypotheses = run("test", choice.acoustic_scale, choice.insertion_penalty)
        _write(folder / "test.jsonl", utterances, hypotheses)
        seconds = sum(item.search_seconds for item in hypotheses)
        say(f"{system}: {100 * choice.wer:.2f} % WER on dev, acoustic scale {choice.acoustic_scale:g}, "
            f"insertion penalty {choice.insertion_penalty:g}")  # fmt: skip
        return {
            "acoustic_scale": choice.acoustic_scale,
            "insertion_penalty": choice.insertion_penalty,
            "dev_wer": choice.wer,
            "grid": [
                {"acoustic_scale": scale, "insertion_penalty": penalty, "dev_wer": wer}
                for (scale, penalty), wer in sorted(choice.grid.items())
            ],
            "search_real_time_factor": round(seconds / sum(item.seconds for item in utterances), 5),
            "unfinished": sum(not item.reached_final for item in hypotheses),
        }

    return build_artifact(
        run_dir,
        f"decode/{system}",
        stage="decode",
        settings={
            "decode": settings.decode,
            "average": settings.ensemble.average,
            "precision": settings.train.precision,
            "start": None if start is None else [start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]],
            "frozen": frozen,
        },
        inputs=inputs,
        rooms=(*ROOMS, "decoding", "evaluation"),
        shared=("networks", "systems"),
        work=work,
    )
