"""Scanning a corpus: every kind of bad utterance is listed with its reason, and none stops the scan."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_asr.corpora.audio import check_audio
from kd_asr.corpora.librispeech import LibriSpeechSettings, check_subset, list_subset, scan_subset, subset_names
from kd_asr.corpora.scan import listing_digest, stamps
from kd_asr.errors import UserError

RATE = 16000


def noise(seconds, rate=RATE, channels=1, seed=0):
    shape = (round(seconds * rate), channels) if channels > 1 else round(seconds * rate)
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


class Corpus:
    """A corpus in the making: `add` writes one utterance of chapter `1` of a speaker."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def chapter(self, subset, speaker):
        folder = self.root / subset / speaker / "1"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add(self, subset, speaker, number, *, text="ONE TWO", samples=None, rate=RATE, suffix=".flac", subtype=None):
        folder = self.chapter(subset, speaker)
        utterance_id = f"{speaker}-1-{number:04d}"
        path = folder / f"{utterance_id}{suffix}"
        soundfile.write(path, noise(0.5, rate) if samples is None else samples, rate, subtype=subtype)
        if text is not None:
            with (folder / f"{speaker}-1.trans.txt").open("a", encoding="utf-8") as file:
                file.write(f"{utterance_id} {text}\n")
        return path


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path / "LibriSpeech")


def reasons(scan):
    return {entry.utterance_id: entry.reason for entry in scan.rejected}


def test_utterances_come_sorted_with_what_the_header_says(corpus):
    corpus.add("train", "20", 1, text="b\u2019s word")
    corpus.add("train", "20", 0)
    corpus.add("train", "3", 0, samples=noise(0.7, 22050), rate=22050, suffix=".wav")
    corpus.add("train", "3", 1, samples=noise(0.5, 8000), rate=8000, suffix=".ogg")
    scan = scan_subset(corpus.root, "train", jobs=1)
    assert [item.utterance_id for item in scan.utterances] == ["20-1-0000", "20-1-0001", "3-1-0000", "3-1-0001"]
    assert scan.rejected == []
    third = scan.utterances[2]
    assert (third.speaker_id, third.chapter_id, third.sample_rate, third.num_samples) == ("3", "1", 22050, 15435)
    assert third.seconds == pytest.approx(0.7)
    assert scan.utterances[1].words == ("B'S", "WORD")
    assert Path(third.audio_path).is_absolute()
    assert subset_names(corpus.root) == ["train"]


def test_every_kind_of_bad_utterance_is_rejected_with_its_reason(corpus):
    corpus.add("train", "1", 0)
    cut = corpus.add("train", "1", 1, samples=noise(3))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    corpus.add("train", "1", 2).write_bytes(b"")
    corpus.add("train", "1", 3).write_bytes(b"this is no audio file at all" * 50)
    corpus.add("train", "1", 4, text=None)
    corpus.add("train", "1", 5, text="")
    corpus.add("train", "1", 6, samples=np.zeros(RATE))
    corpus.add("train", "1", 7, samples=noise(0.5, 4000), rate=4000, suffix=".wav")
    corpus.add("train", "1", 8, samples=noise(0.5, channels=2))
    corpus.add("train", "1", 9, samples=noise(0.1))
    corpus.add("train", "1", 10, samples=noise(2.5))
    spoilt = noise(0.5)
    spoilt[100] = np.nan
    corpus.add("train", "1", 11, samples=spoilt, suffix=".wav", subtype="FLOAT")
    corpus.add("train", "1", 12, suffix=".flac")
    corpus.add("train", "1", 12, text=None, suffix=".wav")
    (corpus.chapter("train", "1") / "1-1-0013.flac").symlink_to("nowhere.flac")
    (corpus.chapter("train", "1") / "bad\tname.flac").touch()
    with (corpus.chapter("train", "1") / "1-1.trans.txt").open("a") as file:
        file.write("1-1-0013 DANGLING\n1-1-0014 NO AUDIO\nNOT AN ID\n")
    scan = scan_subset(corpus.root, "train", min_seconds=0.3, max_seconds=2.0, jobs=1)
    assert [item.utterance_id for item in scan.utterances] == ["1-1-0000", "1-1-0008", "1-1-0012"]  # stereo will do
    found = reasons(scan)
    cut_reason = found.pop("1-1-0001")
    assert cut_reason == "longer than prepare.max_seconds = 2"  # told before it is decoded
    assert found.pop("1-1-0003").startswith("unreadable audio: ")
    assert found.pop("1-1-0013") == "unreadable audio: No such file or directory"
    assert found.pop("NOT").startswith("malformed transcript line")
    assert found == {
        "1-1-0002": "empty file",
        "1-1-0004": "no transcript line",
        "1-1-0005": "empty transcript",
        "1-1-0006": "silence only",
        "1-1-0007": "sample rate 4000 Hz is below 8000 Hz",
        "1-1-0009": "shorter than prepare.min_seconds = 0.3",
        "1-1-0010": "longer than prepare.max_seconds = 2",
        "1-1-0011": "audio holds samples that are not finite",
        "1-1-0012": "second audio file for one utterance id",
        "1-1-0014": "transcript line without audio",
        "'bad\\tname'": "unprintable file name",
    }


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_flac_cut_anywhere_is_never_taken_for_whole(corpus, share):
    path = corpus.add("train", "1", 0, samples=noise(4))
    whole = path.read_bytes()
    assert check_audio(path, 0, 100) == (RATE, 4 * RATE)
    path.write_bytes(whole[: int(share * len(whole))])
    reason = check_audio(path, 0, 100)
    assert isinstance(reason, str)
    assert reason.startswith(("truncated audio", "unreadable audio"))


