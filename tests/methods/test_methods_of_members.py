"""Methods whose students learn from the members of an ensemble one by one."""

import pytest

from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.experiments.mnist.table import DigitTask, table_plans, table_systems
from kd_asr.jobs.stacks import stackable
from kd_asr.settings.files import parse_settings_of
from kd_asr.stages.plan import SpeechTask, member_names, plans
from kd_asr.stages.settings import parse_settings

BOTH = "--methods=[distribution, heads]"


def digits(*flags: str) -> MnistSettings:
    return parse_settings_of(MnistSettings, [BOTH, "--seeds=1", *flags])


def test_students_of_speech_ask_every_member_live_and_have_a_head_for_each() -> None:
    settings = parse_settings([BOTH, "--ensemble.members=4", "--distil.dropout=0.2"])
    distribution, heads = plans(settings)
    for job in (*distribution.jobs, *heads.jobs):
        assert (job.teacher.teacher.name, list(job.teacher.artifacts)) == ("live", member_names(settings))
    plain, several = distribution.jobs[0].network, heads.jobs[0].network
    assert (several.name, several.settings.heads, several.settings.body) == ("heads", 4, plain)
    assert plain.settings.dropout == 0.2
    assert stackable(*distribution.jobs[:2]) and not stackable(*heads.jobs[:2])


def test_students_of_digits_learn_from_the_whole_ensemble_or_its_first_members() -> None:
    for flags, count in (([], 5), (["--methods.distribution.members=3", "--methods.heads.members=3"], 3)):
        settings = digits("--members=5", *flags)
        _, distribution, heads, of_ensemble = table_plans(settings)
        for plan in (distribution, heads):
            assert list(plan.jobs[0].teacher.artifacts) == [f"networks/teacher-0{number}" for number in range(count)]
        assert heads.jobs[0].network.settings.heads == count
        assert of_ensemble.jobs == ()  # no method learns from posteriors alone
        assert "ensemble student" not in {group.name for group in table_systems(settings).groups}


def test_an_ensemble_that_cannot_disagree_is_refused() -> None:
    with pytest.raises(UserError, match="the method distribution: an ensemble of one member has no disagreement"):
        table_plans(digits("--members=1"))
    with pytest.raises(UserError, match="the method heads: 7 members are to teach, but the ensemble has 5"):
        table_plans(digits("--members=5", "--methods.heads.members=7"))


def test_members_that_see_utterances_in_another_way_are_refused() -> None:
    settings = parse_settings([BOTH, "--teacher.network=tdnn", "--student.network=dnn", "--train.batch_frames=640"])
    with pytest.raises(UserError, match="methods: teachers that are asked one by one"):
        assert SpeechTask(settings).members
    assert len(DigitTask(digits("--members=5")).members) == 5
