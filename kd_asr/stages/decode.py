"""Stage `decode`: recognise dev and test with every system; scale and penalty are chosen on dev, test is decoded
once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.tuning import choose_on_grid
from kd_asr.jobs.systems import Group, System
from kd_asr.parallel import Workers
from kd_asr.stages.recognise import (
    Recognised,
    recognise,
    recognising_workers,
    search_scores,
    set_wer,
    write_hypotheses,
)
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems
from kd_asr.tasks.targets import Targets


def tuning_name(group: Group) -> str:
    """Name of the artifact with the acoustic scale and the insertion penalty of a group."""
    return f"decode/tuning-{group.name}"


def decode(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `decode/<system>/dev.jsonl` and `test.jsonl` for every system.

    Scale and penalty are chosen once for all systems of a group, by the mean of their WERs on dev: the dev WER of one
    network is too noisy.
    """
    systems = run_systems(settings)
    made: list[Artifact] = []
    start: Artifact | None = None
    with recognising_workers(settings) as workers:
        for group in systems.groups:
            seeds = systems.of_group(group)
            tuned = _tune(run_dir, settings, group, seeds, workers, start=start)
            start = start or tuned
            made += [tuned, *(_decode_system(run_dir, settings, system, tuned, workers) for system in seeds)]
    return made


def _tune(
    run_dir: Path,
    settings: Settings,
    group: Group,
    seeds: Sequence[System],
    workers: Workers,
    *,
    start: Artifact | None,
) -> Artifact:
    """Choose scale and penalty for a group, beginning with the choice in another group's artifact `start`."""
    origin = None if start is None else _choice(start)

    def work(folder: Path) -> dict[str, Any]:
        decode = settings.decode
        beam = min(decode.tuning_beam, decode.beam)
        search = partial(_recognise, run_dir, settings, beam=beam, workers=workers, scratch=folder)

        def dev_wer(*point: float) -> float:
            return sum(set_wer(*search(system, "dev", point)) for system in seeds) / len(seeds)

        choice = choose_on_grid(dev_wer, decode.acoustic_scales, decode.insertion_penalties, start=origin)
        return {
            "acoustic_scale": choice.acoustic_scale,
            "insertion_penalty": choice.insertion_penalty,
            "grid": [
                {"acoustic_scale": scale, "insertion_penalty": penalty, "dev_wer": wer}
                for (scale, penalty), wer in sorted(choice.grid.items())
            ],
        }

    return build_artifact(
        run_dir,
        tuning_name(group),
        code=__name__,
        settings={**decides(settings, seeds), "start": origin},
        inputs=_inputs(run_dir, seeds, settings.targets),
        work=work,
    )


def _decode_system(run_dir: Path, settings: Settings, system: System, tuned: Artifact, workers: Workers) -> Artifact:
    """Decode both sets with one system, with the scale and penalty of `tuned`."""

    def work(folder: Path) -> dict[str, Any]:
        found = {}
        for set_name in ("dev", "test"):
            found[set_name] = _recognise(
                run_dir, settings, system, set_name, _choice(tuned),
                beam=settings.decode.beam, workers=workers, scratch=folder,
            )  # fmt: skip
            write_hypotheses(folder / f"{set_name}.jsonl", *found[set_name])
        dev_wer = set_wer(*found["dev"])
        scale, penalty = _choice(tuned)
        say(f"{system.name}: {100 * dev_wer:.2f} % WER on dev, acoustic scale {scale:g}, insertion penalty {penalty:g}")
        utterances, hypotheses = found["test"]
        seconds = sum(item.search_seconds for item in hypotheses)
        return {
            "acoustic_scale": scale,
            "insertion_penalty": penalty,
            "dev_wer": dev_wer,
            "search_real_time_factor": round(seconds / sum(item.seconds for item in utterances), 5),
            "unfinished": sum(not item.reached_final for item in hypotheses),
        }

    return build_artifact(
        run_dir,
        f"decode/{system.name}",
        code=__name__,
        settings=decides(settings, [system]),
        inputs=[*_inputs(run_dir, [system], settings.targets), tuned],
        work=work,
    )


def _choice(tuned: Artifact) -> tuple[float, float]:
    return tuned.metrics["acoustic_scale"], tuned.metrics["insertion_penalty"]


def decides(settings: Settings, systems: Sequence[System]) -> dict[str, Any]:
    """What of the settings decides the artifact of some systems."""
    return {
        "decode": settings.decode,
        "adapt": settings.adapt,
        "systems": list(systems),
        "train.precision": settings.train.precision,
    }


def _inputs(run_dir: Path, systems: Sequence[System], targets: Targets) -> list[Artifact]:
    networks = [member.artifact for system in systems for member in system.members]
    names = dict.fromkeys(("prepare", "features", targets.artifact, "graph", *networks))
    return [load_artifact(run_dir, name) for name in names]


def _recognise(
    run_dir: Path,
    settings: Settings,
    system: System,
    set_name: str,
    point: Sequence[float],
    *,
    beam: float,
    workers: Workers,
    scratch: Path,
) -> Recognised:
    """Recognise a set with a system at a point (acoustic scale, insertion penalty)."""
    scale, penalty = point
    return recognise(
        run_dir,
        set_name,
        search_scores(run_dir, set_name, system, settings),
        Search(scale, penalty, beam=beam, max_active=settings.decode.max_active),
        workers,
        scratch=scratch,
        description=f"decode {system.name} {set_name} ({scale:g}, {penalty:g})",
    )
