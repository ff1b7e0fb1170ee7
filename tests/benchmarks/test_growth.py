from pathlib import Path

import numpy as np
import soundfile

from benchmarks.growth import repeat_subset
from kd_asr.corpora.librispeech import scan_subset


def test_the_corpus_is_repeated_with_speakers_of_its_own(tmp_path: Path) -> None:
    for speaker in ("7", "8", "9"):
        folder = tmp_path / "corpus" / "train" / speaker / "1"
        folder.mkdir(parents=True)
        for index in range(2):
            samples = np.random.default_rng(index).normal(0, 0.1, 16000)
            soundfile.write(folder / f"{speaker}-1-000{index}.flac", samples, 16000)
        (folder / f"{speaker}-1.trans.txt").write_text(f"{speaker}-1-0000 ONE\n{speaker}-1-0001 TWO TWO\n")
    seconds = repeat_subset(tmp_path / "corpus", "train", tmp_path / "out", times=3, seconds=3.5)
    found = scan_subset(tmp_path / "out", "train").utterances
    assert seconds == sum(item.seconds for item in found) == 12.0
    assert {item.speaker_id for item in found} == {"7", "8", "100007", "100008", "200007", "200008"}
    words = {item.utterance_id: item.words for item in found}
    assert len(words) == 12
    assert (words["100008-1-0000"], words["100008-1-0001"]) == (("ONE",), ("TWO", "TWO"))
    assert len({Path(item.audio_path).resolve() for item in found}) == 4
