"""Bad input, whole commands: bad utterances are listed and the run goes on; all else stops with one sentence.

One run in miniature is made of a corpus that has good speech and every kind of bad utterance; the other tests damage
copies of it.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_asr.alignment.store import AlignmentStore
from kd_asr.cli import main
from kd_asr.cli.stages import STAGES
from kd_asr.corpora.manifest import SETS, read_manifest
from kd_asr.corpora.synthetic import EmbeddedSize, synthesize
from kd_asr.features.store import MARGIN, FrameStore
from kd_asr.presets import find_preset

pytestmark = pytest.mark.early

TINY = find_preset("tiny")
SPEECH = EmbeddedSize(2, 1, 1, 0.5, 0.12, 0.12)
FLAGS = [
    *("--preset", str(TINY), "--train", "train", "--dev", "dev", "--test", "test", "--jobs=1"),
    *("--align.cepstral_iterations=2", "--align.gaussians=200", "--network.dnn.hidden_units=16", "--train.epochs=1"),
    *("--train.batch_frames=128", "--distil.sweep_temperatures=[2.0]", "--distil.sweep_hard_weights=[0.5]"),
    *("--decode.acoustic_scales=[0.2]", "--decode.insertion_penalties=[0.5]"),
]
BAD = "1099-9"  # speaker and chapter of everything bad
ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-0.5 ONE\n-0.5 TWO\n\n\\end\\\n"


def noise(path: Path, *, seconds: float = 1.0, rate: int = 16000, **options: str) -> Path:
    samples = 0.1 * np.random.default_rng(len(path.name)).standard_normal(int(seconds * rate))
    soundfile.write(path, samples, rate, **options)
    return path


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path: Path) -> None:
    """Change bytes in the midst of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(255 - byte for byte in content[middle : middle + 40])
    path.write_bytes(content)


def nan(path: Path) -> None:
    samples = np.full(16000, 0.1, dtype=np.float32)
    samples[5000] = np.nan
    path.unlink()
    soundfile.write(path.with_suffix(".wav"), samples, 16000, subtype="FLOAT")


@dataclass(frozen=True)
class Bad:
    """A bad utterance: what is done to a second of noise, its transcript line, and what is said of it by whom."""

    reason: str
    damage: Callable[[Path], object] = lambda path: None
    line: bytes | None = b"ONE TWO"
    stage: str = "prepare"


UTTERANCES = {
    "truncated": Bad("truncated|unreadable audio", cut),
    "damaged inside": Bad("truncated|unreadable audio", flip),
    "zero bytes": Bad("empty file", lambda path: path.write_bytes(b"")),
    "text instead of audio": Bad("unreadable audio", lambda path: path.write_text("no audio\n" * 300)),
    "link to nowhere": Bad("unreadable audio", lambda path: (path.unlink(), path.symlink_to("nowhere.flac"))),
    "silence": Bad("silence only", lambda path: soundfile.write(path, np.zeros(16000), 16000)),
    "not a number": Bad("not finite", nan),
    "low sample rate": Bad("4000 Hz is below 8000 Hz", lambda path: noise(path, rate=4000)),
    "shorter than the least": Bad("shorter than prepare.min_seconds", lambda path: noise(path, seconds=0.1)),
    "longer than the most": Bad("longer than prepare.max_seconds", lambda path: noise(path, seconds=41)),
    "no transcript line": Bad("no transcript line", line=None),
    "no audio": Bad("transcript line without audio", Path.unlink),
    "empty transcript": Bad("empty transcript", line=b""),
    "punctuation only": Bad("empty transcript", line=b"?! ..."),
    "not UTF-8": Bad("line \\d+: not UTF-8", line=b"CAF\xe9"),
    "two lines": Bad("more than one transcript line", line=b"ONE\n%s TWO"),
    "two files": Bad("second audio file for one utterance id", lambda path: noise(path.with_suffix(".wav"))),
    "gone when features are made": Bad("unreadable audio", stage="features"),
    "cut when features are made": Bad("unreadable audio|audio changed", stage="features"),
    "too short for its words": Bad(
        "cannot be aligned", lambda path: noise(path, seconds=0.4), b"ONE TWO " * 20, stage="align"
    ),
}  # fmt: skip
# Of two audio files for one id, one is used.
KEPT = {"two files"}


