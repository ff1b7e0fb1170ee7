"""An epoch of TextBrewer's distiller with cached logits; for `benchmarks.peers`, in an environment that has it.

Arguments: frames, inputs, classes and frames of a batch; prints frames a second.
"""

# mypy: ignore-errors
import sys
import tempfile
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 3


class Model(nn.Module):
    """The student of the quick preset, and as teacher a layer that is quick to compute: its logits are cached."""

    def __init__(self, inputs, classes, *, student):
        super().__init__()
        sizes = [inputs, 384, 384, 384] if student else [inputs]
        layers = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, frames, labels):
        logits = self.layers(frames)
        return logits, F.cross_entropy(logits, labels)


def adaptor(batch, outputs):
    return {"logits": outputs[0], "losses": outputs[1]}


def main():
    frames, inputs, classes, batch = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    data = TensorDataset(torch.randn(frames, inputs), torch.randint(classes, (frames,)))
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)
    student, teacher = Model(inputs, classes, student=True), Model(inputs, classes, student=False)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3)
    ended = []
    with tempfile.TemporaryDirectory() as folder:
        distiller = BasicDistiller(
            TrainingConfig(log_dir=None, output_dir=folder, ckpt_frequency=1, device="cpu"),
            DistillationConfig(temperature=1, hard_label_weight=0.5, kd_loss_type="ce", is_caching_logits=True),
            teacher,
            student,
            adaptor,
            adaptor,
        )
        with distiller:
            distiller.train(
                optimiser, loader, num_epochs=EPOCHS, callback=lambda model, step: ended.append(time.perf_counter())
            )
    print(len(loader) * batch * (len(ended) - 1) / (ended[-1] - ended[0]))


if __name__ == "__main__":
    main()
