"""What every registered method must do, on speech and on digits: plan trainings and systems that fit together."""

from collections.abc import Callable

import pytest

from kd_asr.distillation.losses.hard import HardSettings
from kd_asr.distillation.objectives import described, hinton_losses, weighted
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import DigitTask, table_systems
from kd_asr.fingerprints import digest
from kd_asr.jobs.systems import Systems
from kd_asr.methods.base import Plan, Task, planned
from kd_asr.methods.hinton import HintonMethodSettings
from kd_asr.methods.mutual import MutualMethodSettings
from kd_asr.registry import Named, find, name_of, named, names
from kd_asr.settings.files import parse_settings_of
from kd_asr.stages.plan import SpeechTask, baseline_jobs
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.stages.systems import run_systems

# Some methods learn on what the ensemble has not seen.
UNSEEN, UNSEEN_IMAGES = "--ensemble.held_out=0.1", "--held_out=0.1"
SPEECH = parse_settings(["--distil.students=2", "--distil.copies=1", "--distil.dropout=0.2", UNSEEN])
DIGITS = parse_settings_of(MnistSettings, ["--seeds=2", UNSEEN_IMAGES])
TASKS: list[Task] = [SpeechTask(SPEECH), DigitTask(DIGITS)]
ALL = tuple(named("method", name) for name in names("method"))
each_method = pytest.mark.parametrize("name", names("method"))
each_task = pytest.mark.parametrize("task", TASKS, ids=["speech", "digits"])


def plan_of(name: str, task: Task) -> Plan:
    return named("method", name).make().plan(task)


@each_method
@each_task
def test_every_student_is_a_training_and_a_system_of_its_own(name: str, task: Task) -> None:
    plan = plan_of(name, task)
    groups = [system.group for system in plan.systems]
    assert [groups.count(group.name) for group in plan.groups] == [task.students] * len(plan.groups)
    assert set(groups) == {group.name for group in plan.groups}
    assert len(plan.students) == task.students
    artifacts = {job.name: job for job in plan.jobs}
    assert len(artifacts) == len(plan.jobs)
    for system in plan.systems:
        for member in system.members:
            assert member.network in artifacts[member.artifact].networks
    assert len({job.seed for job in plan.jobs}) == len(plan.jobs)
    assert len({digest(job) for job in plan.jobs}) == len(plan.jobs)


@each_method
@each_task
def test_a_plan_follows_from_settings_and_task_alone(name: str, task: Task) -> None:
    assert plan_of(name, task) == plan_of(name, task)


@each_method
def test_students_have_the_baselines_network_and_budget_but_for_dropout(name: str) -> None:
    [baseline, *_] = baseline_jobs(parse_settings([]))
    plan = plan_of(name, SpeechTask(parse_settings([UNSEEN])))
    jobs = {job.name: job for job in plan.jobs}
    for job in plan.jobs:
        inner = [getattr(network.settings, "body", network) for network in job.networks.values()]
        assert set(map(repr, inner)) == {repr(baseline.network)}
        assert job.budget == baseline.budget
    for job in plan.students:
        before = [jobs[job.start_from]] if job.start_from else []
        spent = sum(one.budget.epochs if one.epochs is None else one.epochs for one in [job, *before])
        assert spent == pytest.approx(baseline.budget.epochs)


@each_method
def test_its_groups_are_shown_by_what_they_say_of_themselves(name: str) -> None:
    cls = find("method", name)
    assert name_of("method", cls) == name
    first, *others = plan_of(name, TASKS[0]).groups
    assert first.role == "student"
    for group in (first, *others):
        assert group.label
        assert group.role in ("student", "other")
    assert first.about.endswith(".")