def utterance_id(kind: str) -> str:
    return f"{BAD}-{list(UTTERANCES).index(kind):04d}"


@dataclass(frozen=True)
class Run:
    """The finished run, its corpus, the ids of all good utterances, and what the commands printed."""

    folder: Path
    corpus: Path
    good: dict[str, list[str]]

    def configure(self, folder: Path, *flags: str) -> list[str]:
        """Arguments that configure a run on the same corpus."""
        return ["configure", str(folder), "--librispeech", str(self.corpus), *FLAGS, *flags]

    def copy(self, folder: Path, *without: str) -> Path:
        """A copy that lacks some artifacts."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        for name in without:
            shutil.rmtree(folder / name)
        return folder


def good_ids(corpus: Path) -> dict[str, list[str]]:
    return {name: sorted(path.stem for path in (corpus / name).rglob("*.flac")) for name in SETS}


def first_speech(corpus: Path) -> tuple[np.ndarray, int, str]:
    """Samples, rate and words of the first good utterance."""
    path = sorted((corpus / "train").rglob("*.flac"))[0]
    text = next(path.parent.glob("*.trans.txt")).read_text().splitlines()[0].split(maxsplit=1)[1]
    return *soundfile.read(path), text


def add_stereo(corpus: Path) -> None:
    """Good speech in two channels, with a byte order mark, lower case and a carriage return in its transcript."""
    samples, rate, text = first_speech(corpus)
    folder = corpus / "train" / "1098" / "8"
    folder.mkdir(parents=True)
    soundfile.write(folder / "1098-8-0000.flac", np.stack([samples, 0.5 * samples], axis=1), rate)
    (folder / "1098-8.trans.txt").write_text(f"\ufeff1098-8-0000 {text.lower()}\r\n", encoding="utf-8")


def add_bad(corpus: Path) -> None:
    folder = corpus / "train" / Path(*BAD.split("-"))
    folder.mkdir(parents=True)
    with (folder / f"{BAD}.trans.txt").open("wb") as transcripts:
        for kind, bad in UTTERANCES.items():
            name = utterance_id(kind).encode()
            bad.damage(noise(folder / f"{utterance_id(kind)}.flac"))
            if bad.line is not None:
                transcripts.write(name + b" " + bad.line.replace(b"%s", name) + b"\n")
        transcripts.write(b"stray-id WORDS\n\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every stage on a corpus with all kinds of bad utterances."""
    place = tmp_path_factory.mktemp("bad")
    corpus = place / "speech"
    synthesize(corpus, seed=1, size=SPEECH, jobs=1)
    add_stereo(corpus)
    made = Run(place / "run", corpus, good_ids(corpus))
    add_bad(corpus)
    assert main(made.configure(made.folder)) == 0
    for stage in STAGES:
        assert main([stage.name, str(made.folder)]) == 0, stage.name
        if stage.name == "prepare":
            (corpus / "train" / "1099" / "9" / f"{utterance_id('gone when features are made')}.flac").unlink()
            cut(corpus / "train" / "1099" / "9" / f"{utterance_id('cut when features are made')}.flac")
    return made


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with one sentence, which names all of some things; the sentence."""

    def check(arguments: list[str], *named: str) -> str:
        capfd.readouterr()
        assert main(arguments) == 2
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err + printed.out
        errors = [line for line in printed.err.splitlines() if "error:" in line]
        assert len(errors) == 1, printed.err
        assert errors[0] == printed.err.splitlines()[-1]
        for name in named:
            assert name in errors[0], printed.err
        return errors[0]

    return check


def rejected(run_dir: Path, stage: str) -> dict[str, tuple[str, ...]]:
    rows = [line.split("\t") for line in (run_dir / stage / "rejected.tsv").read_text(encoding="utf-8").splitlines()]
    return {row[0]: tuple(row[1:]) for row in rows[1:]}


@pytest.mark.parametrize("kind", UTTERANCES)
def test_a_bad_utterance_is_listed_with_its_reason_and_left_out(run: Run, kind: str) -> None:
    import re

    bad = UTTERANCES[kind]
    path, reason, stage = rejected(run.folder, bad.stage)[utterance_id(kind)]
    assert re.search(bad.reason, reason), reason
    assert stage == bad.stage
    assert str(run.corpus) in path
    used = AlignmentStore.open(run.folder / "align" / "train").utterance_ids
    assert (utterance_id(kind) in used) == (kind in KEPT)


def test_all_good_utterances_are_used_and_the_bad_ones_counted(run: Run) -> None:
    for name in SETS:
        used = AlignmentStore.open(run.folder / "align" / name).utterance_ids
        assert [item for item in used if not item.startswith(BAD)] == run.good[name]
        assert set(used) <= {item.utterance_id for item in read_manifest(run.folder / "prepare" / f"{name}.jsonl")}
    report = json.loads((run.folder / "report" / "report.json").read_text())
    counted = dict.fromkeys(("prepare", "features", "align"), 0)
    for row in report["rejected"]:
        counted[row["stage"]] += row["count"]
    told = [bad.stage for bad in UTTERANCES.values()]
    # One more in `prepare`: the stray line of the transcripts.
    assert counted == {stage: told.count(stage) + (stage == "prepare") for stage in counted}
    for stage, count in counted.items():
        metrics = json.loads((run.folder / stage / "manifest.json").read_text())["metrics"]
        assert metrics["rejected"] == count
    assert "silence only" in (run.folder / "report" / "report.md").read_text()


def test_other_sample_rates_are_resampled(run: Run, tmp_path) -> None:
    corpus = tmp_path / "speech"
    shutil.copytree(run.corpus, corpus, symlinks=True)
    samples, rate, text = first_speech(corpus)
    folder = corpus / "train" / "1097" / "7"
    folder.mkdir(parents=True)
    for number, other in enumerate((8000, 11025, 44100, 48000)):
        times = np.arange(0, len(samples) / rate, 1 / other)
        resampled = np.interp(times, np.arange(len(samples)) / rate, samples)
        soundfile.write(folder / f"1097-7-{number:04d}.flac", resampled, other)
    lines = "".join(f"1097-7-{number:04d} {text}\n" for number in range(4))
    (folder / "1097-7.trans.txt").write_text(lines)
    assert main([*run.configure(tmp_path / "run"), "--librispeech", str(corpus)]) == 0
    for stage in ("prepare", "features"):
        assert main([stage, str(tmp_path / "run")]) == 0
    store = FrameStore.open(tmp_path / "run" / "features" / "train")
    used = [name for name in store.utterance_ids if name.startswith("1097")]
    assert len(used) == 4
    lengths = {store.num_frames(name) for name in used}
    assert max(lengths) - min(lengths) <= 1


def without_transcripts(corpus: Path) -> None:
    for path in (corpus / "dev").rglob("*.trans.txt"):
        path.unlink()


def shared_speaker(corpus: Path) -> None:
    shutil.copytree(corpus / "train" / "1001", corpus / "test" / "1001")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (without_transcripts, ("speech/dev has no transcripts", "--dev")),
        (shared_speaker, ("train and test share speakers (1001)", "--test")),
        (lambda corpus: shutil.rmtree(corpus / "test"), ("speech has no subset 'test'", "train", "--test")),
        (shutil.rmtree, ("there is no folder", "speech")),
    ],
)
def test_a_corpus_that_cannot_do_is_refused_before_work(run: Run, refused, tmp_path, damage, named) -> None:
    corpus = tmp_path / "speech"
    shutil.copytree(run.corpus, corpus, symlinks=True)
    damage(corpus)
    refused([*run.configure(tmp_path / "run"), "--librispeech", str(corpus)], *named)
    assert not (tmp_path / "run").exists()


def test_a_subset_of_bad_utterances_only_is_refused(run: Run, refused, tmp_path) -> None:
    corpus = tmp_path / "speech"
    shutil.copytree(run.corpus, corpus, symlinks=True)
    for path in (corpus / "dev").rglob("*.flac"):
        path.write_bytes(b"")
    assert main([*run.configure(tmp_path / "run"), "--librispeech", str(corpus)]) == 0
    refused(["prepare", str(tmp_path / "run")], str(corpus / "dev"), "no usable utterance", "empty file")
    assert not (tmp_path / "run" / "prepare").exists()


def test_librispeech_that_points_nowhere_is_named(refused, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRISPEECH", str(tmp_path / "nowhere"))
    refused(["configure", str(tmp_path / "run")], "$LIBRISPEECH", str(tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--train", "nothing"), ("no subset 'nothing'", "--train")),
        (("--distil.students=0",), ("distil.students: 0 is less than 1",)),
        (("--seed=x",), ("seed: 'x' is not a whole number",)),
        (("--jobs=-1",), ("jobs: -1 is less than 0",)),
        (("--train.precision=fp8",), ("train.precision: 'fp8' is not one of 'auto', 'bf16', 'fp32'",)),
        (("--train.learning_rate=nan",), ("train.learning_rate: 'nan' is not a number",)),
        (("--decode.acoustic_scales=3",), ("decode.acoustic_scales: 3 is not a list",)),
        (("--nothing=3",), ("--nothing",)),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_work(run: Run, refused, tmp_path, flags, named) -> None:
    refused(run.configure(tmp_path / "run", *flags), *named)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "case",
    [
        ("trian:\n  epochs: 3\n", ("unknown setting 'trian'", "do you mean 'train'")),
        ("train:\n  epochs: many\n", ("train.epochs: 'many' is not a whole number",)),
        ("train:\n  epochs: [\n", ("not valid YAML", "line 3")),
        ("train:\n  epochs: 0\n", ("train.epochs: 0 is less than 1",)),
        (b"preset: \xff\n", ("not valid YAML",)),
    ],
)
@pytest.mark.parametrize("place", ["--preset", "settings.yaml"])
def test_a_wrong_settings_file_is_named(run: Run, refused, tmp_path, place: str, case) -> None:
    text, named = case
    content = text if isinstance(text, bytes) else text.encode()
    if place == "--preset":
        path = tmp_path / "my.yaml"
        path.write_bytes(content)
        flags = ["--librispeech", str(run.corpus), "--preset", str(path)]
        sentence = refused(["configure", str(tmp_path / "run"), *flags])
    else:
        (tmp_path / "run").mkdir()
        path = tmp_path / "run" / "settings.yaml"
        path.write_bytes(content)
        sentence = refused(["prepare", str(tmp_path / "run")])
    for name in named:
        assert name in sentence
    assert str(path) in sentence
    assert not (tmp_path / "run" / "prepare").exists()


@pytest.mark.parametrize("below", [False, True])
def test_an_out_folder_that_is_a_file_or_below_one_is_refused(run: Run, refused, tmp_path, below: bool) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "run" if below else tmp_path / "file"
    refused(run.configure(out), str(tmp_path / "file"), "not a folder", "choose another one")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "case",
    [
        ("my.arpa", b"hello\n", ("my.arpa", "not an ARPA language model")),
        ("my.arpa", ARPA.replace("=4", "=5").encode(), ("my.arpa, line", "the header announces 5")),
        ("my.arpa", ARPA.replace("-0.5 ONE", "0.5 ONE").encode(), ("my.arpa, line 7", "above 0")),
        ("my.arpa.gz", gzip.compress(ARPA.encode())[:-12], ("my.arpa.gz", "cut short", "fetch it again")),
        ("my.arpa.gz", ARPA.encode(), ("my.arpa.gz", "not a sound gzip file")),
        ("my.arpa", b"", ("my.arpa", "not an ARPA language model")),
    ],
)
def test_a_language_model_that_is_none_is_refused_before_work(run: Run, refused, tmp_path, case) -> None:
    name, content, named = case
    (tmp_path / name).write_bytes(content)
    refused(run.configure(tmp_path / "run", "--lm", str(tmp_path / name)), *named)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (ARPA.replace("\\end\\", "").encode(), ("line", "fetch it again")),
        (b"", ("not an ARPA",)),
    ],
)
def test_a_language_model_that_is_damaged_later_is_refused(run: Run, refused, tmp_path, content: bytes, named) -> None:
    arpa = tmp_path / "my.arpa"
    arpa.write_text(ARPA)
    folder = run.copy(tmp_path / "run")
    assert main(run.configure(folder, "--lm", str(arpa))) == 0
    before = (folder / "language_model" / "manifest.json").read_bytes()
    arpa.write_bytes(content)
    refused(["language_model", str(folder)], str(arpa), *named)
    assert (folder / "language_model" / "manifest.json").read_bytes() == before  # the last good one stays


@pytest.mark.parametrize(
    ("line", "named"), [("ONE\n", ("line 2", "'ONE' has no phones")), ("\xff ONE\n", ("cannot be read as a lexicon",))]
)
def test_a_lexicon_with_a_malformed_line_is_refused_before_work(run: Run, refused, tmp_path, line: str, named) -> None:
    path = tmp_path / "my.lexicon"
    path.write_bytes(b"TWO T UW1\n" + line.encode("latin-1"))
    refused(run.configure(tmp_path / "run", f"--lexicon.path={path}"), str(path), *named)
    assert not (tmp_path / "run").exists()


def no_number(path: Path) -> None:
    """Put a NaN into the first utterance, past the margin before it."""
    frames = np.memmap(path, dtype=np.float16, mode="r+")
    frames[40 * (MARGIN + 5)] = np.nan
    frames.flush()


def empty_json(path: Path) -> None:
    path.write_text("{}")


SLOW = pytest.mark.slow  # the damage is found by a process of its own, which takes its time to start
DAMAGES = [
    ("prepare/train.jsonl", cut, "features", "bytes instead of"),
    ("prepare/manifest.json", cut, "features", "run the stage again"),
    ("features/train/layout.npy", cut, "align", "run the stage again"),
    ("features/train/utterances.txt", cut, "align", "run the stage again"),
    ("features/train/frames.f16", cut, "align", "bytes instead of"),
    ("features/train/frames.f16", no_number, "align", "not what was written"),
    ("lexicon/lexicon.txt", Path.unlink, "align", "is damaged (missing)"),
    ("align/train/pdfs.npy", cut, "baseline", "run the stage again"),
    ("align/train/frames.npy", cut, "baseline", "run the stage again"),
    ("align/train/utterances.txt", cut, "posteriors", "run the stage again"),
    ("align/topology.json", cut, "graph", "run the stage again"),
    ("language_model/lm.arpa.gz", cut, "graph", "run the stage again"),
    ("evaluate/frames.json", cut, "report", "run the stage again"),
    ("decode/ensemble/test.jsonl", cut, "report", "bytes instead of"),
    ("baseline/baseline-00/history.jsonl", cut, "report", "bytes instead of"),
    ("baseline/baseline-00/manifest.json", empty_json, "report", "run the stage again"),
    pytest.param(("ensemble/member-01/model.safetensors", cut, "posteriors", "run the stage again"), marks=SLOW),
    pytest.param(("transfer/frames/frames.f16", cut, "posteriors", "bytes instead of"), marks=SLOW),
    pytest.param(
        ("ensemble/member-01/model.safetensors", Path.unlink, "posteriors", "run the stage again"), marks=SLOW
    ),
    pytest.param(("posteriors/shard-00000.u16", cut, "distil", "run the stage again"), marks=SLOW),
    pytest.param(("posteriors/background.npy", cut, "distil", "run the stage again"), marks=SLOW),
    pytest.param(("graph/HCLG.fst", cut, "decode", "run the stage again"), marks=SLOW),
    pytest.param(("graph/words.txt", cut, "decode", "run the stage again"), marks=SLOW),
]


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: f"{case[0]}-{case[1].__name__}")
def test_a_damaged_file_of_the_run_is_named_with_what_to_do(run: Run, refused, tmp_path, case) -> None:
    name, damage, stage, says = case
    folder = run.copy(tmp_path / "run", stage)
    damage(folder / name)
    refused([stage, str(folder)], str(folder / name), says)
    assert not list(folder.glob(f"{stage}/**/manifest.json"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, of 64 MB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "kd-asr-test", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("not permitted to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of a file system free."""
    path = disk / "filler"
    path.write_bytes(b"")
    with path.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - left)))
    return path


