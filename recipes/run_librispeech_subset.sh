#!/usr/bin/env bash
# From FLAC and transcripts to the table: baseline, ensemble of ten, distilled student; frame accuracy and WER.
# `bash recipes/run_librispeech_subset.sh --help` explains every option; .venv is set up first if need be.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
exec kd-asr run speech --home "$root" "$@"
