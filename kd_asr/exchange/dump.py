"""Alignments and posteriors of a run in the formats of other programs: `kd-asr dump`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kd_asr.alignment.classes import CLASSES_FILE, write_classes
from kd_asr.alignment.ctm import TimedPhone, write_ctm
from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import SILENCE, Topology
from kd_asr.alignment.words import phones_in_time, words_of_phones, write_text_grid
from kd_asr.artifacts import load_artifact
from kd_asr.console import say
from kd_asr.corpora.manifest import Utterance, read_manifest
from kd_asr.decoding.decoder import unpickled_scores
from kd_asr.device import find_device
from kd_asr.errors import UserError
from kd_asr.exchange import MATRICES, Format
from kd_asr.exchange.formats import Interval, kaldi_archive, lhotse_manifests, npz_file
from kd_asr.features.store import FrameStore
from kd_asr.parallel import parallel_map
from kd_asr.recognition.runs import TrainedSystem, find_system
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.recognise import NetworkScores
from kd_asr.stages.settings import Settings, load_settings
from kd_asr.stages.speakers import speakers_of
from kd_asr.text import shown


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder with anything in it, unless it may be overwritten.

    Raises:
        UserError: names the folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise UserError(f"--out {shown(out)} is not an empty folder: name another one, or give --overwrite")
    out.mkdir(parents=True, exist_ok=True)


def dump_alignments(run_dir: Path, set_name: str, form: Format, out: Path) -> int:
    """Write the alignments of a set, and `classes.tsv`; the number of utterances.

    `ctm`: `words.ctm` and `phones.ctm`. `textgrid`: `UTTERANCE.TextGrid`, words and phones. `lhotse`: recordings and
    supervisions with both. `kaldi`: `pdfs.ark` and `pdfs.scp`, `npz`: `pdfs.npz`, the class of every frame, int32.

    Raises:
        UserError: the run has no alignment, or one of other settings.
    """
    settings = load_settings(run_dir)
    aligned = load_artifact(run_dir, "align")
    check_agreement(run_dir, settings, [aligned.name])
    store = AlignmentStore.open(aligned.path / set_name)
    _write_classes(out, run_dir)
    if form in MATRICES:
        with kaldi_archive(out / "pdfs") if form == "kaldi" else npz_file(out / "pdfs.npz") as add:
            for name in store.utterance_ids:
                add(name, np.array(store.pdfs(name), dtype=np.int32))
        return len(store.utterance_ids)
    manifest = {item.utterance_id: item for item in read_manifest(run_dir / "prepare" / f"{set_name}.jsonl")}
    timed = _in_time(run_dir, settings, store, [manifest[name] for name in store.utterance_ids])
    if form == "ctm":
        found = list(timed)
        tiers = {"words": [one[1] for one in found], "phones": [one[2] for one in found]}
        for tier, intervals in tiers.items():
            as_ctm = [
                (one[0].utterance_id, [TimedPhone(w, s, e - s) for w, s, e in spoken])
                for one, spoken in zip(found, intervals, strict=True)
            ]
            write_ctm(out / f"{tier}.ctm", as_ctm)
    elif form == "textgrid":
        for spoken, words, phones in timed:
            path = out / f"{spoken.utterance_id.replace('/', '_')}.TextGrid"
            write_text_grid(path, {"words": words, "phones": phones}, max(spoken.seconds, phones[-1][2]))
    else:
        with lhotse_manifests(out, set_name) as writer:
            for spoken, words, phones in timed:
                writer.add(spoken, {"word": words, "phone": [one for one in phones if one[0] != SILENCE]})
    return len(store.utterance_ids)


def _in_time(
    run_dir: Path, settings: Settings, store: AlignmentStore, items: Sequence[Utterance]
) -> Iterator[tuple[Utterance, list[Interval], list[Interval]]]:
    """Each utterance with its words and its phones in seconds."""
    lexicon, shift = read_lexicon(run_dir / "lexicon" / "lexicon.txt"), settings.features.frame_shift
    without = []
    for item in items:
        phones = store.phones(item.utterance_id)
        words = words_of_phones(phones, item.words, lexicon)
        if not words:
            without.append(item.utterance_id)
        in_seconds = [(word, first * shift, (first + count) * shift) for word, first, count in words]
        yield item, in_seconds, phones_in_time(phones, shift)
    if without:
        say(f"{len(without)} utterances have no times of words, such as {without[0]}: their phones do not tell them")


def _write_classes(out: Path, run_dir: Path) -> None:
    aligned = load_artifact(run_dir, "align").path
    write_classes(
        out / CLASSES_FILE, Topology.load(aligned / "topology.json"), AlignmentStore.open(aligned / "train")
    )


def system_in(place: Path, *, device: str, jobs: int) -> TrainedSystem:
    """The trained system of a folder, for another device and number of processes than those of its run.

    Raises:
        UserError: see `find_device` and `find_system`.
    """
    find_device(device)
    system = find_system(place)
    return replace(system, settings=replace(system.settings, device=device, jobs=jobs))


def dump_posteriors(system: TrainedSystem, set_name: str, form: Format, out: Path) -> int:
    """Write the log-posteriors of a system for every frame of a set, (frames, classes) float32, and `classes.tsv`; the
    number of utterances.

    `kaldi`: `posteriors.ark` and `posteriors.scp`; `npz`: `posteriors.npz`. On dev and test the networks are adapted to
    the speaker where the run does so.

    Raises:
        UserError: the format has no place for them.
    """
    if form not in MATRICES:
        raise UserError(f"posteriors are written as {' or '.join(MATRICES)}, not as {form}: alignments are a run's")
    run_dir, settings = system.run_dir, system.settings
    settings.check_frames("kd-asr dump of posteriors")
    frames = run_dir / "features" / set_name
    names = FrameStore.open(frames).utterance_ids
    _write_classes(out, run_dir)
    num_pdfs = Topology.load(run_dir / "align" / "topology.json").num_pdfs
    scores = NetworkScores(
        run_dir,
        frames,
        system.networks,
        settings,
        torch.zeros(num_pdfs),
        average=system.average,
        speakers=speakers_of(run_dir, set_name) if set_name != "train" else None,
    )
    with ExitStack() as stack:
        add = stack.enter_context(
            kaldi_archive(out / "posteriors") if form == "kaldi" else npz_file(out / "posteriors.npz")
        )
        found = parallel_map(
            partial(_posteriors, scores=pickle.dumps(scores)),
            names,
            description="posteriors",
            unit="utterances",
            jobs=find_device(settings.device).processes(settings.jobs),
        )
        for name, array in zip(names, found, strict=True):
            add(name, array)
    return len(names)


def _posteriors(utterance_id: str, scores: bytes) -> NDArray[np.float32]:
    return unpickled_scores(scores)(utterance_id)
