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
from kd_asr.corpora.manifest import Utterance
from kd_asr.decoding.decoder import Hypothesis, Search
from kd_asr.decoding.tuning import Choice, choose_on_grid
from kd_asr.parallel import Workers
from kd_asr.stages.networks import ROOMS
from kd_asr.stages.recognise import NetworkScores, log_prior, recognise, set_wer, write_hypotheses
from kd_asr.stages.systems import BASELINE, student_names, systems


def decode(run_dir: Path, settings: Settings) -> list[Artifact]:
    """Write `decode/<system>/dev.jsonl` and `test.jsonl` for baseline, ensemble and every student.

    The baseline's choice of scale and penalty is where the others' search begins. The students are one system: the
    first one's choice holds for all.
    """
    made: list[Artifact] = []
    begin: dict[str, Artifact] = {}
    first_student = student_names(settings)[0].rsplit("/", maxsplit=1)[1]
    with Workers(settings.jobs) as workers:
        for system in systems(settings):
            is_later_student = system.startswith("student") and system != first_student
            start = begin.get(first_student) if is_later_student else begin.get(BASELINE)
            artifact = _decode_system(run_dir, settings, system, start, workers, frozen=is_later_student)
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
        search = Search(acoustic_scale=1.0, beam=settings.decode.beam, max_active=settings.decode.max_active)

        def run(set_name: str, scale: float, penalty: float) -> tuple[list[Utterance], list[Hypothesis]]:
            return recognise(
                run_dir,
                set_name,
                NetworkScores(run_dir, set_name, names, settings, prior),
                replace(search, acoustic_scale=scale, insertion_penalty=penalty),
                workers,
                scratch=folder,
                description=f"decode {system} {set_name} ({scale:g}, {penalty:g})",
            )

        decoded: dict[tuple[float, float], tuple[list[Utterance], list[Hypothesis]]] = {}

        def dev_wer(scale: float, penalty: float) -> float:
            decoded[scale, penalty] = run("dev", scale, penalty)
            return set_wer(*decoded[scale, penalty])

        scales, penalties = settings.decode.acoustic_scales, settings.decode.insertion_penalties
        if frozen and start is not None:
            scales, penalties = (start.metrics["acoustic_scale"],), (start.metrics["insertion_penalty"],)
        origin = (start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]) if start is not None else None
        choice: Choice = choose_on_grid(dev_wer, scales, penalties, start=origin)
        write_hypotheses(folder / "dev.jsonl", *decoded[choice.acoustic_scale, choice.insertion_penalty])
        utterances, hypotheses = run("test", choice.acoustic_scale, choice.insertion_penalty)
        write_hypotheses(folder / "test.jsonl", utterances, hypotheses)
        seconds = sum(item.search_seconds for item in hypotheses)
        say(f"{system}: {100 * choice.wer:.2f} % WER on dev, acoustic scale {choice.acoustic_scale:g}, "
            f"insertion penalty {choice.insertion_penalty:g}")  # fmt: skip
        return {
            "acoustic_scale": choice.acoustic_scale,
            "insertion_penalty": choice.insertion_penalty,
            "dev_wer": choice.wer,
            "grid": [
                {"acoustic_scale": scale, "insertion_penalty": penalty, "dev_wer": wer}
                for (scale, penalty), wer in sorted(choice.grid.items())
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
            "average": settings.ensemble.average,
            "precision": settings.train.precision,
            "start": None if start is None else [start.metrics["acoustic_scale"], start.metrics["insertion_penalty"]],
            "frozen": frozen,
        },
        inputs=inputs,
        rooms=(*ROOMS, "decoding", "evaluation"),
        shared=("networks", "recognise", "systems"),
        work=work,
    )
