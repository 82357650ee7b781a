#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The fault suite on a sandbox of its own, with programs that have fail points ($B, built by make).
# FAULT_S seconds (100), REQUESTS, KILLS (60), SEED; FAULT_SPARE_SLURMCTLD=1 leaves slurmctld alive.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/fault}
dir=${FAULT_DIR:-build/fault-sb}
if [ "$(id -u)" != 0 ]; then
    echo "fault: not run: it kills processes of several users, which needs root"
    exit 0
fi
cleanup() { bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true; }
trap cleanup EXIT
trap 'exit 130' INT TERM
# Credentials that die soon, so that what was not done is certain soon; all jobs stay to be counted.
age=$((${FAULT_S:-100} + 900))
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" dbd=1 minjobage=$age msgtimeout=3 cred_ttl=5 \
    extra_conf='MaxJobCount=200000' agentd_conf='cluster = sandbox\ncall_deadline_s = 20' || exit 1
# shellcheck disable=SC1091
. "$dir/env"
mkdir -m 1777 "$(realpath "$dir")/ran"   # each job leaves its id there
keep() { [ -z "${FAULT_KEEP:-}" ] || cp "$dir/log/agentd.log" "$FAULT_KEEP"; }
"$B/tests/fault"
status=$?
keep
exit $status
