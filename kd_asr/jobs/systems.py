"""Systems that a run compares, each of one or several networks, in groups that say how a report shows them.

The code that makes a group decides its label, colour and comparisons; reports only read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["reference", "teacher", "student", "other"]
Average = Literal["arithmetic", "geometric"]


@dataclass(frozen=True)
class NetworkRef:
    """A trained network.

    Attributes:
        artifact: Artifact that holds the network.
        network: Name of the network in the artifact; a job can train several.
    """

    artifact: str
    network: str = "model"

    @property
    def file(self) -> str:
        """File name of the weights in the artifact's folder."""
        return f"{self.network}.safetensors"

    @property
    def name(self) -> str:
        """Last part of the artifact's name, such as `student-00`; with the network's name where that is not `model`."""
        last = self.artifact.rsplit("/", maxsplit=1)[-1]
        return last if self.network == NetworkRef.network else f"{last}-{self.network}"


@dataclass(frozen=True)
class Group:
    """Systems that differ only in their seeds: a report gives their mean.

    Attributes:
        name: Key of the group's figures, unique.
        label: Short name on axes and in tables, unique.
        role: Students are compared with the reference and with the teacher, the teacher with the reference, others
            with nothing.
        colour: A matplotlib colour; empty: the next of the palette.
        note: Text for the brackets after the label in tables.
        noun: Name in a sentence, after "the"; empty: the label.
        plural: Name of all networks of the group together; empty: the label.
        about: Sentences on what the networks learnt from; may be empty.
        paper: Row of the paper's table to show beside the group; empty: none.
        twin: Group of networks of the same size and budget on hard labels, with which it is compared as well; empty:
            none.
        size: Share of the parameters that networks of its kind have in full size.
    """

    name: str
    label: str
    role: Role = "other"
    colour: str = ""
    note: str = ""
    noun: str = ""
    plural: str = ""
    about: str = ""
    paper: str = ""
    twin: str = ""
    size: float = 1.0

    @property
    def in_a_sentence(self) -> str:
        """Name of the group after "the"."""
        return self.noun or self.label

    @property
    def networks_label(self) -> str:
        """Name of all its networks together, for legends."""
        return self.plural or self.label


@dataclass(frozen=True)
class System:
    """A network, or several whose posteriors are averaged.

    Attributes:
        name: Name, unique in a run.
        group: Name of the group that the system is one seed of.
        members: Networks of the system.
        combine: Mean of the members' posteriors.
    """

    name: str
    group: str
    members: tuple[NetworkRef, ...]
    combine: Average = "arithmetic"


