"""One table a set, one row an utterance: CSV or TSV with a header line, or JSON lines.

Common Voice's TSV, NeMo's manifests and the metadata.csv of Hugging Face's audiofolder are such tables, and so is any
other one whose columns are named in the settings.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Annotated, Any

from kd_asr.corpora.base import Corpus, ListedUtterance, Listing, SetsSettings
from kd_asr.corpora.text_files import decimal, read_lines, start_of_paths
from kd_asr.errors import UserError
from kd_asr.registry import corpus
from kd_asr.settings.ranges import AbsentMeans, AtLeast

# What columns are called where the settings do not name them; Common Voice, NeMo, Hugging Face, others.
COLUMNS = {
    "audio": ("path", "audio_filepath", "file_name", "audio_path", "audio", "filename", "file", "wav"),
    "text": ("sentence", "text", "transcription", "transcript", "words"),
    "speaker": ("client_id", "speaker_id", "speaker", "spk_id", "spk"),
    "id": ("utterance_id", "utt_id"),
    "start": ("offset", "start"),
    "duration": ("duration",),
    "confidence": ("confidence",),
}
NEEDED = {"audio": "audio files", "text": "transcripts"}
# Files that stand for the folder around them.
METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
DELIMITERS = "\t,;|"
FOLDERS_ABOVE = 2


@dataclass(frozen=True)
class TableSettings(SetsSettings):
    """Tables of utterances, with named columns.

    Attributes:
        train: Table to train on: .csv, .tsv, or lines of JSON; or a folder with a metadata.csv, .tsv or .jsonl.
        dev: Table that every choice is made on; empty: speakers of train, see prepare.dev_share.
        test: Table that is read once, at the end; empty: speakers of train, see prepare.test_share.
        audio: Column of the audio files; empty: path, audio_filepath, file_name or the like.
        text: Column of the transcripts; empty: sentence, text, transcription or the like.
        speaker: Column of the speakers; empty: client_id, speaker or the like.
        id: Column of the utterances' names; empty: utterance_id, else the names of the audio files.
        start: Column of where an utterance begins in its file, in seconds; empty: offset or start, else all are whole.
        duration: Column of its length in seconds, which counts only beside `start`; empty: duration.
        confidence: Column of how sure a recogniser was of the transcript; empty: confidence, where there is one.
        least_confidence: Utterances of train below it are left out, where a recogniser wrote the transcripts; 0: none.
        audio_root: Folder that relative paths start from; empty: the table's, clips in it, or the nearest one above it.
    """

    audio: str = ""
    text: str = ""
    speaker: str = ""
    id: str = ""
    start: str = ""
    duration: str = ""
    confidence: Annotated[str, AbsentMeans("")] = ""
    least_confidence: Annotated[float, AtLeast(0), AbsentMeans(0.0)] = 0.0
    audio_root: str = ""


@dataclass(frozen=True)
class _Row:
    """Values by column, and the line that the row ends on."""

    values: dict[str, Any]
    number: int

    def text(self, column: str) -> str:
        value = self.values.get(column)
        return "" if value is None else str(value).strip()


@corpus("table")
class Table(Corpus):
    """Tables with a row for each utterance: Common Voice's TSV, NeMo's JSON lines, metadata.csv, or any CSV."""

    Settings = TableSettings
    description = "The speech of this run is read from tables of audio files and transcripts."
    paths = (*Corpus.paths, "audio_root")

    def listing(self, set_name: str) -> Listing:
        """The utterances of a table."""
        path = _table_path(Path(getattr(self.settings, set_name)).absolute())
        listing = Listing(str(path))
        rows = list(_rows(path, listing))
        if not rows:
            raise UserError(f"{path} has no rows")
        columns = self._columns(set_name, path, list(rows[0].values))
        files = [row.text(columns["audio"]) for row in rows]
        folder = path.parent
        candidates = [folder, folder / "clips", *islice(folder.parents, FOLDERS_ABOVE)]
        root = start_of_paths(path, files, self.settings.audio_root, candidates, setting="corpus.table.audio_root")
        stems = [PurePath(file).stem for file in files]
        names = stems if len(set(stems)) == len(set(files)) else [_as_name(file) for file in files]
        least = self.settings.least_confidence if set_name == "train" else 0.0
        if least and "confidence" not in columns:
            raise UserError(
                f"{path} has no column of confidence, which corpus.table.least_confidence needs: name it with "
                "--corpus.table.confidence"
            )
        notes: tuple[str, ...] = ()
        if "speaker" not in columns:
            alone = f"{path} has no column of speakers, so each utterance counts as a speaker of its own"
            notes = (f"{alone}, and train, dev and test may share voices: see corpus.table.speaker",)
        listing = replace(listing, notes=notes)
        for row, file, name in zip(rows, files, names, strict=True):
            place = f"{path.name}, line {row.number}"
            try:
                audio = str(root / file) if file else ""
                if least:
                    _check_confidence(row.text(columns["confidence"]), least)
                listing.utterances.append(_utterance(row, columns, audio, name, place))
            except ValueError as error:
                listing.reject(name or f"line-{row.number}", path, f"{error}; {place}")
        return listing

    def _columns(self, set_name: str, path: Path, header: Sequence[str]) -> dict[str, str]:
        """The column of each thing that the table has."""
        found = {}
        for what, known in COLUMNS.items():
            if what == "confidence" and set_name != "train":
                continue
            wanted = getattr(self.settings, what)
            if wanted and wanted not in header:
                raise UserError(f"{path} has no column {wanted!r}; its columns: {', '.join(map(str, header))}")
            by_name = {str(name).lower(): name for name in header}
            column = wanted or next((by_name[name] for name in known if name in by_name), "")
            if column:
                found[what] = column
            elif what in NEEDED:
                raise UserError(
                    f"{path} has no column of {NEEDED[what]} ({', '.join(known)}); its columns: "
                    f"{', '.join(map(str, header))}; name it with --corpus.table.{what}"
                )
        return found


def _table_path(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in METADATA if (path / name).is_file()), None)
        if found is None:
            raise UserError(f"{path} is a folder without {', '.join(METADATA)}: name the table itself")
        return found
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    return path


def _rows(path: Path, listing: Listing) -> Iterator[_Row]:
    """Rows of a table; malformed ones are rejected."""
    lines = read_lines(path, listing)
    first = next(((number, text) for number, text in lines if text.strip()), None)
    if first is None:
        return
    is_json = first[1].lstrip().startswith("{")
    yield from _json_rows(path, [first, *lines], listing) if is_json else _csv_rows(path, [first, *lines], listing)


def _json_rows(path: Path, lines: Sequence[tuple[int, str]], listing: Listing) -> Iterator[_Row]:
    for number, text in lines:
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except ValueError as error:
            listing.reject(f"line-{number}", path, f"malformed line {number}: not JSON, {error}")
            continue
        if isinstance(values, dict):
            yield _Row(values, number)
        else:
            listing.reject(f"line-{number}", path, f"malformed line {number}: not an object with named values")


def _csv_rows(path: Path, lines: Sequence[tuple[int, str]], listing: Listing) -> Iterator[_Row]:
    numbers = [number for number, _ in lines]
    delimiter = max(DELIMITERS, key=lines[0][1].count)
    # Quotes are ordinary characters in TSV, Common Voice's for one.
    texts = (f"{text}\n" for _, text in lines)
    raw = delimiter == "\t"
    reader = csv.reader(texts, delimiter=delimiter, quoting=csv.QUOTE_NONE if raw else csv.QUOTE_MINIMAL)
    header: list[str] = []
    try:
        for fields in reader:
            number = numbers[reader.line_num - 1]
            if not header:
                header = [field.strip() for field in fields]
            elif len(fields) == len(header):
                yield _Row(dict(zip(header, fields, strict=True)), number)
            elif fields:
                reason = f"malformed line {number}: {len(fields)} columns instead of {len(header)}"
                listing.reject(f"line-{number}", path, reason)
    except csv.Error as error:
        raise UserError(f"{path}, line {numbers[reader.line_num - 1]}: not CSV ({error})") from error


def _utterance(row: _Row, columns: Mapping[str, str], audio: str, name: str, place: str) -> ListedUtterance:
    """The utterance of a row.

    Raises:
        ValueError: the row lacks something; the message is the reason.
    """
    if not audio:
        raise ValueError("no audio file")
    segment = _segment(row, columns)
    if segment is not None:
        name = f"{name}-{round(1000 * segment[0]):07d}"
    name = "_".join((row.text(columns["id"]) if "id" in columns else name).split())
    speaker = row.text(columns["speaker"]) if "speaker" in columns else name
    if not speaker:
        raise ValueError("no speaker")
    return ListedUtterance(name, speaker, audio, row.text(columns["text"]), "", segment, place)


def _check_confidence(text: str, least: float) -> None:
    """Refuse what a recogniser was not sure of.

    Raises:
        ValueError: it is below `least`, or no number.
    """
    try:
        value = decimal(text)
    except ValueError as error:
        raise ValueError(f"malformed confidence: {error}") from error
    if value < least:
        raise ValueError(f"confidence {value:g} is below corpus.table.least_confidence = {least:g}")


def _segment(row: _Row, columns: Mapping[str, str]) -> tuple[float, float | None] | None:
    """(start, end) of a row; None where it is the whole file.

    Raises:
        ValueError: a time is no number.
    """
    start = row.text(columns["start"]) if "start" in columns else ""
    if not start:
        return None
    duration = row.text(columns["duration"]) if "duration" in columns else ""
    try:
        first, seconds = decimal(start), decimal(duration or "0")
    except ValueError as error:
        raise ValueError(f"malformed time: {error}") from error
    return first, first + seconds if duration else None


def _as_name(file: str) -> str:
    """A relative path as one name."""
    return "-".join(PurePath(file.lstrip("/")).with_suffix("").parts) if file else ""
