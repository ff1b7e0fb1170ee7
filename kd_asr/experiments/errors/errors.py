"""Stage `errors`: where the words of a run's first system are lost on dev."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json
from kd_asr.corpora.base import corpus_of
from kd_asr.decoding.arpa import BEGIN, END, ArpaModel, read_arpa, respell
from kd_asr.decoding.decoder import Decoder, Search, search_set
from kd_asr.decoding.fst_arrays import write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, read_words, sentence_graph, write_words
from kd_asr.decoding.nbest import Alternative, sentence_cost
from kd_asr.evaluation.frame_accuracy import FrameScores
from kd_asr.experiments.errors.causes import Costs, Examined
from kd_asr.experiments.errors.page import page, tables, utterance_rows
from kd_asr.jobs.systems import System
from kd_asr.reporting.csv_tables import write_page
from kd_asr.reporting.tables import Table, to_rich
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.language_model import arpa_file
from kd_asr.stages.recognise import recognising_workers, search_scores, utterances_to_decode
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems

_NAME = "errors"


def errors(run_dir: Path, settings: Settings) -> Artifact:
    """Write `errors/errors.md` and `errors.tsv`, of the first baseline, with the acoustic scale and the penalty that
    `decode` chose; alternatives are searched for as `rescore` says.

    Raises:
        UserError: the system has not been decoded with these settings.
    """
    systems = run_systems(settings)
    system = systems.of_group(systems.reference or systems.groups[0])[0]
    networks = dict.fromkeys(member.artifact for member in system.members)
    aligned = dict.fromkeys(("align", settings.targets.artifact))
    made = ("prepare", "features", *aligned, "lexicon", "language_model", "graph", "evaluate")
    names = [*made, f"decode/{system.name}", *networks]
    inputs = [load_artifact(run_dir, name) for name in names]
    check_agreement(run_dir, settings, names)

    def work(folder: Path) -> dict[str, Any]:
        examined = _examine(run_dir, settings, system, folder)
        label = f"{system.name} on dev, {corpus_of(settings.corpus).label}"
        write_page(folder / "errors.md", page(examined, label))
        rows = ["\t".join(row) for row in utterance_rows(examined)]
        (folder / "errors.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        found = tables(examined)
        return {"system": system.name, "tables": [[one.title, one.columns, one.rows] for one in found]}

    rescore = settings.rescore
    decides = {
        "system": system,
        "adapt": settings.adapt,
        "precision": settings.train.precision,
        "search": [rescore.alternatives, rescore.beam, rescore.lattice_beam],
    }
    return build_artifact(run_dir, _NAME, code=__name__, settings=decides, inputs=inputs, work=work)


def print_table(made: Artifact) -> None:
    """Print the tables on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    for title, columns, rows in made.metrics["tables"]:
        console.print(to_rich(Table(tuple(columns), tuple(map(tuple, rows)), title)))


def _examine(run_dir: Path, settings: Settings, system: System, folder: Path) -> list[Examined]:
    """All utterances of dev; graphs of what was said are in `folder` while it lasts."""
    decoded = load_artifact(run_dir, f"decode/{system.name}").metrics
    utterances, lengths = utterances_to_decode(run_dir, "dev")
    model = respell(read_arpa(arpa_file(load_artifact(run_dir, "language_model"))), settings.spelling)[0]
    lexicon, known = read_lexicon(run_dir / "lexicon" / "lexicon.txt"), set(read_words(run_dir / "graph" / WORDS_FILE))
    graphs = folder / "graphs"
    graphs.mkdir(exist_ok=True)
    silence = load_artifact(run_dir, "graph").metrics["silence_probability"]
    topology = settings.targets.topology(run_dir)
    for item in utterances:
        if set(item.words) <= known:
            steps = [_cost(model, item.words, place) for place in range(len(item.words) + 1)]
            fst, names = sentence_graph(
                item.words,
                steps,
                lexicon,
                topology,
                silence_probability=silence,
                self_loop_scale=settings.decode.self_loop_scale,
            )
            own = graphs / item.utterance_id
            own.mkdir(exist_ok=True)
            write_fst(own / GRAPH_FILE, fst)
            write_words(own / WORDS_FILE, names)
    rescore = settings.rescore
    search = Search(decoded["acoustic_scale"], decoded["insertion_penalty"], beam=rescore.beam)
    with recognising_workers(settings) as workers:
        found = search_set(
            run_dir / "graph",
            lengths,
            search_scores(run_dir, "dev", system, settings),
            search,
            workers,
            method=partial(_both, graphs=graphs, count=rescore.alternatives, lattice_beam=rescore.lattice_beam),
            scratch=folder,
            description=f"alternatives of {system.name}, dev",
        )
    shutil.rmtree(graphs)
    accuracies = _frame_accuracies(run_dir, system)
    return [
        Examined(
            item.utterance_id,
            item.speaker_id,
            tuple(item.words),
            tuple(one.words for one in alternatives),
            frozenset(item.words) - known,
            None if said is None else Costs(said, sentence_cost(model, item.words)),
            _costs_of_best(alternatives, model),
            accuracies.get(item.utterance_id, 0.0),
        )
        for item, (alternatives, said) in zip(utterances, found, strict=True)
    ]


def _cost(model: ArpaModel, words: Sequence[str], place: int) -> float:
    """-log p, in nats, of the word at a place of a sentence, or of the end after the last one."""
    word = words[place] if place < len(words) else END
    return -float(np.log(10.0)) * model.log10_probability(word, [BEGIN, *words[:place]])


def _both(
    decoder: Decoder,
    utterance_id: str,
    log_likelihoods: NDArray[np.float32],
    *,
    graphs: Path,
    count: int,
    lattice_beam: float,
) -> tuple[list[Alternative], float | None]:
    """Alternatives of an utterance, and the cost of what was said; None if there is no graph or no path of it."""
    found = decoder.alternatives(utterance_id, log_likelihoods, count=count, lattice_beam=lattice_beam)
    own = graphs / utterance_id
    if not own.is_dir():
        return found, None
    # So wide that the search loses nothing.
    search = replace(decoder.search, insertion_penalty=0.0, beam=1000.0, max_active=1_000_000)
    said = Decoder(own, search).decode(utterance_id, log_likelihoods)
    if not said.reached_final:
        return found, None
    return found, said.total_cost(search.acoustic_scale, decoder.search.insertion_penalty)


def _costs_of_best(alternatives: Sequence[Alternative], model: ArpaModel) -> Costs:
    best = alternatives[0] if alternatives else Alternative((), 0.0)
    return Costs(best.cost, sentence_cost(model, best.words))


def _frame_accuracies(run_dir: Path, system: System) -> dict[str, float]:
    """Frame accuracy of a system for each utterance of dev."""
    content = read_json(load_artifact(run_dir, "evaluate").path / "frames.json")
    scores = FrameScores.from_json(content["systems"][system.name]["dev"])
    shares = np.asarray(scores.correct) / np.maximum(np.asarray(scores.frames), 1)
    return dict(zip(scores.utterance_ids, shares.tolist(), strict=True))
