"""Files of every kind after damage of every kind: a sentence, a listed rejection, or a result that makes sense."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from kinds import KINDS, sound_files

from kd_asr.corpora.sound import UnusableAudio
from kd_asr.errors import UserError

# More memory than this is never needed for files of a few kB, and no case takes longer, on a busy machine either.
ROOM = 3 << 30
LONGEST_SECONDS = 60


def hangs(*_: object) -> None:
    raise TimeoutError(f"more than {LONGEST_SECONDS} s for one file")


@pytest.fixture
def little_room() -> Iterator[None]:
    """A limit on memory and time: what believes a header must not take all there is."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    handler = signal.signal(signal.SIGALRM, hangs)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


def check(name: str, folder: Path, data: st.DataObject) -> None:
    kind = KINDS[name]
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / "sound").mkdir()
        sound_files(kind, folder / "sound")
        # Worker processes start here, before time counts.
        kind.read(folder / "sound")
    place = folder / "damaged"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "sound", place)
    file = data.draw(st.sampled_from(kind.damaged), label="file")
    content = (place / file).read_bytes()
    (place / file).write_bytes(data.draw(damaged([content]), label="content"))
    signal.alarm(LONGEST_SECONDS)
    try:
        kind.read(place)
    except (UserError, UnusableAudio) as error:
        sentence = str(error)
        assert sentence and "\n" not in sentence
        assert isinstance(error, UnusableAudio) or str(folder) in sentence or file.rpartition("/")[2] in sentence
    finally:
        signal.alarm(0)


@pytest.mark.parametrize("name", KINDS)
def test_sound_files_are_read(name: str, tmp_path) -> None:
    sound_files(KINDS[name], tmp_path)
    KINDS[name].read(tmp_path)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=6, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(data=st.data())
def test_a_damaged_file_is_a_sentence_or_makes_sense(name: str, tmp_path, little_room, data) -> None:
    check(name, tmp_path / name.replace(" ", "_"), data)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=30, suppress_health_check=list(HealthCheck), database=None, print_blob=True)
@given(data=st.data())
def test_a_thousand_damaged_files(name: str, tmp_path, little_room, data) -> None:
    check(name, tmp_path / name.replace(" ", "_"), data)
