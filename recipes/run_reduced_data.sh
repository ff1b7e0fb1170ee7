#!/usr/bin/env bash
# Soft targets as regularisers: networks that see the labels of 3, 10, 30 and 100 % of the speech, trained on hard labels
# (stopped early, and to the end), on the ensemble's soft targets, and on both; frame accuracy, WER and curves.
#
# usage: bash recipes/run_reduced_data.sh [option ...] [--section.key VALUE ...]
#
#   --fractions LIST       of the training set that keep their labels, such as 0.03,0.1,0.3,1.0 (the default)
#   --seeds N              repetitions, each with parts and initial weights of its own (default: 3)
#   --draw utterances|frames   what parts are made of (default: utterances; frames is a check)
#   --epochs N             budget of every network, in passes over all the speech (default: 2)
#   Any option of recipes/run_librispeech_subset.sh but --stage and --stop-stage: corpus, --preset, --out, --seed, ...
#   --help                 this text
#
# The main job's features, alignment, ensemble, posteriors and graph are taken from its run folder (--out, by default the
# same one) as far as they agree with the settings, and made there if they do not. Run again after an interruption it
# goes on from there. The page is RUN/reduced_report/report.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { echo "run_reduced_data.sh: $1" >&2; exit 2; }

preset=quick out=""
main=()
while (($#)); do
    option=$1
    if [[ $option == --help || $option == -h ]]; then
        sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 0
    fi
    if [[ $option == --*=* ]]; then set -- "${option%%=*}" "${option#*=}" "${@:2}"; option=$1; fi
    (($# >= 2)) || fail "$option needs a value (see --help)"
    value=$2
    case $option in
        --fractions)
            [[ $value =~ ^[0-9.]+(,[0-9.]+)*$ ]] || fail "--fractions is a list such as 0.03,0.1,1.0, not '$value'"
            main+=("--reduced.fractions" "[$value]") ;;
        --seeds)
            [[ $value =~ ^[1-9][0-9]*$ ]] || fail "--seeds must be a whole number of 1 or more, not '$value'"
            main+=("--reduced.seeds" "$value") ;;
        --epochs)
            [[ $value =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "--epochs must be a number, not '$value'"
            main+=("--reduced.epochs" "$value") ;;
        --draw)
            [[ $value =~ ^(utterances|frames)$ ]] || fail "--draw is utterances or frames, not '$value'"
            main+=("--reduced.draw" "$value") ;;
        --preset) preset=$value; main+=("$option" "$value") ;;
        --out) out=$value; main+=("$option" "$value") ;;
        --stage | --stop-stage) fail "$option is an option of recipes/run_librispeech_subset.sh alone" ;;
        *) main+=("$option" "$value") ;;
    esac
    shift 2
done
out=${out:-$root/exp/librispeech_$preset}

bash "$root/recipes/run_librispeech_subset.sh" "${main[@]}" --stop-stage posteriors
source "$root/recipes/setup.sh"
kd_asr_setup "$root"
for stage in graph reduced reduced_report; do
    kd-asr "$stage" "$out"
done
echo "report: $out/reduced_report/report.md"
