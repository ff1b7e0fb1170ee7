"""Students that are made smaller in the last part of their training, with and without the teacher."""

import pytest
import torch
from digit_students import DIGIT_TASK, asked, network_of, plan_of, trained

from kd_asr.errors import UserError
from kd_asr.methods.low_rank import LowRankMethodSettings
from kd_asr.methods.pruned import PrunedMethodSettings
from kd_asr.methods.pruned_units import PrunedUnitsMethodSettings
from kd_asr.networks.quantised import Quantised
from kd_asr.stages.plan import SpeechTask
from kd_asr.stages.settings import parse_settings


def test_a_pruned_student_ends_with_its_zeros_and_one_in_eight_bits_with_its_steps(run_dir) -> None:
    plans = [
        plan_of("pruned", PrunedMethodSettings(sparsity=0.5)),
        plan_of("quantised"),
    ]
    for plan in plans:
        trained(run_dir, plan)
        full, distilled, hard = plan.jobs
        assert (distilled.start_from, hard.start_from) == (full.name, full.name)
        assert (distilled.losses, hard.teacher) == (full.losses, None)
        batch, _ = asked(run_dir, full, torch.arange(0, 1500, 5))
        with torch.no_grad():
            accuracies = [
                float((network_of(run_dir, job.name)(batch.inputs).argmax(1) == batch.hard_labels).float().mean())
                for job in plan.jobs
            ]
        assert min(accuracies) > 0.3  # of ten digits
    pruned = network_of(run_dir, plans[0].jobs[1].name)
    for layer in pruned.modules():
        if isinstance(layer, torch.nn.Linear):
            assert int((layer.weight == 0).sum()) == round(0.5 * layer.weight.numel())
    assert isinstance(network_of(run_dir, plans[1].jobs[1].name), Quantised)


def test_the_second_stage_has_its_share_of_the_updates_and_its_form() -> None:
    chosen = {
        "pruned": PrunedMethodSettings(0.6, 0.4, without_teacher=False),
        "pruned_units": PrunedUnitsMethodSettings(0.25, 0.4, without_teacher=False),
        "low_rank": LowRankMethodSettings(0.3, 0.4, without_teacher=False),
    }
    for name, settings in chosen.items():
        full, small = plan_of(name, settings).jobs
        whole = full.budget.epochs
        assert (full.epochs, small.epochs) == pytest.approx((0.6 * whole, 0.4 * whole))
        assert small.network.name == name
        assert small.network.settings.body == full.network
        assert small.keep == ("best" if name == "low_rank" else "last")
    assert [group.name for group in plan_of("low_rank").groups] == ["low-rank", "low-rank-hard"]
    assert DIGIT_TASK.students == 1


def test_units_of_a_network_that_is_not_known_are_refused() -> None:
    task = SpeechTask(parse_settings(["--network=tdnnf", "--train.batch_frames=1200"]))
    with pytest.raises(UserError, match="the method pruned-units: units of tdnnf cannot be pruned"):
        plan_of("pruned_units", task=task)
