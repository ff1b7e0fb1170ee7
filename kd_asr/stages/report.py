"""Stage `report`: all figures of a run on one page, as JSON, as plots and as per-utterance tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from rich.console import Console

from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.words import words_of_phones
from kd_asr.artifacts import (
    MANIFEST,
    Artifact,
    build_artifact,
    finished,
    load_artifact,
    making_stage,
    read_json,
    write_json,
)
from kd_asr.corpora.base import corpus_of, set_names
from kd_asr.corpora.manifest import SETS, read_manifest
from kd_asr.errors import UserError
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.experiments.filters.filters import check_filters
from kd_asr.experiments.filters.results import FILTERS, show_filters
from kd_asr.features.store import FrameStore
from kd_asr.jobs.systems import Group, Systems
from kd_asr.machine import Machine
from kd_asr.reporting.banner import banner
from kd_asr.reporting.contents import console_table
from kd_asr.reporting.control_plots import plot_controls
from kd_asr.reporting.csv_tables import write_page
from kd_asr.reporting.figures import run_figures
from kd_asr.reporting.markdown import page, summary
from kd_asr.reporting.page.speech import write_speech_page
from kd_asr.reporting.page.utterances import Sources
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.paper import paper_beside
from kd_asr.reporting.plots import plot_dev_grid, plot_frame_accuracy, plot_training_curves, plot_wer
from kd_asr.reporting.run_results import (
    DecodedUtterance,
    count_rejected,
    paired_decoded,
    paired_scores,
    read_decoded,
    read_history,
    read_rejected,
)
from kd_asr.reporting.tables import to_rich
from kd_asr.reporting.utterance_plot import plot_utterance
from kd_asr.reporting.utterance_table import write_utterance_table
from kd_asr.settings.fields import dump
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.controls import share_jobs
from kd_asr.stages.decode import tuning_name
from kd_asr.stages.recognise import set_scores
from kd_asr.stages.settings import Settings
from kd_asr.stages.speakers import speakers_of
from kd_asr.stages.systems import run_systems

DECODED_SETS = ("dev", "test")
# Shown where a run has them: a language model that is given makes no artifact.
_OPTIONAL = ("features", "language_model", "augment", "transfer", "graph", "sweep", FILTERS)


def report(run_dir: Path, settings: Settings) -> Artifact:
    """Write `report/`: the page `index.html` with what it needs, `report.md`, `report.json`, five PNG files, and a TSV
    per system and decoded set.

    Raises:
        UserError: a stage has not been run, its result is out of date or made with other settings, or a file of it is
            damaged.
    """
    systems = coloured(run_systems(settings))
    artifacts = _load_artifacts(run_dir, settings, systems)
    check_agreement(run_dir, settings, artifacts)
    if FILTERS in artifacts:
        check_filters(run_dir, settings)

    def work(folder: Path) -> dict[str, Any]:
        return _write_report(folder, run_dir, artifacts, systems, settings)

    return build_artifact(
        run_dir,
        "report",
        code=__name__,
        settings=dump(settings),
        inputs=artifacts.values(),
        work=work,
    )


def print_table(report_json: Path, file: TextIO | None = None) -> None:
    """Print the main table, the summary and the path of the page of a report on standard output or `file`."""
    content = read_json(report_json)
    console = Console(file=file or sys.stdout, highlight=False)
    if banner(content["preset"]):
        console.print(banner(content["preset"]), markup=False, style="bold")
    console.print(to_rich(console_table(content)))
    console.print(summary(content), markup=False)
    console.print(f"Report: {report_json.with_name('report.md')}", markup=False, soft_wrap=True)


def _load_artifacts(run_dir: Path, settings: Settings, systems: Systems) -> dict[str, Artifact]:
    """Every artifact that the report reads, by name, in the order of the stages."""

    def networks(*groups: Group | None) -> list[str]:
        return [
            member.artifact
            for group in groups
            if group is not None
            for system in systems.of_group(group)
            for member in system.members
        ]

    first = networks(systems.reference)
    teachers = networks(systems.teacher)
    names = [
        *("prepare", "features", *(["unlabelled"] if settings.unlabelled_folders else [])),
        *("lexicon", "language_model", "align", settings.targets.artifact),
        *first,
        "augment",
        *teachers,
        "transfer",
        *(["posteriors"] if systems.teacher is not None else []),
        "sweep",
        *networks(*systems.groups),  # those above keep their place
        *(job.name for jobs in share_jobs(settings).values() for job in jobs),
        "evaluate",
        "graph",
        *map(tuning_name, systems.groups),
        *(f"decode/{system.name}" for system in systems.systems),
        FILTERS,
    ]
    there = [name for name in dict.fromkeys(names) if name not in _OPTIONAL or (run_dir / name / MANIFEST).exists()]
    return {name: load_artifact(run_dir, name) for name in there}


def _write_report(
    folder: Path, run_dir: Path, artifacts: Mapping[str, Artifact], systems: Systems, settings: Settings
) -> dict[str, Any]:
    frames_file = artifacts["evaluate"].path / "frames.json"
    evaluated = read_json(frames_file)
    compared = [system.name for system in systems.systems]
    networks = list(dict.fromkeys(map(systems.scored_as, systems.networks)))
    all_scores = _read_scores(evaluated, frames_file, list(dict.fromkeys([*compared, *networks])))
    scores = {
        set_name: paired_scores({name: all_scores[name][set_name] for name in compared}, compared, set_name)
        for set_name in SETS
    }
    members = {name: all_scores[name] for name in networks}
    decoded = {
        set_name: paired_decoded(
            {name: read_decoded(artifacts[f"decode/{name}"].path / f"{set_name}.jsonl") for name in compared}, set_name
        )
        for set_name in DECODED_SETS
    }
    speakers = speakers_of(run_dir, "test")
    utterance_files = []
    for set_name, by_system in decoded.items():
        for name, utterances in by_system.items():
            utterance_files.append(f"{set_name}-{name}.tsv")
            write_utterance_table(folder / utterance_files[-1], utterances)
    corpus = corpus_of(settings.corpus)
    content = {
        "title": f"Distillation on {corpus.label}",
        "corpus": {
            "source_label": corpus.label,
            "description": corpus.description,
            "source": settings.corpus.name,
            "settings": dump(settings.corpus.settings),
            **set_names(corpus),
        },
        "preset": settings.preset,
        "seed": settings.seed,
        "groups": systems.to_json(),
        "figures": run_figures(systems, scores, decoded, members, speakers.__getitem__),
        "paper": paper_beside(systems),
        "sizes": _sizes(artifacts, systems),
        "choices": {group.name: artifacts[tuning_name(group)].metrics for group in systems.groups},
        "example": _example(run_dir, artifacts, settings),
        "sweep": artifacts["sweep"].metrics["rows"] if "sweep" in artifacts else [],
        "controls": _controls(artifacts, evaluated, settings),
        "rejected": count_rejected(read_rejected(_rejected_files(artifacts))),
        "stages": {
            name: artifacts[name].metrics
            for name in ("prepare", "unlabelled", "lexicon", "language_model", "align", "posteriors", "graph")
            if name in artifacts
        },
        "timings": _timings(artifacts, finished(run_dir, artifacts), systems, evaluated, decoded["test"])
        | {"machine": Machine.measure(settings.device, settings.train.precision).to_json()},
        "settings": dump(settings),
        "fingerprints": {name: artifact.fingerprint for name, artifact in artifacts.items()},
        "files": {"utterances": utterance_files},
    }
    if FILTERS in artifacts:
        content[FILTERS] = show_filters(artifacts[FILTERS], folder)
    # Tables and page are made from the written JSON, so that the file alone is enough to make them.
    content = json.loads(json.dumps(content))
    histories = _histories(artifacts, systems)
    label = content["corpus"]["source_label"]
    plot_frame_accuracy(content, folder / "frame_accuracy.png")
    plot_wer(content, folder / "wer.png")
    plot_training_curves(histories, systems, label, folder / "training_curves.png")
    choices = {group.label: content["choices"][group.name] for group in systems.groups}
    plot_dev_grid(choices, label, folder / "dev_grid.png")
    plot_controls(content, folder)
    plot_utterance(content["example"], systems, _frames(run_dir, content["example"]), label, folder / "utterance.png")
    write_page(folder / "report.md", page(content))
    write_json(folder / "report.json", content)
    sources = _sources(run_dir, artifacts, systems, settings)
    write_speech_page(folder, content, histories, decoded["test"], sources=sources, settings=settings.page)
    return {
        "test_frame_accuracy": {
            name: by_set["test"]["frame_accuracy"] for name, by_set in content["figures"]["systems"].items()
        },
        "test_wer": {name: by_set["test"]["wer"] for name, by_set in content["figures"]["systems"].items()},
        "share_of_gain": {
            name: share["value"]
            for name, share in content["figures"]["share_of_gain"]["test"]["frame_accuracy"].items()
        },
    }


def _sources(
    run_dir: Path, artifacts: Mapping[str, Artifact], systems: Systems, settings: Settings
) -> Sources:
    """Where the page finds utterances of test, and their posteriors by a system of each main group."""
    shown = [group for group in systems.groups if group.role != "other" and group.size == 1]
    return Sources(
        read_manifest(artifacts["prepare"].path / "test.jsonl"),
        run_dir / "features" / "test",
        artifacts["align"].path / "test",
        artifacts[settings.targets.artifact].path / "topology.json",
        read_lexicon(artifacts["lexicon"].path / "lexicon.txt"),
        settings.features,
        # With a prior of 1, scores are log-posteriors.
        {
            group.name: set_scores(run_dir, "test", systems.of_group(group)[0], settings, torch.zeros(1))
            for group in shown
        },
    )


def _controls(
    artifacts: Mapping[str, Artifact], evaluated: Mapping[str, Any], settings: Settings
) -> dict[str, Any]:
    """What the sections on students' controls show."""
    sweep = artifacts["sweep"].metrics if "sweep" in artifacts else {}
    kept = artifacts["posteriors"].metrics["unlabelled"]["seconds_kept"] if "unlabelled" in artifacts else 0.0
    shares = [
        {
            "fraction": fraction,
            "minutes": fraction * kept / 60,
            **{
                f"dev_{name}": [artifacts[job.name].metrics[f"dev_{key}"] for job in jobs]
                for name, key in (("frame_accuracy", "accuracy"), ("cross_entropy", "cross_entropy"))
            },
        }
        for fraction, jobs in share_jobs(settings).items()
    ]
    return {
        "unlabelled_shares": shares,
        "ensemble_sizes": evaluated.get("ensemble_sizes", []),
        "sweep": {"best": sweep["best"], "at_edge": sweep["at_edge"], "decides": settings.distil.sweep_decides}
        if "best" in sweep
        else None,
    }


