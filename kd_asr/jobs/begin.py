"""The networks, and adapters of losses, with which a job begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from kd_asr.artifacts import load_artifact
from kd_asr.distillation.objectives import Objective, tap_losses
from kd_asr.jobs.job import Job, Material, network_seed
from kd_asr.networks.base import Network, new_network, tap_width
from kd_asr.networks.files import load_network
from kd_asr.networks.sizes import of_size


def new_networks(job: Job, material: Material, run_dir: Path) -> dict[str, Network]:
    """The networks of a job: with the weights that its seeds draw, one of its own for each of several, or with those of
    the networks of another job."""
    inputs, shape, classes = material.examples.inputs, material.input_shape, material.num_classes
    several = len(job.networks) > 1
    networks = {
        name: new_network(
            of_size(network, job.size, shape, classes),
            inputs,
            shape,
            classes,
            network_seed(job.seed, name) if several else job.seed,
        )
        for name, network in job.networks.items()
    }
    if job.start_from:
        folder = load_artifact(run_dir, job.start_from).path
        for name, network in networks.items():
            network.start_from(load_network(folder / f"{name}.safetensors", material.header))
    for network in networks.values():
        network.begin(job.updates(run_dir))
    return networks


def new_adapters(
    job: Job, objective: Objective, networks: Mapping[str, Network], material: Material
) -> dict[str, nn.Module]:
    """Adapters of the losses on middle layers, drawn by a seed of their own."""
    losses, teacher = tap_losses(objective), material.examples.teacher
    if not losses or teacher is None:
        return {}
    student = networks[next(iter(networks))]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(network_seed(job.seed, "adapters"))
        return {
            name: loss.adapter(
                tap_width(student.taps, loss.student_tap, who=f"{job.name}: the student"),
                tap_width(teacher.taps, loss.teacher_tap, who=f"{job.name}: the teacher"),
            )
            for name, loss in losses.items()
        }
