#!/usr/bin/env bash
# MNIST through the same pipeline as speech: teachers, students on hard labels, distilled students; test errors.
#
# usage: bash recipes/run_mnist.sh [option ...] [--section.key VALUE ...]
#
#   --data DIR             folder with MNIST's four IDX gz files (default: $MNIST, else data/mnist, else a download
#                          into it, else, without a network, scikit-learn's 8 x 8 digits, which are not MNIST)
#   --experiment table|temperature|omit3|only78|losses|reduced|all   what to run (default: table)
#   --seeds N              repetitions of the table, of omit3 and of only78 (default: the preset's)
#   --preset quick|paper   budget: recipes/conf/mnist_NAME.yaml (default: quick)
#   --out DIR              run folder (default: exp/mnist_PRESET)
#   --seed N               seed of everything random (default: 1)
#   --jobs N               processes, by default one per core; the result does not depend on it
#   --source auto|mnist|digits   which digits; auto is what --data describes
#   --section.key VALUE    any other setting, such as --teacher.epochs 6 (kd-asr mnist configure --help lists them)
#   --help                 this text
#
# Run again after an interruption it goes on from there; what is done with the same settings is not done again. Experiments
# of one run folder share their teachers and stand on one page, report/report.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

experiments=(table temperature omit3 only78 losses reduced)
preset=quick out="" experiment=table
configure=()

fail() { echo "run_mnist.sh: $1" >&2; exit 2; }

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
        --preset) preset=$value ;;
        --out) out=$value ;;
        --experiment) experiment=$value ;;
        --data) configure+=("--mnist=$value") ;;
        --seeds | --seed | --jobs | --source) configure+=("$option=$value") ;;
        --*.*) configure+=("$option=$value") ;;
        *) fail "unknown option '$option' (see --help)" ;;
    esac
    shift 2
done
config="$root/recipes/conf/mnist_$preset.yaml"
[[ -f $config ]] || fail "unknown preset '$preset'; there are:$(cd "$root/recipes/conf" && printf ' %s' mnist_*.yaml | sed 's/mnist_//g;s/\.yaml//g')"
if [[ $experiment != all ]]; then
    [[ " ${experiments[*]} " == *" $experiment "* ]] || fail "unknown experiment '$experiment'; there are: ${experiments[*]} all"
    experiments=("$experiment")
fi
out=${out:-$root/exp/mnist_$preset}

source "$root/recipes/setup.sh"
kd_asr_setup "$root"

kd-asr mnist configure "$out" --config "$config" --data "$root/data" "${configure[@]}"
for name in "${experiments[@]}"; do
    kd-asr mnist "$name" "$out"
done
kd-asr mnist report "$out"
echo "report: $out/report/report.md"
