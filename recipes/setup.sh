# Makes .venv beside this folder, or reuses it, and puts its programs first on PATH. Sourced by the recipes, the test
# command and CI, so that there is one way to set up.
#
# torch is installed first, at its pinned version: left to resolve it among the rest, pip could fetch a newer build of
# several gigabytes. A stamp of pyproject.toml and constraints.txt tells whether the environment is up to date.

kd_asr_setup() {
    local root=$1 stamp want
    stamp="$root/.venv/.kd_asr_stamp"
    want="$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum) $root"
    if [[ -f $stamp && $(cat "$stamp") == "$want" ]]; then
        export PATH="$root/.venv/bin:$PATH"
        return
    fi
    # One set-up at a time: a second recipe waits for the first and finds its .venv ready.
    exec 9> "$root/.venv.lock"
    if command -v flock >/dev/null && ! flock --nonblock 9; then
        echo "waiting for another set-up of $root/.venv" >&2
        flock 9
    fi
    kd_asr_setup_locked "$root" "$stamp" "$want" || { exec 9>&-; return 2; }
    exec 9>&-
    export PATH="$root/.venv/bin:$PATH"
}

# The programs of a .venv that was made elsewhere, and copied or moved here, would run those of the other place.
kd_asr_own_programs() {
    [[ -x $1/.venv/bin/python && -f $1/.venv/bin/activate ]] || return 0
    "$1/.venv/bin/python" - "$(cd "$1/.venv" && pwd -P)" <<'EOF' || true
import re, sys
from pathlib import Path

here = sys.argv[1]
found = re.search(r"^\s*(?:export )?VIRTUAL_ENV=['\"]?(/[^'\"\n]*)", (Path(here) / "bin" / "activate").read_text(), re.M)
there = found[1] if found else here
for path in (Path(here) / "bin").iterdir() if there != here else ():
    if path.is_file() and not path.is_symlink() and there.encode() in path.read_bytes():
        path.write_bytes(path.read_bytes().replace(there.encode(), here.encode()))
EOF
}

kd_asr_setup_locked() {
    local root=$1 stamp=$2 want=$3 python
    if [[ -f $stamp && $(cat "$stamp") == "$want" ]]; then
        return
    fi
    python=""
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        if [[ -n $candidate ]] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [[ -z $python ]]; then
        echo "kd_asr needs Python 3.10 or newer: install it, or name it with PYTHON=/path/to/python3" >&2
        return 2
    fi
    echo "setting up $root/.venv (once; a few minutes)" >&2
    kd_asr_own_programs "$root"
    if [[ ! -x $root/.venv/bin/python ]] || ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
        if ! "$python" -m venv --clear "$root/.venv"; then
            echo "cannot make $root/.venv: on Debian and Ubuntu, install python3-venv" >&2
            return 2
        fi
    fi
    local pip=("$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    "${pip[@]}" -c "$root/constraints.txt" torch || return 2
    "${pip[@]}" -c "$root/constraints.txt" -e "$root[dev]" || return 2
    echo "$want" > "$stamp"
}
