"""The rooms of the package import in one direction only."""

import ast
from pathlib import Path

import pytest

import kd_asr
from kd_asr.fingerprints import GROUND_FLOOR

PACKAGE = Path(kd_asr.__file__).parent
# In the direction of flow: a room may import from those before it, and from the ground floor.
ROOMS = (
    "corpora",
    "features",
    "alignment",
    "sequence",
    "networks",
    "pretrained",
    "distillation",
    "training",
    "jobs",
    "tasks",
    "methods",
    "decoding",
    "evaluation",
    "reporting",
)
# These join the rooms: stages and experiments side by side, recognition from their results, exchange with others, the
# command line on top.
ABOVE = {"stages": 50, "experiments": 50, "recognition": 55, "shrink": 56, "exchange": 56, "presets": 60, "cli": 70}
# The ground floor imports from itself alone.
# `device`, `machine` and `streams` stand there too, though their code is in fingerprints.
LEVEL = {name: number for number, name in enumerate(ROOMS, start=1)} | ABOVE
LEVEL |= dict.fromkeys((*GROUND_FLOOR, "device", "machine", "streams"), 0)
MOST_LINES = 400


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kd_asr"):
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {item.name for item in node.names if not item.name.startswith("_")}
        elif isinstance(node, ast.Import):
            found |= {item.name.split(".")[1] for item in node.names if item.name.startswith("kd_asr.")}
    return found


def allowed(other: str, room: str) -> bool:
    """Whether `room` may import from `other`."""
    side_by_side = ABOVE.get(room, 0) == ABOVE.get(other, 1)
    return LEVEL[other] == 0 or LEVEL[other] < LEVEL[room] or side_by_side


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) not in ("__init__", "__main__"))


def test_every_file_lies_in_a_known_room() -> None:
    assert {room_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("room", sorted(LEVEL, key=lambda name: (LEVEL[name], name)))
def test_a_room_imports_from_those_before_it_only(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports from {other}"
        for path in FILES
        if room_of(path) == room
        for other in sorted(imported(path))
        if other != room and not allowed(other, room)
    ]
    assert not wrong, "; ".join(wrong)


def test_no_file_holds_two_ideas() -> None:
    long = [str(path.relative_to(PACKAGE)) for path in FILES if len(path.read_text().splitlines()) > MOST_LINES]
    assert not long
