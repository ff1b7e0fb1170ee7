"""One corpus in several layouts, converted by the libraries that those belong to: the same utterances and samples.

All that comes after `prepare` depends on ids, speakers, words and samples alone, so that networks have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import kaldiio
import lhotse
import pytest
import soundfile
from lhotse.kaldi import export_to_kaldi
from lhotse.recipes import prepare_librispeech
from spoken import RATE, essence, expected, little_speech
from test_librispeech import write

from kd_asr.corpora.base import Corpus
from kd_asr.corpora.kaldi import Kaldi, KaldiSettings
from kd_asr.corpora.lhotse import Lhotse, LhotseSettings
from kd_asr.corpora.librispeech import LibriSpeech
from kd_asr.corpora.manifest import SETS, Utterance
from kd_asr.corpora.scan import scan
from kd_asr.corpora.survey import survey


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LibriSpeech's layout, and what lhotse and kaldiio make of it."""
    root = tmp_path_factory.mktemp("converted")
    write(root, little_speech())
    manifests = prepare_librispeech(root / "speech", dataset_parts=list(SETS), output_dir=root / "lhotse")
    for name in SETS:
        recordings, supervisions = (manifests[name][what] for what in ("recordings", "supervisions"))
        samples = {one.id: soundfile.read(one.sources[0].source, dtype="int16")[0] for one in recordings}
        # Of FLAC files lhotse would write commands.
        (root / "waves").mkdir(exist_ok=True)
        for one, audio in samples.items():
            soundfile.write(root / "waves" / f"{one}.wav", audio, RATE)
        waves = [lhotse.Recording.from_file(root / "waves" / f"{one}.wav", recording_id=one) for one in samples]
        export_to_kaldi(lhotse.RecordingSet.from_recordings(waves), supervisions, root / "kaldi" / name)
        lhotse.CutSet.from_manifests(recordings, supervisions).to_file(root / f"cuts_{name}.jsonl.gz")
        # The same folder with its audio in an archive.
        archived = root / "archived" / name
        archived.mkdir(parents=True)
        for file in ("text", "utt2spk"):
            (archived / file).write_bytes((root / "kaldi" / name / file).read_bytes())
        in_archive = {one: (RATE, audio) for one, audio in samples.items()}
        kaldiio.save_ark(str(archived / "wav.ark"), in_archive, scp=str(archived / "wav.scp"))
    return root


def found(corpus: Corpus) -> dict[str, list[Utterance]]:
    scans = scan([corpus.listing(name) for name in SETS], jobs=1)
    assert all(one.rejected == [] for one in scans)
    return dict(zip(SETS, (one.utterances for one in scans), strict=True))


def digests(utterances: Sequence[Utterance]) -> list[str]:
    return [one.digest for one in survey(utterances, jobs=1) if one is not None]


@pytest.fixture(scope="module")
def original(folder: Path) -> dict[str, list[str]]:
    """Digests of the samples in LibriSpeech's layout."""
    sets = found(LibriSpeech(LibriSpeech.Settings(str(folder / "speech"), *SETS)))
    assert all(essence(sets[name]) == expected(spoken) for name, spoken in little_speech().items())
    return {name: digests(utterances) for name, utterances in sets.items()}


@pytest.mark.parametrize("layout", ["lhotse", "cuts", "kaldi", "archived"])
def test_every_layout_gives_the_same_utterances_and_samples(
    layout: str, folder: Path, original: dict[str, list[str]]
) -> None:
    corpus: Corpus
    if layout == "lhotse":
        files = {name: str(folder / "lhotse" / f"librispeech_supervisions_{name}.jsonl.gz") for name in SETS}
        corpus = Lhotse(LhotseSettings(**files))
    elif layout == "cuts":
        corpus = Lhotse(LhotseSettings(**{name: str(folder / f"cuts_{name}.jsonl.gz") for name in SETS}))
    else:
        corpus = Kaldi(KaldiSettings(**{name: str(folder / layout / name) for name in SETS}))
    converted = found(corpus)
    for name in SETS:
        assert essence(converted[name]) == expected(little_speech()[name])
        assert digests(converted[name]) == original[name]
