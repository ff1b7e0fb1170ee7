"""`kd-asr run`, and the recipes, which set up `.venv` and call it."""

import fcntl
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from kd_asr.cli import main, mnist, stages
from kd_asr.cli.run import EXPERIMENTS, REDUCED_STAGES
from kd_asr.cli.stages import STAGES
from kd_asr.distillation.objectives import weighted
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.jobs.systems import Group
from kd_asr.methods.base import Plan, Task, plan_students
from kd_asr.presets import find_preset, preset_names
from kd_asr.registry import _CLASSES, names
from kd_asr.stages.settings import load_settings, parse_settings

PROJECT = Path(__file__).parent.parent
# What each recipe puts before and behind `--home ROOT`; words of its own come first.
RECIPES = {
    "run_librispeech_subset.sh": ([], "speech", []),
    "run_reduced_data.sh": ([], "reduced-data", []),
    "run_mnist.sh": ([], "digits", []),
    "run_methods.sh": ([], "speech", ["--methods", "all", "--compare", "--students", "3"]),
    "run_methods.sh --task digits": (["--task", "digits"], "digits", ["--methods", "all", "--compare", "--seeds", "3"]),
    "run_methods.sh --task=digits": (["--task=digits"], "digits", ["--methods", "all", "--compare", "--seeds", "3"]),
}
EMBEDDED = ("--preset", "tiny", "--corpus", "embedded")

OPTIONS = [
    (["--network", "tdn"], "network: there is no network 'tdn', do you mean 'tdnn'?"),
    (["--network.nowhere.nets:Net.units", "3"], "the network 'nowhere.nets:Net' cannot be imported"),
    (["--methods=[hinton, decopled]"], "methods: there is no method 'decopled', do you mean 'decoupled'?"),
    (["--methods.hinton.losses=[peers]"], "the loss 'peers' needs members, but its teacher gives labels, posteriors"),
    (["--nothing", "3"], "unknown option '--nothing'"),
    (["--preset"], "--preset needs a value"),
    (["--train.epochs"], "--train.epochs needs a value"),
    (["--train.epochs", "0"], "train.epochs: 0 is less than 1"),
    (["--preset", "huge"], "unknown preset 'huge'; there are: chain paper quick standard tiny"),
    (["--preset", "mine/huge.yaml"], "there is no settings file mine/huge.yaml"),
    (["--students", "0"], "--students must be a whole number of 1 or more, not '0'"),
    (["--seed", "x"], "--seed must be a whole number of 0 or more, not 'x'"),
    (["--seed=1.5"], "--seed must be a whole number of 0 or more, not '1.5'"),
    (["--jobs", "-1"], "--jobs must be a whole number of 0 or more, not '-1'"),
    (["--corpus", "mine"], "there is no corpus 'mine', known ones: "),
    (["--librispeech", "nowhere"], "--librispeech: there is no folder 'nowhere'"),
    (["--unlabelled", "nowhere"], "--unlabelled: there is no folder 'nowhere'"),
    (["--lm", "nowhere.arpa"], "--lm: there is no file 'nowhere.arpa'"),
    (["--out", f"{__file__}/below/a/file"], f"--out {__file__}/below/a/file: '{__file__}' is no folder"),
]
SPEECH_OPTIONS = [
    *OPTIONS,
    (["--stage", "training"], "unknown stage 'training'; the stages are: corpus prepare"),
    (["--stage", "report", "--stop-stage", "align"], "--stage report comes after --stop-stage align"),
    (["--compare", "--stop-stage", "decode"], "--compare needs the stage report: leave out --stop-stage"),
    (["--methods", "hinton,mutul"], "methods: there is no method 'mutul', do you mean 'mutual'?"),
]
REDUCED_OPTIONS = [
    *OPTIONS,
    (["--fractions", "3%"], "--fractions is a list such as 0.03,0.1,1.0, not '3%'"),
    (["--seeds", "0"], "--seeds must be a whole number of 1 or more, not '0'"),
    (["--epochs=x"], "--epochs must be a number, not 'x'"),
    (["--draw", "speakers"], "--draw is utterances or frames, not 'speakers'"),
    (["--draw=frames", "--network=tdnn", "--train.batch_frames=640"], "reduced.draw: the network tdnn learns from"),
    (["--stage", "align"], "--stage is an option of `kd-asr run speech` alone"),
]
DIGIT_OPTIONS = [
    (["--methods=[hinton, hinton]"], "methods: hinton is named twice with systems called 'distilled': name it once"),
    (["--methods.hinton.losses=[peers]"], "the loss 'peers' needs members, but its teacher gives labels, posteriors"),
    (["--nothing", "3"], "unknown option '--nothing'"),
    (["--preset", "huge"], "unknown preset 'huge'; there are: paper quick tiny"),
    (["--experiment", "tables"], "unknown experiment 'tables'; do you mean 'table'?; there are: table temperature"),
    (["--seeds", "0"], "--seeds must be a whole number of 1 or more, not '0'"),
    (["--compare", "--experiment", "losses"], "--compare needs the experiment table: leave out --experiment"),
    (["--source", "letters"], "--source is auto, mnist or digits, not 'letters'"),
    (["--teacher.epochs=0"], "teacher.epochs: 0 is less than 1"),
]


