"""Where the time of the stage `align` goes: seconds of each of its steps, and per hour of speech.

The speech is that of a LibriSpeech folder, $LIBRISPEECH or data/LibriSpeech, the targets 2000 tied states. Steps are
those of `align/manifest.json`; the last one is the alignment of train, dev and test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.growth import find_corpus, run_command
from kd_asr.alignment.training import schedule
from kd_asr.artifacts import load_artifact, read_json
from kd_asr.corpora.manifest import SETS, read_manifest
from kd_asr.errors import UserError
from kd_asr.stages.settings import load_settings

SUMMARY = "seconds of every step of the alignment, and per hour of speech ($LIBRISPEECH)"
FLAGS = ("--align.leaves=2000",)
_POLL_SECONDS = 0.02


def measure(*, repeats: int, flags: tuple[str, ...] = FLAGS) -> dict[str, Any]:
    """One run: steps follow each other, and each is long; `repeats` is not used."""
    root, *names = find_corpus()
    sets = [f"--{kind}={name}" for kind, name in zip(SETS, names, strict=True)]
    with tempfile.TemporaryDirectory(prefix="kd_asr-alignment-") as name:
        run = Path(name) / "run"
        run_command("configure", str(run), "--corpus=librispeech", f"--librispeech={root}", *sets, *flags)
        for stage in ("prepare", "features", "lexicon"):
            run_command(stage, str(run))
        started = time.perf_counter()
        command = [sys.executable, "-m", "kd_asr", "align", str(run)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            ends = ends_of_steps(process, run, len(schedule(load_settings(run).align)))
        if process.returncode:
            raise UserError("kd-asr align failed; run it by hand to see why")
        ends.append(time.perf_counter())
        figures = load_artifact(run, "align").metrics
        manifests = {name: read_manifest(run / f"prepare/{name}.jsonl") for name in SETS}
    hours = {name: sum(item.seconds for item in utterances) / 3600 for name, utterances in manifests.items()}
    seconds = [end - begin for begin, end in zip([started, *ends[:-1]], ends, strict=True)]
    titles = [*(step["step"] for step in figures["steps"]), "align train, dev, test"]
    return {
        "repeats": 1,
        "hours": {name: round(value, 3) for name, value in hours.items()},
        "steps": [
            {"step": title, "seconds": round(spent, 2)} for title, spent in zip(titles, seconds, strict=True)
        ],
        "seconds": round(sum(seconds), 1),
        "seconds_an_hour_of_training_speech": round(sum(seconds) / hours["train"], 1),
    }


def ends_of_steps(process: subprocess.Popen[bytes], run: Path, count: int) -> list[float]:
    """When each of `count` steps was noted as done in the stage's progress file, while the process runs."""
    ends: list[float] = []
    while process.poll() is None:
        found = list(run.rglob("progress.json")) if len(ends) < count else []
        try:
            done = len(read_json(found[0])) if found else len(ends)
        except UserError:  # gone in between
            done = len(ends)
        ends += [time.perf_counter()] * (done - len(ends))
        time.sleep(_POLL_SECONDS)
    return ends
