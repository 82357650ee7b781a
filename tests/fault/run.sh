#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The fault suite on a sandbox of its own, with programs that have fail points ($B, built by make).
# FAULT_S seconds (100), REQUESTS, KILLS (60 in 100 s), SEED; FAULT_SPARE_SLURMCTLD=1 leaves slurmctld alive;
# FAULT_PLANT=1 submits a double in the end: the run must find it, and fails.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/fault}
dir=${FAULT_DIR:-build/fault-sb}
if [ "$(id -u)" != 0 ]; then
    echo "fault: not run: it kills processes of several users, which needs root"
    exit 0
fi
# The journal's disk is to be full at times: one of its own, which nobody else sees.
if [ -z "${FAULT_MOUNTS:-}" ]; then
    export FAULT_MOUNTS=no
    ! unshare --mount true 2>/dev/null || FAULT_MOUNTS=yes exec unshare --mount bash "tests/fault/run.sh"
fi
state=
cleanup() {
    bash tests/sandbox/sandbox.sh stop "$dir" agentd >/dev/null 2>&1
    [ -z "$state" ] || umount -l "$state"
    bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM
# Credentials and calls that die soon, so that what was not done is certain soon; all jobs stay to be counted.
age=$((${FAULT_S:-100} + 3600))
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" agentd=0 dbd=1 late=1 minjobage=$age msgtimeout=3 cred_ttl=5 \
    extra_conf='MaxJobCount=200000' agentd_conf='cluster = sandbox\ncall_deadline_s = 12\nmax_staged_per_user = 5000' || exit 1
# shellcheck disable=SC1091
. "$dir/env"
if [ "$FAULT_MOUNTS" = yes ] &&
    mount -t tmpfs -o "size=1g,mode=700,uid=$(id -u slurm-agent)" none "$dir/state/agentd"; then
    state=$(realpath "$dir")/state/agentd
fi
export FAULT_DISK=$state
bash tests/sandbox/sandbox.sh start "$dir" agentd || exit 1
keep() { [ -z "${FAULT_KEEP:-}" ] || cp "$dir/log/agentd.log" "$FAULT_KEEP"; }
"$B/tests/fault"
status=$?
keep
# What was moving data, or did not, when it failed: the sandbox goes, and its log with it.
[ $status = 0 ] || grep -aE 'staging job=|role=stage|: staging' "$dir/log/agentd.log" | tail -n 60 | cut -c 1-300 | sed 's/^/fault: agentd.log: /'
exit $status