@dataclass(frozen=True)
class Systems:
    """Groups of a run, in the order of its report, and their systems.

    Raises:
        ValueError: a name or label occurs twice, a group has no system or a system no group, a system has no network,
            or there are two references or two teachers.
    """

    groups: tuple[Group, ...]
    systems: tuple[System, ...]

    def __post_init__(self) -> None:
        _unique("group", (group.name for group in self.groups))
        _unique("label", (group.label for group in self.groups))
        _unique("system", (system.name for system in self.systems))
        names, used = {group.name for group in self.groups}, {system.group for system in self.systems}
        if names != used:
            raise ValueError(f"groups without systems, or systems without a group: {', '.join(sorted(names ^ used))}")
        alone = sorted({group.twin for group in self.groups if group.twin} - names)
        if alone:
            raise ValueError(f"twins that are no groups: {', '.join(alone)}")
        empty = [system.name for system in self.systems if not system.members]
        if empty:
            raise ValueError(f"systems without networks: {', '.join(empty)}")
        _unique("network or system", [*(one.name for one in self.systems), *map(self.scored_as, self._members_only)])
        for role in ("reference", "teacher"):
            having = [group.name for group in self.groups if group.role == role]
            if len(having) > 1:
                raise ValueError(f"there can be one {role}, not {len(having)}: {', '.join(having)}")

    def of_group(self, group: Group) -> tuple[System, ...]:
        """The systems of a group, in order."""
        return tuple(system for system in self.systems if system.group == group.name)

    def group(self, name: str) -> Group:
        """The group of a name; a KeyError if there is none."""
        return {group.name: group for group in self.groups}[name]

    def system(self, name: str) -> System:
        """The system of a name; a KeyError if there is none."""
        return {system.name: system for system in self.systems}[name]

    @property
    def reference(self) -> Group | None:
        """The group that the others are compared with."""
        return next((group for group in self.groups if group.role == "reference"), None)

    @property
    def teacher(self) -> Group | None:
        """The group whose gain the students are to keep."""
        return next((group for group in self.groups if group.role == "teacher"), None)

    @property
    def students(self) -> tuple[Group, ...]:
        """The groups that are to keep the teacher's gain."""
        return tuple(group for group in self.groups if group.role == "student")

    @property
    def comparisons(self) -> tuple[tuple[Group, Group], ...]:
        """Pairs of groups whose figures are subtracted, the second from the first: (teacher, reference), then for every
        student group (student, reference), (student, teacher) and (student, twin), as far as they exist."""
        known = [group for group in (self.reference, self.teacher) if group is not None]
        pairs = [(known[1], known[0])] if len(known) == 2 else []
        for student in self.students:
            twins = [self.group(student.twin)] if student.twin not in ("", *(group.name for group in known)) else []
            pairs += [(student, other) for other in (*known, *twins)]
        return tuple(pairs)

    @property
    def networks(self) -> tuple[NetworkRef, ...]:
        """Every network once, in the order of the systems."""
        return tuple(dict.fromkeys(member for system in self.systems for member in system.members))

    @property
    def _single_networks(self) -> dict[NetworkRef, str]:
        """Name of the system of each network that is a system by itself."""
        return {system.members[0]: system.name for system in self.systems if len(system.members) == 1}

    @property
    def _members_only(self) -> tuple[NetworkRef, ...]:
        return tuple(member for member in self.networks if member not in self._single_networks)

    def scored_as(self, network: NetworkRef) -> str:
        """Key of a single network's figures: the name of its system if it is one by itself, else its own name."""
        return self._single_networks.get(network, network.name)

    def scored_with(self, system: System) -> tuple[NetworkRef, ...]:
        """Members whose own figures are computed with those of the system: they are not systems by themselves, and
        belong to no earlier system."""
        before = self.systems[: self.systems.index(system)]
        taken = {*self._single_networks, *(member for one in before for member in one.members)}
        return tuple(member for member in system.members if member not in taken)

    def is_combined(self, group: Group) -> bool:
        """Whether some system of the group averages several networks."""
        return any(len(system.members) > 1 for system in self.of_group(group))

    def to_json(self) -> list[dict[str, Any]]:
        """Groups as plain values, each with its systems."""
        return [
            {
                **asdict(group),
                "systems": [
                    {key: value for key, value in asdict(one).items() if key != "group"} for one in self.of_group(group)
                ],
            }
            for group in self.groups
        ]

    @classmethod
    def from_json(cls, fields: Iterable[Mapping[str, Any]]) -> Systems:
        """Systems from the output of `to_json`."""
        groups, systems = [], []
        for one in fields:
            group = Group(**{key: value for key, value in one.items() if key != "systems"})
            groups.append(group)
            systems += [
                System(system["name"], group.name, _refs(system["members"]), system["combine"])
                for system in one["systems"]
            ]
        return cls(tuple(groups), tuple(systems))


def single_systems(group: str, artifacts: Sequence[str]) -> tuple[System, ...]:
    """One system for each artifact with a single network, named after the network."""
    networks = map(NetworkRef, artifacts)
    return tuple(System(network.name, group, (network,)) for network in networks)


def groups_of(fields: Iterable[Mapping[str, Any]]) -> tuple[Group, ...]:
    """Groups from their `asdict` form."""
    return tuple(Group(**one) for one in fields)


def _refs(fields: Sequence[Mapping[str, str]]) -> tuple[NetworkRef, ...]:
    return tuple(NetworkRef(**one) for one in fields)


def _unique(what: str, names: Iterable[str]) -> None:
    listed = list(names)
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise ValueError(f"{what} named twice: {', '.join(twice)}")
