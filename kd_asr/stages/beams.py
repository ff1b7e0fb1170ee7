"""Stage `beams`: time and word error rate of narrower searches, on dev, with one system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from kd_asr.artifacts import Artifact, build_artifact, load_artifact, read_json
from kd_asr.corpora.base import corpus_of
from kd_asr.decoding.decoder import Search
from kd_asr.reporting.beams import beam_table, plot_beams
from kd_asr.reporting.tables import to_markdown, to_rich
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.recognise import recognise, recognising_workers, search_scores, set_wer
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems


def beams(run_dir: Path, settings: Settings) -> Artifact:
    """Write `beams/beams.md` and `beams.png`, of the first student or, without students, the first system of all;
    acoustic scale and insertion penalty are those `decode` chose.

    The time is that of one core, each utterance's search and the network's share together, with all cores at work.
    """
    systems = run_systems(settings)
    group = (*systems.students, *systems.groups)[0]
    system = systems.of_group(group)[0]
    networks = dict.fromkeys(member.artifact for member in system.members)
    names = ("prepare", "features", settings.targets.artifact, "graph", *networks, f"decode/{system.name}")
    inputs = [load_artifact(run_dir, name) for name in names]
    evaluated = load_artifact(run_dir, "evaluate")
    check_agreement(run_dir, settings, [*names, "evaluate"])
    decoded = inputs[-1]

    def work(folder: Path) -> dict[str, Any]:
        scores = search_scores(run_dir, "dev", system, settings)
        spent = read_json(evaluated.path / "frames.json")["network_seconds"][system.name]["test"]
        rows = []
        with recognising_workers(settings) as workers:
            for beam in sorted(settings.beams.values):
                search = Search(
                    acoustic_scale=decoded.metrics["acoustic_scale"],
                    insertion_penalty=decoded.metrics["insertion_penalty"],
                    beam=beam,
                    max_active=settings.beams.max_active,
                )
                utterances, hypotheses = recognise(
                    run_dir, "dev", scores, search, workers, scratch=folder, description=f"decode dev, beam {beam:g}"
                )
                seconds = sum(item.seconds for item in utterances)
                rows.append(
                    {
                        "beam": beam,
                        "wer": set_wer(utterances, hypotheses),
                        "search_real_time_factor": sum(one.search_seconds for one in hypotheses) / seconds,
                        "network_real_time_factor": spent["seconds"] / spent["audio_seconds"],
                        "unfinished": sum(not one.reached_final for one in hypotheses),
                    }
                )
        plot_beams(rows, system.name, group.colour, corpus_of(settings.corpus).label, folder / "beams.png")
        (folder / "beams.md").write_text(to_markdown(beam_table(rows, system.name)), encoding="utf-8")
        return {"system": system.name, "rows": rows}

    return build_artifact(
        run_dir,
        "beams",
        code=__name__,
        settings={
            "beams": settings.beams,
            "adapt": settings.adapt,
            "precision": settings.train.precision,
            "system": system,
        },
        inputs=[*inputs, evaluated],
        work=work,
    )


def print_table(artifact: Artifact) -> None:
    """Print the table and the path of the plot on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(to_rich(beam_table(artifact.metrics["rows"], artifact.metrics["system"])))
    console.print(f"Plot: {artifact.path / 'beams.png'}", markup=False, soft_wrap=True)
