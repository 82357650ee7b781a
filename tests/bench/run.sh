#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh bench|journal|log|follow|soak: a sandbox of its own, and the program of that in it as a user.
#   BENCH_ROUNDS=500   LOG_MIB=1024   FOLLOW_ROUNDS=40 (of four callers)   SOAK_ROUNDS=2000
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build} mode=$1 dir=build/bench-sandbox
trap 'bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true' EXIT
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid alice --regid "$(id -g alice)" --init-groups)
fi
if [ "$mode" = follow ]; then
    ulimit -n "$(ulimit -Hn)"
    grep -m1 'model name' /proc/cpuinfo || true
    for hint in 0 1; do
        bash tests/sandbox/sandbox.sh up "$dir" bin="$B" hint=$hint agentd_conf='log_level = warning'
        # shellcheck disable=SC1091  # made just now
        . "$dir/env"
        "${as[@]}" "$B/tests/bench_follow" fill 1000
        echo "hint=$hint, 1,000 jobs in the table: n, p50, p95, most"
        "${as[@]}" "$B/tests/bench_follow" latency "${FOLLOW_ROUNDS:-40}"
        [ $hint = 1 ] || bash tests/sandbox/sandbox.sh down "$dir"
    done
    pid=$(bash tests/sandbox/sandbox.sh pid "$dir" agentd)
    "${as[@]}" env BENCH_MONITOR="$pid" "$B/tests/bench_follow" held
    "${as[@]}" "$B/tests/bench_table" 100000
    exit
fi
if [ "$mode" = journal ]; then
    grep -m1 'model name' /proc/cpuinfo || true
    memory=$(mktemp -d /dev/shm/slurm-agent-bench.XXXXXX)
    [ "$(id -u)" != 0 ] || chown slurm-agent: "$memory"
    for state in disk memory disk memory; do   # twice: others may use the machine
        conf='log_level = warning'
        [ $state = disk ] || conf+="\nstate_dir = $memory"
        bash tests/sandbox/sandbox.sh up "$dir" bin="$B" agentd_conf="$conf"
        # shellcheck disable=SC1091  # made just now
        . "$dir/env"
        [ $state = memory ] || "$B/tests/bench_journal" disk "$dir/state" "${BENCH_ROUNDS:-500}"
        "${as[@]}" "$B/tests/bench_journal" submit "journal on $state" "${BENCH_ROUNDS:-500}"
        bash tests/sandbox/sandbox.sh down "$dir"
    done
    rm -rf --one-file-system "$memory"
    exit
fi
# finished jobs go early, so that the table does not grow for reasons that are Slurm's
minjobage=2
[ "$mode" != log ] || minjobage=300
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" minjobage="$minjobage" agentd_conf='log_level = warning'
# shellcheck disable=SC1091  # made just now
. "$dir/env"
pid=$(bash tests/sandbox/sandbox.sh pid "$dir" agentd)
# only root may look at what the daemon's processes have open
descriptors() {
    local p n=0
    for p in "$pid" $(pgrep -P "$pid"); do
        n=$((n + $(find "/proc/$p/fd" -mindepth 1 2>/dev/null | wc -l)))
    done
    echo "$n"
}
if [ "$mode" = bench ]; then
    grep -m1 'model name' /proc/cpuinfo || true
    "${as[@]}" "$B/tests/bench_spine" bench "${BENCH_ROUNDS:-500}"
    exit
fi
if [ "$mode" = log ]; then
    grep -m1 'model name' /proc/cpuinfo || true
    "${as[@]}" "$B/tests/bench_log" "${LOG_MIB:-1024}"
    exit
fi
"${as[@]}" env SOAK_MONITOR="$pid" "$B/tests/bench_spine" soak 50 >/dev/null
before=$(descriptors)
"${as[@]}" env SOAK_MONITOR="$pid" "$B/tests/bench_spine" soak "${SOAK_ROUNDS:-2000}"
after=$(descriptors)
echo "descriptors of the daemon's processes: $before before, $after after"
[ "$after" -le $((before + 4)) ]
