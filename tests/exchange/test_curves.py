"""Histories as TensorBoard reads them."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kd_asr.cli.main import main
from kd_asr.exchange import curves


def line(update: int, accuracy: float | None = None) -> str:
    figures = {"train_loss": 1 / update, "learning_rate": 0.5, "losses": {"soft": 2.0 * update}}
    return json.dumps({"update": update, "epoch": update / 10, **figures, "dev_accuracy": accuracy}) + "\n"


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_training_has_its_curves_and_growing_ones_are_followed(tmp_path, monkeypatch, capsys) -> None:
    done, under_way = tmp_path / "baseline" / "baseline-00", tmp_path / "distil" / ".student-00.partial"
    for folder in (done, under_way):
        folder.mkdir(parents=True)
        (folder / "history.jsonl").write_text(line(5) + line(10, 0.25))
    with (under_way / "history.jsonl").open("a") as file:
        file.write(line(15)[:20])  # being written
    assert main(["tensorboard", str(tmp_path)]) == 0
    assert "2 trainings: tensorboard --logdir" in capsys.readouterr().err
    expected = {
        "train_loss": [(5, pytest.approx(0.2)), (10, pytest.approx(0.1))],
        "learning_rate": [(5, 0.5), (10, 0.5)],
        "losses/soft": [(5, 10.0), (10, 20.0)],
        "dev_accuracy": [(10, 0.25)],
    }
    for name in ("baseline/baseline-00", "distil/student-00"):
        assert read(tmp_path / "tensorboard" / name) == expected

    # While it is followed, the training goes on, is finished, and its folder gets its name; then comes Ctrl-C.
    def wait(seconds: float) -> None:
        if under_way.exists():
            (under_way / "history.jsonl").write_text(line(5) + line(10, 0.25) + line(15, 0.5))
            under_way.rename(tmp_path / "distil" / "student-00")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(curves.time, "sleep", wait)
    assert main(["tensorboard", str(tmp_path), "--follow"]) == 0
    found = read(tmp_path / "tensorboard" / "distil" / "student-00")
    assert found["dev_accuracy"] == [(10, 0.25), (15, 0.5)]
    assert read(tmp_path / "tensorboard" / "baseline" / "baseline-00") == expected


def test_a_folder_without_trainings_is_one_sentence(tmp_path, capsys) -> None:
    assert main(["tensorboard", str(tmp_path)]) == 2
    assert "has no training with a history.jsonl" in " ".join(capsys.readouterr().err.split())
    assert main(["tensorboard", str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize(
    "damage",
    ["{", "[" * 100_000, "3", "{}", '{"update": "x"}', '{"update": 1e999}', '{"update": 5, "losses": []}',
     '{"update": 5, "train_loss": "low"}', '{"update": 5, "losses": {"soft": [1]}}', "\udcff"],
)  # fmt: skip
def test_a_line_that_is_none_is_named(tmp_path, capsys, damage: str) -> None:
    text = line(5) + damage + "\n"
    (tmp_path / "history.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    assert main(["tensorboard", str(tmp_path)]) == 2
    assert "history.jsonl, line 2: not a line of a training's history" in " ".join(capsys.readouterr().err.split())


def test_the_folder_of_one_training_has_its_curve(tmp_path) -> None:
    folder = tmp_path / "baseline-00"
    folder.mkdir()
    (folder / "history.jsonl").write_text(line(5))
    assert main(["tensorboard", str(folder)]) == 0
    assert read(folder / "tensorboard" / "baseline-00")["losses/soft"] == [(5, 10.0)]
