"""Methods whose students learn from the members of an ensemble one by one."""

import pytest

from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import PAPER_LOSSES, MnistSettings
from kd_asr.experiments.mnist.table import table_plans, table_systems
from kd_asr.jobs.stacks import stackable
from kd_asr.settings.files import parse_settings_of
from kd_asr.stages.plan import member_names, plans
from kd_asr.stages.settings import parse_settings

BOTH = "--methods=[distribution, heads]"


def digits(*flags: str) -> MnistSettings:
    return parse_settings_of(MnistSettings, [BOTH, "--seeds=1", *flags])


@pytest.mark.parametrize("asked", ["stored", "live"])
def test_students_of_speech_learn_from_every_member_and_have_a_head_for_each(asked: str) -> None:
    flags = ["--ensemble.members=4", "--distil.dropout=0.2", f"--distil.teacher={asked}"]
    settings = parse_settings([BOTH, *flags])
    distribution, heads = plans(settings)
    stores = [f"member_posteriors/member-0{number}" for number in range(4)]
    expected = ("live", member_names(settings)) if asked == "live" else ("members", stores)
    for job in (*distribution.jobs, *heads.jobs):
        assert (job.teacher.teacher.name, list(job.teacher.artifacts)) == expected
    plain, several = distribution.jobs[0].network, heads.jobs[0].network
    assert (several.name, several.settings.heads, several.settings.body) == ("heads", 4, plain)
    assert plain.settings.dropout == 0.2
    assert stackable(*distribution.jobs[:2]) and not stackable(*heads.jobs[:2])


def test_students_of_digits_learn_from_the_whole_ensemble_or_its_first_members() -> None:
    for flags, count in (([], 5), (["--methods.distribution.members=3", "--methods.heads.members=3"], 3)):
        settings = digits("--members=5", *flags)
        _, distribution, heads, of_ensemble = table_plans(settings)
        for plan in (distribution, heads):
            assert list(plan.jobs[0].teacher.artifacts) == [f"posteriors/teacher-0{number}" for number in range(count)]
        assert heads.jobs[0].network.settings.heads == count
        # No method here has losses for a student of the ensemble's mean.
        assert [job.losses for job in of_ensemble.jobs] == [PAPER_LOSSES]
        assert "ensemble student" in {group.name for group in table_systems(settings).groups}
    live = table_plans(digits("--members=2", "--distilled.teacher=live"))[1]
    assert list(live.jobs[0].teacher.artifacts) == ["networks/teacher-00", "networks/teacher-01"]


def test_students_of_the_ensemble_have_hintons_losses_whatever_method_comes_first() -> None:
    settings = parse_settings_of(MnistSettings, ["--methods=[mutual, hinton]", "--seeds=1", "--members=2"])
    hinton, of_ensemble = table_plans(settings)[2:]
    assert of_ensemble.jobs[0].losses == hinton.jobs[0].losses


def test_an_ensemble_that_cannot_disagree_is_refused() -> None:
    with pytest.raises(UserError, match="the method distribution: an ensemble of one member has no disagreement"):
        table_plans(digits("--members=1"))
    with pytest.raises(UserError, match="the method heads: 7 members are to teach, but the ensemble has 5"):
        table_plans(digits("--members=5", "--methods.heads.members=7"))


def test_members_that_see_utterances_in_another_way_teach_by_their_stores_alone() -> None:
    flags = [BOTH, "--teacher.network=tdnn", "--student.network=dnn", "--train.batch_frames=640"]
    assert len(plans(parse_settings(flags))) == 2
    with pytest.raises(UserError, match=r"distil\.teacher: live teachers see what the student sees"):
        parse_settings([*flags, "--distil.teacher=live"])
