"""Stage `prepare`: what a corpus lists to manifests; bad utterances are listed and left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr.artifacts import Artifact, build_artifact, read_json, recorded_settings, write_json
from kd_asr.console import say
from kd_asr.corpora.base import Listing, corpus_of, listings, set_names
from kd_asr.corpora.manifest import Rejected, Utterance, write_manifest, write_rejected
from kd_asr.corpora.scan import Scan, SpokenNumber, content_of, listing_digest, scan, stamps, without_copies
from kd_asr.corpora.settings import PrepareSettings, SpellingSettings
from kd_asr.corpora.speakers import check_speakers, set_apart
from kd_asr.fingerprints import digest
from kd_asr.stages.settings import Settings

# Size, time of change and checksum of every audio file.
CONTENTS = "audio_files.json"


def prepare(run_dir: Path, settings: Settings) -> Artifact:
    """Make the manifests `train`, `dev` and `test`, and `rejected.tsv`; done again when the speech has changed.

    `numbers.tsv` lists the numbers of the transcripts, and the words that were made of them.

    Raises:
        UserError: a set is missing, lists nothing or has no usable utterance, shares speakers with another, or train
            has too few speakers to set dev or test apart.
    """
    corpus = corpus_of(settings.corpus)
    listed = listings(corpus)
    found = {file: stamp for listing in listed.values() for file, stamp in stamps(listing).items()}
    speech = {name: listing_digest(listing) for name, listing in listed.items()}
    files = digest(sorted([file, *stamp] for file, stamp in found.items()))
    recorded = recorded_settings(run_dir, "prepare") or {}
    if recorded.get("speech") == speech and recorded.get("files") != files and _unchanged(run_dir, found):
        say("prepare: audio files with another time of change are as they were")
        files = recorded["files"]

    def work(folder: Path) -> dict[str, Any]:
        for note in dict.fromkeys(note for listing in listed.values() for note in listing.notes):
            say(note)
        scans = without_copies(_scans(listed, settings.prepare, settings.spelling, settings.jobs))
        contents = {file: content for one in scans.values() for file, content in one.contents.items()}
        write_json(folder / CONTENTS, {file: [*stamp, contents.get(file, "")] for file, stamp in found.items()})
        check_speakers({name: one.utterances for name, one in scans.items()})
        rejected: list[Rejected] = []
        metrics: dict[str, Any] = {}
        for name, subset in set_names(corpus).items():
            write_manifest(folder / f"{name}.jsonl", scans[name].utterances)
            rejected += scans[name].rejected
            metrics[name] = _metrics(scans[name])
            say(_summary(name, subset, scans[name]))
            rates = _other_rates(name, scans[name].utterances, settings.features.sample_rate)
            for note in [*_too_short(name, scans[name], settings.prepare), *rates]:
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
            **decides(settings),
            "speech": speech,
            "files": files,
        },
        inputs=[],
        work=work,
    )


def _unchanged(run_dir: Path, found: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the bytes of all audio files are those of the finished artifact; only touched ones are read."""
    path = run_dir / "prepare" / CONTENTS
    if not path.is_file():
        return False
    before = read_json(path)
    return before.keys() == found.keys() and all(
        before[file][0] == size and (before[file][1] == changed or before[file][2] == content_of(file) != "")
        for file, (size, changed) in found.items()
    )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact, besides the speech itself."""
    return {"corpus": settings.corpus, "prepare": settings.prepare, "spelling": settings.spelling}


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
        whole = scans["train"]
        for name, utterances in apart.items():
            ids = {item.utterance_id for item in utterances}
            own = [number for number in whole.numbers if number.utterance_id in ids]
            scans[name] = Scan(utterances, whole.rejected if name == "train" else [], own, whole.contents, whole.prints)
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


def _too_short(name: str, scan: Scan, settings: PrepareSettings) -> list[str]:
    """A sentence on utterances under `min_seconds` where they are more than one in a hundred."""
    count = sum(entry.reason.startswith("shorter than prepare.min_seconds") for entry in scan.rejected)
    if 100 * count <= len(scan.utterances) + count:
        return []
    return [
        f"{name}: {count} of {len(scan.utterances) + count} utterances are shorter than {settings.min_seconds:g} s and "
        "left out: where short words are what you want to recognise, lower prepare.min_seconds"
    ]


def _other_rates(name: str, utterances: Sequence[Utterance], wanted: int) -> list[str]:
    """A sentence for each sample rate that the features do not have."""
    counts = Counter(item.sample_rate for item in utterances if item.sample_rate != wanted)
    return [
        f"{name}: {count} of {len(utterances)} utterances are at {rate} Hz and will be resampled to {wanted} Hz, "
        "features.sample_rate"
        + (f"; they hold nothing above {rate // 2} Hz, so consider {rate}" if rate < wanted else "")
        for rate, count in sorted(counts.items())
    ]
