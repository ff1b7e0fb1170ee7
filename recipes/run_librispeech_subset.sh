#!/usr/bin/env bash
# From FLAC and transcripts to the table: baseline, ensemble of ten, distilled student; frame accuracy and WER.
#
# usage: bash recipes/run_librispeech_subset.sh [option ...] [--section.key VALUE ...]
#
#   --corpus auto|librispeech|embedded   auto (default): --librispeech or $LIBRISPEECH, else data/LibriSpeech, else
#                          download mini LibriSpeech, else (no network) the embedded corpus of synthetic speech
#   --librispeech DIR      folder in LibriSpeech's layout, its subsets as folders below it
#   --train, --dev, --test NAME          subsets to train on, to choose on, and to read once at the end
#   --lm FILE              ARPA language model, gzipped or not (default: the corpus's own, else estimated by us)
#   --preset quick|standard|paper        budget: recipes/conf/NAME.yaml (default: quick)
#   --out DIR              run folder (default: exp/librispeech_PRESET)
#   --seed N               seed of everything random but the embedded corpus, corpus.embedded_seed (default: 1)
#   --jobs N               processes, by default one per core; the result does not depend on it
#   --students N           students trained, the report gives their mean (default: 3)
#   --stage NAME           begin with this stage instead of the first
#   --stop-stage NAME      end after this stage
#   --section.key VALUE    any other setting, such as --train.epochs 6 (kd-asr configure --help lists them)
#   --help                 this text
#
# stages: corpus prepare features lexicon language_model align augment ensemble transfer posteriors sweep distil baseline
#         evaluate graph decode report
#
# Run again after an interruption it goes on from there; what is done with the same settings is not done again.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

stages=(corpus prepare features lexicon language_model align augment ensemble transfer posteriors sweep distil baseline evaluate graph decode report)
preset=quick out="" first=corpus last=report
configure=()

fail() { echo "run_librispeech_subset.sh: $1" >&2; exit 2; }
# What can be seen to be wrong without Python is said before .venv is made, which takes minutes; kd-asr checks the rest.
need_number() { [[ $2 =~ ^(0|[1-9][0-9]*)$ ]] && (($2 >= $3)) || fail "$1 must be a whole number of $3 or more, not '$2'"; }
index_of() {
    local number
    for number in "${!stages[@]}"; do
        if [[ ${stages[number]} == "$1" ]]; then echo "$number"; return; fi
    done
    fail "unknown stage '$1'; the stages are: ${stages[*]}"
}

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
        --stage) first=$value ;;
        --stop-stage) last=$value ;;
        --students) need_number "$option" "$value" 1; configure+=("--distil.students=$value") ;;
        --seed) need_number "$option" "$value" 0; configure+=("--seed=$value") ;;
        --jobs) need_number "$option" "$value" 0; configure+=("--jobs=$value") ;;
        --corpus)
            [[ $value =~ ^(auto|librispeech|embedded)$ ]] || fail "--corpus is auto, librispeech or embedded, not '$value'"
            configure+=("--corpus=$value") ;;
        --librispeech)
            [[ -d $value ]] || fail "--librispeech: there is no folder '$value'"
            configure+=("--librispeech=$value") ;;
        --lm)
            [[ -f $value ]] || fail "--lm: there is no file '$value'"
            configure+=("--lm=$value") ;;
        --train | --dev | --test) configure+=("$option=$value") ;;
        --*.*) configure+=("$option=$value") ;;
        *) fail "unknown option '$option' (see --help)" ;;
    esac
    shift 2
done
config="$root/recipes/conf/$preset.yaml"
[[ -f $config ]] || fail "unknown preset '$preset'; there are: $(cd "$root/recipes/conf" && printf '%s ' [!m]*.yaml | sed 's/\.yaml//g;s/ $//')"
begin=$(index_of "$first") || exit 2
end=$(index_of "$last") || exit 2
((begin <= end)) || fail "--stage $first comes after --stop-stage $last"
out=${out:-$root/exp/librispeech_$preset}

place=$out
while [[ ! -e $place && $place == */* ]]; do place=${place%/*}; place=${place:-/}; done
[[ ! -e $place || -d $place && -w $place ]] || fail "--out $out: '$place' is no folder that can be written into"

source "$root/recipes/setup.sh"
kd_asr_setup "$root"

kd-asr configure "$out" --config "$config" --data "$root/data" "${configure[@]}"
for stage in "${stages[@]:begin:end-begin+1}"; do
    kd-asr "$stage" "$out"
done
if [[ $last == report ]]; then echo "report: $out/report/report.md"; fi
