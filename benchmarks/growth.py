"""Time and memory of every stage at once and four times the speech, the corpus being repeated.

The speech is that of a LibriSpeech folder, $LIBRISPEECH or data/LibriSpeech, of which the training set is cut to half
an hour and repeated with other speakers' numbers. Each stage is its own process, as in the recipe, on a tiny budget:
what is of interest is how its figures grow.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kd_asr.corpora.librispeech import scan_subset
from kd_asr.corpora.manifest import Utterance
from kd_asr.errors import UserError

SUMMARY = "time and peak memory of every stage at 1 and 4 times half an hour of speech ($LIBRISPEECH)"
TIMES = (1, 4)
SECONDS = 1800.0
STAGES = (
    "prepare", "features", "lexicon", "language_model", "align", "augment", "ensemble", "transfer", "posteriors",
    "distil", "baseline", "evaluate", "graph", "decode",
)  # fmt: skip
FLAGS = (
    "--ensemble.members=2", "--baseline.networks=1", "--distil.students=1", "--train.epochs=1",
    "--network.dnn.hidden_units=256", "--align.leaves=500", "--decode.beam=9", "--decode.acoustic_scales=[0.1]",
    "--decode.insertion_penalties=[0.0]",
)  # fmt: skip


def repeat_subset(root: Path, subset: str, out: Path, *, times: int, seconds: float) -> float:
    """Lay out `subset` of a LibriSpeech folder in `out`, `times` times, each with speakers of its own.

    Speakers are taken in their order until there are `seconds` of speech. Audio is linked, not copied.

    Returns:
        Seconds of speech of the whole.
    """
    chosen: list[Utterance] = []
    total = 0.0
    for item in scan_subset(root, subset, min_seconds=0.3, max_seconds=40.0).utterances:
        if total >= seconds and item.speaker_id != chosen[-1].speaker_id:
            break
        chosen.append(item)
        total += item.seconds
    for number in range(times):
        lines: dict[Path, list[str]] = {}
        for item in chosen:
            speaker = f"{int(item.speaker_id) + 100_000 * number}"
            name = f"{speaker}-{item.chapter_id}-{item.utterance_id.rsplit('-', maxsplit=1)[1]}"
            folder = out / subset / speaker / item.chapter_id
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.flac").symlink_to(Path(item.audio_path).resolve())
            transcript = folder / f"{speaker}-{item.chapter_id}.trans.txt"
            lines.setdefault(transcript, []).append(f"{name} {' '.join(item.words)}\n")
        for path, texts in lines.items():
            path.write_text("".join(texts), encoding="utf-8")
    return times * total


def find_corpus() -> tuple[Path, str, str, str]:
    """Folder, and its first subsets called train-*, dev-* and test-*.

    Raises:
        UserError: it lacks one of them.
    """
    root = Path(os.environ.get("LIBRISPEECH", "data/LibriSpeech"))
    subsets = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    train = next((name for name in subsets if name.startswith("train")), "")
    dev = next((name for name in subsets if name.startswith("dev")), "")
    test = next((name for name in subsets if name.startswith("test")), "")
    if not (train and dev and test):
        raise UserError(f"{root} has no subsets train-*, dev-* and test-*: set LIBRISPEECH to a LibriSpeech folder")
    return root, train, dev, test


def measure(*, repeats: int) -> dict[str, Any]:
    """Seconds and megabytes of every stage; medians make no sense here, one run each.

    Megabytes are those of the largest process, without pages of mapped files, which the system takes back at need.
    """
    root, train, dev, test = find_corpus()
    found: dict[str, Any] = {"repeats": 1, "hours": [], "stages": {name: {} for name in STAGES}}
    with tempfile.TemporaryDirectory(prefix="kd_asr-growth-") as name:
        for times in TIMES:
            corpus, run = Path(name) / f"corpus-{times}", Path(name) / f"run-{times}"
            found["hours"].append(round(repeat_subset(root, train, corpus, times=times, seconds=SECONDS) / 3600, 3))
            for other in (dev, test):
                repeat_subset(root, other, corpus, times=1, seconds=300)
            sets = (f"--train={train}", f"--dev={dev}", f"--test={test}")
            run_command("configure", str(run), "--corpus=librispeech", f"--librispeech={corpus}", *sets, *FLAGS)
            for stage in STAGES:
                seconds, megabytes = run_command(stage, str(run))
                row = found["stages"][stage]
                row.setdefault("seconds", []).append(round(seconds, 1))
                row.setdefault("megabytes", []).append(round(megabytes))
    return found


def run_command(*arguments: str) -> tuple[float, float]:
    """Run `kd-asr`; seconds, and the peak memory of its largest process in megabytes, without mapped files."""
    started, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as messages:
        command = subprocess.Popen([sys.executable, "-m", "kd_asr", *arguments], stdout=messages, stderr=messages)
        while command.poll() is None:
            peak = max(peak, *(_own_megabytes(pid) for pid in _family(command.pid)))
            time.sleep(0.05)
        messages.seek(0)
        if command.returncode:
            raise UserError(f"kd-asr {' '.join(arguments)} failed:\n{messages.read().decode()}")
    return time.perf_counter() - started, peak


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def _own_megabytes(pid: int) -> float:
    """Memory of a process that is no mapped file; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
