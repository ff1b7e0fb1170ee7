"""The export folder: a trained system that needs nothing else, and a manifest with the checksum of every file.

    export.json         the manifest: the system's name, how it is searched with, checksums
    model.yaml          features, spelling, network, aligner, search: those sections of the run's settings that are read
    model.safetensors   the network; model-00.safetensors, model-01.safetensors, ... of a system of several
    model.onnx          the same for ONNX Runtime and others, with the features in its metadata
    model.int8.onnx     the same in 8 bits
    prior.npy           log share of the training frames of each class
    classes.tsv         what each class stands for
    topology.json       HMM states of the phones
    lexicon.txt         pronunciations
    dictionary.txt      those of further words, where the run had a dictionary of its own
    usual_speaker.json  statistics for the normalisation of short audio
    graph/              decoding graph and its words
    README.md           the model card
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr import checksums
from kd_asr.artifacts import read_array
from kd_asr.checksums import own_checksum
from kd_asr.decoding.decoder import Search
from kd_asr.errors import UserError
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.settings.fields import dump
from kd_asr.settings.files import parse_settings_of
from kd_asr.settings.yaml_text import write_yaml
from kd_asr.stages.settings import Settings

EXPORT_FILE = "export.json"
FORMAT = "kd_asr.export.1"
# Of another name than a run's: the folder is none.
MODEL_SETTINGS_FILE = "model.yaml"
PRIOR_FILE = "prior.npy"
TOPOLOGY_FILE = "topology.json"
LEXICON_FILE = "lexicon.txt"
DICTIONARY_FILE = "dictionary.txt"
USUAL_FILE = "usual_speaker.json"
GRAPH_FOLDER = "graph"
# Sections that recognition reads, and those without which they could contradict the defaults of the others.
_SECTIONS = ("preset", "features", "spelling", "network", "align", "train", "adapt", "decode")


def is_export(folder: Path) -> bool:
    """Whether a folder is one that `kd-asr export` wrote."""
    return (folder / EXPORT_FILE).is_file()


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write what recognition needs of a run's settings in plain form."""
    kept = {name: settings[name] for name in _SECTIONS}
    if settings["losses"] != dump(Settings().losses):
        # Of networks that learn sequences these say how they are searched.
        kept |= {"losses": settings["losses"], "distil": {"sweep_temperatures": []}}
    kept["rescore"] = {"lattice_beam": settings["rescore"]["lattice_beam"]}
    (folder / MODEL_SETTINGS_FILE).write_text(write_yaml(kept), encoding="utf-8")


def read_manifest(folder: Path, *, thorough: bool = False) -> dict[str, Any]:
    """The manifest of an export folder whose files are all as they were written.

    Args:
        folder: see `is_export`.
        thorough: read all files, also large ones whose time of change is that of their making.

    Raises:
        UserError: names the file that is not, or says that another version wrote the folder.
    """
    try:
        fields = json.loads((folder / EXPORT_FILE).read_text(encoding="utf-8"))
        if fields["blake2b"] != own_checksum(fields):
            raise _damaged(folder, EXPORT_FILE, "its content is not what was written")
        if fields["format"] != FORMAT:
            raise UserError(
                f"{folder} has the format {fields['format']!r} instead of {FORMAT!r}: write it anew with "
                "`kd-asr export`, or use the version of kd_asr that wrote it"
            )
        found = checksums.fault(folder, fields["files"], thorough=thorough)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, EXPORT_FILE, error) from error
    if found:
        raise _damaged(folder, *found)
    return dict(fields)


def _damaged(folder: Path, name: str, reason: object) -> UserError:
    text = " ".join(str(reason).split())
    return UserError(f"{folder / name} is damaged ({text}): copy the export folder again, or write it anew")


def open_export(folder: Path) -> Recogniser:
    """The recogniser in an export folder.

    Raises:
        UserError: a file is missing or damaged, or another version wrote the folder.
    """
    fields = read_manifest(folder)
    settings = parse_settings_of(Settings, [], folder / MODEL_SETTINGS_FILE)
    dictionary = folder / DICTIONARY_FILE
    if dictionary.is_file():
        settings = replace(settings, lexicon=replace(settings.lexicon, path=str(dictionary)))
    usual, decode = folder / USUAL_FILE, settings.decode
    return Recogniser(
        name=fields["name"],
        settings=settings,
        networks=tuple(folder / name for name in fields["networks"]),
        average=fields["average"],
        prior=tuple(read_array(folder / PRIOR_FILE).tolist()),
        topology=folder / TOPOLOGY_FILE,
        lexicon=folder / LEXICON_FILE,
        usual=UsualSpeaker.load(usual) if usual.is_file() else None,
        longest_phone=fields["longest_phone"],
        graph=folder / GRAPH_FOLDER,
        search=Search(
            fields["acoustic_scale"], fields["insertion_penalty"], beam=decode.beam, max_active=decode.max_active
        ),
    )
