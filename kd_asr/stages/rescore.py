"""Stage `rescore`: each system's best word sequences, rescored with another language model.

A model that is too large for a decoding graph can still rank the word sequences that the search found. Its weight is
chosen on dev; test is rescored once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.corpora.manifest import Utterance
from kd_asr.decoding.arpa import ArpaModel, read_arpa, respell
from kd_asr.decoding.decoder import Decoder, Search, search_set
from kd_asr.decoding.nbest import Alternative, rescored
from kd_asr.errors import UserError
from kd_asr.evaluation.wer import score_words, total_errors
from kd_asr.jobs.systems import System
from kd_asr.parallel import Workers
from kd_asr.reporting.tables import Table, percent, to_rich
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.language_model import arpa_file
from kd_asr.stages.lexicon import file_digest, gone
from kd_asr.stages.recognise import recognising_workers, search_scores, utterances_to_decode
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems

Lists = list[list[Alternative]]


def rescore(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `rescore/<system>/dev.jsonl` and `test.jsonl`: words before and after rescoring, one utterance per line.

    Raises:
        UserError: no language model is named, or it cannot be read.
    """
    path = Path(settings.rescore.arpa)
    if not settings.rescore.arpa:
        raise UserError("rescore.arpa: name an ARPA language model, gzipped or not")
    language_model = load_artifact(run_dir, "language_model")
    models: list[ArpaModel] = []

    def both() -> tuple[ArpaModel, ArpaModel]:
        if not models:
            models.extend(respell(read_arpa(one), settings.spelling)[0] for one in (arpa_file(language_model), path))
        return models[0], models[1]

    if not path.is_file():
        raise gone(path)
    content = file_digest(path)
    check_agreement(run_dir, settings, [f"decode/{system.name}" for system in run_systems(settings).systems])
    made = []
    with recognising_workers(settings) as workers:
        for system in run_systems(settings).systems:
            networks = dict.fromkeys(member.artifact for member in system.members)
            names = ("prepare", "features", settings.targets.artifact, "graph", f"decode/{system.name}", *networks)
            inputs = [load_artifact(run_dir, name) for name in names]

            def work(folder: Path, system: System = system) -> dict[str, Any]:
                found = {
                    name: _alternatives(run_dir, settings, system, set_name=name, workers=workers, scratch=folder)
                    for name in ("dev", "test")
                }
                return _rerank(folder, found, *both(), settings.rescore.weights)

            made.append(
                build_artifact(
                    run_dir,
                    f"rescore/{system.name}",
                    code=__name__,
                    settings={
                        "rescore": {**vars(settings.rescore), "arpa": content},
                        "system": system,
                        "adapt": settings.adapt,
                        "precision": settings.train.precision,
                    },
                    inputs=[*inputs, language_model],
                    work=work,
                )
            )
    return made


def print_table(artifacts: Sequence[Artifact]) -> None:
    """Print the word error rates on standard output."""
    rows = tuple(
        (
            one.name.rsplit("/", maxsplit=1)[-1],
            f"{one.metrics['weight']:g}",
            *(percent(one.metrics[name][key]) for name in ("dev", "test") for key in ("before", "after", "oracle")),
        )
        for one in artifacts
    )
    columns = ("system", "weight", "dev WER, %", "rescored", "at best", "test WER, %", "rescored", "at best")
    Console(file=sys.stdout, highlight=False).print(to_rich(Table(columns, rows, "Alternatives, rescored")))


def _alternatives(
    run_dir: Path,
    settings: Settings,
    system: System,
    *,
    set_name: str,
    workers: Workers,
    scratch: Path,
) -> tuple[list[Utterance], Lists]:
    """The utterances of a set and their alternatives, with the acoustic scale and penalty that `decode` chose."""
    decoded = load_artifact(run_dir, f"decode/{system.name}").metrics
    utterances, lengths = utterances_to_decode(run_dir, set_name)
    rescore = settings.rescore
    return utterances, search_set(
        run_dir / "graph",
        lengths,
        search_scores(run_dir, set_name, system, settings),
        Search(decoded["acoustic_scale"], decoded["insertion_penalty"], beam=rescore.beam),
        workers,
        method=partial(Decoder.alternatives, count=rescore.alternatives, lattice_beam=rescore.lattice_beam),
        scratch=scratch,
        description=f"alternatives of {system.name}, {set_name}",
    )


def _rerank(
    folder: Path,
    found: dict[str, tuple[list[Utterance], Lists]],
    old: ArpaModel,
    new: ArpaModel,
    weights: Sequence[float],
) -> dict[str, Any]:
    """Choose the weight on dev, write both sets, and return word error rates."""
    on_dev = {weight: _reranked(found["dev"][1], old, new, weight) for weight in (0.0, *weights)}
    grid = {weight: _wer(found["dev"][0], lists) for weight, lists in on_dev.items()}
    weight = min(grid, key=lambda one: (grid[one], one))
    metrics: dict[str, Any] = {"weight": weight, "grid": [[one, wer] for one, wer in sorted(grid.items())]}
    for name, (utterances, lists) in found.items():
        after = on_dev[weight] if name == "dev" else _reranked(lists, old, new, weight)
        metrics[name] = {
            "before": _wer(utterances, lists),
            "after": _wer(utterances, after),
            "oracle": _oracle(utterances, lists),
        }
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for item, first, last in zip(utterances, lists, after, strict=True):
                record = {
                    "utterance_id": item.utterance_id,
                    "reference": list(item.words),
                    "hypothesis": _words(last),
                    "before": _words(first),
                    "alternatives": len(first),
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return metrics


def _reranked(lists: Lists, old: ArpaModel, new: ArpaModel, weight: float) -> Lists:
    return [rescored(alternatives, old, new, weight) for alternatives in lists]


def _words(alternatives: Sequence[Alternative]) -> list[str]:
    return list(alternatives[0].words) if alternatives else []


def _wer(utterances: Sequence[Utterance], lists: Lists) -> float:
    pairs = zip(utterances, lists, strict=True)
    return total_errors(score_words(item.words, _words(alternatives)) for item, alternatives in pairs).wer


def _oracle(utterances: Sequence[Utterance], lists: Lists) -> float:
    """WER if the best alternative were always chosen: a lower bound for every language model."""
    best = []
    for item, alternatives in zip(utterances, lists, strict=True):
        scored = [score_words(item.words, one.words) for one in alternatives] or [score_words(item.words, ())]
        best.append(min(scored, key=lambda one: one.errors))
    return total_errors(best).wer
