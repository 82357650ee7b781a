#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# staging.sh: moving files to and from one Swift, beside rclone, awscli and s3cmd (those that are
# installed): seconds by the wall, medians of ROUNDS (3) rounds in which the tools take turns; and what
# slurm-agent has resident while it moves HUGE_GIB (4; 0 leaves it out).
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build} ROUNDS=${ROUNDS:-3} HUGE_GIB=${HUGE_GIB:-4} SETS=${SETS:-small medium large}
sb=$(realpath -m "${SANDBOX:-build/bench-staging-sb}")
work=$(mktemp -d "${TMPDIR:-/tmp}/sagent-staging-XXXXXX")
cli=$(realpath "$B/bin/slurm-agent")
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    rm -rf --one-file-system "$work"
    bash tests/sandbox/sandbox.sh down "$sb" >/dev/null 2>&1 || echo "could not take down $sb" >&2
}
trap cleanup EXIT
trap 'exit 130' INT TERM
bash tests/sandbox/sandbox.sh up "$sb" bin="$B" store=swift slurm=0
# shellcheck disable=SC1090,SC1091
. "$sb/env"
user=$(id -un)
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_SWIFT_TYPE=s3 RCLONE_CONFIG_SWIFT_PROVIDER=Other RCLONE_CONFIG_SWIFT_REGION=$SLURM_AGENT_STORE_REGION \
    RCLONE_CONFIG_SWIFT_ENDPOINT=$SLURM_AGENT_STORE RCLONE_CONFIG_SWIFT_ACCESS_KEY_ID=$user:$user RCLONE_CONFIG_SWIFT_SECRET_ACCESS_KEY=$user-secret
host=${SLURM_AGENT_STORE#http://}
printf '%s\n' '[default]' "access_key = $user:$user" "secret_key = $user-secret" "host_base = $host" "host_bucket = $host" \
    'use_https = False' 'signature_v2 = False' "bucket_location = $SLURM_AGENT_STORE_REGION" >"$work/s3cfg"

tools=(slurm-agent)
for tool in rclone aws s3cmd; do
    [ ! -x "/usr/bin/$tool" ] || tools+=("$tool")
done

fill() { # SET COUNT BYTES
    local i
    mkdir -p "$work/$1"
    for ((i = 0; i < $2; i++)); do head -c "$3" /dev/urandom >"$work/$1/f$i"; done
}
put() { # TOOL DIR PREFIX
    case $1 in
        slurm-agent) "$cli" put -q -r "$2/." "s3://data/$3/" ;;
        rclone) rclone copy "$2" "swift:data/$3" ;;
        aws) /usr/bin/aws --endpoint-url "$SLURM_AGENT_STORE" s3 cp --only-show-errors --recursive "$2" "s3://data/$3" ;;
        s3cmd) s3cmd -c "$work/s3cfg" -q put --recursive "$2/" "s3://data/$3/" ;;
    esac
}
get() { # TOOL PREFIX DIR
    case $1 in
        slurm-agent) "$cli" fetch -q -r "s3://data/$2/" "$3" ;;
        rclone) rclone copy "swift:data/$2" "$3" ;;
        aws) /usr/bin/aws --endpoint-url "$SLURM_AGENT_STORE" s3 cp --only-show-errors --recursive "s3://data/$2" "$3" ;;
        s3cmd) mkdir -p "$3" && s3cmd -c "$work/s3cfg" -q get --recursive "s3://data/$2/" "$3/" ;;
    esac
}
# timed FILE COMMAND...: adds its seconds to FILE.
timed() {
    local file=$1 begun=${EPOCHREALTIME/[.,]/} rc=0
    shift
    "$@" >"$work/out" 2>&1 || rc=$?
    if [ $rc != 0 ]; then
        echo "failed ($rc): $*" >&2
        tail -n 3 "$work/out" >&2
        return 1
    fi
    echo $((${EPOCHREALTIME/[.,]/} - begun)) >>"$file"
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%.2f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2e6 }'; }

declare -A what=([small]='500 x 1 KiB' [medium]='20 x 10 MiB' [large]='1 x 1 GiB')
for set in $SETS; do
    case $set in
        small) fill small 500 1024 ;;
        medium) fill medium 20 10485760 ;;
        large) fill large 1 1073741824 ;;
    esac
done
echo "versions: $("$cli" --version); $(rclone version 2>/dev/null | head -1); $(/usr/bin/aws --version 2>/dev/null | cut -d' ' -f1); $(s3cmd --version 2>/dev/null)"
for ((round = 1; round <= ROUNDS; round++)); do
    for set in $SETS; do
        for tool in "${tools[@]}"; do
            timed "$work/$tool-$set-put" put "$tool" "$work/$set" "$tool-$set-$round"
            timed "$work/$tool-$set-get" get "$tool" "$tool-$set-$round" "$work/back"
            diff -r "$work/$set" "$work/back" >/dev/null || { echo "$tool: other files came back" >&2; exit 1; }
            rm -rf "$work/back"
        done
        echo "round $round: $set done" >&2
    done
done
printf '%-14s %-4s' '' ''
printf ' %12s' "${tools[@]}"
echo '   slurm-agent / the fastest other'
for set in $SETS; do
    for way in put get; do
        printf '%-14s %-4s' "${what[$set]}" $way
        best=
        for tool in "${tools[@]}"; do
            seconds=$(median "$work/$tool-$set-$way")
            printf ' %10s s' "$seconds"
            if [ "$tool" != slurm-agent ]; then best=$(printf '%s\n' $best "$seconds" | sort -n | head -1); fi
        done
        awk -v a="$(median "$work/slurm-agent-$set-$way")" -v b="${best:-0}" 'BEGIN { if (b > 0) printf "   %.2f", a / b; print "" }'
    done
done
if [ "$HUGE_GIB" != 0 ]; then
    truncate -s "${HUGE_GIB}G" "$work/huge"
    rm -rf "$work/large"
    rss() { sed -n 's/.*Maximum resident set size (kbytes): //p' "$1"; }
    /usr/bin/time -v -o "$work/time-put" "$cli" put -q "$work/huge" s3://data/huge
    /usr/bin/time -v -o "$work/time-get" "$cli" fetch -q s3://data/huge "$work/huge-back"
    cmp "$work/huge" "$work/huge-back"
    echo "resident at most while moving $HUGE_GIB GiB: put $(rss "$work/time-put") KiB, get $(rss "$work/time-get") KiB"
fi
