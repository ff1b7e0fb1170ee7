"""Stage `graph`: the decoding graph from lexicon, language model and HMM topology."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_asr.alignment.lexicon import read_lexicon
from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.console import say
from kd_asr.decoding.fst_arrays import write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, write_words
from kd_asr.errors import UserError
from kd_asr.stages.language_model import arpa_file
from kd_asr.stages.settings import Settings


def graph(run_dir: Path, settings: Settings) -> Artifact:
    """Write `graph/HCLG.fst` and `graph/words.txt`."""
    lexicon, language_model, aligned = (load_artifact(run_dir, name) for name in ("lexicon", "language_model", "align"))
    targets = settings.targets
    found = aligned.metrics["train"].get("silence_probability")
    if found is None:
        raise UserError(f"{aligned.path} lacks the share of silences: run `kd-asr align {run_dir}` again")
    silence_probability = float(found)

    def work(folder: Path) -> dict[str, Any]:
        say("graph: composing lexicon and language model")
        fst, words = decoding_graph(
            read_lexicon(lexicon.path / "lexicon.txt"),
            arpa_file(language_model),
            targets.topology(run_dir),
            silence_probability=silence_probability,
            self_loop_scale=settings.decode.self_loop_scale,
        )
        write_fst(folder / GRAPH_FILE, fst)
        write_words(folder / WORDS_FILE, words)
        return {
            "states": fst.num_states,
            "arcs": fst.num_arcs,
            "words": len(words) - 1,
            "bytes": (folder / GRAPH_FILE).stat().st_size,
            "silence_probability": silence_probability,
        }

    return build_artifact(
        run_dir,
        "graph",
        code=__name__,
        settings=decides(settings),
        inputs=[lexicon, language_model, load_artifact(run_dir, targets.artifact)],
        work=work,
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact."""
    return {"decode.self_loop_scale": settings.decode.self_loop_scale}
