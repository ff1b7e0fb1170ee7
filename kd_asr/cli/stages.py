"""The stages of the main job: a command each, on a run folder."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_asr.artifacts import locked
from kd_asr.executors.shares import executing
from kd_asr.stages.settings import Settings, load_settings


@dataclass(frozen=True)
class Stage:
    """A stage: name of its command and function, summary, description, and the package of its module."""

    name: str
    summary: str
    details: str
    room: str = "kd_asr.stages"


STAGES = (
    Stage(
        "corpus",
        "get the corpus: download mini LibriSpeech or make the embedded one, unless it is there",
        "Settings: corpus. Speech of your own is only checked.",
    ),
    Stage(
        "prepare",
        "scan the corpus into manifests; list bad utterances and leave them out",
        "Writes prepare/{train,dev,test}.jsonl (one utterance per line) and prepare/rejected.tsv (which and why).",
    ),
    Stage(
        "features",
        "compute log-mel frames, normalised per speaker, into memory-mapped frame stores",
        "Writes features/{train,dev,test}/. Settings: features.*.",
    ),
    Stage(
        "unlabelled",
        "compute frames of audio without transcripts, for the students; long files are cut at pauses",
        "Writes unlabelled/frames, files.jsonl and rejected.tsv, if there is such audio. Settings: unlabelled.*.",
    ),
    Stage(
        "lexicon",
        "collect pronunciations: CMUdict, and espeak-ng's for the words it lacks",
        "Writes lexicon/lexicon.txt, phones.txt and g2p.tsv (every pronunciation not from a dictionary).",
    ),
    Stage(
        "language_model",
        "read the ARPA language model, or estimate one from the training text (modified Kneser-Ney)",
        "Dev perplexity and out-of-vocabulary rate are in its manifest.json. Settings: language_model.*.",
    ),
    Stage(
        "align",
        "train the aligner from a flat start; one target (pdf) per frame of train, dev and test",
        "Writes align/{train,dev,test}/ and the log-likelihood of every pass in its manifest.json. Settings: align.*.",
    ),
    Stage(
        "sequence_targets",
        "make the graphs and the targets of sequence training, if networks learn by `lfmmi`",
        "Writes sequence_targets/: tree of left biphones, denominator, and a target every 30 ms. Settings: losses, "
        "sequence.*.",
    ),
    Stage(
        "augment",
        "make copies of the training set at other rates of speech, for baseline and teachers",
        "Writes augment/frames and augment/alignments. Settings: augment.copies (0: none), augment.copy_rate.",
    ),
    Stage(
        "ensemble",
        "train the teachers, which differ only in their seeds",
        "Writes ensemble/member-00, member-01, ... Settings: network.*, augment.*, train.*, ensemble.members.",
    ),
    Stage(
        "transfer",
        "make perturbed copies of the training set, for the students",
        "Writes transfer/frames and transfer/alignments. Settings: distil.copies (0: none), distil.copy_*.",
    ),
    Stage(
        "posteriors",
        "store the ensemble's top-k posteriors of every training frame, of the copies and of unlabelled audio",
        "Writes posteriors/ (format: kd_asr/distillation/posterior_store.py), without the long silences of unlabelled "
        "audio. Settings: ensemble.*, unlabelled.longest_silence, unlabelled.silence_posterior.",
    ),
    Stage(
        "pretrained",
        "ask the model of `distil.teacher pretrained` about the audio, and map its classes and frames to ours",
        "Nothing to do for other teachers. Writes pretrained/ (its own posteriors) and pretrained_targets/ (in our "
        "classes and frames). Settings: distil.teacher.",
        "kd_asr.exchange",
    ),
    Stage(
        "sweep",
        "train students with several temperatures and hard weights, and compare them on dev",
        "The report shows them; with distil.sweep_decides the students use the best. Settings: distil.sweep_*.",
    ),
    Stage(
        "distil",
        "train the students of each method, and the baselines",
        "Writes distil/student-00, ... and baseline/baseline-00, ...: same architecture and budget. With distil.epochs "
        "there are also baselines with the students' updates, with distil.sizes smaller students and baselines, with "
        "distil.unlabelled_fractions students with a share of the unlabelled audio, share_networks/. "
        "Settings: methods, distil.*, baseline.networks.",
    ),
    Stage(
        "baseline",
        "train the baselines on the hard labels, unless `distil` has done so",
        "Needs `align`, and `augment` if there are copies. Writes baseline/baseline-00, ... Settings: network.*, "
        "augment.*, train.*, baseline.networks.",
    ),
    Stage(
        "evaluate",
        "measure frame accuracy and cross-entropy of all systems on train, dev and test",
        "Writes evaluate/frames.json, with counts per utterance. Settings: adapt.*.",
    ),
    Stage(
        "graph",
        "build the decoding graph from HMM topology, lexicon and language model",
        "Writes graph/HCLG.fst and words.txt.",
    ),
    Stage(
        "decode",
        "recognise dev and test with all systems; acoustic scales are chosen on dev",
        "Writes decode/<system>/{dev,test}.jsonl. Settings: decode.*, adapt.*.",
    ),
    Stage(
        "report",
        "write tables and plots of baselines, ensemble and students side by side",
        "Writes report/report.md, report.json, plots and per-utterance tables, and prints the main table.",
    ),
)

# Outside the main job: stages of `kd-asr run reduced-data`, and others to run separately.
FURTHER = (
    Stage(
        "reduced",
        "train and compare networks on parts of the labels: hard labels, soft targets, both",
        "Needs the main job's artifacts up to `posteriors`, and `graph`. Writes reduced_networks/ and reduced/. "
        "Settings: reduced.*.",
        "kd_asr.experiments.reduced_data",
    ),
    Stage(
        "reduced_report",
        "write table and curves of the networks on parts of the labels",
        "Writes reduced_report/report.md, report.json and convergence.png, and prints the table.",
        "kd_asr.experiments.reduced_data",
    ),
    Stage(
        "beams",
        "measure word error rate and time of the first student's search at several beams, on dev",
        "Needs the main job's artifacts up to `decode`. Writes beams/beams.md and beams.png, and prints the table. "
        "Settings: beams.values.",
    ),
    Stage(
        "rescore",
        "rescore each system's best word sequences with another, larger language model",
        "Needs the main job's artifacts up to `decode`. Writes rescore/<system>/{dev,test}.jsonl and prints the word "
        "error rates. Settings: rescore.arpa (the model), rescore.*.",
    ),
    Stage(
        "uncertainty",
        "measure how well each system's uncertainty finds wrong frames, wrong words and odd audio",
        "Needs the main job's artifacts up to `decode`. The audio unlike the training data (noise, tones, other "
        "languages by espeak-ng, an 8 kHz chain) is made on the spot. Writes uncertainty/uncertainty.md, .tsv and "
        ".json, and prints the table.",
        "kd_asr.experiments.uncertainty",
    ),
    Stage(
        "filters",
        "compare filters and layers of convolutional students with their teachers': what is inherited",
        "Needs the main job's artifacts up to `align`. Trains teachers, students on hard labels and students of each "
        "teacher into filter_networks/, and writes filters/ with page, tables and pictures; `report` then shows them. "
        "Settings: filters.*, train.*.",
        "kd_asr.experiments.filters",
    ),
    Stage(
        "privileged",
        "train students that hear less than their teachers: noise, telephone, no frame of the future",
        "Needs the main job's artifacts up to `posteriors`, and `graph`: its ensemble is the teacher with the "
        "privilege. Beside its students there are students on hard labels and students of teachers that hear what they "
        "hear. Writes privileged/privileged.md and .json, and prints the table. Settings: privileged.*.",
        "kd_asr.experiments.heard",
    ),
    Stage(
        "moderation",
        "show what the method facilitator has learnt: who of the teachers leads, by phones and speakers",
        "Needs the main job's artifacts up to `distil`, with the method facilitator. On dev, beside the members' "
        "uniform average. Writes moderation/moderation.md and .json, and prints the table.",
        "kd_asr.experiments.moderation",
    ),
    Stage(
        "errors",
        "find out where the first baseline's words are lost on dev: search, language model, acoustics, vocabulary",
        "Needs the main job's artifacts up to `decode`. Writes errors/errors.md and errors.tsv, an utterance a line, "
        "and prints the tables. Settings: rescore.alternatives, rescore.beam, rescore.lattice_beam.",
        "kd_asr.experiments.errors",
    ),
)


def add_stages(commands: argparse._SubParsersAction[Any]) -> None:
    """Add a command for every stage."""
    for stage in (*STAGES, *FURTHER):
        command = commands.add_parser(
            stage.name,
            help=stage.summary,
            description=f"{stage.summary[0].upper()}{stage.summary[1:]}. {stage.details}",
        )
        command.add_argument("run", type=Path, help="run folder made by `kd-asr configure`")


def run_stage(name: str, run_dir: Path) -> None:
    """Run one stage as soon as no other command works on the run folder."""
    load_settings(run_dir)  # refuses a folder that is not a run before a lock is made in it
    with locked(run_dir):
        make(name, run_dir, load_settings(run_dir))  # the command waited for may have changed them


def make(name: str, run_dir: Path, settings: Settings) -> None:
    """Run one stage on a run folder that the caller has locked, and print its table, if it has one."""
    room = next(stage.room for stage in (*STAGES, *FURTHER) if stage.name == name)
    module = importlib.import_module(f"{room}.{name}")
    names = [stage.name for stage in (*STAGES, *FURTHER)]
    if names.index(name) > names.index("sweep") and room == Stage.room:
        settings = importlib.import_module(f"{room}.sweep").decided(run_dir, settings)
    with executing(settings.executor, run_dir):
        made = getattr(module, name)(run_dir, settings)
    if name in ("report", "reduced_report"):
        module.print_table(run_dir / name / "report.json")
    elif hasattr(module, "print_table"):
        module.print_table(made)
