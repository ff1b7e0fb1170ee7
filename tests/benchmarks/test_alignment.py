import subprocess
import sys
import time
from pathlib import Path

from benchmarks.alignment import ends_of_steps

STAGE = """
import json, pathlib, sys, time
progress = pathlib.Path(sys.argv[1]) / ".align.partial" / "progress.json"
progress.parent.mkdir()
for steps in range(3):
    time.sleep(0.4)
    written = progress.with_name("new")
    written.write_text(json.dumps(steps * [{"step": "cepstra"}]))
    written.replace(progress)
time.sleep(0.4)
"""


def test_the_time_of_a_step_is_when_it_is_noted(tmp_path: Path) -> None:
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", STAGE, str(tmp_path)]) as process:
        first, second = ends_of_steps(process, tmp_path, 2)
    ended = time.perf_counter()
    # Steps are noted 0.4 s apart, and the process ends 0.4 s after the last one; a busy machine only makes it more.
    assert started + 0.8 <= first <= second - 0.3 <= ended - 0.6