def _example(run_dir: Path, artifacts: Mapping[str, Artifact], settings: Settings) -> dict[str, Any]:
    """The utterance of `evaluate`: timed words, and the posteriors of its aligned states by group."""
    chosen = read_json(artifacts["evaluate"].path / "utterance.json")
    name = chosen["utterance_id"]
    [spoken] = [item for item in read_manifest(artifacts["prepare"].path / "dev.jsonl") if item.utterance_id == name]
    lexicon = read_lexicon(artifacts["lexicon"].path / "lexicon.txt")
    phones = AlignmentStore.open(artifacts["align"].path / "dev").phones(name)
    return {
        **chosen,
        "frame_shift_seconds": settings.features.frame_shift,
        "transcript": list(spoken.words),
        "words": words_of_phones(phones, spoken.words, lexicon),
    }


def _frames(run_dir: Path, example: Mapping[str, Any]) -> np.ndarray:
    """(frames, bins) of the utterance."""
    return FrameStore.open(run_dir / "features" / "dev").frames(example["utterance_id"])


def _read_scores(
    evaluated: Mapping[str, Any], path: Path, expected: Sequence[str]
) -> dict[str, dict[str, FrameScores]]:
    try:
        found = {
            name: {set_name: FrameScores.from_json(by_set[set_name]) for set_name in SETS}
            for name, by_set in evaluated["systems"].items()
        }
        lacking = [name for name in expected if name not in found]
        if lacking:
            raise UserError(
                f"{path} has no scores of {', '.join(lacking)}: delete {path.parent} and run `evaluate` again"
            )
        return found
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): delete {path.parent} and run `evaluate` again") from error


