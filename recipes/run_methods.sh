#!/usr/bin/env bash
# Every way of teaching a student, side by side: teachers and their posteriors are made once, then each method trains its
# students with the same data, network, updates and number of seeds; one table and one plot in RUN/comparison.
#
#   bash recipes/run_methods.sh [--task speech|digits] [--methods a,b,c] [option ...]
#
# --task     speech (default) or digits; comes first
# --methods  names with commas (default: all that can work with the other settings)
#
# All other options are those of `kd-asr run`, which come below with --help; .venv is set up first if need be.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
task=speech
case ${1-} in
    --task) task=${2:?--task is speech or digits} && shift 2 ;;
    --task=*) task=${1#*=} && shift ;;
esac
if [[ " $* " == *" --help "* ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    echo
fi
# Three of each, whatever the preset has: one seed says nothing of others.
seeds=$([[ $task == digits ]] && echo --seeds || echo --students)
exec kd-asr run "$task" --home "$root" --methods all --compare "$seeds" 3 "$@"
