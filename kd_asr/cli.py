"""The command `kd-asr`: parsing and printing only."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kd_asr.artifacts import locked
from kd_asr.cli_mnist import add_mnist, run_mnist
from kd_asr.cli_own_audio import COMMANDS, add_own_audio, run_own_audio
from kd_asr.console import console, say
from kd_asr.errors import UserError
from kd_asr.parallel import serve
from kd_asr.ranks import joined_ranks, tell
from kd_asr.settings.files import save_settings
from kd_asr.settings.help import help_text
from kd_asr.stages.settings import Settings, load_settings, parse_settings


@dataclass(frozen=True)
class Stage:
    """One stage of the main job: its command, its function, what it does in one line and in full."""

    name: str
    summary: str
    details: str


STAGES = (
    Stage(
        "corpus",
        "get the corpus: download mini LibriSpeech or make the embedded one, unless it is there",
        "Reads corpus.source and corpus.root. A LibriSpeech folder of your own is only checked.",
    ),
    Stage(
        "prepare",
        "scan the corpus into manifests; list bad utterances and leave them out",
        "Writes prepare/{train,dev,test}.jsonl (one utterance a line) and prepare/rejected.tsv (who, why).",
    ),
    Stage(
        "features",
        "compute log-mel frames, normalised per speaker, into memory-mapped frame stores",
        "Writes features/{train,dev,test}/. Settings: features.*.",
    ),
    Stage(
        "lexicon",
        "collect pronunciations: CMUdict, and espeak-ng's for the words it lacks",
        "Writes lexicon/lexicon.txt, phones.txt and g2p.tsv (every pronunciation not from a dictionary).",
    ),
    Stage(
        "language_model",
        "read the ARPA language model, or estimate one from the training text (modified Kneser-Ney)",
        "Settings: language_model.*. Dev perplexity and out-of-vocabulary rate stand in its manifest.json.",
    ),
    Stage(
        "align",
        "train the aligner from a flat start; one target (pdf) per frame of train, dev and test",
        "Writes align/{train,dev,test}/ and the log-likelihood of every pass in its manifest.json. Settings: align.*.",
    ),
    Stage(
        "augment",
        "make copies of the training set at other rates of speech, which baseline and teachers learn from as well",
        "Writes augment/frames and augment/alignments. Settings: augment.copies (0: none), augment.copy_rate.",
    ),
    Stage(
        "ensemble",
        "train the teachers, which differ in their seeds only",
        "Writes ensemble/member-00, member-01, ... Settings: network.*, augment.*, train.*, ensemble.members.",
    ),
    Stage(
        "transfer",
        "make perturbed copies of the training set, which the students learn from as well",
        "Writes transfer/frames and transfer/alignments. Settings: distil.copies (0: none), distil.copy_*.",
    ),
    Stage(
        "posteriors",
        "store the ensemble's top-k posteriors of every training frame and of the copies",
        "Writes posteriors/ (format: kd_asr/distillation/posterior_store.py). Settings: ensemble.*.",
    ),
    Stage(
        "sweep",
        "train a student for each of some temperatures and hard weights, and compare them on dev",
        "What the report shows beside the preset's choice. Settings: distil.sweep_temperatures, "
        "distil.sweep_hard_weights.",
    ),
    Stage(
        "distil",
        "train the students on the stored posteriors and the hard labels, and the baselines beside them",
        "Writes distil/student-00, ... and baseline/baseline-00, ...: same architecture and budget. "
        "Settings: distil.*, baseline.networks.",
    ),
    Stage(
        "baseline",
        "train networks on the hard labels, unless `distil` has done it",
        "Needs `align`, and `augment` if there are copies. Writes baseline/baseline-00, ... Settings: network.*, "
        "augment.*, train.*, baseline.networks.",
    ),
    Stage(
        "evaluate",
        "frame accuracy and cross-entropy of all systems on train, dev and test",
        "Writes evaluate/frames.json, with counts per utterance. Settings: adapt.*.",
    ),
    Stage(
        "graph",
        "build the decoding graph from HMM topology, lexicon and language model",
        "Writes graph/HCLG.fst and words.txt.",
    ),
    Stage(
        "decode",
        "recognise dev and test with all systems; scales are chosen on dev",
        "Writes decode/<system>/{dev,test}.jsonl. Settings: decode.*, adapt.*.",
    ),
    Stage(
        "report",
        "tables and plots: baselines, ensemble and students side by side",
        "Writes report/report.md, report.json, plots and per-utterance tables, and prints the main table.",
    ),
)

# Not part of the main job: of the reduced-data recipe, recipes/run_reduced_data.sh, or on their own.
FURTHER = (
    Stage(
        "reduced",
        "train and compare networks on parts of the labels: hard labels, soft targets, both",
        "Needs the main job's artifacts up to `posteriors`, and `graph`. Writes reduced_networks/ and reduced/. "
        "Settings: reduced.*.",
    ),
    Stage(
        "reduced_report",
        "table and curves of the networks on parts of the labels",
        "Writes reduced_report/report.md, report.json and convergence.png, and prints the table.",
    ),
    Stage(
        "beams",
        "word error rate and time of the first student's search at several beams, on dev",
        "Needs the main job's artifacts up to `decode`. Writes beams/beams.md and beams.png, and prints the table. "
        "Settings: beams.values.",
    ),
    Stage(
        "rescore",
        "put each system's best few word sequences in order anew with another, larger language model",
        "Needs the main job's artifacts up to `decode`. Writes rescore/<system>/{dev,test}.jsonl and prints the word "
        "error rates. Settings: rescore.arpa (the model), rescore.*.",
    ),
)


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the arguments, instead of repeating all of them.

    Attributes:
        settings: class of the settings that the command takes as flags besides; they end its help.
    """

    settings: type | None = None

    def format_help(self) -> str:
        """The help, with every setting."""
        text = super().format_help()
        if self.settings is None:
            return text
        return (
            f"{text}\nAny setting can be given as --section.key VALUE; these are all:\n\n{help_text(self.settings)}\n"
        )

    def error(self, message: str) -> NoReturn:
        self.exit(_fail(f"{message}; see `{self.prog} --help`"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kd-asr",
        description="Train an ensemble of acoustic models, distil it into one small model, and prove what was kept.",
        epilog="Every stage works on a run folder: `kd-asr configure exp/run ...` makes it, then the stages follow in "
        "the order above. recipes/run_librispeech_subset.sh runs them all. A finished stage is skipped, an "
        "interrupted one goes on from its last checkpoint. Started by torchrun (`torchrun --nproc-per-node 2 --no-"
        "python kd-asr ensemble exp/run`), on one machine or several that share the run folder, a stage spreads its "
        "work over the processes. Exit status: 0 done, 2 an error that the message explains, 130 interrupted.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_configure(commands)
    for stage in (*STAGES, *FURTHER):
        command = commands.add_parser(
            stage.name,
            help=stage.summary,
            description=f"{stage.summary[0].upper()}{stage.summary[1:]}. {stage.details}",
        )
        command.add_argument("run", type=Path, help="run folder made by `kd-asr configure`")
    add_own_audio(commands)
    add_mnist(commands)
    score = commands.add_parser("score", help="word error rate of a hypothesis file against a reference file")
    score.add_argument("reference", type=Path, help="lines of `utterance-id words ...`, or of words alone")
    score.add_argument("hypothesis", type=Path, help="in the same format")
    score.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _add_configure(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "configure",
        help="make a run folder: choose the corpus, check every setting, write settings.yaml",
        description="Make (or change) the run folder RUN and check everything that can be checked before work starts. "
        "Later stages read RUN/settings.yaml; what a change touches is made again, the rest is kept.",
        allow_abbrev=False,
    )
    command.settings = Settings
    command.add_argument("run", type=Path, help="run folder, made if it is not there")
    command.add_argument("--config", type=Path, help="YAML file of settings, such as recipes/conf/quick.yaml")
    command.add_argument(
        "--corpus",
        choices=("auto", "librispeech", "embedded"),
        default="auto",
        help="auto: --librispeech or $LIBRISPEECH, else DATA/LibriSpeech, else download mini LibriSpeech, else (no "
        "network) the embedded corpus of synthetic speech",
    )
    command.add_argument("--librispeech", type=Path, help="folder in LibriSpeech's layout")
    command.add_argument("--data", type=Path, default=Path("data"), help="where corpora land (default: data)")
    command.add_argument("--train", help="subset to train on")
    command.add_argument("--dev", help="subset every choice is made on")
    command.add_argument("--test", help="subset read once, at the end")
    command.add_argument("--lm", help="ARPA language model, gzipped or not; none: estimated from the training text")


def _configure(arguments: argparse.Namespace, flags: Sequence[str]) -> None:
    from kd_asr.corpora.choose import choose_corpus
    from kd_asr.stages.lexicon import check_given_files

    # What is wrong in the settings is said before the corpus is looked for.
    given = [f"--language_model.arpa={Path(arguments.lm).resolve()}"] if arguments.lm else []
    early = parse_settings([*flags, *given], arguments.config)
    check_given_files(early)
    _check_run_folder(arguments.run)
    choice = choose_corpus(
        arguments.corpus,
        arguments.librispeech,
        arguments.data,
        train=arguments.train,
        dev=arguments.dev,
        test=arguments.test,
    )
    say(choice.sentence)
    root = str(choice.root)
    if choice.source == "embedded" and early.corpus.embedded_size == "miniature":
        root += "_miniature"
    chosen = {"source": choice.source, "root": root, "train": choice.train, "dev": choice.dev}
    corpus_flags = [f"--corpus.{key}={value}" for key, value in {**chosen, "test": choice.test}.items()]
    if choice.arpa and not early.language_model.arpa:
        given = [f"--language_model.arpa={choice.arpa}"]
    settings = parse_settings([*flags, *corpus_flags, *given], arguments.config)
    arguments.run.mkdir(parents=True, exist_ok=True)
    save_settings(arguments.run, settings)
    say(f"settings: {arguments.run / 'settings.yaml'}")


def _check_run_folder(run: Path) -> None:
    """Refuse a run folder that cannot be made or written into, without making it."""
    place = run.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{run} cannot be a run folder, because {place} is not a folder: choose another one")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{run} cannot be a run folder, because {place} cannot be written into: choose another one")


def _score(arguments: argparse.Namespace) -> None:
    from kd_asr.stages.score import score

    print(score(arguments.reference, arguments.hypothesis, as_json=arguments.json))


def _run_stage(name: str, run_dir: Path) -> None:
    settings = load_settings(run_dir)
    module = importlib.import_module(f"kd_asr.stages.{name}")
    with locked(run_dir):
        made = getattr(module, name)(run_dir, settings)
        if name in ("report", "reduced_report"):
            module.print_table(run_dir / name / "report.json")
        elif name in ("beams", "rescore"):
            module.print_table(made)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the share of it that rank 0 of torchrun hands out; the return value is the exit status."""
    with joined_ranks() as ranks:
        if ranks.rank > 0:
            console.quiet = True
            serve()
            return 0
        try:
            return _main(argv)
        finally:
            if ranks.hands_out:
                tell(("stop",))


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        if arguments.command == "configure":
            _configure(arguments, rest)
            return 0
        if arguments.command == "mnist" and (arguments.mnist_command == "configure" or not rest):
            run_mnist(arguments, rest)
            return 0
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        if arguments.command == "score":
            _score(arguments)
        elif arguments.command in COMMANDS:
            run_own_audio(arguments)
        else:
            _run_stage(arguments.command, arguments.run)
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - silences the flush at exit
        return 1
    except OSError as error:
        return _fail(_explain(error, getattr(arguments, "run", None)))
    except MemoryError:
        return _fail("there is not enough memory: use fewer processes with --jobs 1, or a smaller --preset")
    return 0


def _explain(error: OSError, run_dir: Path | None) -> str:
    """One sentence for what the system refused, and what to do about it."""
    place = error.filename or run_dir or "standard output"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({place}): make room and run the command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{place}: {error.strerror}; make it accessible, or choose another folder"
    if error.errno == errno.ENOENT:
        return f"{place} is missing; if it belongs to a run, delete the folder of its stage and run the stage again"
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


def _fail(message: str) -> int:
    say(f"kd-asr: error: {message}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
