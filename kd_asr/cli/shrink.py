"""The command `kd-asr shrink`; parsing only."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import Lines, one_of

_WRITINGS = ("fp32", "fp16", "bf16", "int8")
_FORMS = ("pruned-50", "pruned-70", "pruned-90", "units-50", "low-rank-50", "quantised")


def add_shrink(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "shrink",
        help="make the networks of a finished run smaller, map size and speed against accuracy, export what fits",
        description="Prune, factor and quantise the single networks of a run whose `decode` is done, fine-tune each as "
        "it was trained (students with the teacher's targets, baselines on hard labels), measure all of them on dev in "
        "several precisions, and write RUN/shrink/map/map.md, map.csv and map.png. With a target, the most accurate "
        "network that fits on dev is written as an export folder. What is done already is kept. docs/shrinking.md.",
        epilog="examples:\n  kd-asr shrink exp/librispeech_quick --forms pruned-70,quantised --epochs 0.5\n"
        "  kd-asr shrink exp/librispeech_quick --target-bytes 600000 --out small",
        formatter_class=Lines,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--target-bytes",
        type=_positive(int),
        metavar="N",
        help="largest size of the network's file, deflated as in a zip file",
    )
    parser.add_argument(
        "--target-rtf",
        type=_positive(float),
        metavar="X",
        help="largest processor time of the network, in one thread, for a second of speech",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="export folder for the network that fits")
    parser.add_argument("--overwrite", action="store_true", help="replace an export folder of another content")
    parser.add_argument(
        "--forms",
        type=_names,
        default=_FORMS,
        metavar="A,B",
        help="forms beside the networks as they are: pruned-N (N %% of the weights become 0), units-N (N %% of the "
        "hidden units stay), low-rank-N (factors with N %% of the weights), quantised (trained for 8 bits); default: "
        f"{','.join(_FORMS)}",
    )
    parser.add_argument(
        "--precisions",
        type=_precisions,
        default=_WRITINGS,
        metavar="A,B",
        help=f"precisions of the files: {', '.join(_WRITINGS)} (default: all); int8 needs pip install 'kd-asr[export]'",
    )
    parser.add_argument(
        "--systems",
        type=_names,
        default=(),
        metavar="A,B",
        help="systems of one network, or groups of them, such as distilled or baseline-00 (default: all)",
    )
    parser.add_argument(
        "--epochs", type=_positive(float), default=1.0, metavar="N", help="passes of each fine-tuning (default: 1)"
    )
    parser.add_argument(
        "--learning-rate",
        type=_positive(float),
        default=0.3,
        metavar="SHARE",
        help="peak learning rate of a fine-tuning, as a share of train.learning_rate (default: 0.3)",
    )
    parser.add_argument(
        "--decode",
        type=one_of("--decode", ("front", "all", "none")),
        default="front",
        metavar="front|all|none",
        help="points of the map with which dev is recognised as well (default: those on a front)",
    )


def run_shrink(arguments: argparse.Namespace) -> None:
    """Make the map, and export what fits."""
    from kd_asr.artifacts import locked
    from kd_asr.shrink.plan import ShrinkOptions
    from kd_asr.shrink.shrink import Target, check_target, export_best, print_map, shrink
    from kd_asr.stages.settings import load_settings
    from kd_asr.stages.systems import run_systems

    target = Target(arguments.target_bytes, arguments.target_rtf)
    check_target(target, arguments.out)
    settings = load_settings(arguments.run)
    options = ShrinkOptions(
        forms=arguments.forms,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        systems=arguments.systems,
    )
    with locked(arguments.run):
        made, rows, measured = shrink(arguments.run, options, writings=arguments.precisions, decoded=arguments.decode)
        print_map(made, rows, run_systems(settings))
        if arguments.out is not None:
            export_best(arguments.run, rows, measured, target, arguments.out, overwrite=arguments.overwrite)


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _precisions(value: str) -> tuple[str, ...]:
    chosen = _names(value)
    for part in chosen:
        one_of("--precisions", _WRITINGS)(part)
    return chosen


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = kind(value)
        if not (number > 0 and math.isfinite(number)):
            raise argparse.ArgumentTypeError(f"{value} is not a number above 0")
        return number

    parse.__name__ = "whole number" if kind is int else "number"
    return parse
