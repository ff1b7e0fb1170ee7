"""Mutual learning: the divergence from peers by hand, and the objective of several networks at once."""

import math

import pytest
import torch

from kd_asr.distillation.batch import Batch
from kd_asr.distillation.losses.hard import hard_cross_entropy
from kd_asr.distillation.losses.peers import mean_divergence_from_peers
from kd_asr.distillation.objectives import PeersObjective, objective_of, weighted
from kd_asr.networks.outputs import Outputs

LABELS = torch.tensor([0, 2, 1])


def draw(seed: int, networks: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(networks, 3, 4, generator=generator, dtype=torch.float64)


def test_the_divergence_is_the_mean_over_peers_by_hand() -> None:
    [student], peers = draw(0), draw(1, networks=2)
    expected = []
    for row in range(3):
        q = student[row].softmax(0).tolist()
        each = [
            sum(p * math.log(p / q[number]) for number, p in enumerate(peer[row].softmax(0).tolist()))
            for peer in peers
        ]
        expected.append(sum(each) / 2)
    found = mean_divergence_from_peers(student, [peer.log_softmax(1) for peer in peers], temperature=1.0)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64))


def test_without_peers_or_with_others_it_refuses() -> None:
    [student] = draw(0)
    with pytest.raises(ValueError, match="no peers"):
        mean_divergence_from_peers(student, [], temperature=1.0)
    with pytest.raises(ValueError, match=r"\(3, 4\) beside a peer of shape \(3, 3\)"):
        mean_divergence_from_peers(student, [student[:, :3]], temperature=1.0)


def test_each_network_learns_as_if_its_peers_were_constants() -> None:
    logits = draw(2, networks=3).requires_grad_()
    batch = Batch(torch.arange(3), torch.zeros(3, 1), LABELS)
    objective = PeersObjective(objective_of([weighted("hard"), weighted("peers")]))
    value = objective(Outputs(logits), batch)
    value.total.backward()
    for number in range(3):
        own = logits[number].detach().clone().requires_grad_()
        peers = [logits[other].detach().log_softmax(1) for other in range(3) if other != number]
        alone = (hard_cross_entropy(own, LABELS) + mean_divergence_from_peers(own, peers, temperature=1.0)).mean() / 2
        alone.backward()
        assert torch.allclose(logits.grad[number], own.grad)
    hard = torch.stack([hard_cross_entropy(one, LABELS).mean() for one in logits.detach()]).mean()
    assert float(value.losses["hard"].detach()) == pytest.approx(float(hard))
