"""A page of a run in miniature whose ids and words are as hostile as they can be, made without any training."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from miniature_run import settings, write_run

from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import read_json
from kd_asr.corpora.manifest import SETS, Utterance, read_manifest
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.features.frames import log_mel
from kd_asr.features.store import FrameStore, create_store
from kd_asr.reporting.figures import run_figures
from kd_asr.reporting.page.settings import PageSettings
from kd_asr.reporting.page.speech import write_speech_page
from kd_asr.reporting.page.utterances import Sources
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.paper import paper_beside
from kd_asr.reporting.run_results import read_decoded, read_history
from kd_asr.stages.systems import run_systems

HOSTILE = "</script><script>alert(1)</script>\"'&"
HOSTILE_WORD = "<img src=x onerror=alert(2)>"
HOSTILE_PHONE = "<b>x</b>"
CHOSEN = settings(students=2, members=2, baselines=1)
SECONDS = 0.6


def hostile(utterance_id: str) -> str:
    return utterance_id.replace("-test-", f"-{HOSTILE}-")


def write_hostile_page(folder: Path, utterances: int = 3, megabytes: float = 1.0) -> Path:
    """Write a run and its page; the folder of the page."""
    run, out = folder / "run", folder / "report"
    write_run(run, CHOSEN)
    out.mkdir()
    systems = coloured(run_systems(CHOSEN))
    names = [system.name for system in systems.systems]
    decoded = {}
    for set_name in ("dev", "test"):
        files = {name: run / "decode" / name / f"{set_name}.jsonl" for name in names}
        for path in files.values():
            text = path.read_text().replace("WORD3", json.dumps(HOSTILE_WORD)[1:-1])
            path.write_text(text.replace("-test-", json.dumps(f"-{HOSTILE}-")[1:-1]))
        decoded[set_name] = {name: read_decoded(path) for name, path in files.items()}
    scores = {
        name: {set_name: FrameScores.from_json(one[set_name]) for set_name in SETS}
        for name, one in read_json(run / "evaluate" / "frames.json")["systems"].items()
    }
    spoken = [
        replace(one, utterance_id=hostile(one.utterance_id)) for one in read_manifest(run / "prepare" / "test.jsonl")
    ]
    figures = run_figures(
        systems,
        {set_name: {name: scores[name][set_name] for name in names} for set_name in SETS},
        decoded,
        scores,
        lambda name: name.split("-")[0],
    )
    content: dict[str, Any] = {
        "title": f"Distillation on {HOSTILE}",
        "corpus": {"source_label": HOSTILE, "description": HOSTILE},
        "preset": "tiny",
        "seed": 1,
        "groups": systems.to_json(),
        "figures": figures,
        "paper": paper_beside(systems),
        "sizes": {group.name: {"parameters": 1000 * (1 + number), "bytes": 4000} for number, group in
                  enumerate(systems.groups)},
        "choices": {group.name: {"acoustic_scale": 0.1, "insertion_penalty": 0.0, "grid": [
            {"acoustic_scale": 0.1, "insertion_penalty": 0.0, "dev_wer": 0.3}]} for group in systems.groups},
        "controls": {
            "ensemble_sizes": [{"members": size, "dev": [0.5, 0.52], "test": [0.51]} for size in (1, 2)],
            "unlabelled_shares": [{"minutes": 0.0, "dev_frame_accuracy": [0.5]}],
        },
        "sweep": [{"temperature": t, "hard_weight": w, "dev_frame_accuracy": 0.5} for t in (2, 1) for w in (0, 0.5)],
        "example": {"frame_shift_seconds": CHOSEN.features.frame_shift},
        "files": {"utterances": [f"test-{name}.tsv" for name in names]},
    }  # fmt: skip
    for name in ("report.md", "report.json", "wer.png", *content["files"]["utterances"]):
        (out / name).touch()
    histories = {
        group.name: [
            read_history(run / one.artifact / "history.jsonl") for one in systems.of_group(group)[0].members
        ]
        for group in systems.groups
    }
    sources = _sources(run, spoken)
    shown = PageSettings(utterances, megabytes)
    write_speech_page(out, json.loads(json.dumps(content)), histories, decoded["test"], sources=sources, settings=shown)
    return out


def _sources(run: Path, spoken: list[Utterance]) -> Sources:
    """Audio, frames, alignments and posteriors of the first three utterances; the audio of the third is missing."""
    chosen, features = CHOSEN.features, run / "features" / "test"
    rng = np.random.default_rng(3)
    first = spoken[:3]
    samples = 0.1 * rng.standard_normal(round(SECONDS * chosen.sample_rate)).astype(np.float32)
    frames = log_mel(samples, chosen)
    count = len(frames)
    create_store(features, [one.utterance_id for one in first], [count] * 3, chosen)
    store = FrameStore(features, writable=True)
    kept = []
    for number, one in enumerate(first):
        store.write(one.utterance_id, frames)
        path = run / f"{number}.flac"
        if number < 2:
            soundfile.write(path, samples, chosen.sample_rate, subtype="PCM_16")
        kept.append(replace(one, audio_path=str(path), num_samples=len(samples)))
    phones = (("SIL", 0, 4), ("AH0", 4, 6), ("B", 10, 5), ("IY1", 15, count - 15))
    segments = tuple(PhoneSegment(*one) for one in phones)
    aligned = run / "align" / "test"
    write_alignments(aligned, [Alignment(one.utterance_id, np.zeros(count, int), segments) for one in first])
    Topology.uniform(("SIL", "AH0", "AH1", "B", "IY1", HOSTILE_PHONE)).save(run / "align" / "topology.json")
    logits = rng.normal(0, 2, (3, count, 18))
    log_posteriors = (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(np.float32)
    return Sources(
        [*kept, *spoken[3:]],
        features,
        aligned,
        run / "align" / "topology.json",
        read_lexicon(run / "lexicon" / "lexicon.txt"),
        chosen,
        {
            group: lambda _, number=number: log_posteriors[number]  # type: ignore[misc]
            for number, group in enumerate(("baseline", "ensemble", "distilled"))
        },
    )


class Page(HTMLParser):
    """Elements of a page in order, with their attributes, and the text of the JSON in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_data = False
        self._data = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.data: dict[str, Any] = json.loads(self._data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self._data += data
        else:
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [found for tag, found in self.elements if tag in tags]
