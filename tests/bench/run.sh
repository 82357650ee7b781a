#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh bench|soak: a sandbox of its own, and bench_spine in it as a user.
#   BENCH_ROUNDS=500   SOAK_ROUNDS=2000
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build} mode=$1 dir=build/bench-sandbox
trap 'bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true' EXIT
# finished jobs go early, so that the table does not grow for reasons that are Slurm's
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" minjobage=2 agentd_conf='log_level = warning'
# shellcheck disable=SC1091  # made just now
. "$dir/env"
pid=$(bash tests/sandbox/sandbox.sh pid "$dir" agentd)
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid alice --regid "$(id -g alice)" --init-groups)
fi
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
"${as[@]}" env SOAK_MONITOR="$pid" "$B/tests/bench_spine" soak 50 >/dev/null
before=$(descriptors)
"${as[@]}" env SOAK_MONITOR="$pid" "$B/tests/bench_spine" soak "${SOAK_ROUNDS:-2000}"
after=$(descriptors)
echo "descriptors of the daemon's processes: $before before, $after after"
[ "$after" -le $((before + 4)) ]
