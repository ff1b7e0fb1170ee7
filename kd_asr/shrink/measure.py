"""A network in a form and a precision on dev: bytes, time and frame accuracy, and words."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.console import say
from kd_asr.decoding.decoder import Decoder, search_set
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores, score_frames
from kd_asr.evaluation.wer import score_words
from kd_asr.features.store import FrameStore
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.files import load_network
from kd_asr.networks.operations import on_frames
from kd_asr.networks.quantised import EightBitLinear, Quantised
from kd_asr.parallel import Workers
from kd_asr.recognition.export import calibration_inputs
from kd_asr.recognition.networks import LoadedNetworks, RecogniserScores
from kd_asr.recognition.onnx_files import header_of, write_int8, write_onnx
from kd_asr.recognition.quantised_files import write_trained_int8
from kd_asr.recognition.recogniser import ENDINGS, Engine, Recogniser
from kd_asr.registry import Named, name_of
from kd_asr.shrink.forms import Writing
from kd_asr.shrink.plan import Shrunk
from kd_asr.stages.recognise import utterances_to_decode
from kd_asr.stages.settings import Settings
from kd_asr.stages.speakers import speakers_of

SET = "dev"
SCORES, ERRORS = "scores.json", "errors.json"
_HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Written:
    """A network, or several that are averaged, in a form and a precision.

    Attributes:
        shrunk: The network.
        writing: Precision in which its weights are written.
    """

    shrunk: Shrunk
    writing: Writing

    @property
    def name(self) -> str:
        """Last part of its artifacts' names."""
        return f"{self.shrunk.form}-{self.writing}-{self.shrunk.origin.name}"

    @property
    def engine(self) -> Engine:
        """What computes its outputs."""
        return "int8" if self.writing == "int8" else "torch"


def measure(run_dir: Path, settings: Settings, written: Written, base: Recogniser) -> Artifact:
    """Write a network and score it on dev: `shrink/<name>/scores.json` has counts by utterance, the metrics `bytes` of
    its files, `packed` bytes when they are deflated, `weights` that are not 0, `multiply_adds` for a frame, and
    `real_time_factor`, processor seconds of one thread for a second of speech.

    Args:
        run_dir: folder of the run.
        settings: of the run.
        written: what to measure.
        base: the system that it is made of, as a recogniser.
    """
    sources = [load_artifact(run_dir, one.artifact) for one in written.shrunk.networks]

    def work(folder: Path) -> dict[str, Any]:
        recogniser = replace(base, networks=files_of(run_dir, written, folder), engine=written.engine)
        scores, seconds = _scored(run_dir, recogniser)
        write_json(folder / SCORES, scores.to_json())
        audio = int(scores.frames.sum()) * settings.features.frame_shift
        weights, operations = zip(*(_counted(run_dir, one, settings) for one in written.shrunk.networks), strict=True)
        say(f"{written.name}: {100 * scores.frame_accuracy:.2f} % of the frames of dev")
        data = [path.read_bytes() for path in recogniser.engine_files]
        return {
            "bytes": sum(map(len, data)),
            "packed": sum(len(zlib.compress(one, 9)) for one in data),
            "weights": sum(weights),
            "multiply_adds": sum(operations),
            "real_time_factor": round(seconds / audio, 6),
            "frame_accuracy": scores.frame_accuracy,
        }

    return build_artifact(
        run_dir,
        f"shrink/{written.name}",
        code=__name__,
        settings={"writing": written.writing, "average": written.shrunk.origin.combine},
        inputs=[*sources, load_artifact(run_dir, "features"), load_artifact(run_dir, "align")],
        work=work,
    )


def files_of(run_dir: Path, written: Written, folder: Path) -> tuple[Path, ...]:
    """The networks' files as a `Recogniser` names them; those that are not there yet are written into a folder."""
    sources = [load_artifact(run_dir, one.artifact).path / one.file for one in written.shrunk.networks]
    if written.writing == "fp32":
        return tuple(sources)
    made = []
    for number, source in enumerate(sources):
        path = folder / (f"model-{number:02d}.safetensors" if len(sources) > 1 else "model.safetensors")
        if written.writing == "int8":
            _write_int8(run_dir, source, path)
        else:
            write_half(source, path, written.writing)
        made.append(path)
    return tuple(made)


def write_half(source: Path, target: Path, writing: Writing) -> None:
    """Write a file of `save_network` with its floating-point numbers in 16 bits; it is read as fp32."""
    state = {
        name: tensor.to(_HALVES[writing]) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(source).items()
    }
    target.write_bytes(save(state, {"kd_asr": json.dumps(header_of(source), sort_keys=True)}))


