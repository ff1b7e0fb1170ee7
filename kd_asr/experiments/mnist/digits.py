"""Stage `digits` of the MNIST recipe: images and labels as arrays, and which of them are dev."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_asr.artifacts import Artifact, build_artifact, recorded_settings, write_array
from kd_asr.corpora.mnist import load_bundled_digits, load_mnist, obtain_mnist
from kd_asr.experiments.mnist.settings import DigitDataSettings, MnistSettings
from kd_asr.fingerprints import digest
from kd_asr.tasks.digits import ARRAYS, DIGITS


def digits(run_dir: Path, settings: MnistSettings) -> Artifact:
    """Get and check the digits, and write them into `digits/`."""
    data = settings.data
    recorded = recorded_settings(run_dir, DIGITS)
    arrays: dict[str, np.ndarray] | None = None
    if data.source == "mnist" and recorded is not None and not Path(data.root).exists():
        content = recorded["content"]  # the run has them all
    else:
        arrays = _arrays(data)
        content = digest([_checksum(array) for array in arrays.values()])

    def work(folder: Path) -> dict[str, Any]:
        found = arrays if arrays is not None else _arrays(data)  # says what is missing
        for name, array in found.items():
            write_array(folder / f"{name}.npy", array)
        train = found["train_images"]
        dev = _dev_numbers(len(train), data, settings.seed)
        write_array(folder / "dev.npy", dev.numpy())
        return {"side": train.shape[1], "train": len(train), "dev": len(dev), "test": len(found["test_images"])}

    return build_artifact(
        run_dir,
        DIGITS,
        code=__name__,
        settings={
            # The content, not the folder, which may be anywhere.
            "content": content,
            "source": data.source,
            "dev_images": data.dev_images,
            "seed": settings.seed,
        },
        inputs=[],
        work=work,
    )


def _arrays(data: DigitDataSettings) -> dict[str, np.ndarray]:
    """The digits of the settings, downloaded if need be."""
    if data.source == "mnist":
        obtain_mnist(Path(data.root))
    loaded = load_mnist(Path(data.root)) if data.source == "mnist" else load_bundled_digits()
    return {name: getattr(loaded, name) for name in ARRAYS}


def _checksum(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _dev_numbers(count: int, data: DigitDataSettings, seed: int) -> Tensor:
    """Numbers of the dev images, ascending: `data.dev_images` of 60,000, or the same share of fewer."""
    dev = data.dev_images * count // 60_000
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:dev].sort().values
