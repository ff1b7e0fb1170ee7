"""Stage `uncertainty`: how well each system's measures of uncertainty find wrong frames, misrecognised words, and audio
unlike the training data."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, write_json
from kd_asr.corpora.base import corpus_of
from kd_asr.corpora.manifest import read_manifest
from kd_asr.device import Device, find_device
from kd_asr.distillation.objectives import concentrations_of
from kd_asr.evaluation.uncertainty import area_under_curve
from kd_asr.experiments.uncertainty.measures import MEASURES, FrameMeasures, frame_measures
from kd_asr.experiments.uncertainty.odd_audio import SPEECH, write_odd_audio
from kd_asr.experiments.uncertainty.page import WRONG_FRAMES, WRONG_WORDS, page, table_of
from kd_asr.experiments.uncertainty.words import recognised_words
from kd_asr.features.store import FrameStore
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.jobs.systems import Group, System
from kd_asr.parallel import parallel_map
from kd_asr.reporting.tables import to_rich
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.features import USUAL_SPEAKER_FILE
from kd_asr.stages.own_frames import store_frames
from kd_asr.stages.plan import student_jobs
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import load_networks, run_systems

# Utterances of test whose errors are looked for, and those that audio of other kinds is told from; evenly spaced.
_MOST_UTTERANCES = 400
_MOST_SPEECH = 60
FRAMES = "frames"
# (labels,) of each measure, and which of them are to be found.
Found = tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Row:
    """How well a measure of a system tells some labels from others.

    Attributes:
        question: What is to be found: `WRONG_FRAMES`, `WRONG_WORDS`, or a kind of audio.
        unit: What is told apart: frame, word or file; a word or file has the mean over its frames.
        group: Group of the system.
        system: System.
        measure: Measure of uncertainty, one of `MEASURES`.
        area: Area under the curve, 0..1; None where there is nothing to tell apart.
        positive: Number that is to be found.
        count: Number of all.
    """

    question: str
    unit: str
    group: str
    system: str
    measure: str
    area: float | None
    positive: int
    count: int


def uncertainty(run_dir: Path, settings: Settings) -> Artifact:
    """Write `uncertainty/uncertainty.md`, `.tsv` and `.json`.

    Raises:
        UserError: a system has not been decoded with, or was made with other settings.
    """
    settings.check_frames("the experiment on uncertainty")
    systems, device = run_systems(settings), find_device(settings.device)
    chosen = [
        (group, system)
        for group in systems.groups
        if group.role != "other"
        for system in systems.of_group(group)
    ]
    decoded = [f"decode/{system.name}" for _, system in chosen]
    check_agreement(run_dir, settings, decoded)
    networks = dict.fromkeys(member.artifact for _, system in chosen for member in system.members)
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "align", "lexicon", *decoded, *networks)]

    def work(folder: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="kd_asr-") as scratch:
            kinds, odd = _store_odd_audio(run_dir, settings, Path(scratch)), Path(scratch) / FRAMES
            found = parallel_map(
                partial(_rows, run_dir=run_dir, settings=settings, device=device, kinds=kinds, odd_frames=odd),
                chosen,
                description="uncertainty",
                unit="systems",
                jobs=device.processes(settings.jobs),
            )
            rows = [row for of_system in found for row in of_system]
        groups = [group for group in systems.groups if group.role != "other"]
        content = {
            "title": f"Uncertainty on {corpus_of(settings.corpus).label}",
            "description": corpus_of(settings.corpus).description,
            "groups": [asdict(group) for group in groups],
            "rows": summarised(rows),
        }
        _write_tsv(folder / "uncertainty.tsv", rows)
        write_json(folder / "uncertainty.json", content)
        (folder / "uncertainty.md").write_text(page(content), encoding="utf-8")
        return {"rows": content["rows"], "groups": content["groups"], "title": content["title"]}

    return build_artifact(
        run_dir,
        "uncertainty",
        code=__name__,
        settings={
            "systems": [system for _, system in chosen],
            "features": settings.features,
            "precision": settings.train.precision,
            "seed": settings.seed,
        },
        inputs=inputs,
        work=work,
    )


def print_table(artifact: Artifact) -> None:
    """Print the areas under the curves on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(to_rich(table_of(artifact.metrics, narrow=True)))
    console.print(f"Page: {artifact.path / 'uncertainty.md'}", markup=False, soft_wrap=True)


