"""A run folder as the stages leave it, with made-up figures, for tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.alignment.store import Alignment, PhoneSegment, write_alignments
from kd_asr.artifacts import write_json
from kd_asr.corpora.manifest import Rejected, Utterance, write_manifest, write_rejected
from kd_asr.distillation.settings import BaselineSettings, DistilSettings, EnsembleSettings
from kd_asr.features.store import FrameStore, create_store
from kd_asr.fingerprints import canonical
from kd_asr.jobs.systems import NetworkRef, Systems
from kd_asr.registry import named
from kd_asr.stages.agreement import decided
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems

UTTERANCES = {"train": 60, "dev": 40, "test": 50}
# By the first part of a system's or member's name; others are in the middle.
ACCURACY = {"baseline": 0.60, "ensemble": 0.63, "student": 0.622, "member": 0.601}
WORD_ERROR = {"baseline": 0.30, "ensemble": 0.26, "student": 0.27}
WORDS = [f"WORD{number}" for number in range(17)]


def settings(source: str = "librispeech", students: int = 3, members: int = 4, baselines: int = 2) -> Settings:
    corpus = named("corpus", source)
    if source == "librispeech":
        corpus = replace(corpus, settings=replace(corpus.settings, dev="dev-from-train-100"))
    return replace(
        Settings(),
        corpus=corpus,
        ensemble=EnsembleSettings(members=members),
        baseline=BaselineSettings(networks=baselines),
        distil=DistilSettings(students=students),
    )


def write_artifact(
    run: Path,
    name: str,
    metrics: dict[str, Any],
    seconds: float = 61.5,
    *,
    decided_by: object = None,
    inputs: Sequence[str] = (),
) -> Path:
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "name": name,
        "fingerprint": f"fingerprint-of-{name}",
        "settings": canonical(decided_by or {}),
        "inputs": {one: f"fingerprint-of-{one}" for one in inputs},
        "code": "",
        "metrics": metrics,
        "wall_seconds": seconds,
    }
    write_json(folder / "manifest.json", manifest)
    return folder


def _kind(name: str) -> str:
    return name.split("-", maxsplit=1)[0]


def _name(network: NetworkRef) -> str:
    return network.name


def _ids(set_name: str) -> list[str]:
    return [f"{10 + index % 7}-{set_name}-{index:04d}" for index in range(UTTERANCES[set_name])]


def _history(generator: np.random.Generator, kind: str) -> list[dict[str, Any]]:
    lines = []
    for step in range(1, 41):
        epoch = step / 10
        hard = 1.3 + 2.2 * np.exp(-epoch) + 0.03 * generator.standard_normal()
        soft = 1.1 + 2.0 * np.exp(-epoch)
        at_end = step % 10 == 0
        lines.append(
            {
                "update": step * 50,
                "epoch": epoch,
                "train_loss": (4 * soft + 0.5 * hard) / 1.5 if kind == "student" else hard,
                "learning_rate": 1e-3,
                "losses": {"hard": hard, "soft": soft} if kind == "student" else {"hard": hard},
                "dev_accuracy": ACCURACY.get(kind, 0.61) - 0.15 * np.exp(-epoch) if at_end else None,
                "dev_cross_entropy": 1.35 + np.exp(-epoch) if at_end else None,
            }
        )
    return lines


def _decoded(
    generator: np.random.Generator, set_name: str, difficulty: np.ndarray, rate: float
) -> list[dict[str, Any]]:
    lines = []
    for index, utterance_id in enumerate(_ids(set_name)):
        reference = [WORDS[(index + step) % len(WORDS)] for step in range(5 + index % 11)]
        hypothesis = []
        for word in reference:
            draw = generator.random() / (rate * difficulty[index])
            if draw >= 1:
                hypothesis.append(word)
            elif draw < 0.6:
                hypothesis.append("BADGER")
            elif draw < 0.8:
                hypothesis += [word, "UH"]
        lines.append(
            {
                "utterance_id": utterance_id,
                "reference": reference,
                "hypothesis": hypothesis,
                "seconds": 0.4 * len(reference),
                "search_seconds": 0.05 * len(reference),
            }
        )
    return lines


def _grid(rate: float) -> list[dict[str, float]]:
    return [
        {
            "acoustic_scale": scale,
            "insertion_penalty": penalty,
            "dev_wer": rate + 4 * abs(scale - 0.11) ** 1.2 + 0.02 * (penalty - 0.5) ** 2,
        }
        for scale in (0.07, 0.09, 0.11, 0.13, 0.16, 0.2)
        for penalty in (-0.5, 0.0, 0.5, 1.0)
    ]


def _write_decided(decides: Mapping[str, object], run: Path, name: str, *about: Any) -> Path:
    """An artifact as its stage would make it of these settings."""
    return write_artifact(run, name, *about, decided_by=decides.get(name))


def write_run(run: Path, chosen: Settings, *, sweep: bool = False, systems: Systems | None = None) -> None:
    """Write every artifact that the report reads, of `systems` or else those of the settings."""
    generator = np.random.default_rng(5)
    made = partial(_write_decided, decided(chosen))
    systems = systems or run_systems(chosen)
    compared = [system.name for system in systems.systems]
    members = [member for system in systems.systems for member in map(_name, systems.scored_with(system))]
    prepared = {
        name: {"utterances": count, "seconds": 7.31 * count, "speakers": 7} for name, count in UTTERANCES.items()
    }
    folder = made(run, "prepare", prepared, 4.2)
    for name in UTTERANCES:
        write_manifest(
            folder / f"{name}.jsonl",
            [
                Utterance(one, one.split("-")[0], "1", f"{one}.flac", 16000, 64000, ("A", "BEE"))
                for one in _ids(name)
            ],
        )
    write_rejected(
        folder / "rejected.tsv",
        [
            Rejected("99-1-0001", "99-1-0001.flac", "truncated: 3.2 of 7.1 s", "prepare"),
            Rejected("99-1-0002", "99-1-0002.flac", "truncated: 1.0 of 2.5 s", "prepare"),
            Rejected("99-1-0003", "99-1-0003.flac", "empty transcript", "prepare"),
        ],
    )
    folder = made(run, "features", {"frames": 81234, "frames_per_second": 40211}, 11.0)
    example = _ids("dev")[3]
    create_store(folder / "dev", [example], [30], chosen.features)
    bands = chosen.features.num_mel_bins
    FrameStore(folder / "dev", writable=True).write(example, np.arange(30.0 * bands).reshape(30, bands) / 600)
    folder = made(run, "lexicon", {"words": 2}, 1.0)
    (folder / "lexicon.txt").write_text("A AH0\nBEE B IY1\n")
    aligned = made(
        run,
        "align",
        {
            "log_likelihood_per_frame": [-61.25, [-60.5, -59.75]],
            "steps": [
                {"step": "equal", "log_likelihood_per_frame": -61.25, "frames": 900, "gaussians": 12},
                {"step": "fit", "log_likelihood_per_frame": [-60.5, -59.75], "frames": 900, "gaussians": 24},
            ],
            "targets": "monophone states",
            "pdfs": 126,
            "gaussians": 700,
            "dev": {"utterances": 40},
            "test": {"utterances": 50},
        },
        75.0,
    )
    write_rejected(aligned / "rejected.tsv", [Rejected("12-train-0042", "x", "no path at beam 200", "align")])
    phones = tuple(PhoneSegment(*one) for one in (("SIL", 0, 4), ("AH0", 4, 6), ("B", 10, 5), ("IY1", 15, 15)))
    write_alignments(aligned / "dev", [Alignment(example, np.arange(30), phones)])
    for name in dict.fromkeys(member.artifact for member in systems.networks):
        kind = _kind(name.rsplit("/", maxsplit=1)[-1])
        folder = made(
            run, name, {"parameters": 1_234_567, "bytes": 4_938_268, "updates": 2000, "device": "cpu (of a kind)"}
        )
        lines = _history(generator, kind)
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stored = {"bytes_per_frame": 82.0, "mass_kept": 0.9931, "top_k": 20, "frames": 460000}
    made(run, "posteriors", stored, 33.0)
    if sweep:
        rows = [
            {
                "temperature": temperature,
                "soft_weight": 1.0,
                "hard_weight": 0.5,
                "dev_frame_accuracy": 0.62 - 0.01 * abs(temperature - 2),
                "dev_cross_entropy": 1.4,
            }
            for temperature in (1.0, 2.0, 5.0)
        ]
        made(run, "sweep", {"rows": rows}, 240.0)
    evaluated = made(run, "evaluate", {}, 20.0)
    scores: dict[str, Any] = {}
    for set_name in UTTERANCES:
        ids = _ids(set_name)
        frames = generator.integers(200, 900, len(ids))
        hard = generator.normal(0, 0.04, len(ids))
        for name in [*compared, *members]:
            rate = ACCURACY.get(_kind(name), 0.61) + hard + generator.normal(0, 0.01, len(ids))
            rate += 0.04 * (set_name == "train")
            correct = np.round(rate * frames).astype(int)
            one = {
                "utterance_ids": ids,
                "correct": correct.tolist(),
                "frames": frames.tolist(),
                "cross_entropy_sum": (2.1 * (1 - rate) * frames * 1.7).tolist(),
            }
            if name in members:
                one = {key: [sum(one[key])] if key != "utterance_ids" else ["all"] for key in one}
            scores.setdefault(name, {})[set_name] = one
    seconds = {
        name: {"test": {"seconds": 10.2 if name == "ensemble" else 1.1, "audio_seconds": 275.0}}
        for name in compared
    }
    write_json(
        evaluated / "utterance.json",
        {
            "utterance_id": example,
            "groups": {
                group.name: {"system": systems.of_group(group)[0].name, "posteriors": [0.5 + 0.01 * number] * 30}
                for number, group in enumerate(systems.groups)
            },
        },
    )
    write_json(evaluated / "frames.json", {"device": "cpu (of a kind)", "systems": scores, "network_seconds": seconds})
    made(run, "graph", {"states": 186000, "arcs": 412000}, 9.0)
    difficulty = {name: generator.gamma(4, 0.25, count) for name, count in UTTERANCES.items()}
    chosen_pair = {"acoustic_scale": 0.11, "insertion_penalty": 0.5}
    for group in systems.groups:
        rate = WORD_ERROR.get(_kind(systems.of_group(group)[0].name), 0.28)
        made(run, f"decode/tuning-{group.name}", {**chosen_pair, "grid": _grid(rate)}, 60.0)
    for name in compared:
        rate = WORD_ERROR.get(_kind(name), 0.28)
        folder = made(
            run,
            f"decode/{name}",
            {
                **chosen_pair,
                "dev_wer": rate,
                "search_real_time_factor": 0.12,
            },
            40.0,
        )
        for set_name in ("dev", "test"):
            lines = _decoded(generator, set_name, difficulty[set_name], rate)
            (folder / f"{set_name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
