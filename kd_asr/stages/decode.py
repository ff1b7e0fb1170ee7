"""Stage `decode`: words of dev and test by every system; scale and penalty are chosen on dev, test is decoded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.config import Settings
from kd_asr.console import say
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.tuning import choose_on_grid
from kd_asr.parallel import Workers
from kd_asr.stages.networks import ROOMS
from kd_asr.stages.recognise import Recognised, log_prior, recognise, set_scores, set_wer, write_hypotheses
from kd_asr.stages.systems import baseline_names, single_networks, system_of, systems


def decode(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `decode/<system>/dev.jsonl` and `test.jsonl` for every baseline, the ensemble and every student.

    The baselines are one system, and so are the students: what dev chooses for the first one, scale and penalty, holds
    for all. The first baseline's choice is where the search of ensemble and students begins.
    """
    made: list[Artifact] = []
    begin: dict[str, Artifact] = {}
    first_baseline = system_of(baseline_names(settings)[0])
    firsts = {system_of(name): system_of(names[0]) for names in single_networks(settings) for name in names}
    with Workers(settings.jobs) as workers:
        for system in systems(settings):
            first = firsts.get(system, system)
            start = begin.get(first if system != first else first_baseline)
            artifact = _decode_system(run_dir, settings, system, start, workers, frozen=system != first)
            begin[system] = artifact
            made.append(artifact)
    return made


def _decode_system(
    run_dir: Path, settings: Settings, system: str, start: Artifact | None, workers: Workers, *, frozen: bool
) -> Artifact:
    """Decode both sets with one system; `start` is another system's artifact whose choice is begun with or, if
    `frozen`, kept."""
    names = systems(settings)[system]
    inputs = [load_artifact(run_dir, name) for name in ("prepare", "features", "align", "graph", *names)]
    aligned = inputs[2]

    def work(folder: Path) -> dict[str, Any]:
        num_pdfs = Topology.load(aligned.path / "topology.json").num_pdfs
        prior = log_prior(AlignmentStore.open(aligned.path / "train"), num_pdfs)
        wide = Search(acoustic_scale=1.0, beam=settings.decode.beam, max_active=settings.decode.max_active)
        narrow = replace(wide, beam=min(settings.decode.tuning_beam, settings.decode.beam))

        def run(set_name: str, search: Search, scale: float, penalty: float) -> Recognised:
            return recognise(
                run_dir,
                set_name,
                set_scores(run_dir, set_name, names, settings, prior),
                replace(search, acoustic_scale=scale, insertion_penalty=penalty),
                workers,
                scratch=folder,
                description=f"decode {system} {set_name} ({scale:g}, {penalty:g})",
            )

        origin = (start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]) if start is not None else None
        if frozen and origin is not None:
            chosen, grid = origin, {}
        else:
            scales, penalties = settings.decode.acoustic_scales, settings.decode.insertion_penalties
            choice = choose_on_grid(
                lambda scale, penalty: set_wer(*run("dev", narrow, scale, penalty)), scales, penalties, start=origin
            )
            chosen, grid = (choice.acoustic_scale, choice.insertion_penalty), choice.grid
        on_dev = run("dev", wide, *chosen)
        write_hypotheses(folder / "dev.jsonl", *on_dev)
        utterances, hypotheses = run("test", wide, *chosen)
        write_hypotheses(folder / "test.jsonl", utterances, hypotheses)
        dev_wer = set_wer(*on_dev)
        seconds = sum(item.search_seconds for item in hypotheses)
        say(f"{system}: {100 * dev_wer:.2f} % WER on dev, acoustic scale {chosen[0]:g}, "
            f"insertion penalty {chosen[1]:g}")  # fmt: skip
        return {
            "acoustic_scale": chosen[0],
            "insertion_penalty": chosen[1],
            "dev_wer": dev_wer,
            "grid": [
                {"acoustic_scale": scale, "insertion_penalty": penalty, "dev_wer": wer}
                for (scale, penalty), wer in sorted((grid or {chosen: dev_wer}).items())
            ],
            "search_real_time_factor": round(seconds / sum(item.seconds for item in utterances), 5),
            "unfinished": sum(not item.reached_final for item in hypotheses),
        }

    return build_artifact(
        run_dir,
        f"decode/{system}",
        stage="decode",
        settings={
            "decode": settings.decode,
            "adapt": settings.adapt,
            "average": settings.ensemble.average,
            "precision": settings.train.precision,
            "start": None if start is None else [start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]],
            "frozen": frozen,
        },
        inputs=inputs,
        rooms=(*ROOMS, "decoding", "evaluation"),
        shared=("networks", "recognise", "speakers", "speech", "systems"),
        work=work,
    )
