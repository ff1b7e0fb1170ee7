"""Stage `prepare`: a corpus in LibriSpeech's layout to manifests; bad utterances are listed and left out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.console import say
from kd_asr.corpora.librispeech import Scan, check_speakers, check_subset, list_files, scan_subsets
from kd_asr.corpora.manifest import Rejected, write_manifest, write_rejected
from kd_asr.fingerprints import digest
from kd_asr.stages.settings import Settings


def prepare(run_dir: Path, settings: Settings) -> Artifact:
    """Make the manifests `train`, `dev` and `test`, and `rejected.tsv`; done again when a file of the corpus changed.

    Raises:
        UserError: a subset is missing, has no transcripts or no usable utterance, or shares speakers with another.
    """
    corpus = settings.corpus
    root = Path(corpus.root)
    subsets = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    folders = {name: check_subset(root, subset) for name, subset in subsets.items()}

    def work(folder: Path) -> dict[str, Any]:
        found = scan_subsets(
            root,
            list(subsets.values()),
            min_seconds=corpus.min_seconds,
            max_seconds=corpus.max_seconds,
            jobs=settings.jobs,
        )
        scans = dict(zip(subsets, found, strict=True))
        check_speakers({name: scan.utterances for name, scan in scans.items()})
        rejected: list[Rejected] = []
        metrics: dict[str, Any] = {}
        for name, scan in scans.items():
            write_manifest(folder / f"{name}.jsonl", scan.utterances)
            rejected += scan.rejected
            metrics[name] = _metrics(scan)
            say(_summary(name, subsets[name], scan))
        write_rejected(folder / "rejected.tsv", rejected)
        metrics["rejected"] = len(rejected)
        return metrics

    return build_artifact(
        run_dir,
        "prepare",
        code=__name__,
        settings={
            "corpus": corpus,
            "folder": str(root.absolute()),
            "files": digest({name: list_files(folder) for name, folder in folders.items()}),
        },
        inputs=[],
        work=work,
    )


def _metrics(scan: Scan) -> dict[str, Any]:
    """Size of one set, and how many utterances were left out for which kind of reason."""
    return {
        "utterances": len(scan.utterances),
        "seconds": round(sum(item.seconds for item in scan.utterances), 3),
        "speakers": len({item.speaker_id for item in scan.utterances}),
        "words": sum(len(item.words) for item in scan.utterances),
        "rejected": len(scan.rejected),
        "rejected_by_reason": dict(sorted(Counter(_kind(entry.reason) for entry in scan.rejected).items())),
    }


def _kind(reason: str) -> str:
    """A reason without what differs from one utterance to the next."""
    return re.sub(r"\d+", "N", re.split(r" ?[:,;=]", reason, maxsplit=1)[0])


def _summary(name: str, subset: str, scan: Scan) -> str:
    minutes = sum(item.seconds for item in scan.utterances) / 60
    speakers = len({item.speaker_id for item in scan.utterances})
    text = f"{name} ({subset}): {len(scan.utterances)} utterances, {minutes:.1f} minutes, {speakers} speakers"
    if scan.rejected:
        counts = Counter(_kind(entry.reason) for entry in scan.rejected).most_common()
        text += f"; {len(scan.rejected)} left out ({', '.join(f'{count} {kind}' for kind, count in counts)})"
    return text