def _histories(artifacts: Mapping[str, Artifact], systems: Systems) -> dict[str, list[list[dict[str, Any]]]]:
    """Training curves of the networks of each group; each network is in the first group that has it."""
    taken: set[str] = set()
    histories: dict[str, list[list[dict[str, Any]]]] = {}
    for group in sorted(systems.groups, key=systems.is_combined):  # a network of its own is no mere member
        names = [member.artifact for system in systems.of_group(group) for member in system.members]
        own = [name for name in dict.fromkeys(names) if name not in taken]
        taken.update(own)
        histories[group.name] = [read_history(artifacts[name].path / "history.jsonl") for name in own]
    return histories


def _rejected_files(artifacts: Mapping[str, Artifact]) -> list[Path]:
    return [path for artifact in artifacts.values() if (path := artifact.path / "rejected.tsv").exists()]


def _sizes(artifacts: Mapping[str, Artifact], systems: Systems) -> dict[str, dict[str, int]]:
    """Parameters and bytes of a system of each group, summed over its members; all seeds of a group have the same
    size."""
    return {
        group.name: {
            field: sum(int(artifacts[one.artifact].metrics[field]) for one in systems.of_group(group)[0].members)
            for field in ("parameters", "bytes")
        }
        for group in systems.groups
    }


