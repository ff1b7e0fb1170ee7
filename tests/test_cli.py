import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kd_asr.cli import FURTHER, STAGES, main
from kd_asr.cli_mnist import MNIST_STAGES

RECIPE = Path(__file__).parent.parent / "recipes" / "run_librispeech_subset.sh"
MNIST_RECIPE = RECIPE.with_name("run_mnist.sh")
REDUCED_RECIPE = RECIPE.with_name("run_reduced_data.sh")


def recipe(*options: str, cwd: Path, script: Path = RECIPE) -> subprocess.CompletedProcess[str]:
    """Run the recipe where a set-up of the environment would fail, so that work done before the checks is seen."""
    environment = {**os.environ, "PYTHON": "/nonexistent", "PATH": "/usr/bin:/bin"}
    command = ["bash", str(script), *options]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


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
        assert "--distil.temperature" in text


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
        (["configure", "run", "--corpus", "mine"], "invalid choice: 'mine'"),
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


def test_exit_status_of_the_installed_command(tmp_path) -> None:
    command = [sys.executable, "-m", "kd_asr.cli", "align", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nothing", "3"], "unknown option '--nothing'"),
        (["--preset"], "--preset needs a value"),
        (["--preset", "huge"], "unknown preset 'huge'; there are: paper quick standard tiny"),
        (["--stage", "training"], "unknown stage 'training'; the stages are: corpus prepare"),
        (["--stage", "report", "--stop-stage", "align"], "--stage report comes after --stop-stage align"),
        (["--students", "0"], "--students must be a whole number of 1 or more, not '0'"),
        (["--seed", "x"], "--seed must be a whole number of 0 or more, not 'x'"),
        (["--seed=1.5"], "--seed must be a whole number of 0 or more, not '1.5'"),
        (["--jobs", "-1"], "--jobs must be a whole number of 0 or more, not '-1'"),
        (["--corpus", "mine"], "--corpus is auto, librispeech or embedded, not 'mine'"),
        (["--librispeech", "nowhere"], "--librispeech: there is no folder 'nowhere'"),
        (["--lm", "nowhere.arpa"], "--lm: there is no file 'nowhere.arpa'"),
        (["--out", f"{RECIPE}/below/a/file"], f"--out {RECIPE}/below/a/file: '{RECIPE}' is no folder"),
    ],
)
def test_the_recipe_refuses_before_any_work(options: list[str], message: str, tmp_path) -> None:
    done = recipe(*options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_recipe_explains_itself(tmp_path) -> None:
    done = recipe("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("--librispeech", "--preset", "--stop-stage", "usage: bash recipes/run_librispeech_subset.sh"):
        assert word in done.stdout
    stages = " ".join(done.stdout.split("stages: ")[1].split("Run again")[0].split())
    assert stages == " ".join(stage.name for stage in STAGES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nothing", "3"], "unknown option '--nothing'"),
        (["--preset", "huge"], "unknown preset 'huge'; there are: paper quick tiny"),
        (["--experiment", "tables"], "unknown experiment 'tables'; there are: table temperature"),
    ],
)
def test_the_mnist_recipe_refuses_before_any_work(options: list[str], message: str, tmp_path) -> None:
    done = recipe(*options, cwd=tmp_path, script=MNIST_RECIPE)
    assert done.returncode == 2
    assert message in done.stderr
    assert "usage: bash recipes/run_mnist.sh" in recipe("--help", cwd=tmp_path, script=MNIST_RECIPE).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nothing", "3"], "unknown option '--nothing'"),
        (["--preset", "huge"], "unknown preset 'huge'; there are: paper quick standard tiny"),
        (["--fractions", "3%"], "--fractions is a list such as 0.03,0.1,1.0, not '3%'"),
        (["--seeds", "0"], "--seeds must be a whole number of 1 or more, not '0'"),
        (["--epochs=x"], "--epochs must be a number, not 'x'"),
        (["--draw", "speakers"], "--draw is utterances or frames, not 'speakers'"),
        (["--stage", "align"], "--stage is an option of recipes/run_librispeech_subset.sh alone"),
    ],
)
def test_the_reduced_data_recipe_refuses_before_any_work(options: list[str], message: str, tmp_path) -> None:
    done = recipe(*options, cwd=tmp_path, script=REDUCED_RECIPE)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "usage: bash recipes/run_reduced_data.sh" in recipe("--help", cwd=tmp_path, script=REDUCED_RECIPE).stdout


@pytest.mark.parametrize("command", ["configure", *[stage.name for stage in MNIST_STAGES]])
def test_every_mnist_command_explains_itself_and_wants_a_run(command: str, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["mnist", command, "--help"])
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.split()) > 20
    if command != "configure":
        assert main(["mnist", command, str(tmp_path / "nowhere")]) == 2
        assert "run `kd-asr mnist configure" in " ".join(capsys.readouterr().err.split())
