"""What other programs and other machines hand over: posteriors, class maps, export folders, histories of trainings.

A reader here ends in `UserError`, or returns; then it has checked that what was read makes sense.
"""

from __future__ import annotations

import json
from pathlib import Path

import kaldiio
import numpy as np
import torch
from kinds_of_speech import FEATURES, Kind
from safetensors.numpy import save_file

from kd_asr.checksums import described, own_checksum
from kd_asr.distillation.outside.maps import read_class_map
from kd_asr.distillation.teachers.base import Lesson
from kd_asr.distillation.teachers.posteriors import PosteriorsSettings, PosteriorsTeacher
from kd_asr.exchange.curves import figures_of, histories, lines_of
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.recognition.folder import (
    EXPORT_FILE,
    FORMAT,
    MODEL_SETTINGS_FILE,
    PRIOR_FILE,
    USUAL_FILE,
    open_export,
    write_settings,
)
from kd_asr.settings.fields import dump
from kd_asr.stages.settings import Settings

CLASSES = 6
FRAMES = {"a-1": 7, "b-1": 5}


def posteriors(name: str, *damaged: str) -> Kind:
    """Posteriors of two utterances with a class map, as `distil.teacher posteriors` reads them."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(0)
        arrays = {key: rng.dirichlet(np.ones(CLASSES), count).astype(np.float32) for key, count in FRAMES.items()}
        path = folder / name
        if name.endswith(".npz"):
            np.savez(path, **arrays)  # type: ignore[arg-type]
        elif name.endswith(".safetensors"):
            save_file(arrays, path)
        else:
            kaldiio.save_ark(str(folder / "p.ark"), arrays)
            # Relative, as in an archive that has been moved.
            places = {"a-1": 4, "b-1": (folder / "p.ark").read_bytes().index(b"b-1 ") + 4}
            (folder / "p.scp").write_text("".join(f"{key} p.ark:{place}\n" for key, place in places.items()))
        rows = [f"{theirs}\t{ours}\n" for theirs, ours in enumerate(("0", "1", "2,3", "-", "4", "5"))]
        (folder / "classes.tsv").write_text("theirs\tours\n" + "".join(rows))

    def read(folder: Path) -> None:
        settings = PosteriorsSettings(str(folder / name), str(folder / "classes.tsv"), most_missing=1.0)
        header = {"sample_rate": 16000, "frame_shift_ms": 10.0}
        counts = list(FRAMES.values())
        lesson = Lesson([], list(FRAMES), header=header, frames=counts, num_classes=CLASSES, labelled=2)
        teacher = PosteriorsTeacher.open(lesson, PosteriorsTeacher.settled(settings))
        targets = teacher.read(torch.arange(sum(counts))).targets
        assert targets is not None
        assert targets.classes.min() >= 0 and targets.classes.max() < CLASSES
        known = (targets.log_probs > -torch.inf).any(dim=1)
        sums = targets.dense_log_probs(1.0).exp().sum(dim=1)[known]
        assert torch.allclose(sums, torch.ones(len(sums)), atol=0.02)
        found = read_class_map(folder / "classes.tsv", CLASSES, CLASSES)
        assert found.matrix.shape == (CLASSES, CLASSES) and found.matrix.data.min(initial=1) > 0

    return Kind(write, (*(damaged or (name,)), "classes.tsv"), read)


def history() -> Kind:
    lines = [
        {"update": 10, "epoch": 0.5, "train_loss": 1.5, "learning_rate": 0.1, "losses": {"soft": 1.0}},
        {"update": 20, "epoch": 1.0, "train_loss": 1.25, "learning_rate": 0.05, "losses": {}, "dev_accuracy": 0.5},
    ]

    def write(folder: Path) -> None:
        (folder / "student-00").mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "student-00" / "history.jsonl").write_text(text)

    def read(folder: Path) -> None:
        for path in histories(folder).values():
            for line in lines_of(path):
                assert type(line["update"]) is int
                for name, value in figures_of(line):
                    assert type(name) is str and type(value) in (int, float)
                    float(value)

    return Kind(write, ("student-00/history.jsonl",), read)


def exported(*, sealed: bool) -> Kind:
    """An export folder, but for what the kinds of networks and graphs cover; `sealed`: with right checksums again."""
    usual = UsualSpeaker(np.zeros(10), np.ones(10), 100)

    def manifest(folder: Path) -> dict[str, object]:
        fields: dict[str, object] = {
            **{"format": FORMAT, "name": "student-00", "networks": ["model.safetensors"], "average": "arithmetic"},
            **{"longest_phone": 100, "acoustic_scale": 0.2, "insertion_penalty": 0.0},
        }
        fields["files"] = described(folder)
        fields["blake2b"] = own_checksum(json.loads(json.dumps(fields)))
        return fields

    def write(folder: Path) -> None:
        write_settings(folder, dump(Settings()))
        np.save(folder / PRIOR_FILE, np.log(np.full(CLASSES, 1 / CLASSES)))
        usual.save(folder / USUAL_FILE)
        (folder / EXPORT_FILE).write_text(json.dumps(manifest(folder)))

    def read(folder: Path) -> None:
        if sealed:
            (folder / EXPORT_FILE).unlink()
            (folder / EXPORT_FILE).write_text(json.dumps(manifest(folder)))
        found = open_export(folder)
        if not sealed:
            assert len(found.prior) == CLASSES and found.longest_phone == 100
        assert found.search is not None and found.search.acoustic_scale > 0
        assert all(np.isfinite(value) for value in found.prior)
        assert found.settings.features.num_mel_bins > 0 and FEATURES.num_mel_bins > 0

    own = (MODEL_SETTINGS_FILE, PRIOR_FILE, USUAL_FILE)
    return Kind(write, own if sealed else (*own, EXPORT_FILE), read)


def class_map() -> Kind:
    def write(folder: Path) -> None:
        (folder / "classes.tsv").write_text("# theirs, ours\n0\t1\n1\t0,2\n2\t-\n3\t3\n")

    def read(folder: Path) -> None:
        found = read_class_map(folder / "classes.tsv", None, 4)
        probabilities, known = found.apply(np.full((3, found.matrix.shape[0]), 1 / found.matrix.shape[0]))
        assert probabilities.shape == (3, 4) and np.isfinite(probabilities).all()
        assert np.allclose(probabilities[known].sum(axis=1), 1)

    return Kind(write, ("classes.tsv",), read)


OTHERS: dict[str, Kind] = {
    "posteriors of kaldi": posteriors("p.scp", "p.scp", "p.ark"),
    "posteriors of an archive": posteriors("p.ark"),
    "posteriors of numpy": posteriors("p.npz"),
    "posteriors of safetensors": posteriors("p.safetensors"),
    "class map": class_map(),
    "history": history(),
    "export": exported(sealed=False),
    "export with right checksums": exported(sealed=True),
}
