"""Stage `prepare`: manifests, the table of what was left out, and when it is done again."""

import os

import numpy as np
import pytest
import soundfile

from kd_asr.corpora.manifest import read_manifest
from kd_asr.errors import UserError
from kd_asr.stages.prepare import prepare
from kd_asr.stages.settings import parse_settings


def add(root, subset, speaker, number, text="ONE TWO"):
    """Half a second of noise with a transcript; the path of the audio."""
    folder = root / subset / speaker / "7"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{speaker}-7-{number:04d}.flac"
    rng = np.random.default_rng([int(speaker), number])
    soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
    with (folder / f"{speaker}-7.trans.txt").open("a") as file:
        file.write(f"{path.stem} {text}\n")
    return path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "speech"
    for subset, speaker in (("a", "10"), ("b", "20"), ("c", "30")):
        add(folder, subset, speaker, 0)
        add(folder, subset, speaker, 1)
    return folder


def flags_of(root, dev="b", jobs=1):
    corpus = {"root": root, "train": "a", "dev": dev, "test": "c"}
    return [*(f"--corpus.librispeech.{key}={value}" for key, value in corpus.items()), f"--jobs={jobs}"]


@pytest.fixture
def settings(root):
    return parse_settings(flags_of(root))


def test_manifests_metrics_and_the_table_of_what_was_left_out(run_dir, root, settings):
    add(root, "a", "10", 2, text="")
    add(root, "a", "10", 3).write_bytes(b"")
    add(root, "a", "11", 0, text="three four five")
    artifact = prepare(run_dir, settings)
    train = read_manifest(artifact.path / "train.jsonl")
    assert [item.utterance_id for item in train] == ["10-7-0000", "10-7-0001", "11-7-0000"]
    assert train[2].words == ("THREE", "FOUR", "FIVE")
    assert len(read_manifest(artifact.path / "dev.jsonl")) == len(read_manifest(artifact.path / "test.jsonl")) == 2
    assert artifact.metrics["train"] == {
        "utterances": 3,
        "seconds": 1.5,
        "speakers": 2,
        "words": 7,
        "numbers": 0,
        "rejected": 2,
        "rejected_by_reason": {"empty file": 1, "empty transcript": 1},
    }
    assert artifact.metrics["rejected"] == 2
    lines = (artifact.path / "rejected.tsv").read_text().splitlines()
    told = [line.split("\t")[::2] for line in lines[1:]]
    assert told == [["10-7-0002", "empty transcript"], ["10-7-0003", "empty file"]]


def test_it_is_done_again_only_when_a_file_of_the_corpus_changed(run_dir, root, settings):
    first = prepare(run_dir, settings)
    (root / "a" / "notes.md").write_text("no speech")
    assert prepare(run_dir, settings).fingerprint == first.fingerprint
    path = add(root, "c", "30", 2)
    second = prepare(run_dir, settings)
    assert second.fingerprint != first.fingerprint
    assert second.metrics["test"]["utterances"] == 3
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # in place, of the same length
    assert prepare(run_dir, settings).fingerprint != second.fingerprint


def test_the_number_of_jobs_changes_nothing(tmp_path, root, settings):
    flags = flags_of(root, jobs=2)
    results = []
    for name, chosen in (("one", settings), ("two", parse_settings(flags))):
        (tmp_path / name).mkdir()
        artifact = prepare(tmp_path / name, chosen)
        results.append((artifact.fingerprint, (artifact.path / "train.jsonl").read_bytes()))
    assert results[0] == results[1]


def test_shared_speakers_stop_it_and_leave_nothing_finished(run_dir, root, settings):
    add(root, "c", "10", 5)
    with pytest.raises(UserError, match=r"train and test share speakers \(10\)"):
        prepare(run_dir, settings)
    assert not (run_dir / "prepare").exists()


def test_a_missing_subset_is_named_with_those_that_are_there(run_dir, root):
    flags = flags_of(root, dev="nowhere")
    with pytest.raises(UserError, match=r"no subset 'nowhere'; subsets there: a, b, c"):
        prepare(run_dir, parse_settings(flags))


