#!/usr/bin/env bash
# MNIST through the same pipeline as speech: teachers, students on hard labels, distilled students; test errors.
# `bash recipes/run_mnist.sh --help` explains every option; .venv is set up first if need be.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
exec kd-asr run digits --home "$root" "$@"
