#!/usr/bin/env bash
# Soft targets as regularisers: networks that see the labels of 3, 10, 30 and 100 % of the speech.
# `bash recipes/run_reduced_data.sh --help` explains every option; .venv is set up first if need be.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
exec kd-asr run reduced-data --home "$root" "$@"
