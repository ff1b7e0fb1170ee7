"""Stage `decode`: words of dev and test by every system; scale and penalty are chosen on dev, test is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.tuning import choose_on_grid
from kd_asr.parallel import Workers
from kd_asr.stages.recognise import Recognised, log_prior, recognise, set_scores, set_wer, write_hypotheses
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import kinds, systems


def tuning_name(kind: str) -> str:
    """Artifact of the acoustic scale and the insertion penalty of a kind of systems; see `systems.kinds`."""
    return f"decode/tuning-{kind}"


def decode(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `decode/<system>/dev.jsonl` and `test.jsonl` for every baseline, the ensemble and every student.

    Scale and penalty are chosen once for all systems of a kind, on the mean of their WERs on dev: one network's dev
    WER is too noisy to choose by.
    """
    made: list[Artifact] = []
    start: Artifact | None = None
    with Workers(settings.jobs) as workers:
        for kind, members in kinds(settings).items():
            tuned = _tune(run_dir, settings, kind, start, workers)
            start = start or tuned
            made += [tuned, *(_decode_system(run_dir, settings, name, tuned, workers) for name in members)]
    return made


def _tune(run_dir: Path, settings: Settings, kind: str, start: Artifact | None, workers: Workers) -> Artifact:
    """Choose for the systems of a kind, beginning with what another kind's artifact `start` has."""
    members = kinds(settings)[kind]
    origin = None if start is None else _choice(start)

    def work(folder: Path) -> dict[str, Any]:
        decode = settings.decode
        beam = min(decode.tuning_beam, decode.beam)
        search = partial(_recognise, run_dir, settings, beam=beam, workers=workers, scratch=folder)

        def dev_wer(*point: float) -> float:
            return sum(set_wer(*search(name, "dev", point)) for name in members) / len(members)

        choice = choose_on_grid(dev_wer, decode.acoustic_scales, decode.insertion_penalties, start=origin)
        return {
            "acoustic_scale": choice.acoustic_scale,
            "insertion_penalty": choice.insertion_penalty,
            "grid": [
                {"acoustic_scale": scale, "insertion_penalty": penalty, "dev_wer": wer}
                for (scale, penalty), wer in sorted(choice.grid.items())
            ],
        }

    networks = [network for name in members for network in systems(settings)[name]]
    return build_artifact(
        run_dir,
        tuning_name(kind),
        code=__name__,
        settings={**_settings(settings), "start": origin},
        inputs=_inputs(run_dir, networks),
        work=work,
    )


def _decode_system(run_dir: Path, settings: Settings, system: str, tuned: Artifact, workers: Workers) -> Artifact:
    """Decode both sets with one system, as `tuned` says."""

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
        say(f"{system}: {100 * dev_wer:.2f} % WER on dev, acoustic scale {scale:g}, insertion penalty {penalty:g}")
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
        f"decode/{system}",
        code=__name__,
        settings=_settings(settings),
        inputs=[*_inputs(run_dir, systems(settings)[system]), tuned],
        work=work,
    )


def _choice(tuned: Artifact) -> tuple[float, float]:
    return tuned.metrics["acoustic_scale"], tuned.metrics["insertion_penalty"]


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "decode": settings.decode,
        "adapt": settings.adapt,
        "average": settings.ensemble.average,
        "precision": settings.train.precision,
    }


def _inputs(run_dir: Path, networks: Sequence[str]) -> list[Artifact]:
    return [load_artifact(run_dir, name) for name in ("prepare", "features", "align", "graph", *networks)]


@lru_cache(maxsize=1)
def _prior(aligned: Path, fingerprint: str) -> Tensor:
    """`log_prior` of an alignment, which `fingerprint` tells from an earlier one in the same folder."""
    return log_prior(AlignmentStore.open(aligned / "train"), Topology.load(aligned / "topology.json").num_pdfs)


def _recognise(
    run_dir: Path,
    settings: Settings,
    system: str,
    set_name: str,
    point: Sequence[float],
    *,
    beam: float,
    workers: Workers,
    scratch: Path,
) -> Recognised:
    """A set's words by a system, at a point (acoustic scale, insertion penalty)."""
    aligned = load_artifact(run_dir, "align")
    scale, penalty = point
    return recognise(
        run_dir,
        set_name,
        set_scores(run_dir, set_name, systems(settings)[system], settings, _prior(aligned.path, aligned.fingerprint)),
        Search(scale, penalty, beam=beam, max_active=settings.decode.max_active),
        workers,
        scratch=scratch,
        description=f"decode {system} {set_name} ({scale:g}, {penalty:g})",
    )
