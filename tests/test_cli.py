import argparse
import errno
import fcntl
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kd_asr import __version__
from kd_asr.cli import main
from kd_asr.cli.main import _explain, _parser
from kd_asr.cli.mnist import MNIST_STAGES, load_mnist_settings
from kd_asr.cli.parsing import Lines
from kd_asr.cli.stages import FURTHER, STAGES
from kd_asr.stages.settings import load_settings


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["configure", "--help"], *[[stage.name, "--help"] for stage in (*STAGES, *FURTHER)]],
)
def test_every_command_explains_itself(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert len(text.split()) > 20
    if arguments == ["--help"]:
        assert all(stage.name in text for stage in STAGES)
    if arguments == ["configure", "--help"]:
        assert "--train.epochs" in text
        assert "--methods" in text


def _with_those_below(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [parser, *(found for one in inner for sub in one.choices.values() for found in _with_those_below(sub))]


def test_help_of_every_command_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for parser in _with_those_below(_parser()):
        for line in parser.format_help().splitlines():
            assert len(line) <= 80, f"{parser.prog}: {line}"


def test_lines_of_help_are_broken_where_they_stand() -> None:
    text = (
        "A sentence of thirty-six columns, say.\n  name    what it is and does, in many words\n"
        "  kd-asr run speech     the whole of it, in a few words\n  kd-asr run speech --preset tiny --jobs 2 --seed 3"
    )
    parser = argparse.ArgumentParser(description=text, formatter_class=lambda prog: Lines(prog, width=36), usage="x")
    assert parser.format_help().splitlines()[2:13] == [
        "A sentence of thirty-six columns,", "say.",
        "  name    what it is and does, in", "          many words",
        "  kd-asr run speech", "      the whole of it, in a few", "      words",
        "  kd-asr run speech --preset tiny \\", "      --jobs 2 --seed 3",
        "", "options:",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_a_folder_that_is_no_run_is_one_sentence_and_status_2(stage: str, tmp_path, capsys) -> None:
    assert main([stage, str(tmp_path / "nowhere")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("kd-asr: error:")
    assert "is not a run folder" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["align", "run", "--nothing", "3"], "arguments: --nothing 3; the options are --help; see `kd-asr align"),
        (["align"], "arguments are required: run; see `kd-asr align --help`"),
        (["nonsense"], "unknown command 'nonsense'; there are: run, configure, corpus, prepare,"),
        (["reprot", "run"], "unknown command 'reprot'; do you mean 'report'?"),
        (["check", ""], "argument RUN|CORPUS: the name of a file or folder is empty; see `kd-asr check --help`"),
        (["run", "speach"], "unknown task 'speach'; do you mean 'speech'?"),
        (["mnist", "tabel", "run"], "unknown command 'tabel'; do you mean 'table'?"),
        (["transcribe", "x", "y", "--jsn"], "unrecognized arguments: --jsn; do you mean --json?; see `kd-asr trans"),
    ],
)
def test_arguments_that_are_unknown_or_missing_are_one_sentence(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert message in " ".join(printed.split())
    assert len(printed.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["configure", "x", "--kaldi", "d"], "unknown option '--kaldi'; do you mean --corpus kaldi?"),
        (["configure", "x", "--zzz", "d"], "unknown option '--zzz'; the options are --help, --preset, --corpus,"),
        (["configure", "x", "--librispech", "d"], "unknown option '--librispech'; do you mean --librispeech?"),
        (["run", "speech", "--librispech", "d"], "unknown option '--librispech'; do you mean --librispeech?"),
        (["run", "speech", "--prset", "tiny"], "unknown option '--prset'; do you mean --preset?"),
        (["run", "speech", "--preset", "quik"], "unknown preset 'quik'; do you mean 'quick'?; there are: chain paper"),
        (["run", "digits", "--preset", "papr"], "unknown preset 'papr'; do you mean 'paper'?"),
        (["run", "speech", "--stage", "decod"], "unknown stage 'decod'; do you mean 'decode'?"),
        (["run", "digits", "--experiment", "tabel"], "unknown experiment 'tabel'; do you mean 'table'?"),
        (["configure", "x", "--distil.temprature=3"], "do you mean 'methods.hinton.losses.soft.temperature'?"),
        (["configure", "x", "--temprature=3"], "do you mean --methods.hinton.losses.soft.temperature?"),
        (["mnist", "configure", "x", "--teacher.epoch=3"], "do you mean 'teacher.epochs'?"),
        (["mnist", "configure", "x", "--sorce=mnist"], "unknown option '--sorce'; do you mean --source?"),
        (["configure", "x", "word"], "'word' is no option and no setting of `kd-asr configure`"),
        (["configure", "x", "--decode.zzz=3"], "unknown setting 'decode.zzz'; there are: decode.beam, decode.max_acti"),
    ],
)
def test_an_unknown_option_is_answered_with_what_there_is(arguments, sentence, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_preset_is_what_is_written_and_called_so(tmp_path, monkeypatch) -> None:
    """`--preset` of `configure` takes the budget; a file without a name of its own is called after itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("train: {epochs: 9}\n")
    for preset, label, epochs in (("tiny", "tiny", 2), ("mine.yaml", "mine", 9)):
        assert main(["configure", "run", "--preset", preset, "--corpus", "embedded"]) == 0
        found = load_settings(tmp_path / "run")
        assert (found.preset, found.train.epochs) == (label, epochs)
    assert main(["mnist", "configure", "digits", "--preset", "tiny", "--source", "digits"]) == 0
    assert load_mnist_settings(tmp_path / "digits").preset == "mnist_tiny"



@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train.epochs", "0"], "train.epochs: 0 is less than 1"),
        (["--preset", "missing.yaml"], "no settings file missing.yaml"),
        (["--preset", "huge"], "unknown preset 'huge'; there are: chain paper quick standard tiny"),
        (["--corpus", "mine"], "there is no corpus 'mine'"),
        (["--librispeech", "no/such/folder"], "no/such/folder"),
        (["--lm", "no/such.arpa", "--corpus", "embedded"], "no file"),
    ],
)
def test_configure_refuses_before_it_makes_anything(flags: list[str], message: str, tmp_path, capsys) -> None:
    assert main(["configure", str(tmp_path / "run"), "--data", str(tmp_path / "data"), *flags]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_unwritable_run_folder_is_a_sentence(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["configure", str(tmp_path / "file" / "run"), "--corpus", "embedded", "--data", str(tmp_path)]
    assert main(arguments) == 2
    assert "file is not a folder: choose another one" in " ".join(capsys.readouterr().err.split())


def test_score_prints_the_error_rate(tmp_path, capsys) -> None:
    (tmp_path / "ref").write_text("u1 A B C D\nu2 E F\n")
    (tmp_path / "hyp").write_text("u1 A X C D\nu2 E F G\n")
    assert main(["score", str(tmp_path / "ref"), str(tmp_path / "hyp")]) == 0
    assert "33.33" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "ref"), str(tmp_path / "missing")]) == 2


def test_a_second_command_waits_for_the_first(tmp_path, capsys) -> None:
    main(["configure", str(tmp_path), "--corpus", "embedded", "--data", str(tmp_path / "data")])
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=main, args=(["prepare", str(tmp_path)],))
        thread.start()
        seen = ""
        while "waiting for another command" not in " ".join(seen.split()) and thread.is_alive():
            time.sleep(0.05)
            seen += capsys.readouterr().err
        assert thread.is_alive()
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert "there is no corpus folder" in " ".join(capsys.readouterr().err.split())


def test_the_version_is_told(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"kd-asr {__version__}\n"


def test_exit_status_of_the_installed_command(tmp_path) -> None:
    command = [sys.executable, "-m", "kd_asr", "align", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["configure", *[stage.name for stage in MNIST_STAGES]])
def test_every_mnist_command_explains_itself_and_wants_a_run(command: str, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["mnist", command, "--help"])
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.split()) > 20
    if command != "configure":
        assert main(["mnist", command, str(tmp_path / "nowhere")]) == 2
        assert "run `kd-asr mnist configure" in " ".join(capsys.readouterr().err.split())


def test_an_unknown_option_is_told_with_the_nearest_known_one(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["score", "a", "b", "--ignore-cases"])
    assert "unrecognized arguments: --ignore-cases; do you mean --ignore-case?" in capsys.readouterr().err


def test_a_message_that_quotes_a_whole_file_is_cut_in_the_middle(tmp_path, capsys) -> None:
    path = tmp_path / "a.ctm"
    path.write_text("x" * 200_000)
    assert main(["score", str(path), str(path), "--format", "ctm"]) == 2
    assert main(["score", str(path), str(tmp_path / ("y" * 5000)), "--format", "text"]) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "a.ctm, line 1: not `utterance channel" in text
    assert len(text) < 6000 and " ... " in text


@pytest.mark.skipif(sys.platform != "linux", reason="sees in /proc what is loaded")
def test_ctrl_c_while_modules_load_leaves_no_traceback() -> None:
    command = subprocess.Popen([sys.executable, "-m", "kd_asr"], stderr=subprocess.PIPE)
    loaded = Path(f"/proc/{command.pid}/maps")
    while "pydantic_core" not in loaded.read_text():
        time.sleep(0.002)
    command.send_signal(signal.SIGINT)
    assert command.communicate()[1] == b""
    assert command.returncode == -signal.SIGINT


def test_what_is_missing_is_named_with_a_command_that_exists(tmp_path) -> None:
    def explained(path: Path) -> str:
        return _explain(FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)), tmp_path / "run")

    assert explained(Path("/proc/x")) == "/proc/x is missing"
    inside = tmp_path / "run" / "sweep_networks" / "one" / "model.safetensors"
    assert explained(inside) == f"{inside} is missing: run `kd-asr sweep {tmp_path / 'run'}` again"
    assert _explain(FileNotFoundError(errno.ENOENT, "No such file", "x"), None) == "x is missing"


def test_the_disk_that_is_full_is_the_one_that_is_named(tmp_path, monkeypatch) -> None:
    """An error of writing has no name: the folder of temporary files is named if it has no room, else the run's."""
    full = tmp_path / "full"
    free = {str(full): 1000, str(tmp_path / "run"): 10**12}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[str(folder)]))
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    sentence = f"the disk is full ({full}, $TMPDIR): make room and run the command again"
    assert _explain(error, tmp_path / "run") == sentence
    free |= {str(full): 10**12, str(tmp_path / "run"): 0}
    assert f"full ({tmp_path / 'run'}):" in _explain(error, tmp_path / "run")
    free[str(tmp_path / "run")] = 10**12
    named = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "elsewhere"))
    assert f"full ({tmp_path / 'elsewhere'}):" in _explain(named, tmp_path / "run")
