import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kd_asr import __version__
from kd_asr.cli import main
from kd_asr.cli.mnist import MNIST_STAGES
from kd_asr.cli.stages import FURTHER, STAGES


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


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_a_folder_that_is_no_run_is_one_sentence_and_status_2(stage: str, tmp_path, capsys) -> None:
    assert main([stage, str(tmp_path / "nowhere")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("kd-asr: error:")
    assert "is not a run folder" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["align", "run", "--nothing", "3"], "unrecognized arguments: --nothing 3; see `kd-asr --help`"),
        (["align"], "arguments are required: run; see `kd-asr align --help`"),
        (["nonsense"], "invalid choice: 'nonsense'"),
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
    ("flags", "message"),
    [
        (["--train.epochs", "0"], "train.epochs: 0 is less than 1"),
        (["--config", "missing.yaml"], "no settings file missing.yaml"),
        (["--config", "huge"], "unknown preset 'huge'; there are: paper quick standard tiny"),
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


def test_the_version_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "kd_asr", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"kd-asr {__version__}\n"


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
