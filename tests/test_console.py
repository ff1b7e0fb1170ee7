"""Progress: lines where there is no terminal, and rates that were reached."""

import io
import re

import pytest
from rich.console import Console

import kd_asr.console as module
from kd_asr.console import SPEECH, Bars, Count, progress
from kd_asr.parallel import parallel_map


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def printed(monkeypatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=file, width=300))
    return file


def test_a_line_every_ten_percent_or_every_minute_with_the_time_left(printed) -> None:
    """100 frames, one a second, then none for two minutes, then the rest at once."""
    clock = Clock()
    bars = Bars(None, clock)
    task = bars.add_task("frames of x", total=100, unit="frames")
    for _ in range(25):
        clock.now += 1
        bars.advance(task, 1)
        bars.tick()
    for _ in range(120):
        clock.now += 1
        bars.tick()
    bars.advance(task, 75)
    bars.tick()
    assert printed.getvalue().splitlines() == [
        "frames of x: begun",
        "frames of x: 10 %, 1 frames/s, 0:00:10 spent, 0:01:30 left",
        "frames of x: 20 %, 1 frames/s, 0:00:20 spent, 0:01:20 left",
        "frames of x: 25 %, 0.31 frames/s, 0:01:20 spent, 0:04:00 left",
        "frames of x: 25 %, 0.18 frames/s, 0:02:20 spent, 0:07:00 left",
        "frames of x: 100 %, 0.69 frames/s, 0:02:25 spent",
    ]


def test_what_had_been_done_before_is_no_speed_and_a_burst_is_none_either() -> None:
    """900 of 1000 seconds of speech come from a checkpoint; 50 more take 10 s, 40 of them within a millisecond."""
    count = Count("x", SPEECH, 1000, started=5.0)
    assert (count.rate(5.0), count.left(5.0), count.speed(5.0)) == (None, None, "")
    count.done, count.before = 900.0, 900.0
    assert count.rate(6.0) is None
    count.done = 950.0
    assert count.rate(15.0) == 5.0
    assert count.left(15.0) == 10.0
    assert count.speed(15.0) == "5 x real time"
    assert Count("x", "%", 10, 0.0, done=5.0).speed(1.0) == ""
    assert Count("x", "MB", None, 0.0, done=500.0).line(10.0) == "x: 500 MB, 50 MB/s, 0:00:10 spent"


def test_checkpoints_are_told_apart_from_work(printed) -> None:
    clock = Clock()
    bars = Bars(None, clock)
    task = bars.add_task("x", total=10, unit="frames")
    bars.advance(task, 8, before=True)
    clock.now = 4.0
    bars.advance(task, 1)
    assert "x: 90 %, 0.25 frames/s, 0:00:04 spent, 0:00:04 left" in printed.getvalue()


def test_bars_are_drawn_on_a_terminal_and_lines_elsewhere(monkeypatch) -> None:
    for terminal in (True, False):
        file = io.StringIO()
        monkeypatch.setattr(module, "console", Console(file=file, width=120, force_terminal=terminal))
        with progress() as bars:
            task = bars.add_task("some [/b] work", total=2, unit="files")
            bars.advance(task)
            bars.update(task, completed=2)
        assert ("\x1b[" in file.getvalue()) == terminal
        assert "100" in file.getvalue()
        assert "some [/b] work" in file.getvalue()


def slow_first(item: int) -> int:
    """The first item waits until the bar has moved for the others."""
    import time

    time.sleep(1.5 if item == 0 else 0.01)
    return item


def test_the_bar_moves_while_the_first_item_is_still_at_work(printed) -> None:
    """Results come in order; the line of the nine others does not wait for the first."""
    found = list(parallel_map(slow_first, list(range(10)), description="items", unit="items", jobs=2))
    assert found == list(range(10))
    shares = [int(one) for one in re.findall(r"items: (\d+) %", printed.getvalue())]
    assert shares[-1] == 100
    assert 50 <= shares[-2] <= 90
