"""Stage `prepare`: what a corpus lists to manifests; bad utterances are listed and left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.console import say
from kd_asr.corpora.base import Listing, corpus_of, listings, set_names
from kd_asr.corpora.manifest import Rejected, Utterance, write_manifest, write_rejected
from kd_asr.corpora.scan import Scan, SpokenNumber, listing_digest, scan
from kd_asr.corpora.settings import PrepareSettings, SpellingSettings
from kd_asr.corpora.speakers import check_speakers, set_apart
from kd_asr.stages.settings import Settings


def prepare(run_dir: Path, settings: Settings) -> Artifact:
    """Make the manifests `train`, `dev` and `test`, and `rejected.tsv`; done again when the speech has changed.

    `numbers.tsv` lists the numbers of the transcripts, and the words that were made of them.

    Raises:
        UserError: a set is missing, lists nothing or has no usable utterance, shares speakers with another, or train
            has too few speakers to set dev or test apart.
    """
    corpus = corpus_of(settings.corpus)
    listed = listings(corpus)

    def work(folder: Path) -> dict[str, Any]:
        for note in dict.fromkeys(note for listing in listed.values() for note in listing.notes):
            say(note)
        scans = _scans(listed, settings.prepare, settings.spelling, settings.jobs)
        check_speakers({name: one.utterances for name, one in scans.items()})
        rejected: list[Rejected] = []
        metrics: dict[str, Any] = {}
        for name, subset in set_names(corpus).items():
            write_manifest(folder / f"{name}.jsonl", scans[name].utterances)
            rejected += scans[name].rejected
            metrics[name] = _metrics(scans[name])
            say(_summary(name, subset, scans[name]))
            for note in _other_rates(name, scans[name].utterances, settings.features.sample_rate):
                say(note)
        write_rejected(folder / "rejected.tsv", rejected)
        numbers = [number for one in scans.values() for number in one.numbers]
        _write_numbers(folder / "numbers.tsv", numbers)
        if numbers:
            say(f"{len(numbers)} numbers in transcripts were written out in words: {run_dir}/prepare/numbers.tsv")
        metrics["rejected"] = len(rejected)
        return metrics

    return build_artifact(
        run_dir,
        "prepare",
        code=[__name__, type(corpus).__module__],
        settings={
            "corpus": settings.corpus,
            "prepare": settings.prepare,
            "spelling": settings.spelling,
            "speech": {name: listing_digest(listing) for name, listing in listed.items()},
        },
        inputs=[],
        work=work,
    )


def _scans(
    listed: Mapping[str, Listing], settings: PrepareSettings, spelling: SpellingSettings, jobs: int
) -> dict[str, Scan]:
    """What is found in train, dev and test, of which those that are not listed are set apart from train."""
    found = scan(
        list(listed.values()),
        min_seconds=settings.min_seconds,
        max_seconds=settings.max_seconds,
        spelling=spelling,
        jobs=jobs,
    )
    scans = dict(zip(listed, found, strict=True))
    shares = {"dev": settings.dev_share, "test": settings.test_share}
    shares = {name: share for name, share in shares.items() if name not in scans}
    if shares:
        apart = set_apart(scans["train"].utterances, shares, seed=settings.split_seed)
        left_out, numbers = scans["train"].rejected, scans["train"].numbers
        for name, utterances in apart.items():
            ids = {item.utterance_id for item in utterances}
            own = [number for number in numbers if number.utterance_id in ids]
            scans[name] = Scan(utterances, left_out if name == "train" else [], own)
    return scans


def _metrics(scan: Scan) -> dict[str, Any]:
    """Size of one set, and how many utterances were left out for which kind of reason."""
    return {
        "utterances": len(scan.utterances),
        "seconds": round(sum(item.seconds for item in scan.utterances), 3),
        "speakers": len({item.speaker_id for item in scan.utterances}),
        "words": sum(len(item.words) for item in scan.utterances),
        "numbers": len(scan.numbers),
        "rejected": len(scan.rejected),
        "rejected_by_reason": dict(sorted(Counter(_kind(entry.reason) for entry in scan.rejected).items())),
    }


def _write_numbers(path: Path, numbers: Sequence[SpokenNumber]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("utterance_id\twritten\tspoken\n")
        for number in numbers:
            file.write(f"{number.utterance_id}\t{number.written}\t{number.spoken.upper()}\n")


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


def _other_rates(name: str, utterances: Sequence[Utterance], wanted: int) -> list[str]:
    """A sentence for each sample rate that the features do not have."""
    counts = Counter(item.sample_rate for item in utterances if item.sample_rate != wanted)
    return [
        f"{name}: {count} of {len(utterances)} utterances are at {rate} Hz and will be resampled to {wanted} Hz, "
        "features.sample_rate"
        + (f"; they hold nothing above {rate // 2} Hz, so consider {rate}" if rate < wanted else "")
        for rate, count in sorted(counts.items())
    ]
