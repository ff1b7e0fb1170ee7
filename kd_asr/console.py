"""Messages and progress bars on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

console = Console(stderr=True, highlight=False)
SPEECH = "seconds of speech"  # unit of progress


def say(message: str) -> None:
    """Print one line on standard error; standard output is for results."""
    console.print(message, markup=False, soft_wrap=True)


def shown(name: object) -> str:
    """A name of a file or an utterance on one line: a tab, a line break or a byte that is not UTF-8 is escaped."""
    text = str(name)
    return text if text.isprintable() else ascii(text)[1:-1]


class _Speed(ProgressColumn):
    """Units per second, in the unit of the task; seconds of speech per second are times real time, shares say
    nothing."""

    def render(self, task: Task) -> Text:
        speed, unit = task.finished_speed or task.speed, task.fields["unit"]
        if not speed or unit == "%":
            return Text("")
        return Text(f"{speed:,.0f} x real time" if unit == SPEECH else f"{speed:,.0f} {unit}/s", style="cyan")


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars: `bars.add_task(description, total=..., unit="frames")`, then `bars.advance(task, n)`."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _Speed(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        yield bars
