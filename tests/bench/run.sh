#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh fair|soak: a sandbox of its own, and the program of that in it as its users.
#   SOAK_S=600   FAIR_ROUNDS=7
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build} mode=$1 dir=build/bench-sandbox
trap 'bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true' EXIT
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid alice --regid "$(id -g alice)" --init-groups)
fi
# finished jobs go early, so that the table does not grow for reasons that are Slurm's, and what is
# kept of them in memory on purpose is full soon
conf='log_level = warning'
[ "$mode" != soak ] || conf+='\nevents_mib = 1\nhistory_rows = 1000'
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" minjobage=2 agentd_conf="$conf"
# shellcheck disable=SC1091  # made just now
. "$dir/env"
pid=$(bash tests/sandbox/sandbox.sh pid "$dir" agentd)
if [ "$mode" = fair ]; then
    # bob asks; then the same beside alice, who asks as much as she can: one after the other, so that a
    # noisy moment hits both
    grep -m1 'model name' /proc/cpuinfo || true
    uptime
    bob=(setpriv --reuid bob --regid "$(id -g bob)" --init-groups)
    job=$("${bob[@]}" "$B/bin/slurm-agent" submit --hold --parsable --chdir=/tmp --wrap=true)
    # fewer than bob may at once, and he has not asked for a second then: nobody is to wait for himself
    p99() { "${bob[@]}" "$B/tests/bench_fair" ask 900 "$job" | sed -n 's/.*p99 \([0-9.]*\) ms.*/\1/p'; }
    sed 's/^/    /' <<'T'
flood: 16 connections that ask at full speed whatever they are told; polite: 16 by the library, which comes
again when it is told to.  p99 of the other user's gets, milliseconds, and how many times its quiet value.
Floods come from other hosts: the generator has the CPU that nobody else wants (SCHED_IDLE).
T
    missed=0
    for kind in 'flood ping' 'flood job.list' polite; do
        ratios=()
        for _ in $(seq "${FAIR_ROUNDS:-7}"); do
            sleep 1
            quiet=$(p99)
            # shellcheck disable=SC2086  # two words
            chrt --idle 0 "${as[@]}" "$B/tests/bench_fair" $kind 16 60 >"$dir/flood" &
            flooder=$!
            sleep 2   # its sessions, and the second that it may have at once
            beside=$(p99)
            kill "$flooder"
            wait "$flooder" || true
            ratios+=("$(awk "BEGIN { printf \"%.2f\", $beside / $quiet }")")
            printf '%-15s quiet %8s beside %8s ratio %s; %s\n' "$kind" "$quiet" "$beside" "${ratios[-1]}" "$(tail -n 1 "$dir/flood")"
        done
        median=$(printf '%s\n' "${ratios[@]}" | sort -n | sed -n "$((${#ratios[@]} / 2 + 1))p")
        verdict=$(awk "BEGIN { print $median < 2 ? \"met\" : \"missed\" }")
        [ "$verdict" = met ] || missed=1
        echo "$kind: median of the ratios $median, wanted under 2: $verdict"
    done
    exit "$missed"
fi
grep -m1 'model name' /proc/cpuinfo || true
uptime
env SOAK_MONITOR="$pid" SOAK_STATE="$dir/state/agentd" SOAK_USERS='alice bob' "$B/tests/soak" "${SOAK_S:-600}"
rm -f /tmp/slurm-agent-soak-*.out
