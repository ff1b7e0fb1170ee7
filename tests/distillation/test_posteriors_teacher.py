"""Posteriors of another program as a teacher: files, classes, frames, and what is missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import kaldiio
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from kd_asr.cli import main
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.base import UNLABELLED
from kd_asr.distillation.losses.hard import HardLoss, HardSettings
from kd_asr.distillation.losses.soft import SoftLoss, SoftSettings
from kd_asr.distillation.outside.files import read_posteriors
from kd_asr.distillation.outside.maps import as_probabilities, nearest_frames, read_class_map
from kd_asr.distillation.signal import SoftTargets
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.posteriors import PosteriorsSettings, PosteriorsTeacher
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import student_jobs
from kd_asr.fingerprints import digest
from kd_asr.networks.outputs import Outputs
from kd_asr.settings.files import load_settings_of

CLASSES = 6
HEADER = {"sample_rate": 16000, "frame_shift_ms": 10.0}
FRAMES = {"b": 7, "a": 5}


def probabilities(frames: int, classes: int = CLASSES, seed: int = 0) -> np.ndarray:
    """(frames, classes) float32."""
    found = np.random.default_rng([seed, frames]).dirichlet(np.ones(classes), frames)
    return found.astype(np.float32)


def lesson(frames: Mapping[str, int] = FRAMES, labelled: int | None = None) -> Lesson:
    labelled = len(frames) if labelled is None else labelled
    return Lesson(
        [], list(frames), header=HEADER, frames=list(frames.values()), num_classes=CLASSES, labelled=labelled
    )


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file(dict(arrays), path)
    else:
        scp = str(path) if path.suffix == ".scp" else None
        kaldiio.save_ark(str(path.with_suffix(".ark")), dict(arrays), scp=scp)
    return path


def teacher(path: Path, given: Lesson, **settings: object) -> PosteriorsTeacher:
    return PosteriorsTeacher.open(given, PosteriorsSettings(str(path), **settings))  # type: ignore[arg-type]


def targets_of(found: PosteriorsTeacher, hard_labels: torch.Tensor) -> SoftTargets:
    """Those of all frames in order, as a training asks for them."""
    numbers = torch.arange(len(hard_labels))
    targets = found.answer(Batch(numbers, torch.zeros(len(numbers), 1), hard_labels, found.read(numbers))).targets
    assert targets is not None
    return targets


def answered(found: PosteriorsTeacher, hard_labels: torch.Tensor) -> np.ndarray:
    """(frames, classes) probabilities."""
    probs: np.ndarray = targets_of(found, hard_labels).dense_log_probs(1.0).exp().numpy()
    return probs


@pytest.mark.parametrize("suffix", [".scp", ".ark", ".npz", ".safetensors"])
@pytest.mark.parametrize("logarithms", [False, True])
def test_every_kind_of_file_gives_the_same(suffix: str, logarithms: bool, tmp_path: Path) -> None:
    arrays = {name: probabilities(count) for name, count in {"a": 5, "b": 7, "more": 3}.items()}
    stored = {name: np.log(one) if logarithms else one for name, one in arrays.items()}
    found = teacher(write(tmp_path / f"p{suffix}", stored), lesson())
    expected = np.concatenate([arrays["b"], arrays["a"]])
    labels = torch.zeros(12, dtype=torch.int64)
    np.testing.assert_allclose(answered(found, labels), expected, atol=2e-3)
    kept = teacher(tmp_path / f"p{suffix}", lesson(), top_k=2)
    top = np.sort(expected, axis=1)[:, -2:]
    np.testing.assert_allclose(np.sort(answered(kept, labels), axis=1)[:, -2:].sum(1), top.sum(1), atol=2e-3)
    np.testing.assert_allclose(answered(kept, labels).sum(axis=1), 1, atol=2e-3)


def test_a_class_map_adds_shares_and_leaves_out(tmp_path: Path) -> None:
    theirs = probabilities(5, classes=4)
    theirs[2] = [0, 0, 0, 1]  # nothing else than what is left out
    table = tmp_path / "classes.tsv"
    table.write_text("teacher\tours\n# vowels\n0\t5\n1\t5\n2\t0,1\n3\t-\n")
    path = write(tmp_path / "p.npz", {"a": theirs})
    found = teacher(path, lesson({"a": 5}), classes=str(table), most_missing=0.2)
    labels = torch.tensor([0, 0, 4, 0, 0])
    expected = np.zeros((5, CLASSES))
    expected[:, 5], expected[:, 0], expected[:, 1] = theirs[:, 0] + theirs[:, 1], theirs[:, 2] / 2, theirs[:, 2] / 2
    expected[2, 4] = 1
    np.testing.assert_allclose(answered(found, labels), expected / expected.sum(1, keepdims=True), atol=2e-3)
    with pytest.raises(UserError, match=r"the class map leaves nothing of 1 further frames: 20\.0 % of"):
        teacher(path, lesson({"a": 5}), classes=str(table))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0 1\n2 1\n3 1\n", "each of the teacher's 4 classes once: class 1 is missing"),
        ("0 1\n1 1\n2 1\n3 1\n4 1\n", "class 4 is too much"),
        ("0 1\n1 1\n1 2\n3 1\n", "line 3: class 1 of the teacher is there twice"),
        ("0 1\n1 6\n", "line 2: there is no class 6; the student has 6, from 0"),
        ("0 1\n1 x\n", "line 2: not a class of the teacher and one of ours"),
        ("0 1 1\n", "line 1: not a class of the teacher and one of ours"),
        ("", "class 0 is missing"),
    ],
)
def test_a_class_map_is_checked_completely(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(UserError, match=fault):
        read_class_map(tmp_path / "m", 4, CLASSES)


def test_frames_of_other_rates_are_the_nearest_ones(tmp_path: Path) -> None:
    # The middles of our frames are at 5, 15, ... ms; theirs last 20 ms, 30 ms (a partial one at the end is missing).
    assert nearest_frames(5, 3, shift=0.01, their_shift=0.02, slack=0.04).tolist() == [0, 0, 1, 1, 2]
    assert nearest_frames(7, 2, shift=0.01, their_shift=0.03, slack=0.04).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert nearest_frames(3, 6, shift=0.01, their_shift=0.005, slack=0.0).tolist() == [1, 3, 5]
    assert nearest_frames(2, 3, shift=0.01, their_shift=0.02, first=3, whole=False, slack=0.0).tolist() == [1, 2]
    theirs = probabilities(3)
    found = teacher(write(tmp_path / "p.npz", {"a": theirs}), lesson({"a": 5}), frame_shift=0.02)
    np.testing.assert_allclose(answered(found, torch.zeros(5, dtype=torch.int64)), theirs[[0, 0, 1, 1, 2]], atol=2e-3)


def test_parts_of_unlabelled_audio_are_cut_out_of_their_utterance(tmp_path: Path) -> None:
    whole = probabilities(30)
    path = write(tmp_path / "p.npz", {"x": whole})
    found = teacher(path, lesson({"x@4": 3, "x@20": 10}, labelled=0))
    expected = np.concatenate([whole[4:7], whole[20:30]])
    labels = torch.full((13,), UNLABELLED)
    np.testing.assert_allclose(answered(found, labels), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("array", "settings", "fault"),
    [
        (probabilities(5, 4), {}, r"posteriors of a, of shape \(5, 4\), do not fit the \(5, 6\) frames and classes"),
        (probabilities(90), {}, r"of shape \(90, 6\), .*: they last 0.900 s and ours end at 0.050 s"),
        (probabilities(5), {"frame_shift": 0.03}, "they last 0.150 s and ours end at 0.050 s"),
        (5 * probabilities(5), {}, "frame [0-9] sums to 5 as probabilities: store log-softmax or softmax"),
        (np.log(probabilities(5)) + 1, {}, "frame [0-9] sums to 2.718 as logarithms of probabilities"),
        (np.full((5, 6), np.nan, np.float32), {}, "not numbers"),
        (np.zeros((5, 6), np.int32), {}, r"not a matrix of frames by classes: int32 of shape \(5, 6\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_shapes(array, settings, fault: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=fault) as error:
        teacher(write(tmp_path / "p.npz", {"a": array}), lesson({"a": 5}), **settings)
    assert str(error.value).startswith(f"{tmp_path / 'p.npz'}: ")


def test_missing_utterances_are_learnt_from_hard_labels_alone(tmp_path: Path, capsys) -> None:
    path = write(tmp_path / "p.npz", {"b": probabilities(7)})
    with pytest.raises(UserError, match=r"has no posteriors of 1 of 2 utterances \(a\): 41\.7 % of the frames, more"):
        teacher(path, lesson())
    with pytest.raises(UserError, match=r"those without a transcript \(a\) cannot be learnt from"):
        teacher(path, lesson(labelled=1), most_missing=0.5)
    capsys.readouterr()
    found = teacher(path, lesson(), most_missing=0.5, top_k=3)
    assert "1 of 2 utterances (a): 41.7 % of the frames are learnt from hard labels" in capsys.readouterr().err
    labels = torch.tensor([0] * 7 + [0, 5, 2, 4, 1])
    targets = targets_of(found, labels)
    logits = torch.randn(12, CLASSES, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.arange(12), logits, labels, replace(found.read(torch.arange(12)), targets=targets))
    soft = SoftLoss(SoftSettings(temperature=1.0))(Outputs(logits), batch.signal, batch)
    hard = HardLoss(HardSettings())(Outputs(logits), batch.signal, batch)
    torch.testing.assert_close(soft[7:], hard[7:], rtol=0, atol=1e-5)
    assert not torch.allclose(soft[:7], hard[:7])
    for row in targets.classes.tolist():
        assert len(set(row)) == 3


def test_settings_are_checked_before_the_work_and_tell_what_files_contain(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "p.scp", {"a": probabilities(5)})
    monkeypatch.chdir(tmp_path)
    settled = PosteriorsTeacher.settled(PosteriorsSettings("p.scp"))
    assert settled.path == str(path) and settled.content
    (tmp_path / "other").mkdir()
    moved = write(tmp_path / "other" / "p.npz", {"a": probabilities(5)})
    assert PosteriorsTeacher.settled(PosteriorsSettings(str(moved))).content != settled.content
    write(path, {"a": probabilities(5, seed=1)})
    with pytest.raises(UserError, match="has changed since the run was configured"):
        PosteriorsTeacher.open(lesson({"a": 5}), settled)
    for wrong, fault in (("", "path is empty"), ("p.txt", "files that end in .scp"), ("q.npz", "there is no file")):
        with pytest.raises(UserError, match=fault):
            PosteriorsTeacher.settled(PosteriorsSettings(wrong))
    path.write_text("a cat secrets |\n")
    with pytest.raises(UserError, match=r"line 1: a command, which is not run"):
        PosteriorsTeacher.settled(PosteriorsSettings("p.scp"))
    path.write_text("a gone.ark:5\n")
    with pytest.raises(UserError, match="which is not there"):
        PosteriorsTeacher.settled(PosteriorsSettings("p.scp"))
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot be read as posteriors"):
        list(read_posteriors(tmp_path / "bad.npz", {"a"}))


def test_half_precision_and_impossible_classes_are_understood() -> None:
    certain = np.eye(3, dtype=np.float32)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(as_probabilities(np.log(certain)), certain)
    rough = probabilities(20, 2000).astype(np.float16)
    np.testing.assert_allclose(as_probabilities(rough).sum(axis=1), 1)


def test_digits_know_the_content_of_their_teachers_file(tmp_path: Path) -> None:
    """Other posteriors under the same name are another training, also of digits."""
    path = tmp_path / "p.npz"
    jobs = []
    for seed in (0, 1):
        np.savez(path, train=probabilities(9, 10, seed))
        given = ["--preset", "tiny", "--source", "digits", "--distilled.teacher", "posteriors"]
        asked = ["--distilled.teacher.posteriors.path", str(path)]
        assert main(["mnist", "configure", str(tmp_path / "run"), *given, *asked]) == 0
        settings = load_settings_of(MnistSettings, tmp_path / "run", "mnist configure")
        jobs.append([digest(job) for job in student_jobs(settings) if job.teacher])
    assert jobs[0] and not set(jobs[0]) & set(jobs[1])
    path.unlink()
    assert main(["mnist", "configure", str(tmp_path / "run"), *given, *asked]) == 2


def test_the_guides_teacher_reads_what_it_was_configured_with(tmp_path: Path, monkeypatch) -> None:
    """The teacher of CONTRIBUTING.md, as it stands there."""
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(\"\"\"A teacher whose posteriors come from elsewhere.*?)```", guide, re.DOTALL)
    module = ModuleType("guides_teacher")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code.replace('@teacher("arrays")\n', ""), module.__dict__)
    path = tmp_path / "p.npz"
    np.savez(path, **{name: np.log(probabilities(count)) for name, count in FRAMES.items()})
    settled = module.ArraysTeacher.settled(module.ArraysSettings(str(path)))
    found = module.ArraysTeacher.open(lesson(), settled).read(torch.arange(12)).targets.dense_log_probs(1.0).exp()
    np.testing.assert_allclose(found, np.concatenate([probabilities(7), probabilities(5)]), atol=1e-6)
    np.savez(path, **{name: np.log(probabilities(count, seed=1)) for name, count in FRAMES.items()})
    with pytest.raises(UserError, match="has changed since the run was configured"):
        module.ArraysTeacher.open(lesson(), settled)
    assert digest(module.ArraysTeacher.settled(settled)) != digest(settled)