@each_method
@each_task
def test_a_training_waits_only_for_the_tasks_teachers_and_for_trainings_before_it(name: str, task: Task) -> None:
    made = {*task.members, *(one for number in range(task.students) for one in task.teachers(number))}
    for job in plan_of(name, task).jobs:
        needed = [*(job.teacher.artifacts if job.teacher is not None else ()), *filter(None, [job.start_from])]
        assert all(one in made or one.startswith(("posteriors", "member_posteriors")) for one in needed)
        made.add(job.name)


@pytest.mark.parametrize(
    "systems",
    [
        lambda: run_systems(parse_settings([UNSEEN, f"--methods=[{', '.join(names('method'))}]"])),
        lambda: table_systems(
            parse_settings_of(MnistSettings, [UNSEEN_IMAGES, f"--methods=[{', '.join(names('method'))}]"])
        ),
    ],
    ids=["speech", "digits"],
)
def test_all_methods_stand_beside_each_other_in_one_run(systems: Callable[[], Systems]) -> None:
    found = systems()
    groups = {group.name for group in found.groups}
    assert {group.name for plan in planned(ALL, TASKS[0]) for group in plan.groups} < groups
    assert Systems.from_json(found.to_json()) == found


def test_named_in_yaml_with_settings_and_changed_by_flags(tmp_path) -> None:
    (tmp_path / "conf.yaml").write_text("methods: [hinton, {mutual: {networks: 4}}]\n")
    settings: Settings = parse_settings(["--methods.hinton.losses.hard.weight", "0.25"], tmp_path / "conf.yaml")
    expected = (
        named("method", "hinton", HintonMethodSettings(hinton_losses(2.0, 1.0, 0.25))),
        named("method", "mutual", MutualMethodSettings(networks=4)),
    )
    assert settings.methods == expected
    plans = planned(settings.methods, SpeechTask(settings))
    assert [len(plan.jobs[0].networks) for plan in plans] == [1, 4]


def test_a_list_of_names_keeps_the_settings_of_those_that_were_there() -> None:
    from kd_asr.presets import find_preset

    plain = parse_settings([], find_preset("quick")).methods
    assert plain[0].settings.losses[0].loss.settings.temperature == 1.0
    both = parse_settings(["--methods=[decoupled, hinton]"], find_preset("quick")).methods
    assert [one.name for one in both] == ["decoupled", "hinton"]
    assert both[1:] == plain


def test_a_loss_that_needs_what_there_is_not_is_refused() -> None:
    peers = named("method", "hinton", HintonMethodSettings((weighted("peers"),)))
    with pytest.raises(UserError, match="the method distilled: the loss 'peers' needs members, but its teacher gives"):
        planned([peers], TASKS[0])
    alone = named("method", "mutual", MutualMethodSettings(losses=(weighted("soft"),)))
    with pytest.raises(UserError, match="the loss 'soft' needs posteriors, but its teacher gives labels, members"):
        planned([alone], TASKS[1])


def test_losses_without_any_weight_are_refused() -> None:
    nothing = named("method", "hinton", HintonMethodSettings((weighted("hard", HardSettings(), weight=0.0),)))
    with pytest.raises(UserError, match="distil/student-00: name at least one loss with a weight above 0"):
        planned([nothing], TASKS[0])


def test_two_methods_that_make_one_group_are_refused() -> None:
    with pytest.raises(UserError, match="hinton is named twice with systems called 'distilled'"):
        planned([named("method", "hinton")] * 2, TASKS[0])
    cohorts = [Named("method", "mutual", MutualMethodSettings(networks=number)) for number in (2, 4)]
    assert [plan.groups[0].name for plan in planned(cohorts, TASKS[0])] == ["mutual-2", "mutual-4"]


def test_losses_in_words() -> None:
    assert described(hinton_losses(2.0, 1.0, 0.5)) == "soft loss (temperature 2; weight 1), hard loss (weight 0.5)"
    assert described([weighted("decoupled", weight=3.0)]) == (
        "decoupled loss (temperature 2; target weight 1; other weight 8; weight 3)"
    )
