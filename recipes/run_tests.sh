#!/usr/bin/env bash
# Sets up .venv if need be and runs the tests; arguments go to pytest, such as -m slow or tests/features.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
cd "$root"
exec pytest "$@"
