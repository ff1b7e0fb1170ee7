"""The command `kd-asr`: its parser, exit status, and the sentence for whatever went wrong."""

from __future__ import annotations

import argparse
import errno
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kd_asr import __version__
from kd_asr.artifacts import making_command
from kd_asr.cli.check import add_check, run_check
from kd_asr.cli.compare import add_compare, run_compare
from kd_asr.cli.curves import add_curves, run_curves
from kd_asr.cli.dump import add_dump, run_dump
from kd_asr.cli.export import add_export, run_export
from kd_asr.cli.mnist import add_mnist, run_mnist
from kd_asr.cli.own_audio import COMMANDS, add_own_audio, run_own_audio
from kd_asr.cli.parsing import Parser, command_of, fail, known_options, unknown_arguments
from kd_asr.cli.pseudo_label import add_pseudo_label, run_pseudo_label
from kd_asr.cli.run import add_run, run, with_task
from kd_asr.cli.score import add_score, run_score
from kd_asr.cli.serve import add_serve, run_serve
from kd_asr.cli.shrink import add_shrink, run_shrink
from kd_asr.cli.speech import add_configure, configure
from kd_asr.cli.stages import add_stages, run_stage
from kd_asr.console import console, say
from kd_asr.errors import UserError
from kd_asr.parallel import serve
from kd_asr.ranks import broadcast, end_all_ranks, joined_ranks

_WITH = "(--jobs 1, --preset, --device cpu of `kd-asr run` and `kd-asr configure`)"
# Commands that take settings as flags, and those that do not, beside the stages.
_WITH_SETTINGS = {"configure": configure, "run": run, "check": run_check, "pseudo-label": run_pseudo_label}
_FURTHER = {
    "score": run_score,
    "compare": run_compare,
    "dump": run_dump,
    "export": run_export,
    "serve": run_serve,
    "shrink": run_shrink,
    "tensorboard": run_curves,
    **dict.fromkeys(COMMANDS, run_own_audio),
}
# A disk with less room than this is full.
_HARDLY_ANY = 1 << 20


def _parser() -> Parser:
    parser = Parser(
        prog="kd-asr",
        description="Train an ensemble of acoustic models, distil it into one small model, and measure what was kept.",
        epilog="`kd-asr run speech` does the main job, from corpus to report, in a run folder. To go step by step, "
        "make the folder with `kd-asr configure exp/run ...` and run the stages on it in the order above. A finished "
        "stage is skipped; an interrupted one resumes from its last checkpoint. Under torchrun "
        "(`torchrun --nproc-per-node 2 --no-python kd-asr ensemble exp/run`), on one machine or several that share "
        "the run folder, a stage spreads its work over the processes. Exit status: 0 done, 2 an error that the "
        "message explains, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kd-asr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run(commands)
    add_configure(commands)
    add_stages(commands)
    add_own_audio(commands)
    add_export(commands)
    add_serve(commands)
    add_shrink(commands)
    add_mnist(commands)
    add_compare(commands)
    add_score(commands)
    add_check(commands)
    add_dump(commands)
    add_pseudo_label(commands)
    add_curves(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the share of it that rank 0 of torchrun hands out; the return value is the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A character that a terminal or a pipe has no code for is escaped; the work is not lost for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with joined_ranks() as ranks:
        try:
            status = _serve() if ranks.rank > 0 else _main(sys.argv[1:] if argv is None else argv)
        except SystemExit as done:  # of the parser
            if not ranks.hands_out:
                raise
            status = int(done.code or 0)
        if status and ranks.size > 1:
            end_all_ranks(status)  # the others may be waiting for this one
        if ranks.hands_out:
            broadcast(("stop",))
        return status


def _serve() -> int:
    """Do what rank 0 hands out; the exit status."""
    console.quiet = True
    try:
        serve()
    except KeyboardInterrupt:
        time.sleep(1)  # rank 0, which was interrupted as well, says so
        return 130
    except Exception as error:
        sentence = _sentence(error, None)
        if sentence is None:
            raise
        end_all_ranks(2, sentence)
    return 0


def _main(argv: Sequence[str]) -> int:
    parser = _parser()
    arguments = argparse.Namespace()
    try:
        words = with_task(argv)
        arguments, rest = parser.parse_known_args(words)
        command = command_of(parser, words)
        arguments.options = known_options(command)
        if arguments.command in _WITH_SETTINGS:
            _WITH_SETTINGS[arguments.command](arguments, rest)
        elif arguments.command == "mnist" and (arguments.mnist_command == "configure" or not rest):
            run_mnist(arguments, rest)
        elif rest:
            command.error(unknown_arguments(rest, arguments.options))
        elif arguments.command in _FURTHER:
            _FURTHER[arguments.command](arguments)
        else:
            run_stage(arguments.command, arguments.run)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - silences the flush at exit
        return 1
    except Exception as error:
        sentence = _sentence(error, getattr(arguments, "run", None))
        if sentence is None:
            raise
        return fail(sentence)
    return 0


def _sentence(error: Exception, run_dir: Path | None) -> str | None:
    """What went wrong and what to do about it; None where that is not for the user to cure."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return _explain(error, run_dir)
    if isinstance(error, MemoryError):
        return "there is not enough memory: use fewer processes with --jobs 1, or a smaller --preset"
    if isinstance(error, RuntimeError):
        from kd_asr.device import is_out_of_memory

        if is_out_of_memory(error):
            return (
                "the graphics card has not enough memory: use fewer processes, a smaller budget, or the processor "
                f"{_WITH}"
            )
    return None


def _full(place: object, run_dir: Path | None) -> str:
    """The place without room: that of the error, unless the folder of temporary files is the one that is full."""
    for folder in filter(None, (Path(tempfile.gettempdir()), run_dir)):
        try:
            if shutil.disk_usage(folder).free < _HARDLY_ANY:
                return f"{folder}, $TMPDIR" if folder == Path(tempfile.gettempdir()) else str(folder)
        except OSError:
            continue
    return str(place)


def _explain(error: OSError, run_dir: Path | None) -> str:
    """One sentence for what the system refused, and what to do about it."""
    place = error.filename or run_dir or "standard output"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = _full(place, run_dir)
        return f"the disk is full ({full}): make room and run the command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{place}: {error.strerror}; make it accessible, or choose another folder"
    if error.errno == errno.ENOENT:
        missing = Path(str(place)).absolute()
        if run_dir is None or run_dir.absolute() not in missing.parents:
            return f"{place} is missing"
        name = missing.relative_to(run_dir.absolute()).parts[0]
        return f"{place} is missing: run `{making_command(run_dir, name)}` again"
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
