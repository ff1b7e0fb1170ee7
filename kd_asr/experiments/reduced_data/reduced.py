"""Stage `reduced`: soft targets as regularisers when only a small part of the training set has labels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json, write_json
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.tuning import choose_on_grid
from kd_asr.experiments.reduced_data.arms import arm_groups
from kd_asr.experiments.reduced_data.plan import ReducedSystem, reduced_networks, reduced_systems
from kd_asr.experiments.reduced_data.scores import describe_parts, score_systems
from kd_asr.stages.recognise import (
    NetworkScores,
    Recognised,
    recognise,
    recognising_workers,
    set_wer,
    write_hypotheses,
)
from kd_asr.stages.settings import Settings
from kd_asr.stages.train import train
from kd_asr.tasks.targets import log_prior


def reduced(run_dir: Path, settings: Settings) -> Artifact:
    """Train the networks of `reduced_networks`, recognise test with each, and write the figures into `reduced/`.

    The acoustic scale of a system is chosen on dev with its first repetition; the insertion penalty is chosen only
    once, with the first repetition of all labels, since there are many systems.
    """
    settings.check_frames("the reduced-data experiment")
    systems, planned = reduced_systems(settings), reduced_networks(settings)
    jobs = [one.job for one in planned]
    networks = train(run_dir, settings, jobs, f"{len(jobs)} networks")
    prepared, graph, aligned = (load_artifact(run_dir, name) for name in ("prepare", "graph", "align"))

    def work(folder: Path) -> dict[str, Any]:
        choices = _recognise_all(run_dir, settings, systems, aligned, folder)
        scores = score_systems(run_dir, settings, systems, folder)
        rows = []
        for system in systems:
            found = scores[system.name]
            write_json(folder / f"{system.name}.frames.json", found["test"])
            rows.append(
                {
                    "name": system.name,
                    "kind": system.kind,
                    "fraction": system.network.fraction,
                    "repetition": system.network.repetition,
                    "network": system.network.job.name,
                    "part": found["part"],
                    "dev": found["dev"],
                    "choice": choices[system.key],
                }
            )
        return {
            "draw": settings.reduced.draw,
            "updates": networks[0].metrics["updates"],
            "groups": [asdict(group) for group in arm_groups("audio")],
            "rows": rows,
            "parts": describe_parts(run_dir, settings, planned, networks),
        }

    return build_artifact(
        run_dir,
        "reduced",
        code=__name__,
        settings={
            "beam": settings.reduced.beam,
            "max_active": settings.reduced.max_active,
            "scales": settings.decode.acoustic_scales,
            "penalties": settings.decode.insertion_penalties,
            "precision": settings.train.precision,
        },
        inputs=[prepared, graph, aligned, *networks],
        work=work,
    )


def _recognise_all(
    run_dir: Path, settings: Settings, systems: list[ReducedSystem], aligned: Artifact, folder: Path
) -> dict[tuple[float, str], dict[str, float]]:
    """Write `<system>.jsonl` with the hypotheses on test, keeping those of an interrupted run; return the choices."""
    num_pdfs = Topology.load(aligned.path / "topology.json").num_pdfs
    prior = log_prior(AlignmentStore.open(aligned.path / "train"), num_pdfs)
    search = Search(acoustic_scale=1.0, beam=settings.reduced.beam, max_active=settings.reduced.max_active)
    decode = settings.decode
    # All labels first, since the penalty is chosen with them.
    ordered = sorted(systems, key=lambda one: (one.network.repetition, -one.network.fraction))
    choices: dict[tuple[float, str], dict[str, float]] = {}

    with recognising_workers(settings) as workers:

        def recognised(system: ReducedSystem, set_name: str, scale: float, penalty: float) -> Recognised:
            return recognise(
                run_dir,
                set_name,
                NetworkScores(
                    run_dir,
                    run_dir / "features" / set_name,
                    [system.weights_ref],
                    settings,
                    prior,
                ),
                replace(search, acoustic_scale=scale, insertion_penalty=penalty),
                workers,
                scratch=folder,
                description=f"decode {system.name} {set_name} ({scale:g}, {penalty:g})",
            )

        def dev_wer(system: ReducedSystem) -> Callable[[float, float], float]:
            return lambda scale, penalty: set_wer(*recognised(system, "dev", scale, penalty))

        penalties: tuple[float, ...] = decode.insertion_penalties
        start: tuple[float, float] | None = None
        for system in ordered:
            key = system.key
            twin = _stopped_at_the_end(run_dir, system)
            if twin is not None:
                choices.setdefault(key, choices[twin.key])
            if key not in choices:
                noted = folder / f"choice-{system.network.fraction:g}-{system.kind}.json"
                if noted.exists():
                    choices[key] = read_json(noted)
                else:
                    found = choose_on_grid(dev_wer(system), decode.acoustic_scales, penalties, start=start)
                    choices[key] = {
                        "acoustic_scale": found.acoustic_scale,
                        "insertion_penalty": found.insertion_penalty,
                        "dev_wer": found.wer,
                    }
                    write_json(noted, choices[key])
                start = choices[key]["acoustic_scale"], choices[key]["insertion_penalty"]
                penalties = (start[1],)
            path = folder / f"{system.name}.jsonl"
            choice = choices[key]
            if twin is not None and choice == choices[twin.key]:
                shutil.copyfile(folder / f"{twin.name}.jsonl", folder / f".{path.name}.tmp").replace(path)
            elif not path.exists():
                scale, penalty = choice["acoustic_scale"], choice["insertion_penalty"]
                write_hypotheses(path, *recognised(system, "test", scale, penalty))
    return choices


def _stopped_at_the_end(run_dir: Path, system: ReducedSystem) -> ReducedSystem | None:
    """The system with the best weights of a network whose last weights are the same; None otherwise."""
    if system.kind != "hard_last":
        return None
    twin = ReducedSystem(system.network, "best")
    files = [run_dir / one.weights_ref.artifact / one.weights_ref.file for one in (system, twin)]
    return twin if files[0].read_bytes() == files[1].read_bytes() else None
