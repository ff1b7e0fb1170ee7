"""Messages and progress on standard error: bars on a terminal, else lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

console = Console(stderr=True, highlight=False)
SPEECH = "seconds of speech"  # unit of progress
# Without a terminal there is a line after so many seconds, or so much of the whole.
_LINE_SECONDS = 60.0
_LINE_SHARE = 0.1


def say(message: str) -> None:
    """Print one line on standard error; standard output is for results."""
    console.print(message, markup=False, soft_wrap=True)


@dataclass
class Count:
    """How far a task is, and how fast it was.

    Attributes:
        description: What is done.
        unit: Of the amounts.
        total: Amount of the whole; None if it is not known.
        started: Time at the beginning.
        done: Amount done.
        before: Of it, what an interrupted run had done.
    """

    description: str
    unit: str
    total: float | None
    started: float
    done: float = 0.0
    before: float = 0.0

    @property
    def share(self) -> float | None:
        """Share of the whole, 0..1."""
        return min(1.0, self.done / self.total) if self.total else None

    def rate(self, now: float) -> float | None:
        """Units per second since the beginning, without what had been done before; None at the very beginning."""
        spent, made = now - self.started, self.done - self.before
        return made / spent if spent > 0 and made > 0 else None

    def left(self, now: float) -> float | None:
        """Seconds that the rest takes at the rate so far."""
        rate = self.rate(now)
        return max(0.0, self.total - self.done) / rate if rate and self.total else None

    def speed(self, now: float) -> str:
        """The rate in words; shares say nothing, and seconds of speech per second are times real time."""
        rate = self.rate(now)
        if rate is None or self.unit == "%":
            return ""
        number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        return f"{number} x real time" if self.unit == SPEECH else f"{number} {self.unit}/s"

    def line(self, now: float) -> str:
        """One line on how far the task is."""
        how_far = f"{100 * self.share:.0f} %" if self.share is not None else f"{self.done:,.0f} {self.unit}"
        left = self.left(now)
        parts = [how_far, self.speed(now), f"{_clock(now - self.started)} spent"]
        parts.append(f"{_clock(left)} left" if left is not None and self.share != 1.0 else "")
        return f"{self.description}: {', '.join(part for part in parts if part)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["count"].speed(task.fields["now"]()), style="cyan")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields["count"].left(task.fields["now"]())
        return Text("-:--:--" if left is None else _clock(left), style="cyan")


@dataclass
class Bars:
    """Progress of tasks.

    Attributes:
        drawn: Bars on a terminal; None: lines.
        clock: Time in seconds.
    """

    drawn: Progress | None
    clock: Callable[[], float] = time.monotonic
    counts: list[Count] = field(default_factory=list)
    _said: list[tuple[float, float]] = field(default_factory=list)  # when, and at which share, the last line was
    _ends: list[float | None] = field(default_factory=list)

    def add_task(self, description: str, *, total: float | None, unit: str) -> int:
        """Begin a task; its number is returned."""
        number, now = len(self.counts), self.clock()
        self.counts.append(Count(description, unit, total, now))
        self._said.append((now, 0.0))
        self._ends.append(None)
        if self.drawn is not None:
            self.drawn.add_task(
                description, total=total, count=self.counts[number], now=lambda: self._ends[number] or self.clock()
            )
        else:
            say(f"{description}: begun")
        return number

    def advance(self, number: int, amount: float = 1, *, before: bool = False) -> None:
        """Add to what is done; `before` is what an interrupted run had done, which says nothing of the speed."""
        count = self.counts[number]
        self._set(number, count.done + amount, count.before + (amount if before else 0.0))

    def update(self, number: int, *, completed: float, total: float | None = None) -> None:
        """Set what is done."""
        if total is not None:
            self.counts[number].total = total
        self._set(number, completed, self.counts[number].before)

    def tick(self) -> None:
        """Give the tasks that have not moved for long their line."""
        if self.drawn is None:
            for number in range(len(self.counts)):
                self._line(number)

    def _set(self, number: int, done: float, before: float) -> None:
        count = self.counts[number]
        count.done, count.before = done, before
        if count.share == 1.0 and self._ends[number] is None:
            self._ends[number] = self.clock()
        if self.drawn is not None:
            self.drawn.update(TaskID(number), completed=done, total=count.total)
        else:
            self._line(number)

    def _line(self, number: int) -> None:
        count, now, (at, share) = self.counts[number], self.clock(), self._said[number]
        present = count.share or 0.0
        due = now - at >= _LINE_SECONDS or present - share >= _LINE_SHARE - 1e-9 or present == 1.0
        if due and share < 1.0:
            say(count.line(now))
            self._said[number] = now, present


@contextmanager
def progress() -> Iterator[Bars]:
    """Progress of tasks: `bars.add_task(description, total=..., unit="frames")`, then `bars.advance(task, n)`.

    On a terminal there is a bar for each; elsewhere, such as in a file, a line every minute or ten percent.
    """
    if not console.is_terminal:
        yield Bars(None)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _Speed(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("left"),
        _TimeLeft(),
        console=console,
    ) as drawn:
        yield Bars(drawn)
