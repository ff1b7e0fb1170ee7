#!/usr/bin/env bash
# Sets up .venv if need be and runs the tests, on all cores; arguments go to pytest, such as -m slow, tests/features, or
# -n 0 for one process.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
cd "$root"
# A file is done by one process, as its tests may share a run in miniature; tests/conftest.py says which files are first.
exec pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
