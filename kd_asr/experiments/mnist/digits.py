"""Stage `digits` of the MNIST recipe: images and labels as arrays, and which of them are dev."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_asr.artifacts import Artifact, build_artifact
from kd_asr.corpora.mnist import load_bundled_digits, load_mnist, obtain_mnist
from kd_asr.experiments.mnist.settings import DigitDataSettings, MnistSettings
from kd_asr.fingerprints import digest
from kd_asr.tasks.digits import ARRAYS, DIGITS


def digits(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Get and check the digits, and write them into `digits/`."""
    data = settings.data
    if data.source == "mnist":
        obtain_mnist(Path(data.root))
        loaded = load_mnist(Path(data.root))
    else:
        loaded = load_bundled_digits()
    arrays = {name: getattr(loaded, name) for name in ARRAYS}

    def work(folder: Path) -> dict[str, Any]:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        dev = _dev_numbers(len(loaded.train_labels), data, settings.seed)
        np.save(folder / "dev.npy", dev.numpy())
        return {
            "side": loaded.train_images.shape[1],
            "train": len(loaded.train_labels),
            "dev": len(dev),
            "test": len(loaded.test_labels),
        }

    return build_artifact(
        run_dir,
        DIGITS,
        code=__name__,
        settings={
            # The content, not the folder, which may be anywhere.
            "content": digest([_checksum(array) for array in arrays.values()]),
            "source": data.source,
            "dev_images": data.dev_images,
            "seed": settings.seed,
        },
        inputs=[],
        work=work,
    )


def _checksum(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _dev_numbers(count: int, data: DigitDataSettings, seed: int) -> Tensor:
    """Numbers of the dev images, ascending: `data.dev_images` of 60,000, or the same share of fewer."""
    dev = data.dev_images * count // 60_000
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:dev].sort().values