def test_a_subset_without_one_usable_utterance_is_an_error(run_dir, root, settings):
    for path in (root / "b").rglob("*.flac"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"has no usable utterance; 2 were rejected: 20-7-0000: empty file"):
        prepare(run_dir, settings)


def test_a_folder_without_transcripts_is_an_error(run_dir, root, settings):
    for path in (root / "b").rglob("*.trans.txt"):
        path.unlink()
    with pytest.raises(UserError, match="has no transcripts"):
        prepare(run_dir, settings)


def test_dev_and_test_are_set_apart_by_speaker_where_they_are_missing(tmp_path, run_dir, capsys):
    for speaker in range(10):
        folder = tmp_path / "speech" / f"s{speaker}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", 0.1 * np.random.default_rng(speaker).standard_normal(8000), 8000)
        (folder / "a.txt").write_text("hello there" if speaker else "")
    flags = [f"--corpus.folder.train={tmp_path / 'speech'}", "--jobs=1", "--prepare.test_share=0.25"]
    artifact = prepare(run_dir, parse_settings(flags))
    sets = {name: read_manifest(artifact.path / f"{name}.jsonl") for name in ("train", "dev", "test")}
    assert {name: len(items) for name, items in sets.items()} == {"train": 6, "dev": 1, "test": 2}
    assert len({item.speaker_id for items in sets.values() for item in items}) == 9
    assert {name: artifact.metrics[name]["rejected"] for name in sets} == {"train": 1, "dev": 0, "test": 0}
    told = " ".join(capsys.readouterr().err.split())
    assert "dev (speakers of train): 1 utterances" in told
    assert "train: 6 of 6 utterances are at 8000 Hz and will be resampled to 16000 Hz, features.sample_rate" in told
    # The seed of the choice is its own.
    assert prepare(run_dir, parse_settings([*flags, "--seed=9"])).fingerprint == artifact.fingerprint
    other = prepare(run_dir, parse_settings([*flags, "--prepare.split_seed=2"]))
    assert other.fingerprint != artifact.fingerprint
    assert len(read_manifest(other.path / "test.jsonl")) == 2


def test_speakers_that_are_not_known_are_said(tmp_path, run_dir, capsys):
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(16000), 16000)
        (tmp_path / f"{number}.txt").write_text("hello")
    prepare(run_dir, parse_settings([f"--corpus.folder.train={tmp_path}", "--jobs=1"]))
    assert "speakers are not known" in " ".join(capsys.readouterr().err.split())


def test_numbers_are_written_out_counted_and_listed(tmp_path, run_dir, capsys) -> None:
    root = tmp_path / "speech"
    texts = ("AT 10:30 HE PAID $5.50", "IN 1995 THE 21st CAME", "NO NUMBER AT ALL")
    for subset, speaker in (("a", "10"), ("b", "20"), ("c", "30")):
        for number, text in enumerate(texts):
            add(root, subset, speaker, number, text)
    (root / "a" / "10" / "7" / "10-7-0001.flac").write_bytes(b"")  # what is not used is not counted
    made = prepare(run_dir, parse_settings(flags_of(root)))
    assert [made.metrics[name]["numbers"] for name in ("train", "dev", "test")] == [2, 4, 4]
    header, *rows = (line.split("\t") for line in (made.path / "numbers.tsv").read_text().splitlines())
    assert header == ["utterance_id", "written", "spoken"]
    expected = [("10:30", "TEN THIRTY"), ("$5.50", "FIVE DOLLARS FIFTY CENTS")]
    assert [tuple(row) for row in rows[:2]] == [("10-7-0000", *number) for number in expected]
    assert [tuple(row[1:]) for row in rows[4:6]] == [("1995", "NINETEEN NINETY FIVE"), ("21st", "TWENTY FIRST")]
    words = " ".join(read_manifest(made.path / "dev.jsonl")[0].words)
    assert words == "AT TEN THIRTY HE PAID FIVE DOLLARS FIFTY CENTS"
    assert "10 numbers in transcripts were written out in words" in " ".join(capsys.readouterr().err.split())


