"""Speech that a network hears in another way than its teacher has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import load_artifact
from kd_asr.distillation.teachers.base import Teacher
from kd_asr.features.settings import AugmentSettings
from kd_asr.features.store import FrameStore
from kd_asr.jobs.job import Job, Material
from kd_asr.networks.base import view_of
from kd_asr.settings.ranges import DecidesNothing
from kd_asr.tasks.speech import LabelledSpeech, examples_of, labels


@dataclass(frozen=True)
class HeardSpeech:
    """The training set with the labels of `align`, its frames from another artifact than `features`.

    A posterior store knows frames by utterance and number, so its networks may have seen other frames of the same
    speech.

    Attributes:
        augment: Variation of the inputs.
        frames: Artifact with frame stores of train, dev and test; its fingerprint decides, not its name.
        of_teacher: Artifact with the frames that the networks of a posterior store have seen; empty: no teacher.
    """

    augment: AugmentSettings
    frames: Annotated[str, DecidesNothing()]
    of_teacher: Annotated[str, DecidesNothing()] = ""

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        return list(dict.fromkeys(filter(None, (self.frames, "align", self.of_teacher))))

    def count(self, run_dir: Path) -> int:
        """Number of frames in the training set."""
        return len(labels(AlignmentStore.open(run_dir / "align" / "train")))

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training and evaluation data of the job."""

        def speech(name: str, augment: AugmentSettings | None = None) -> LabelledSpeech:
            store = FrameStore.open(run_dir / self.frames / name)
            return LabelledSpeech(store, AlignmentStore.open(run_dir / "align" / name), augment)

        train = speech("train", self.augment)
        num_classes = Topology.load(run_dir / "align" / "topology.json").num_pdfs

        def teach(utterance_ids: Sequence[str]) -> Teacher | None:
            seen = load_artifact(run_dir, self.of_teacher or self.frames).fingerprint
            return job.open_teacher(
                run_dir,
                utterance_ids=utterance_ids,
                frames=[train.store.num_frames(name) for name in utterance_ids],
                num_classes=num_classes,
                labelled=len(utterance_ids),
                expect={"features": seen, "align": load_artifact(run_dir, "align").fingerprint},
                header=train.store.features,
            )

        return Material(
            examples=examples_of([train], job.network, teach=teach),
            dev=examples_of([speech("dev")], job.network, evaluation=True),
            num_classes=num_classes,
            input_shape=view_of(job.network).input_shape(train.store.num_mel_bins),
            header=train.store.features,
        )
