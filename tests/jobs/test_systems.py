"""Groups, systems and what is compared with what."""

from __future__ import annotations

import json

import pytest

from kd_asr.jobs.systems import Group, NetworkRef, System, Systems

A, B, C = (NetworkRef(f"folder/{name}") for name in "abc")
REFERENCE, TEACHER = Group("r", "plain", "reference"), Group("t", "many", "teacher")
STUDENTS = Group("s", "first", "student", "#123456", "hard labels"), Group("u", "second", "student")
OTHER = Group("o", "other")


def systems(*groups: Group) -> Systems:
    made = {
        "r": [System("r-0", "r", (A,))],
        "t": [System("t", "t", (A, B, C), "geometric")],
        "s": [System("s-0", "s", (NetworkRef("s-0"),)), System("s-1", "s", (NetworkRef("s-1", "peer"),))],
        "u": [System("u-0", "u", (NetworkRef("u-0"),))],
        "o": [System("o-0", "o", (B, C))],
    }
    return Systems(groups, tuple(system for group in groups for system in made[group.name]))


def test_who_is_compared_with_whom() -> None:
    def pairs(*groups: Group) -> list[str]:
        return [first.name + second.name for first, second in systems(*groups).comparisons]

    assert pairs(REFERENCE, TEACHER, *STUDENTS, OTHER) == ["tr", "sr", "st", "ur", "ut"]
    assert pairs(*STUDENTS, TEACHER, REFERENCE) == ["tr", "sr", "st", "ur", "ut"]
    assert pairs(REFERENCE, *STUDENTS) == ["sr", "ur"]
    assert pairs(TEACHER, STUDENTS[0]) == ["st"]
    assert pairs(*STUDENTS) == pairs(REFERENCE) == pairs(OTHER, TEACHER) == []


def test_networks_and_their_names() -> None:
    compared = systems(REFERENCE, TEACHER, STUDENTS[0], OTHER)
    assert compared.networks == (A, B, C, NetworkRef("s-0"), NetworkRef("s-1", "peer"))
    assert NetworkRef("s-1", "peer").name == "s-1-peer"
    assert (A.name, A.file) == ("a", "model.safetensors")
    # A is a system of its own; B and C come with the first system that combines them, and only with that.
    assert compared.scored_as(A) == "r-0"
    assert compared.scored_with(compared.system("t")) == (B, C)
    assert compared.scored_with(compared.system("o-0")) == compared.scored_with(compared.system("r-0")) == ()
    assert [compared.is_combined(group) for group in compared.groups] == [False, True, False, True]


def test_json_and_back() -> None:
    compared = systems(REFERENCE, TEACHER, *STUDENTS)
    assert Systems.from_json(json.loads(json.dumps(compared.to_json()))) == compared


@pytest.mark.parametrize(
    ("groups", "made", "message"),
    [
        ((REFERENCE, REFERENCE), (), "group named twice: r"),
        ((Group("x", "plain"), REFERENCE), (), "label named twice: plain"),
        ((REFERENCE,), (System("x", "r", (A,)), System("x", "r", (B,))), "system named twice: x"),
        ((REFERENCE,), (), "groups without systems, or systems without a group: r"),
        ((REFERENCE,), (System("x", "r", (A,)), System("y", "z", (B,))), "without a group: z"),
        ((REFERENCE,), (System("x", "r", ()),), "systems without networks: x"),
        ((REFERENCE,), (System("a", "r", (B, C)), System("x", "r", (A, B))), "network or system named twice: a"),
        (
            (REFERENCE, Group("q", "q", "reference")),
            (System("x", "r", (A,)), System("y", "q", (B,))),
            "there can be one reference, not 2: r, q",
        ),
    ],
)
def test_what_cannot_be_compared(groups: tuple[Group, ...], made: tuple[System, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Systems(groups, made)
