"""`kd-asr export`: a system of a run as a folder that needs nothing else."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from kd_asr import __version__
from kd_asr.alignment.classes import CLASSES_FILE, write_classes
from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import load_artifact, move_into_place, partial_of, write_array, write_json
from kd_asr.checksums import described, own_checksum
from kd_asr.console import say
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.fingerprints import digest
from kd_asr.networks.files import load_network
from kd_asr.networks.quantised import Quantised
from kd_asr.networks.specialist import Specialist
from kd_asr.networks.views import View
from kd_asr.recognition.card import model_card
from kd_asr.recognition.folder import (
    DICTIONARY_FILE,
    EXPORT_FILE,
    FORMAT,
    GRAPH_FOLDER,
    LEXICON_FILE,
    PRIOR_FILE,
    TOPOLOGY_FILE,
    USUAL_FILE,
    is_export,
    open_export,
    read_manifest,
    write_settings,
)
from kd_asr.recognition.onnx_files import Int8, OnnxNetwork, check_extra, write_int8, write_onnx
from kd_asr.recognition.quantised_files import write_trained_int8
from kd_asr.recognition.recogniser import ENDINGS, Engine, Recogniser
from kd_asr.recognition.runs import TrainedSystem, find_system, recogniser_of
from kd_asr.reporting.tables import byte_size
from kd_asr.settings.fields import dump
from kd_asr.tasks.targets import load_topology

# Utterances on which files are checked, and those on which the ranges of activations are measured.
_COUNTS = {"dev": 3, "train": 20}
FORMATS: tuple[Engine, ...] = ("torch", "onnx", "int8")


def export(
    model: Path,
    out: Path,
    *,
    formats: Sequence[Engine] = FORMATS,
    int8: Int8 = "static",
    overwrite: bool = False,
) -> Path:
    """Write an export folder, whole or not at all; one that is there already and has the same content is kept.

    Args:
        model: a system of a run that has been decoded with, see `find_system`.
        out: the folder.
        formats: engines that the folder is for; `torch` always is.
        int8: how activations are quantised in the format `int8`.
        overwrite: replace an export folder of another content.

    Returns:
        The folder.

    Raises:
        UserError: the system is missing, `out` is there and is not to be replaced, the extra `export` is missing, or
            a network cannot be written in a format.
    """
    if set(formats) - {"torch"}:
        check_extra("onnx", "onnxscript", "onnxruntime")
    system = find_system(model)
    recogniser = recogniser_of(system, searching=True)
    return export_system(system, recogniser, out, formats=formats, int8=int8, overwrite=overwrite)


def export_system(
    system: TrainedSystem,
    recogniser: Recogniser,
    out: Path,
    *,
    formats: Sequence[Engine],
    int8: Int8,
    overwrite: bool,
    weights: str = "fp32",
) -> Path:
    """`export` of a system with the files of `recogniser`, whose weights are written in the precision `weights`."""
    made_of = _made_of(system, formats, int8, weights)
    if _is_done(out, made_of, overwrite=overwrite):
        say(f"{out}: done before, unchanged")
        return out
    partial = partial_of(out.absolute())
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        convert = functools.partial(_convert, run_dir=system.run_dir, formats=formats, int8=int8)
        _write(partial, system, recogniser, made_of, convert)
        open_export(partial)
        move_into_place(partial, out.absolute())
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"{out}: {byte_size(sum(one['bytes'] for one in read_manifest(out)['files'].values()))}")
    return out


def _made_of(system: TrainedSystem, formats: Sequence[Engine], int8: Int8, weights: str) -> str:
    """Digest of all that decides the content of the folder."""
    names = [*(one.artifact for one in system.networks), "features", system.settings.targets.artifact]
    names += ["lexicon", "graph"]
    artifacts = [load_artifact(system.run_dir, name) for name in (*names, f"decode/{system.scaled_as}")]
    report = system.run_dir / "report" / "report.json"
    return digest(
        {
            "version": __version__,
            "format": FORMAT,
            "formats": sorted({"torch", *formats}),
            "int8": int8 if "int8" in formats else "",
            **({} if weights == "fp32" else {"weights": weights}),
            "system": [system.name, system.average],
            "artifacts": {one.name: one.fingerprint for one in artifacts},
            "report": report.read_text(encoding="utf-8") if report.is_file() else "",
        }
    )


def _is_done(out: Path, made_of: str, *, overwrite: bool) -> bool:
    """Whether the folder is there with this content; a `UserError` if it may not be written."""
    if is_export(out):
        try:
            if read_manifest(out, thorough=True)["made_of"] == made_of:
                return True
        except UserError as error:
            if not overwrite:
                raise UserError(f"{error}; --overwrite replaces it") from error
        if not overwrite:
            raise UserError(f"{out} holds another export: --overwrite replaces it, or name another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there and is no export folder: name a folder that is not there yet")
    return False


def _write(
    folder: Path,
    system: TrainedSystem,
    recogniser: Recogniser,
    made_of: str,
    convert: Callable[[Path], dict[str, Any]],
) -> None:
    write_settings(folder, dump(recogniser.settings))
    single = len(recogniser.networks) == 1
    networks = ["model.safetensors"] if single else [
        f"model-{number:02d}.safetensors" for number in range(len(recogniser.networks))
    ]  # fmt: skip
    for source, name in zip(recogniser.networks, networks, strict=True):
        shutil.copyfile(source, folder / name)
    converted = {name: convert(folder / name) for name in networks}
    alignments = AlignmentStore.open(load_artifact(system.run_dir, system.settings.targets.artifact).path / "train")
    write_array(folder / PRIOR_FILE, recogniser.log_prior)
    shutil.copyfile(recogniser.topology, folder / TOPOLOGY_FILE)
    write_classes(folder / CLASSES_FILE, load_topology(recogniser.topology), alignments)
    shutil.copyfile(recogniser.lexicon, folder / LEXICON_FILE)
    if recogniser.settings.lexicon.path:
        shutil.copyfile(recogniser.settings.lexicon.path, folder / DICTIONARY_FILE)
    if recogniser.usual is not None:
        recogniser.usual.save(folder / USUAL_FILE)
    graph, search = recogniser.searches_with
    (folder / GRAPH_FOLDER).mkdir()
    for name in (GRAPH_FILE, WORDS_FILE):
        shutil.copyfile(graph / name, folder / GRAPH_FOLDER / name)
    (folder / "README.md").write_text(model_card(system, folder, networks, converted), encoding="utf-8")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "made_of": made_of,
        "name": recogniser.name,
        "networks": networks,
        "average": recogniser.average,
        "acoustic_scale": search.acoustic_scale,
        "insertion_penalty": search.insertion_penalty,
        "longest_phone": recogniser.longest_phone,
        "converted": converted,
        "files": described(folder),
    }
    manifest["blake2b"] = own_checksum(json.loads(json.dumps(manifest)))
    write_json(folder / EXPORT_FILE, manifest)


def _convert(weights: Path, *, run_dir: Path, formats: Sequence[Engine], int8: Int8) -> dict[str, Any]:
    """Write a network in further formats beside its weights; what was seen on frames of dev.

    Files in 8 bits are made from those in fp32, which are deleted where they are not wanted.
    """
    if not set(formats) - {"torch"}:
        return {}
    network = load_network(weights)
    if isinstance(network, Specialist):
        raise UserError(
            "a generalist with its specialists is put together by torch alone: export it in the format torch, or the "
            "student of specialists"
        )
    view = network.own_view
    checked, calibrated = (calibration_inputs(run_dir, view, name) for name in ("dev", "train"))
    plain = weights.with_name(weights.stem + ENDINGS["onnx"])
    small = weights.with_name(weights.stem + ENDINGS["int8"])
    say(f"{weights.stem}: as ONNX")
    if isinstance(network, Quantised):
        found: dict[str, Any] = dict(write_trained_int8(weights, plain, small, checked))
        if "int8" in formats:
            found |= {"int8": "trained", "int8_against_fp32": _compare(OnnxNetwork(plain), OnnxNetwork(small), checked)}
        else:
            small.unlink()
    else:
        found = {"onnx_difference": write_onnx(weights, plain, checked)}
    if "int8" in formats and not isinstance(network, Quantised):
        say(f"{weights.stem}: in 8 bits, {int8}")
        write_int8(plain, small, calibrated, int8)
        found |= {"int8": int8, "int8_against_fp32": _compare(OnnxNetwork(plain), OnnxNetwork(small), checked)}
    if "onnx" not in formats:
        plain.unlink()
    return found


def calibration_inputs(run_dir: Path, view: View, set_name: str) -> list[Tensor]:
    """Inputs from utterances that are spread over a set of a run and have several frames: of train those on which the
    ranges of activations are measured, of dev fewer, on which files are checked."""
    store, count = FrameStore.open(run_dir / "features" / set_name), _COUNTS[set_name]
    names = [name for name in store.utterance_ids if store.num_frames(name) > 1]
    return [batch for name in names[:: max(1, len(names) // count)][:count] for batch in view.utterances(store, [name])]


def _compare(plain: OnnxNetwork, small: OnnxNetwork, batches: Sequence[Tensor]) -> dict[str, float]:
    """Share of frames with the same most probable class, and mean Kullback-Leibler divergence in nats."""
    one, other = (np.concatenate([network(batch) for batch in batches]) for network in (plain, small))
    return {
        "same_class": float((one.argmax(axis=1) == other.argmax(axis=1)).mean()),
        "divergence": float((np.exp(one) * (one - other)).sum(axis=1).mean()),
    }