def test_a_flac_whose_header_lacks_the_length_is_told_so(corpus):
    path = corpus.add("train", "1", 0)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that hold the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert check_audio(path, 0, 100) == "its header does not tell its length: encode the file again"


def test_damage_in_the_middle_of_a_flac_is_found(corpus):
    path = corpus.add("train", "1", 0, samples=noise(4))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    assert isinstance(check_audio(path, 0, 100), str)


def test_the_same_id_in_two_chapters_is_kept_once(corpus):
    corpus.add("train", "1", 0)
    other = corpus.root / "train" / "1" / "2"
    other.mkdir()
    soundfile.write(other / "1-1-0000.flac", noise(0.5), RATE)
    (other / "1-1.trans.txt").write_text("1-1-0000 AGAIN\n")
    scan = scan_subset(corpus.root, "train", jobs=1)
    assert [item.words for item in scan.utterances] == [("ONE", "TWO")]
    assert reasons(scan)["1-1-0000"].startswith("duplicate utterance id, also in ")


def test_one_chapter_without_transcripts_does_not_stop_the_others(corpus):
    corpus.add("train", "1", 0)
    corpus.add("train", "2", 0, text=None)
    scan = scan_subset(corpus.root, "train", jobs=1)
    assert len(scan.utterances) == 1
    assert reasons(scan) == {"2-1-0000": "no transcript line"}


def test_jobs_change_nothing(corpus):
    for speaker in range(4):
        corpus.add("train", str(speaker), 0)
        corpus.add("train", str(speaker), 1, text="")
    assert scan_subset(corpus.root, "train", jobs=1) == scan_subset(corpus.root, "train", jobs=2)


def test_missing_folders_and_subsets_are_one_sentence(corpus):
    with pytest.raises(UserError, match="there is no corpus folder"):
        check_subset(corpus.root, "train")
    corpus.add("train", "1", 0)
    with pytest.raises(UserError, match=r"no subset 'dev'; subsets there: train$"):
        check_subset(corpus.root, "dev")
    corpus.add("dev", "2", 0, text=None)
    with pytest.raises(UserError, match=r"has no transcripts; subsets there: train$"):
        check_subset(corpus.root, "dev")


def test_a_subset_with_nothing_usable_is_an_error(corpus):
    corpus.add("train", "1", 0, samples=np.zeros(RATE))
    with pytest.raises(UserError, match="no usable utterance; 1 were rejected: 1-1-0000: silence only"):
        scan_subset(corpus.root, "train", jobs=1)


def test_the_listing_tells_of_every_change(corpus):
    path = corpus.add("train", "1", 0)
    transcripts = path.with_name("1-1.trans.txt")

    def digest():
        listing = list_subset(corpus.root, "train")
        return listing_digest(listing), tuple(stamps(listing).items())

    found = [digest()]
    assert digest() == found[0]
    corpus.add("train", "1", 1)
    found.append(digest())
    path.touch()
    found.append(digest())
    transcripts.write_text(transcripts.read_text().replace("TWO", "THREE"))
    found.append(digest())
    path.write_bytes(b"")
    found.append(digest())
    assert len(set(found)) == len(found)


def test_an_unreadable_transcript_file_is_listed(corpus):
    corpus.add("train", "1", 0, text=None)
    folder = corpus.chapter("train", "1")
    (folder / "1-1.trans.txt").mkdir()  # a folder where a file should be: cannot be opened, even by root
    (folder / "1-2.trans.txt").write_text("1-2-0000 NO AUDIO\n")
    assert reasons(list_subset(corpus.root, "train")) == {
        "1-2-0000": "transcript line without audio",
        "1-1.trans.txt": "unreadable transcripts: Is a directory",
        "1-1-0000": "no transcript line",
    }


def write(folder, speech):
    """Subsets train, dev and test."""
    for name, spoken in speech.items():
        for one in spoken:
            path = one.write(folder / "speech" / name / one.speaker / "1")
            with path.with_name(f"{one.speaker}-1.trans.txt").open("a") as file:
                file.write(f"{one.utterance_id} {one.text}\n")
    return LibriSpeechSettings(root=str(folder / "speech"), **{name: name for name in speech})


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["LibriSpeech/dev/1/2/1-2.trans.txt"], "found is LibriSpeech, which has them: name {root}/LibriSpeech"),
        (["1/2/1-2.trans.txt"], "found is 1, the inside of a subset: name the folder around it"),
        (["dev-clean-2.tar.gz", "train-clean-5.tar.gz"], "found is dev-clean-2.tar.gz, train-clean-5.tar.gz: unpack"),
        (["train/wav.scp", "train/text"], "found is train: try --corpus kaldi"),
        (["clips/a.mp3", "train.tsv"], "found is clips, train.tsv: try --corpus table"),
        (["a/one.wav", "a/one.txt"], "found is a: where each audio file has its transcript beside it, try --corpus"),
        ([f"{number}.mp3" for number in range(7)], "found is 0.mp3, 1.mp3, 2.mp3, 3.mp3, 4.mp3 and 2 more"),
        ([], "found is nothing"),
    ],
)
def test_a_folder_in_another_layout_is_told_what_was_found(tmp_path, files, found) -> None:
    """What is wanted, what is there, and how to read it where that is known."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError) as error:
        check_subset(tmp_path, "train-clean-5")
    assert "no subset 'train-clean-5': wanted is SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt" in str(error.value)
    assert found.format(root=tmp_path) in str(error.value)
