"""Stage `privileged`: students that hear less than their teachers, in three cases that people really have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, write_json
from kd_asr.corpora.base import corpus_of
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.tuning import choose_on_grid
from kd_asr.device import find_device
from kd_asr.evaluation.frame_accuracy import FrameScores, join_scores
from kd_asr.evaluation.wer import score_words
from kd_asr.experiments.heard.degraded import frames_as_heard, store_as_heard
from kd_asr.experiments.heard.page import figures, page, table_of
from kd_asr.experiments.heard.plan import ARMS, Student, posteriors_as_heard, students, teachers_as_heard
from kd_asr.experiments.heard.settings import Case
from kd_asr.features.store import FrameStore
from kd_asr.jobs.job import MODEL
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.files import load_network
from kd_asr.parallel import Workers
from kd_asr.reporting.tables import to_rich
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.networks import posteriors_by_group, score_utterances
from kd_asr.stages.recognise import NetworkScores, Recognised, recognise, recognising_workers, set_wer
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import load_networks
from kd_asr.stages.train import train
from kd_asr.tasks.member_stores import write_posteriors
from kd_asr.tasks.targets import log_prior


def privileged(run_dir: Path, settings: Settings) -> Artifact:
    """Write `privileged/privileged.md` and `.json`.

    Acoustic scale and insertion penalty are chosen on dev, as students hear it, for all students of a kind; test is
    decoded once with each.

    Raises:
        UserError: the main job has not come as far as `posteriors` and `graph`.
    """
    settings.check_frames("privileged")
    planned = students(settings)
    check_agreement(run_dir, settings, ("graph", "posteriors"))
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "align", "graph", "posteriors")]
    for case in settings.privileged.cases:
        if frames_as_heard(case) != "features":
            inputs.append(store_as_heard(run_dir, settings, case))
        teachers = teachers_as_heard(settings, case)
        train(run_dir, settings, teachers, f"{case}: {len(teachers)} teachers without the privilege")
        _store(run_dir, settings, case)
    networks = train(run_dir, settings, [one.job for one in planned], f"{len(planned)} students")

    def work(folder: Path) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        with recognising_workers(settings) as workers:
            for case in settings.privileged.cases:
                for arm in ARMS:
                    alike = [one for one in planned if (one.case, one.arm) == (case, arm)]
                    rows += _recognised(run_dir, settings, alike, workers, folder)
        content = {
            "title": f"Privileged information on {corpus_of(settings.corpus).label}",
            "description": corpus_of(settings.corpus).description,
            "privileged": settings.ensemble.members,
            "unprivileged": settings.privileged.teachers or settings.ensemble.members,
            **figures(rows),
        }
        write_json(folder / "privileged.json", content)
        (folder / "privileged.md").write_text(page(content), encoding="utf-8")
        return content

    return build_artifact(
        run_dir,
        "privileged",
        code=__name__,
        settings={"decode": settings.decode, "precision": settings.train.precision},
        inputs=[*inputs, *networks],
        work=work,
    )


def print_table(artifact: Artifact) -> None:
    """Print the table on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(to_rich(table_of(artifact.metrics)))
    console.print(f"Page: {artifact.path / 'privileged.md'}", markup=False, soft_wrap=True)


def _store(run_dir: Path, settings: Settings, case: Case) -> Artifact:
    """The posteriors of the teachers without the privilege, of the training set as they hear it."""
    heard, aligned = load_artifact(run_dir, frames_as_heard(case)), load_artifact(run_dir, "align")
    trained = [load_artifact(run_dir, job.name) for job in teachers_as_heard(settings, case)]

    def work(folder: Path) -> dict[str, Any]:
        frames, device = FrameStore.open(heard.path / "train"), find_device(settings.device)
        models = device.put(load_networks(run_dir, [NetworkRef(one.name) for one in trained], frames.features))
        return write_posteriors(
            folder,
            models,
            [(frames, AlignmentStore.open(aligned.path / "train").utterance_ids)],
            average=settings.ensemble.average,
            top_k=settings.ensemble.top_k,
            num_classes=Topology.load(aligned.path / "topology.json").num_pdfs,
            precision=settings.train.precision,
            fingerprints={"features": heard.fingerprint, "align": aligned.fingerprint},
        )

    return build_artifact(
        run_dir,
        posteriors_as_heard(case),
        code=__name__,
        settings={"average": settings.ensemble.average, "top_k": settings.ensemble.top_k},
        inputs=[heard, aligned, *trained],
        work=work,
    )


def _recognised(
    run_dir: Path, settings: Settings, alike: Sequence[Student], workers: Workers, folder: Path
) -> list[dict[str, Any]]:
    """Counts by utterance of test for students of one kind, at the scale and penalty that are best for all on dev."""
    aligned = run_dir / "align"
    prior = log_prior(AlignmentStore.open(aligned / "train"), Topology.load(aligned / "topology.json").num_pdfs)
    decode = settings.decode

    def recognised(one: Student, set_name: str, scale: float, penalty: float, beam: float) -> Recognised:
        frames = run_dir / frames_as_heard(one.case) / set_name
        scores = NetworkScores(run_dir, frames, [NetworkRef(one.job.name)], settings, prior)
        return recognise(
            run_dir,
            set_name,
            scores,
            Search(acoustic_scale=scale, insertion_penalty=penalty, beam=beam, max_active=decode.max_active),
            workers,
            scratch=folder,
            description=f"{one.case}, {one.arm}: {set_name} ({scale:g}, {penalty:g})",
        )

    def dev_wer(scale: float, penalty: float) -> float:
        beam = min(decode.tuning_beam, decode.beam)
        return float(np.mean([set_wer(*recognised(one, "dev", scale, penalty, beam)) for one in alike]))

    choice = choose_on_grid(dev_wer, decode.acoustic_scales, decode.insertion_penalties)
    rows = []
    for one in alike:
        utterances, hypotheses = recognised(one, "test", choice.acoustic_scale, choice.insertion_penalty, decode.beam)
        found = [score_words(item.words, made.words) for item, made in zip(utterances, hypotheses, strict=True)]
        scores = _frame_scores(run_dir, settings, one)
        rows.append(
            {
                "case": one.case,
                "arm": one.arm,
                "student": one.number,
                "acoustic_scale": choice.acoustic_scale,
                "insertion_penalty": choice.insertion_penalty,
                "utterance_ids": [item.utterance_id for item in utterances],
                "word_errors": [item.errors for item in found],
                "words": [item.reference_words for item in found],
                "frame_accuracy": scores.frame_accuracy,
            }
        )
    return rows


def _frame_scores(run_dir: Path, settings: Settings, one: Student) -> FrameScores:
    """Frames of test, as the student hears it."""
    store, alignments = (
        FrameStore.open(run_dir / frames_as_heard(one.case) / "test"),
        AlignmentStore.open(run_dir / "align" / "test"),
    )
    path = run_dir / one.job.name / f"{MODEL}.safetensors"
    model = find_device(settings.device).put(load_network(path, store.features))
    groups = posteriors_by_group([model], store, alignments, alignments.utterance_ids, precision="auto")
    return join_scores([score_utterances(alignments, names, log_probs) for names, [log_probs] in groups])