def _write_int8(run_dir: Path, source: Path, path: Path) -> None:
    """Write `<stem>.int8.onnx` beside `path`, which is not written itself."""
    network = load_network(source)
    dev, train = (calibration_inputs(run_dir, network.own_view, name) for name in ("dev", "train"))
    plain, small = (path.with_name(path.stem + ENDINGS[one]) for one in ("onnx", "int8"))
    if isinstance(network, Quantised):
        write_trained_int8(source, plain, small, dev)
    else:
        write_onnx(source, plain, dev)
        write_int8(plain, small, train, "static")
    plain.unlink()


def _scored(run_dir: Path, recogniser: Recogniser) -> tuple[FrameScores, float]:
    """Scores of dev, and the processor seconds of the networks in one thread."""
    store, alignments = FrameStore.open(run_dir / "features" / SET), AlignmentStore.open(run_dir / "align" / SET)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        networks = LoadedNetworks(recogniser, store.features)
        networks.log_posteriors(store, alignments.utterance_ids[0])  # libraries are set up
        found, seconds = [], 0.0
        for name in alignments.utterance_ids:
            started = time.process_time()
            outputs = networks.log_posteriors(store, name)
            seconds += time.process_time() - started
            found.append(score_frames(name, outputs, alignments.pdfs(name)))
    finally:
        torch.set_num_threads(before)
    return join_scores(found), seconds


def _counted(run_dir: Path, network: NetworkRef, settings: Settings) -> tuple[int, float]:
    """Parameters of a network that are not 0, and its multiply-adds for a frame, those with zeros among them."""
    saved = load_network(load_artifact(run_dir, network.artifact).path / network.file)
    asked = Named("network", name_of("network", type(saved)), saved.settings)
    in_eight_bits = [module.weight for module in saved.modules() if isinstance(module, EightBitLinear)]
    weights = sum(int(tensor.count_nonzero()) for tensor in (*saved.parameters(), *in_eight_bits))
    return weights, on_frames(asked, saved, settings.features).inference


def decode(run_dir: Path, written: Written, made: Artifact, base: Recogniser, workers: Workers) -> Artifact:
    """Recognise dev with a measured network, at scale and penalty of the system that it is made of, into
    `shrink/<name>-words/errors.json`: errors and words by utterance."""
    graph, search = base.searches_with

    def work(folder: Path) -> dict[str, Any]:
        utterances, lengths = utterances_to_decode(run_dir, SET)
        recogniser = replace(base, networks=_kept_files(run_dir, written, made), engine=written.engine)
        speakers = speakers_of(run_dir, SET) if base.settings.adapt.prior_frames > 0 else {}
        found = search_set(
            graph,
            lengths,
            RecogniserScores(recogniser, run_dir / "features" / SET, speakers),
            search,
            workers,
            method=Decoder.decode,
            scratch=folder,
            description=f"decode {written.name}",
        )
        errors = [score_words(one.words, other.words) for one, other in zip(utterances, found, strict=True)]
        write_json(
            folder / ERRORS,
            {
                "utterance_ids": [one.utterance_id for one in utterances],
                "errors": [one.errors for one in errors],
                "words": [one.reference_words for one in errors],
            },
        )
        total = sum(one.errors for one in errors) / max(1, sum(one.reference_words for one in errors))
        say(f"{written.name}: {100 * total:.2f} % WER on dev")
        return {"dev_wer": total}

    return build_artifact(
        run_dir,
        f"shrink/{written.name}-words",
        code=__name__,
        settings={
            "acoustic_scale": search.acoustic_scale,
            "insertion_penalty": search.insertion_penalty,
            "beam": search.beam,
            "max_active": search.max_active,
            "adapt": base.settings.adapt,
        },
        inputs=[made, load_artifact(run_dir, "graph"), load_artifact(run_dir, "prepare")],
        work=work,
    )


def _kept_files(run_dir: Path, written: Written, made: Artifact) -> tuple[Path, ...]:
    """The files that `measure` has written."""
    if written.writing == "fp32":
        return files_of(run_dir, written, made.path)
    several = len(written.shrunk.networks) > 1
    names = [f"model-{number:02d}" if several else "model" for number in range(len(written.shrunk.networks))]
    return tuple(made.path / f"{name}.safetensors" for name in names)


def scores_of(made: Artifact) -> FrameScores:
    """Counts of `measure`."""
    return FrameScores.from_json(read_json(made.path / SCORES))


def errors_of(made: Artifact) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Utterances of `decode`, and (utterances,) errors and words of each."""
    content = read_json(made.path / ERRORS)
    return content["utterance_ids"], np.asarray(content["errors"]), np.asarray(content["words"])