def _timings(
    artifacts: Mapping[str, Artifact],
    made: Sequence[Artifact],
    systems: Systems,
    evaluated: Mapping[str, Any],
    decoded_test: Mapping[str, Sequence[DecodedUtterance]],
) -> dict[str, Any]:
    """Times, which differ from run to run on the same machine, unlike everything else in `report.json`."""
    wall = dict.fromkeys(map(making_stage, artifacts), 0.0)
    for artifact in made:  # those included that a stage makes by the way
        stage = making_stage(artifact.name)
        wall[stage] = wall.get(stage, 0.0) + artifact.own_seconds

    def network(name: str) -> float:
        spent = evaluated["network_seconds"][name]["test"]
        return float(spent["seconds"] / spent["audio_seconds"])

    def search(name: str) -> float:
        return sum(one.search_seconds for one in decoded_test[name]) / sum(one.seconds for one in decoded_test[name])

    factors = {}
    for field, of_system in (("network_real_time_factor", network), ("search_real_time_factor", search)):
        factors[field] = {
            group.name: sum(of_system(system.name) for system in systems.of_group(group)) / len(systems.of_group(group))
            for group in systems.groups
        }
    return {
        "wall_seconds": {name: round(seconds, 3) for name, seconds in wall.items()},
        **factors,
        "trained_on": sorted({one.metrics["device"] for one in artifacts.values() if "device" in one.metrics}),
        "applied_on": evaluated["device"],
        "training_frames_per_second": {
            name: artifact.metrics["labels_per_second"]
            for name, artifact in artifacts.items()
            if "labels_per_second" in artifact.metrics
        },
    }
