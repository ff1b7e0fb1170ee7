"""Transcripts in LibriSpeech's layout: `SPEAKER-CHAPTER.trans.txt`, one `utterance-id WORD WORD ...` a line."""

from __future__ import annotations

from pathlib import Path

from kd_asr.corpora.manifest import Rejected


def read_transcripts(path: Path) -> tuple[dict[str, str], list[Rejected]]:
    """What is said in every utterance of one `.trans.txt`, and what was wrong with the other lines.

    The first field must be an utterance id that begins with the file's own `SPEAKER-CHAPTER-`. An utterance that is
    listed twice keeps neither line: which one is right cannot be told.
    """
    texts: dict[str, str] = {}
    rejected: list[Rejected] = []
    prefix = path.name.removesuffix(".trans.txt") + "-"
    repeated: set[str] = set()

    def reject(utterance_id: str, reason: str) -> None:
        rejected.append(Rejected(utterance_id, str(path), reason, "prepare"))

    for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            name = raw.split(b" ", 1)[0].decode("ascii", "replace")
            reject(name, f"malformed transcript line {number}: not UTF-8")
            continue
        fields = line.split(maxsplit=1)
        if not fields:
            continue
        utterance_id = fields[0]
        if not utterance_id.startswith(prefix):
            reject(utterance_id, f"malformed transcript line {number}: the id does not begin with {prefix}")
        elif utterance_id in texts or utterance_id in repeated:
            texts.pop(utterance_id, None)
            if utterance_id not in repeated:
                reject(utterance_id, "utterance id with more than one transcript line")
            repeated.add(utterance_id)
        else:
            texts[utterance_id] = fields[1] if len(fields) > 1 else ""
    for utterance_id in repeated:
        texts[utterance_id] = ""
    return texts, rejected
