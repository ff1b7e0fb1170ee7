"""Costs of the groups of a run, and checksums of its artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_asr.artifacts import Artifact, load_artifact
from kd_asr.jobs.costs import Cost, Costs
from kd_asr.jobs.job import Job
from kd_asr.jobs.systems import Group, NetworkRef, Systems
from kd_asr.networks.base import Network, count_parameters
from kd_asr.networks.files import load_network
from kd_asr.networks.operations import MultiplyAdds
from kd_asr.networks.sizes import of_size
from kd_asr.registry import Named
from kd_asr.reporting.compare_results import GroupCost


class NetworkCosts:
    """Parameters and multiply-adds of the networks of a run; networks of the same settings are counted once."""

    def __init__(self, run_dir: Path, count: Callable[[Named, Network], MultiplyAdds]) -> None:
        """`count`: multiply-adds of a network, as it was asked for and as it was saved."""
        self._run_dir = run_dir
        self._count = count
        self._known: dict[str, tuple[int, MultiplyAdds]] = {}

    def of(self, job: Job, network: str) -> tuple[int, MultiplyAdds]:
        """Parameters and multiply-adds of a network of a training."""
        asked = job.networks[network]
        artifact = load_artifact(self._run_dir, job.name)
        key = repr((asked, job.size, artifact.metrics["parameters"]))
        if key not in self._known:
            saved = load_network(artifact.path / NetworkRef(job.name, network).file)
            of_its_size = of_size(asked, job.size, saved.input_shape, saved.num_classes)
            self._known[key] = count_parameters(saved), self._count(of_its_size, saved)
        return self._known[key]

    def multiply_adds(self, job: Job, network: str) -> MultiplyAdds:
        """Multiply-adds of a network of a training."""
        return self.of(job, network)[1]


def group_cost(
    costs: Costs,
    networks: NetworkCosts,
    systems: Systems,
    group: Group,
    *,
    real_time_factors: tuple[float, float] | tuple[None, None] = (None, None),
) -> GroupCost:
    """What the systems of a group cost; all of them have the same size.

    Args:
        costs: of the run's trainings.
        networks: of the run.
        systems: of the run.
        group: one of their groups.
        real_time_factors: of networks and search.
    """
    seeds = systems.of_group(group)
    artifacts = [list(dict.fromkeys(member.artifact for member in system.members)) for system in seeds]
    own = [sum(map(costs.of_training, names), Cost()) for names in artifacts]
    everything = [costs.of_everything(names) for names in artifacts]
    members = [networks.of(costs.jobs[member.artifact], member.network) for member in seeds[0].members]
    return GroupCost(
        training=_mean(own),
        with_teachers=_mean(everything),
        parameters=sum(parameters for parameters, _ in members),
        bytes=sum((costs.run_dir / member.artifact / member.file).stat().st_size for member in seeds[0].members),
        multiply_adds=sum(counted.inference for _, counted in members),
        network_real_time_factor=real_time_factors[0],
        search_real_time_factor=real_time_factors[1],
    )


def _mean(costs: list[Cost]) -> Cost:
    return Cost(
        float(np.mean([one.operations for one in costs])),
        float(np.mean([one.seconds for one in costs])),
    )


def labels_of(store: Artifact) -> int:
    """Frames or images of a posterior store."""
    metrics: Mapping[str, int] = store.metrics
    return metrics["frames"] if "frames" in metrics else metrics["images"]


def checksums(artifact: Artifact, prefix: str) -> Any:
    """Checksums of the files of an artifact whose names begin with a prefix; its fingerprint where there are none."""
    found = {name: made["blake2b"] for name, made in artifact.files.items() if name.startswith(prefix)}
    return found or artifact.fingerprint