@dataclass(frozen=True)
class _ImpossibleSettings:
    """None."""


class _Impossible:
    """Students of a teacher that want its single members."""

    Settings = _ImpossibleSettings

    def __init__(self, settings: _ImpossibleSettings) -> None:
        self.settings = settings

    def plan(self, task: Task) -> Plan:
        return plan_students(task, "impossible", (weighted("peers"),), Group("impossible", "impossible", "student"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory, and nothing in the environment that names a corpus."""
    for name in ("LIBRISPEECH", "MNIST"):
        monkeypatch.delenv(name, raising=False)
    folder: Path = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def made(monkeypatch) -> list[tuple[str, Path, bool]]:
    """Instead of work: the stages that were to be done, their run folder, and whether it was locked."""
    found: list[tuple[str, Path, bool]] = []

    def record(name: str, run_dir: Path, settings: object) -> None:
        with (run_dir / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = False
            except BlockingIOError:
                held = True
        found.append((name, run_dir, held))

    monkeypatch.setattr(stages, "make", record)
    monkeypatch.setattr(mnist, "make", record)
    return found


def status(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        *[("speech", *case) for case in SPEECH_OPTIONS],
        *[("reduced-data", *case) for case in REDUCED_OPTIONS],
        *[("digits", *case) for case in DIGIT_OPTIONS],
    ],
)
def test_wrong_options_are_one_sentence_before_any_work(
    task: str, options: list[str], message: str, here, capsys
) -> None:
    assert status(["run", task, *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
    assert list(here.iterdir()) == []


def test_help_lists_the_stages_in_order(capsys) -> None:
    assert status(["run", "speech", "--help"]) == 0
    text = capsys.readouterr().out
    listed = text.split("stages:\n")[1].split("\n\n")[0]
    stages = re.findall(r"^  (\w+) ", listed, flags=re.MULTILINE)
    assert stages == [stage.name for stage in STAGES]
    for word in ("--librispeech", "--preset", "--stop-stage", "--section.key", "examples:", "after an interruption"):
        assert word in text
    assert status(["run", "digits", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in EXPERIMENTS)


def test_speech_goes_from_corpus_to_report_in_the_default_folder(here, made, capsys) -> None:
    assert main(["run", "speech", *EMBEDDED, "--seed=7", "--students", "2", "--train.epochs", "3"]) == 0
    folder = Path("exp/librispeech_tiny")
    assert made == [(stage.name, folder, True) for stage in STAGES]
    settings = load_settings(folder)
    assert (settings.seed, settings.distil.students, settings.train.epochs) == (7, 2, 3)
    assert settings.corpus.settings.root == str(here / "data" / "embedded_miniature")
    assert capsys.readouterr().out == ""  # the stage `report` says where the page is


def test_a_range_of_stages_prints_no_report(tmp_path, made, capsys) -> None:
    run_dir, home = tmp_path / "out", tmp_path / "home"
    options = ["--out", str(run_dir), "--home", str(home), "--stage", "align", "--stop-stage", "ensemble"]
    assert main(["run", "speech", *EMBEDDED, *options]) == 0
    assert [name for name, *_ in made] == ["align", "sequence_targets", "augment", "ensemble"]
    assert load_settings(run_dir).corpus.settings.root == str(home / "data" / "embedded_miniature")
    assert capsys.readouterr().out == ""


def test_reduced_data_makes_what_it_needs_of_the_main_job(made) -> None:
    options = ["--fractions", "0.3,1.0", "--seeds", "2", "--epochs=0.5", "--draw", "frames"]
    assert main(["run", "reduced-data", *EMBEDDED, *options]) == 0
    assert [name for name, *_ in made] == list(REDUCED_STAGES)
    assert [name for name in REDUCED_STAGES if name in ("posteriors", "sweep", "decode", "graph")] == [
        "posteriors",
        "graph",
    ]
    reduced = load_settings(Path("exp/librispeech_tiny")).reduced
    assert (reduced.fractions, reduced.seeds, reduced.epochs, reduced.draw) == ((0.3, 1.0), 2, 0.5, "frames")


@pytest.mark.parametrize(
    "arguments", [["digits", "--preset", "tiny"], ["--preset", "mnist_tiny"], ["digits", "--preset=mnist_tiny"]]
)
def test_digits_run_the_experiments_and_their_page(arguments: list[str], made) -> None:
    assert main(["run", *arguments, "--source", "digits", "--experiment", "all", "--seeds", "3"]) == 0
    assert [name for name, *_ in made] == [*EXPERIMENTS, "report"]
    assert made[0][1:] == (Path("exp/mnist_tiny"), True)
    assert mnist.load_mnist_settings(Path("exp/mnist_tiny")).seeds == 3


def test_the_task_is_the_presets_where_none_is_named(made) -> None:
    assert main(["run", *EMBEDDED]) == 0
    assert made[0] == ("corpus", Path("exp/librispeech_tiny"), True)


def test_a_network_can_be_named(made) -> None:
    assert main(["run", *EMBEDDED, "--network", "cnn", "--student.network=dnn"]) == 0
    settings = load_settings(Path("exp/librispeech_tiny"))
    assert (settings.network.name, settings.student_network.name) == ("cnn", "dnn")


def test_all_methods_are_those_of_the_preset_and_the_other_registered_ones(made, capsys) -> None:
    options = [*EMBEDDED, "--preset", "quick", "--methods", "all", "--methods.mutual.networks", "3"]
    assert main(["run", "speech", *options]) == 0
    methods = load_settings(Path("exp/librispeech_quick")).methods
    assert methods[0] == parse_settings([], find_preset("quick")).methods[0]
    left_out = [line for line in capsys.readouterr().err.splitlines() if "is left out: " in line]
    assert len(methods) + len(left_out) == len(names("method"))
    assert {method.name for method in methods} >= {"hinton", "decoupled", "mutual"}
    assert next(one for one in methods if one.name == "mutual").settings.networks == 3
    options = ["--preset", "tiny", "--source", "digits", "--methods=all", "--methods=hinton,mutual"]
    assert main(["run", "digits", *options]) == 0
    of_digits = mnist.load_mnist_settings(Path("exp/mnist_tiny"))
    assert [method.name for method in of_digits.methods] == ["hinton", "mutual"]
    assert of_digits.methods[0] == MnistSettings().methods[0]  # with the temperature that the preset has


def test_a_method_that_cannot_work_with_the_settings_is_left_out_of_all(monkeypatch, made, capsys) -> None:
    # The classes do not tell what a run must provide; a plan does.
    monkeypatch.setitem(_CLASSES["method"], "impossible", _Impossible)
    assert main(["run", *EMBEDDED, "--methods=all"]) == 0
    assert "impossible" not in {method.name for method in load_settings(Path("exp/librispeech_tiny")).methods}
    said = " ".join(capsys.readouterr().err.split())
    assert "the method impossible is left out: the method impossible: the loss 'peers' needs members" in said


def test_a_preset_can_be_a_file(tmp_path, made) -> None:
    (tmp_path / "mine.yaml").write_text("preset: mine\nseed: 5\n")
    options = ["--preset", str(tmp_path / "mine.yaml"), "--corpus", "embedded"]
    assert main(["run", "speech", *options]) == 0
    assert load_settings(Path("exp/librispeech_mine")).seed == 5


def test_every_preset_is_found_by_its_name() -> None:
    assert preset_names() == ["chain", "paper", "quick", "standard", "tiny"]
    assert preset_names(digits=True) == ["paper", "quick", "tiny"]
    assert find_preset("quick").name == "quick.yaml"
    assert find_preset("quick", digits=True) == find_preset("mnist_quick", digits=True)
    with pytest.raises(UserError, match="unknown preset 'mnist_quick'"):
        find_preset("mnist_quick")


def test_ctrl_c_is_a_sentence_and_status_130(monkeypatch, capsys) -> None:
    def interrupted(name: str, run_dir: Path, settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "make", interrupted)
    assert main(["run", "speech", *EMBEDDED]) == 130
    assert "interrupted: the same command goes on from here" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "speech", "--out"], ["configure"]])
def test_settings_are_not_changed_under_a_command_at_work(
    command: list[str], tmp_path, made, monkeypatch, capsys
) -> None:
    run_dir = tmp_path / "out"
    run_dir.mkdir()
    (run_dir / "settings.yaml").write_text("seed: 4\n")
    with (run_dir / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=main, args=([*command, str(run_dir), "--corpus", "embedded", "--seed=9"],))
        thread.start()
        seen = ""
        while "waiting for another command" not in " ".join(seen.split()) and thread.is_alive():
            time.sleep(0.05)
            seen += capsys.readouterr().err
        assert thread.is_alive()
        assert load_settings(run_dir).seed == 4
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join(timeout=30)
    assert load_settings(run_dir).seed == 9


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_hands_its_options_to_run_and_its_status_back(name: str, tmp_path) -> None:
    root = tmp_path / "a project"
    shutil.copytree(PROJECT / "recipes", root / "recipes")
    for file in ("pyproject.toml", "constraints.txt"):
        shutil.copyfile(PROJECT / file, root / file)
    programs = root / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "kd-asr").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 130\n')
    (programs / "kd-asr").chmod(0o755)
    stamp = 'printf "%s\\n" "$(cat pyproject.toml constraints.txt | cksum) $PWD" > .venv/.kd_asr_stamp'
    subprocess.run(["bash", "-c", stamp], cwd=root, check=True)
    own, task, added = RECIPES[name]
    command = [
        "bash",
        str(root / "recipes" / name.split(maxsplit=1)[0]),
        *own,
        "--preset",
        "tiny",
        "--x.y",
        "two words",
    ]
    environment = {**os.environ, "PYTHON": "/nonexistent"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    expected = ["run", task, "--home", str(root), *added, "--preset", "tiny", "--x.y", "two words"]
    assert done.stdout.splitlines() == expected