def summarised(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the systems of a group, in the order of the first of each."""
    keys = dict.fromkeys((row.question, row.unit, row.group, row.measure) for row in rows)
    found = []
    for key in keys:
        same = [row for row in rows if (row.question, row.unit, row.group, row.measure) == key]
        areas = [row.area for row in same if row.area is not None]
        fields = dict(zip(("question", "unit", "group", "measure"), key, strict=True))
        found.append({**fields, "area": mean(areas) if areas else None, "systems": len(areas)})
    return found


def _write_tsv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__), dialect="excel-tab", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _some(names: Sequence[str], most: int) -> list[str]:
    """Evenly spaced names."""
    count = min(most, len(names))
    return [names[number * len(names) // count] for number in range(count)]


def _store_odd_audio(run_dir: Path, settings: Settings, folder: Path) -> dict[str, list[str]]:
    """Write a frame store of every kind of audio into `folder / FRAMES`; names in the store by kind.

    Every file is normalised for itself, speech of test too, so that no kind is told from it by its normalisation.
    """
    utterances = {one.utterance_id: one for one in read_manifest(run_dir / "prepare" / "test.jsonl")}
    present = FrameStore.open(run_dir / "features" / "test").utterance_ids
    chosen = [utterances[name] for name in _some(present, _MOST_SPEECH)]
    written = write_odd_audio(chosen, folder / "audio", rate=settings.features.sample_rate, seed=settings.seed)
    kind_of = {path: kind for kind, paths in written.items() for path in paths}
    usual = UsualSpeaker.load(load_artifact(run_dir, "features").path / USUAL_SPEAKER_FILE)
    audio, _ = store_frames(list(kind_of), folder / FRAMES, settings.features, usual=usual, one_speaker=False)
    names: dict[str, list[str]] = {kind: [] for kind in written}
    for item in audio:
        names[kind_of[item.file]] += [piece.name for piece in item.pieces]
    return names


def _rows(
    chosen: tuple[Group, System],
    *,
    run_dir: Path,
    settings: Settings,
    device: Device,
    kinds: Mapping[str, Sequence[str]],
    odd_frames: Path,
) -> list[Row]:
    """Everything about one system."""
    group, system = chosen
    store = FrameStore.open(run_dir / "features" / "test")
    models = device.put(load_networks(run_dir, system.members, store.features))
    taught = {job.name: job.losses for job in student_jobs(settings)}
    measuring = partial(
        frame_measures,
        models,
        average=system.combine,
        concentrations=concentrations_of(taught.get(system.members[0].artifact, ())),
        precision=settings.train.precision,
    )
    names = _some(AlignmentStore.open(run_dir / "align" / "test").utterance_ids, _MOST_UTTERANCES)
    of_test = dict(measuring(store, names))
    frames = FrameStore.open(odd_frames)
    of_kinds = {kind: [one for _, one in measuring(frames, of)] for kind, of in kinds.items()}
    make = partial(_areas, group=group.name, system=system.name)
    rows = make(WRONG_FRAMES, "frame", *_wrong_frames(run_dir, of_test))
    rows += make(WRONG_WORDS, "word", *_wrong_words(run_dir, settings, system, of_test))
    for kind, of_kind in of_kinds.items():
        if kind != SPEECH:
            both = [(one, other) for other, part in ((False, of_kinds[SPEECH]), (True, of_kind)) for one in part]
            by_file = [({name: float(of.mean()) for name, of in one.values.items()}, other) for one, other in both]
            rows += make(kind, "file", *_columns(by_file))
            lengths = [one.frames for one, _ in both]
            rows += make(kind, "frame", _joined([one for one, _ in both]), np.repeat([odd for _, odd in both], lengths))
    return rows


def _joined(parts: Sequence[FrameMeasures]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([one.values[name] for one in parts]) for name in parts[0].values}


def _columns(found: Sequence[tuple[dict[str, float], bool]]) -> Found:
    values = {name: np.array([one[name] for one, _ in found]) for name in (found[0][0] if found else {})}
    return values, np.array([positive for _, positive in found], dtype=bool)


def _wrong_frames(run_dir: Path, of_test: Mapping[str, FrameMeasures]) -> Found:
    alignments = AlignmentStore.open(run_dir / "align" / "test")
    wrong = [one.predicted != alignments.pdfs(name) for name, one in of_test.items()]
    return _joined(list(of_test.values())), np.concatenate(wrong)


def _wrong_words(run_dir: Path, settings: Settings, system: System, of_test: Mapping[str, FrameMeasures]) -> Found:
    found = []
    for name, words in recognised_words(run_dir, settings, system, of_test).items():
        for word in words:
            frames = slice(word.first_frame, word.first_frame + word.frames)
            found.append(({key: float(of[frames].mean()) for key, of in of_test[name].values.items()}, word.wrong))
    return _columns(found)


def _areas(
    question: str,
    unit: str,
    values: Mapping[str, NDArray[np.float64]],
    positive: NDArray[np.bool_],
    *,
    group: str,
    system: str,
) -> list[Row]:
    found, count = int(positive.sum()), len(positive)
    return [
        Row(question, unit, group, system, name, area_under_curve(values[name], positive), found, count)
        for name in MEASURES
        if name in values
    ]
