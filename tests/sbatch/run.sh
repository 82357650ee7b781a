#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Submits each line of cases.txt and refusals.txt by sbatch and by the agent, and compares: see diff.c and
# words.h.  B: the build.  KEEP=DIR: the sandbox stays there for another run.  As root, since a job's
# environment and script are read from slurmctld's state.
# Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
[ "$(id -u)" = 0 ] || { echo 'not run: sbatch (needs root)'; echo '0 passed, 0 failed'; exit 0; }
dir=${KEEP:-${RUN_DIR:-build/e2e}-sbatch}
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    [ -n "${KEEP:-}" ] || bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1
    [ -n "${KEEP:-}" ] || rm -rf --one-file-system "$bin"
}
bin=${KEEP:+$KEEP-bin}
[ -n "$bin" ] || bin=$(mktemp -d /tmp/sagent-sbatch-XXXXXX)
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir -p "$bin/agent" "$bin/real"
chmod 755 "$bin"
cp -r --remove-destination "$B/bin" "$B/libexec" "$bin/"
cp --remove-destination "$B/tests/sbatch_worker" "$bin/libexec/agent-worker"   # it keeps what it asks of slurmctld
cp --remove-destination "$B/tests/libexec/spy.so" "$bin/"
ln -sf ../bin/slurm-agent "$bin/agent/sbatch"
ln -sf "$(command -v sbatch)" "$bin/real/sbatch"

if [ ! -e "$dir/env" ]; then
    # Nodes with what options can ask for; accounts, a reservation and licences.
    bash tests/sandbox/sandbox.sh up "$dir" bin="$bin" dbd=1 nodes=2 cpus=8 \
        node_conf='Sockets=2 CoresPerSocket=2 ThreadsPerCore=2 TmpDisk=1000 Feature=red,big Gres=gpu:tesla:2,gpu:volta:2' \
        gres_conf='Name=gpu Type=tesla File=/dev/null,/dev/zero\nName=gpu Type=volta File=/dev/full,/dev/random' \
        extra_conf='MaxArraySize=4000001\nMaxJobCount=1000000\nGresTypes=gpu\nLicenses=foo:10,bar:4\nAllowSpecResourcesUsage=Yes\nAccountingStorageEnforce=associations,qos\nPartitionName=other Nodes=ALL MaxTime=120 State=UP\nPartitionName=small Nodes=node1 State=UP' ||
        { echo "the sandbox did not come up"; echo '0 passed, 1 failed'; exit 1; }
    # shellcheck source=/dev/null
    . "$dir/env"
    {
        sacctmgr -i add qos high
        sacctmgr -i add account second
        sacctmgr -i add user alice account=second
        sacctmgr -i modify user alice set qos+=high
        scontrol create reservation reservationname=res users=alice,bob starttime=now duration=1-0 nodes=node2
    } >/dev/null
fi
# shellcheck source=/dev/null
. "$dir/env"
real=$(realpath "$dir")
for d in 0 1 2 3; do
    mkdir -p "$real/cases/$d"
    chown alice: "$real/cases/$d"
done
mkdir -p "$real/spy"
chmod 1777 "$real/spy"
export SBATCH_SANDBOX=$real SBATCH_REAL=$bin/real SBATCH_AGENT=$bin/agent SBATCH_SPY=$bin/spy.so

passed=0 failed=0
for what in ${WHAT:-cases refusals}; do
    begun=$SECONDS
    "$B/tests/sbatch_diff" "$what" "tests/sbatch/$what.txt" tests/sbatch/documented.txt | tee "$bin/log"
    echo "-- $what took $((SECONDS - begun)) s"
    line=$(tail -n 1 "$bin/log")
    case $line in
        cases*)
            read -r good bad < <(sed -nE 's/^cases .*, identical ([0-9]+), documented ([0-9]+), differing ([0-9]+)$/\1 \2 \3/p' <<<"$line" | awk '{ print $1 + $2, $3 }') ;;
        refusals*)
            read -r good bad < <(sed -nE 's/^refusals .*, refused ([0-9]+), documented ([0-9]+), accepted ([0-9]+), unnamed ([0-9]+)$/\1 \2 \3 \4/p' <<<"$line" | awk '{ print $1 + $2, $3 + $4 }') ;;
        *) good=0 bad=1 ;;
    esac
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$bad" != 0 ]; then
        grep -aE -A 4 '^(DIFFERS|SBATCH TAKES|AGENT TAKES|EXITS|NOT SAID) ' "$bin/log" | sed 's/^/sbatch: /; s/$/ : FAILED/'
        echo "sbatch, $what: FAILED"
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
