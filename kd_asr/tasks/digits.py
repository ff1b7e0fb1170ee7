"""Handwritten digits as a task: the images that a network learns from, and those it is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from kd_asr.artifacts import load_artifact, read_array
from kd_asr.corpora.mnist import CLASSES
from kd_asr.corpora.subsets import subset_of_frames
from kd_asr.features.images import Images, averaged
from kd_asr.jobs.job import Job, Material
from kd_asr.settings.ranges import AbsentMeans
from kd_asr.tasks.labelled_subset import LabelledSubset, evenly_spaced
from kd_asr.training.examples import Examples

DIGITS = "digits"
# A store is keyed by utterance and frame: all training images are the frames of one utterance.
TRAINING_SET = "train"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
# Labelled images whose accuracy is monitored during training.
_FOLLOWED = 5000


@dataclass(frozen=True)
class DigitArrays:
    """Arrays of the artifact `digits`.

    Attributes:
        train_images: (images, side, side) uint8, including those of dev.
        train_labels: (images,) uint8.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
        dev: (dev images,) int64, numbers of the dev images among the training images, ascending.
        train: (others,) int64, numbers of the training images outside dev.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    dev: Tensor
    train: Tensor

    @classmethod
    def load(cls, folder: Path) -> DigitArrays:
        """Read the arrays of the artifact in `folder`."""
        arrays = {name: torch.from_numpy(read_array(folder / f"{name}.npy")) for name in ARRAYS}
        dev = torch.from_numpy(read_array(folder / "dev.npy"))
        is_dev = torch.zeros(len(arrays["train_labels"]), dtype=torch.bool)
        is_dev[dev] = True
        return cls(**arrays, dev=dev, train=(~is_dev).nonzero()[:, 0])

    def dev_examples(self, scale: int = 1) -> Examples:
        """Images of dev, without jitter, at a resolution that is lower by `scale`."""
        return Examples(Images(averaged(self.train_images[self.dev], scale)), self.train_labels[self.dev].long())


@dataclass(frozen=True)
class DigitData:
    """The images that a network learns from.

    Attributes:
        images: All training images (final networks), or all but dev (networks that are evaluated on dev).
        jitter_pixels: Largest shift of an image, drawn again for each epoch.
        classes: Digits in the transfer set.
        subset: Images that keep their labels; None: all do.
        scale: Side of the squares of pixels that the network sees as one, see `averaged`. A store knows images by their
            numbers, so that a teacher may have seen them at another resolution.
    """

    images: Literal["all", "all but dev"] = "all"
    jitter_pixels: int = 0
    classes: tuple[int, ...] = tuple(range(CLASSES))
    subset: Annotated[LabelledSubset | None, AbsentMeans(None)] = None
    scale: Annotated[int, AbsentMeans(1)] = 1

    def artifacts(self) -> Sequence[str]:
        """Names of the input artifacts."""
        return (DIGITS,)

    def numbers(self, arrays: DigitArrays) -> Tensor:
        """Numbers of the images among all training images, with or without labels."""
        numbers = torch.arange(len(arrays.train_labels)) if self.images == "all" else arrays.train
        return numbers[torch.isin(arrays.train_labels[numbers].long(), torch.tensor(self.classes))]

    def labelled(self, count: int) -> Tensor:
        """(labelled,) int64, numbers of those of `count` images that keep their labels."""
        assert self.subset is not None
        drawn = subset_of_frames(count, self.subset.fraction, seed=self.subset.seed)
        return torch.from_numpy(np.setdiff1d(np.arange(count), drawn) if self.subset.rest else drawn)

    def count(self, run_dir: Path) -> int:
        """Number of images in an epoch."""
        return len(self.numbers(DigitArrays.load(run_dir / DIGITS)))

    def open(self, run_dir: Path, job: Job) -> Material:
        """Training and evaluation data of the job."""
        digits = load_artifact(run_dir, DIGITS)
        arrays = DigitArrays.load(digits.path)
        numbers = self.numbers(arrays)
        pixels, hard_labels = averaged(arrays.train_images[numbers], self.scale), arrays.train_labels[numbers].long()
        header = {"image_pixels": pixels[0].numel()}
        expect = {"digits": digits.fingerprint}
        teacher = job.open_teacher(
            run_dir,
            utterance_ids=[TRAINING_SET],
            frames=[len(arrays.train_labels)],
            num_classes=CLASSES,
            labelled=1,
            expect=expect,
            header=header,
        )
        inputs = Images(pixels, jitter_pixels=self.jitter_pixels)
        examples, followed = Examples(inputs, hard_labels, teacher, numbers if teacher is not None else None), None
        if self.subset is not None:
            labelled = self.labelled(len(numbers))
            followed = evenly_spaced(Examples(Images(pixels), hard_labels).select(labelled), _FOLLOWED)
            examples = self.subset.of(examples, labelled)
        return Material(
            examples=examples,
            dev=arrays.dev_examples(self.scale) if self.images == "all but dev" else None,
            num_classes=CLASSES,
            input_shape=tuple(pixels.shape[1:]),
            header=header,
            followed=followed,
        )
