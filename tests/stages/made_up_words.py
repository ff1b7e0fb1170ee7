"""Recognised words of a run in miniature that has no decoding graph, as `decode` would leave them."""

import json
from pathlib import Path
from typing import Any

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.stages import decode
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import run_systems


def write_decoded(run: Path, settings: Settings) -> None:
    """Two words an utterance of test; every system but the ensemble misses the second one in the first utterance."""
    names = AlignmentStore.open(run / "align" / "test").utterance_ids
    for system in run_systems(settings).systems:

        def work(folder: Path, perfect: bool = len(system.members) > 1) -> dict[str, Any]:
            lines = [
                {
                    "utterance_id": name,
                    "reference": ["ONE", "TWO"],
                    "hypothesis": ["ONE", "TWO"] if perfect or number else ["ONE"],
                    "seconds": 2.0,
                    "search_seconds": 0.5,
                }
                for number, name in enumerate(reversed(names))
            ]
            (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            return {}

        build_artifact(
            run,
            f"decode/{system.name}",
            code=decode.__name__,
            settings=decode.decides(settings, [system]),
            inputs=[load_artifact(run, member.artifact) for member in system.members],
            work=work,
        )
