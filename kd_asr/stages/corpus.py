"""Stage `corpus`: the speech itself, downloaded or made, unless it is there."""

from __future__ import annotations

from pathlib import Path

from kd_asr.console import say
from kd_asr.corpora.base import corpus_of
from kd_asr.stages.settings import Settings


def corpus(run_dir: Path, settings: Settings) -> None:
    """Make sure that the corpus of the settings is on the disk: download, synthesise, or only check.

    Nothing is written into the run folder: a corpus is shared by many runs.

    Args:
        run_dir: folder of the run; named in the messages only.
        settings: `corpus` and `jobs` are read.

    Raises:
        UserError: a set is missing and is not ours to make, or download or synthesis failed.
    """
    chosen = corpus_of(settings.corpus)
    chosen.obtain(settings.jobs)
    say(f"corpus for {run_dir}: {chosen.label}")