def outputs(folder: Path) -> dict[str, bytes]:
    """Files that do not tell of time."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".safetensors", ".u16", ".npy", ".f16", ".png", ".fst", ".tsv")
    }


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("features", 300_000),
        ("graph", 100_000),
        pytest.param("report", 60_000, marks=SLOW),
        pytest.param("align", 100_000, marks=SLOW),
        pytest.param("baseline", 60_000, marks=SLOW),
        pytest.param("ensemble", 8192, marks=SLOW),
        pytest.param("posteriors", 40_000, marks=SLOW),
        pytest.param("distil", 60_000, marks=SLOW),
        pytest.param("evaluate", 4096, marks=SLOW),
        pytest.param("decode", 4096, marks=SLOW),
    ],
)
def test_a_full_disk_is_one_sentence_and_with_room_the_stage_ends_as_ever(
    run: Run, refused, small_disk: Path, stage: str, left: int
) -> None:
    folder = run.copy(small_disk / "run", stage)
    if stage != "report":
        shutil.rmtree(folder / "report")
    filler = fill(small_disk, left)
    refused([stage, str(folder)], "disk is full", "make room")
    assert not list(folder.glob(f"{stage}/**/manifest.json"))
    filler.unlink()
    assert main([stage, str(folder)]) == 0
    assert outputs(folder / stage) == outputs(run.folder / stage)
    assert not list(folder.rglob("*.partial"))


@pytest.mark.slow
def test_a_full_disk_while_speech_is_made_leaves_no_half_corpus(refused, small_disk: Path) -> None:
    flags = ["--corpus", "embedded", "--data", str(small_disk / "data"), *FLAGS]
    assert main(["configure", str(small_disk / "run"), *flags]) == 0
    filler = fill(small_disk, 400_000)
    refused(["corpus", str(small_disk / "run")], "disk is full", "make room")
    assert not (small_disk / "data" / "embedded_miniature").exists()
    filler.unlink()
    assert main(["corpus", str(small_disk / "run")]) == 0


def test_a_file_system_that_cannot_be_written_is_said(run: Run, refused, small_disk: Path) -> None:
    folder = run.copy(small_disk / "run", "graph")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(["graph", str(folder)], str(folder), "Read-only file system", "choose another folder")
    refused(run.configure(small_disk / "new"), str(small_disk), "cannot be written into", "choose another one")


def test_frames_of_the_run_are_whole(run: Run) -> None:
    """What the tests above damage was sound."""
    for name in SETS:
        store = FrameStore.open(run.folder / "features" / name)
        assert all(np.isfinite(store.frames(item)).all() for item in store.utterance_ids)
