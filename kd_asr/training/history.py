"""The history of a training on disk while it goes on: one JSON object a line, for whoever watches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HISTORY = "history.jsonl"


def write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write all lines anew."""
    with (folder / HISTORY).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in history)


class LiveHistory:
    """`history.jsonl` of a training that is under way: each line is added as soon as it is complete."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        """Begin with the lines of the checkpoint that the training goes on from, which may be fewer than there are."""
        self._folder, self._written = folder, len(history)
        write_history(folder, history)

    def follow(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Add the lines that are new."""
        with (self._folder / HISTORY).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in history[self._written :])
        self._written = len(history)