def test_tokens_that_are_no_words_are_a_setting(tmp_path, run_dir) -> None:
    root = tmp_path / "speech"
    for subset, speaker in (("a", "10"), ("b", "20"), ("c", "30")):
        add(root, subset, speaker, 0, "WELL %HESITATION [noise] XXX YES <unk> [GARBAGE] (()) ++um++ !SIL NO")
    flags = ["--spelling.left_out", "['%hesitation', xxx, '(())', ++um++]", "--spelling.unknown", "[unk, garbage]"]
    made = prepare(run_dir, parse_settings([*flags_of(root), *flags]))
    assert read_manifest(made.path / "train.jsonl")[0].words == ("WELL", "YES", "<unk>", "<unk>", "NO")
    made = prepare(run_dir, parse_settings(flags_of(root)))
    plain = ("WELL", "HESITATION", "XXX", "YES", "<unk>", "UM", "NO")
    assert read_manifest(made.path / "train.jsonl")[0].words == plain


def test_a_token_is_one_word() -> None:
    with pytest.raises(UserError, match=r"spelling.left_out: 'two words' is not a single token"):
        parse_settings(["--spelling.left_out", "['two words']"])


def test_files_that_are_only_touched_are_as_they_were(run_dir, root, settings, capsys):
    """The artifact is the same one, so nothing is made again; other bytes of the same length are noticed."""
    path = add(root, "a", "10", 2)
    first = prepare(run_dir, settings)
    os.utime(path, ns=(1, 1))
    assert prepare(run_dir, settings).fingerprint == first.fingerprint
    assert "as they were" in capsys.readouterr().err
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert prepare(run_dir, settings).fingerprint != first.fingerprint


def test_audio_that_is_in_two_sets_is_left_out_of_the_one_before(run_dir, root, settings):
    """Copies under other speakers: out of train what is in dev or test, out of dev what is in test."""
    for number, (here, there) in enumerate((("a", "b"), ("a", "c"), ("b", "c"))):
        speaker = {"a": "11", "b": "21"}[here]
        original = next((root / there).glob("*/7/*0000.flac" if number < 2 else "*/7/*0001.flac"))
        add(root, here, speaker, number).write_bytes(original.read_bytes())
    artifact = prepare(run_dir, settings)
    rows = [line.split("\t") for line in (artifact.path / "rejected.tsv").read_text().splitlines()[1:]]
    assert sorted((row[0], row[2]) for row in rows) == [
        ("11-7-0000", "the same audio as '20-7-0000' of dev"),
        ("11-7-0001", "the same audio as '30-7-0000' of test"),
        ("21-7-0002", "the same audio as '30-7-0001' of test"),
    ]
    assert [artifact.metrics[name]["utterances"] for name in ("train", "dev", "test")] == [2, 2, 2]


def test_a_set_that_is_a_copy_of_another_is_refused(run_dir, root, settings):
    for path in (root / "b").glob("*/7/*.flac"):
        number = path.stem[-4:]
        path.write_bytes((root / "c" / "30" / "7" / f"30-7-{number}.flac").read_bytes())
    with pytest.raises(UserError, match="all utterances of dev are also in test"):
        prepare(run_dir, settings)


def test_many_short_utterances_are_a_sentence(run_dir, root, capsys):
    """Of three half-second utterances all are under 0.6 s but one, which is of a second."""
    add(root, "a", "10", 2)
    for subset in ("a", "b", "c"):
        path = next((root / subset).glob("*/7/*0000.flac"))
        soundfile.write(path, 0.1 * np.random.default_rng(ord(subset)).standard_normal(16000), 16000)
    prepare(run_dir, parse_settings([*flags_of(root), "--prepare.min_seconds=0.6"]))
    said = " ".join(capsys.readouterr().err.split())
    assert "train: 2 of 3 utterances are shorter than 0.6 s and left out" in said
    assert "lower prepare.min_seconds" in said
