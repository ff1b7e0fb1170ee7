"""The set-up of .venv by the recipes: one at a time, and with programs of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parent.parent / "recipes" / "setup.sh"


def bash(program: str, *arguments: object, **options) -> subprocess.Popen[str]:
    command = ["bash", "-euo", "pipefail", "-c", f'source "$0"; {program}', str(SETUP), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_programs_of_a_copied_environment_are_its_own(tmp_path) -> None:
    """After `cp -r` of a checkout its programs run there, and those of the old place stay as they are."""
    old, new = tmp_path / "old", tmp_path / "new"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", old / ".venv"], check=True)
    script = old / ".venv" / "bin" / "tool"
    script.write_text(f"#!{old}/.venv/bin/python\nimport sys\nprint(sys.prefix)\n")
    script.chmod(0o755)
    shutil.copytree(old, new, symlinks=True)

    def prefix(root: Path) -> str:
        tool = root / ".venv" / "bin" / "tool"
        return subprocess.run([tool], capture_output=True, text=True, check=True).stdout.strip()

    assert prefix(new) == str(old / ".venv")  # the fault
    for root in (new, new, old):
        process = bash('kd_asr_own_programs "$1"', root)
        assert process.wait() == 0, process.communicate()
        assert prefix(root) == str(root / ".venv")
    assert str(old) not in (new / ".venv" / "bin" / "activate").read_text()
    link = tmp_path / "link"
    link.mkdir()
    (link / ".venv").symlink_to(old / ".venv")
    assert bash('kd_asr_own_programs "$1"', link).wait() == 0
    assert prefix(old) == str(old / ".venv")  # a link to an environment makes it no other's


@pytest.mark.skipif(shutil.which("flock") is None, reason="there is no flock here")
def test_two_recipes_set_up_one_after_the_other(tmp_path) -> None:
    """The second finds the stamp of the first and makes nothing."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv").mkdir()
    made = (
        'kd_asr_setup_locked() { [[ -f $2 ]] && return; echo begin >> "$1/log"; sleep 0.5; echo end >> "$1/log"; '
        'echo "$3" > "$2"; }'
    )
    both = [bash(f'{made}; kd_asr_setup "$1"; echo "$PATH"', tmp_path) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text().split() == ["begin", "end"]
    assert all(out.startswith(f"{tmp_path}/.venv/bin:") for out, _ in said)
    assert any("waiting for another set-up" in error for _, error in said)
