"""`kd-asr shrink`: the networks of a run in smaller forms, their map, and the best that fits, as an export folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.corpora.base import corpus_of
from kd_asr.errors import UserError
from kd_asr.jobs.systems import System, Systems
from kd_asr.recognition.export import export_system
from kd_asr.recognition.onnx_files import check_extra
from kd_asr.recognition.recogniser import Engine, Recogniser
from kd_asr.recognition.runs import TrainedSystem, recogniser_of
from kd_asr.reporting.tables import to_rich
from kd_asr.shrink.forms import FULL, WRITINGS, Writing, writings_of
from kd_asr.shrink.map import Row, best_of, rows_of, with_words
from kd_asr.shrink.measure import Written, decode, files_of, measure
from kd_asr.shrink.page import short_table, write_map
from kd_asr.shrink.plan import ShrinkOptions, networks
from kd_asr.stages.recognise import recognising_workers
from kd_asr.stages.settings import Settings, load_settings
from kd_asr.stages.sweep import decided
from kd_asr.stages.systems import run_systems

MAP = "shrink/map"
Decoded = Literal["front", "all", "none"]


@dataclass(frozen=True)
class Target:
    """What a network may cost.

    Attributes:
        packed: Largest size of its files when they are deflated, in bytes; None: any.
        real_time_factor: Largest real-time factor of the network in one thread; None: any.
    """

    packed: int | None = None
    real_time_factor: float | None = None


def shrink(
    run_dir: Path,
    options: ShrinkOptions,
    *,
    writings: Sequence[Writing] = WRITINGS,
    decoded: Decoded = "front",
) -> tuple[Artifact, list[Row], dict[Written, Artifact]]:
    """Train what is missing, measure every form in every precision on dev, and write the map.

    Args:
        run_dir: a run whose systems have been decoded with.
        options: forms and fine-tuning.
        writings: precisions in which weights are written.
        decoded: rows with whose networks dev is recognised.

    Returns:
        The map's artifact, its rows, and what was measured.

    Raises:
        UserError: the run is not finished, or a form cannot be made.
    """
    settings = decided(run_dir, load_settings(run_dir))
    systems = run_systems(settings)
    if "int8" in writings or "quantised" in options.forms:
        check_extra("onnx", "onnxscript", "onnxruntime")
    bases = {system: _base(run_dir, settings, system) for system in systems.systems}  # before any work
    wanted = [
        Written(one, writing)
        for one in networks(run_dir, settings, options)
        for writing in writings_of(one.form)
        if (writing in writings or writings_of(one.form) == (writing,))
        and (writing == "fp32" or len(one.networks) == 1)
    ]
    measured = {one: measure(run_dir, settings, one, bases[one.shrunk.origin]) for one in wanted}
    used = {one.shrunk.origin.group for one in wanted}
    groups = [group for group in systems.groups if group.name in used]
    rows = rows_of(measured, groups)
    words: dict[tuple[str, str, str], list[Artifact]] = {}
    if decoded != "none":
        with recognising_workers(settings) as workers:
            for row in rows:
                if decoded == "all" or row.fronts:
                    words[row.key] = [
                        decode(run_dir, one, measured[one], bases[one.shrunk.origin], workers)
                        for one in wanted
                        if (one.shrunk.origin.group, one.shrunk.form, one.writing) == row.key
                    ]
    rows = with_words(rows, words)

    def work(folder: Path) -> dict[str, Any]:
        write_map(folder, rows, groups, corpus_of(settings.corpus).label)
        return {"rows": len(rows)}

    made = build_artifact(
        run_dir,
        MAP,
        code=__name__,
        settings={"groups": groups},
        inputs=[*measured.values(), *(one for some in words.values() for one in some)],
        work=work,
    )
    return made, rows, measured


def _base(run_dir: Path, settings: Settings, system: System) -> Recogniser:
    return recogniser_of(_trained(run_dir, settings, system), searching=True)


def _trained(run_dir: Path, settings: Settings, system: System) -> TrainedSystem:
    return TrainedSystem(run_dir, settings, system.name, system.group, system.name, system.members, system.combine)


def export_best(
    run_dir: Path,
    rows: Sequence[Row],
    measured: dict[Written, Artifact],
    target: Target,
    out: Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the best network that costs little enough as an export folder.

    Of a row's networks it is the one with the highest frame accuracy on dev.

    Raises:
        UserError: none is small enough, or the folder cannot be written.
    """
    single = [row for row in rows if any(_key(one) == row.key and len(one.shrunk.networks) == 1 for one in measured)]
    row = best_of(single, most_bytes=target.packed, most_time=target.real_time_factor)
    own = [one for one in measured if _key(one) == row.key]
    written = max(own, key=lambda one: float(measured[one].metrics["frame_accuracy"]))
    say(f"{row.name}: {100 * row.frame_accuracy:.2f} % of the frames of dev, {row.packed:,.0f} bytes packed, "
        f"real-time factor {row.real_time_factor:.4f}")  # fmt: skip
    settings = decided(run_dir, load_settings(run_dir))
    origin = written.shrunk.origin
    trained = replace(_trained(run_dir, settings, origin), name=f"{origin.name}-{written.shrunk.form}")
    if written.shrunk.form != FULL:
        trained = replace(trained, group="", networks=written.shrunk.networks)
    base = replace(recogniser_of(_trained(run_dir, settings, origin), searching=True), name=trained.name)
    made = load_artifact(run_dir, measured[written].name)
    halves = written.writing in ("fp16", "bf16")
    sources = (made.path / "model.safetensors",) if halves else files_of(
        run_dir, replace(written, writing="fp32"), made.path
    )  # fmt: skip
    formats: tuple[Engine, ...] = ("torch", "int8") if written.writing == "int8" else ("torch",)
    folder = export_system(
        trained,
        replace(base, networks=sources),
        out,
        formats=formats,
        int8="static",
        overwrite=overwrite,
        weights=written.writing,
    )
    if written.writing == "int8":
        say(f"use it as `kd-asr transcribe {folder} --engine int8 FILE`: model.safetensors is not the small file")
    return folder


def _key(written: Written) -> tuple[str, str, str]:
    return written.shrunk.origin.group, written.shrunk.form, written.writing


def print_map(made: Artifact, rows: Sequence[Row], systems: Systems, file: TextIO | None = None) -> None:
    """Print the rows on a front, and the path of the page."""
    console = Console(file=file or sys.stdout, highlight=False)
    console.print(to_rich(short_table(rows, systems.groups)))
    console.print(f"Map: {made.path / 'map.md'}", markup=False, soft_wrap=True)


def check_target(target: Target, out: Path | None) -> None:
    """Refuse a target without a folder, and the other way round.

    Raises:
        UserError: says what to add.
    """
    asked = target.packed is not None or target.real_time_factor is not None
    if asked and out is None:
        raise UserError("--target-bytes and --target-rtf choose a network to export: name a folder with --out")
    if out is not None and not asked:
        raise UserError("--out is for the network that fits: say what it may cost with --target-bytes or --target-rtf")
