"""Stage `corpus`: the speech itself, downloaded or made, unless it is there."""

from __future__ import annotations

from pathlib import Path

from kd_asr.console import say
from kd_asr.corpora.choose import obtain_corpus
from kd_asr.corpora.synthetic import MINIATURE, EmbeddedSize
from kd_asr.stages.settings import Settings


def corpus(run_dir: Path, settings: Settings) -> None:
    """Make sure that the folder of the settings holds the three subsets: download, synthesise, or only check.

    Nothing is written into the run folder: a corpus is shared by many runs.

    Args:
        run_dir: folder of the run; named in the messages only.
        settings: `corpus` and `jobs` are read.

    Raises:
        UserError: a subset is missing from a folder that is not ours to fill, or download or synthesis failed.
    """
    chosen = settings.corpus
    subsets = {"train": chosen.train, "dev": chosen.dev, "test": chosen.test}
    root = Path(chosen.root)
    size = MINIATURE if chosen.embedded_size == "miniature" else EmbeddedSize()
    obtain_corpus(chosen.source, root, subsets, seed=chosen.embedded_seed, size=size, jobs=settings.jobs)
    say(f"corpus for {run_dir}: {root} ({chosen.source}; train {chosen.train}, dev {chosen.dev}, test {chosen.test})")
