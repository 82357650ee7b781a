#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh SUITE...: runs what `make tests-built` made in $B and adds up the counts.
#   unit   tests/unit            fuzz   each fuzz target over its corpus
#   store  tests/store on a private Swift
#   e2e    tests/e2e on private Slurms: as root with users alice and bob, with PrivateData=jobs,
#          and as an ordinary user with --single-user
#   sbatch tests/sbatch: the agent beside sbatch itself
# E2E_ONLY="NAME ..." leaves out the other sandboxes.  TEST_JOBS (6) suites and sandboxes run at a time,
# since most of a test is waiting.  CLI=DIR takes slurm-agent from another build than the daemon, but for
# the users' sandbox: with sanitizers most of the time goes into starting it.  TEST_AGAIN=1 gives what
# failed a second try, whole and in a new sandbox, and says so in a line that begins with AGAIN.
# Ends with "N passed, N failed"; exit status 1 when something failed or nothing ran.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
passed=0 failed=0
up=()   # sandboxes that are up
declare -A jobs=()   # pid of what runs in the background: its log

# shellcheck disable=SC2317  # called by the trap
cleanup() {
    local d pid
    for pid in "${!jobs[@]}"; do
        # shellcheck disable=SC2046  # numbers; it takes the signal when what it waits for has ended
        kill "$pid" $(pgrep -P "$pid") 2>/dev/null
        wait "$pid"
        rm -f "${jobs[$pid]}"
    done
    for d in "${up[@]}"; do
        [ -n "$d" ] || continue
        bash tests/sandbox/sandbox.sh down "$d" >/dev/null 2>&1 || echo "could not take down $d" >&2
    done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# What is not one of Criterion's tests.
fails() {
    echo "$1: FAILED"
    failed=$((failed + 1))
}

# Runs a Criterion program and adds its counts.  Of what passes it shows what takes 5 s and more.
criterion() {
    local name=$1 log counts begun=$SECONDS
    shift
    log=$(mktemp)
    echo "== $name"
    timeout "${TEST_TIMEOUT:-600}" "$@" --color=never --verbose 2>&1 | tee "$log" |
        grep -vaE '^\[(====|RUN )\]|^\[PASS\].*\([0-4]\.[0-9]+s\)$|^\[SKIP\].*: Test is disabled$|^\[----\] Criterion v' || true
    counts=$(sed -nE 's/.*Tested: ([0-9]+) \| Passing: ([0-9]+) \| Failing: ([0-9]+) \| Crashing: ([0-9]+).*/\2 \3 \4/p' "$log" | tail -1)
    if [ -z "$counts" ]; then
        echo "$name: no result (crashed or timed out)"
        failed=$((failed + 1))
    else
        # shellcheck disable=SC2086  # three numbers
        set -- $counts
        passed=$((passed + $1))
        failed=$((failed + $2 + $3))
    fi
    rm -f "$log"
    echo "-- $name took $((SECONDS - begun)) s"
}

fuzz() {
    local target f
    for target in tests/fuzz/fuzz_*.c; do
        f=$(basename "$target" .c)
        echo "== corpus of $f"
        if timeout 120 "$B/tests/$f" "tests/fuzz/corpus/$f"; then
            passed=$((passed + 1))
        else
            fails "$f"
        fi
    done
}

# Runs a function in the background, as one of TEST_JOBS at a time.
begin() {
    local log
    [ ${#jobs[@]} -lt "${TEST_JOBS:-6}" ] || end_one
    log=$(mktemp)
    alone "$@" >"$log" 2>&1 &
    jobs[$!]=$log
}
alone() {
    passed=0 failed=0 up=() jobs=()
    trap cleanup EXIT
    trap 'exit 143' INT TERM
    "$@"
    if [ $failed != 0 ] && [ -n "${TEST_AGAIN:-}" ]; then
        echo "== once more: $*"
        passed=0 failed=0
        "$@"
        [ $failed != 0 ] || echo "AGAIN: $1 ${2:-} passed at the second try; what failed at the first is above"
    fi
    echo "$passed passed, $failed failed"
}
# Waits for one of them, and adds its counts.
end_one() {
    local pid line log
    wait -n -p pid "${!jobs[@]}"
    log=${jobs[$pid]}
    unset "jobs[$pid]"
    line=$(tail -n 1 "$log")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        fails "a suite that ended without its counts"
    fi
    sed '$d' "$log"
    rm -f "$log"
}
end_all() { while [ ${#jobs[@]} -gt 0 ]; do end_one; done; }

# sandbox_run NAME FILTER [key=value ...]: a sandbox with these parameters, and the tests that match, in
# the background.  RUN_AS is what to run all of it as another user.
sandbox_run() {
    [[ " ${E2E_ONLY:-$1} " != *" $1 "* ]] || begin in_sandbox "$@"
}
# Of a suite that failed: which of the daemon's processes ended, and why.
tell_ends() {
    grep -aE 'ended with|killed|anew|ERROR: ' "$2" | tail -n 30 | sed "s/^/$1: agentd.log: /"
}
in_sandbox() {
    local name=$1 filter=$2 dir=${RUN_DIR:-build/e2e}-$1 before=$failed
    shift 2
    [ -z "${CLI:-}" ] || [ "$name" = users ] || [ "$name" = single ] || set -- cli="$CLI" "$@"
    echo "== sandbox $name"
    if "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh up "$dir" bin="$B" "$@"; then
        up=("$dir")
        # shellcheck disable=SC2016  # expanded by the inner shell
        criterion "$name" "${RUN_AS[@]}" bash -c '. "$1/env"; exec "$2" -j1 --filter "$3"' _ "$dir" "$B/tests/e2e" "$filter"
        [ "$failed" = "$before" ] || tell_ends "$name" "$dir/log/agentd.log"
        "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh down "$dir" || fails "taking down sandbox $name"
        up=()
    else
        echo "sandbox $name did not come up"
        failed=$((failed + 1))
    fi
}

# Newer ones give nobody a login environment when slurmd is not root's.
single_filter() {
    case $(slurmctld -V) in
        *\ 2[0-4].*) echo '@(single|submit)/*' ;;
        *) echo 'single/*' ;;
    esac
}

# An ordinary user, on a copy of the programs that she can reach.
single_user() {
    local copy
    if ! timeout 60 bash -c 'until id -Gn alice 2>/dev/null | grep -qw sagent-test; do sleep 0.2; done'; then
        echo "sandbox single did not come up: there is no user alice (any other sandbox makes her)"
        failed=$((failed + 1))
        return
    fi
    copy=$(mktemp -d /tmp/sagent-single-XXXXXX)
    chmod 755 "$copy"
    mkdir -p "$copy/tests"
    cp -r "$B/bin" "$B/libexec" "$copy/"
    cp "$B/tests/e2e" "$copy/tests/"
    mkdir "$copy/run"
    chown alice: "$copy/run"
    RUN_AS=(setpriv --reuid alice --regid "$(id -g alice)" --init-groups env -i
        HOME="$(getent passwd alice | cut -d: -f6)" PATH="$PATH" LANG=C.UTF-8 ASAN_OPTIONS="${ASAN_OPTIONS:-}")
    B=$copy RUN_DIR=$copy/run/sb in_sandbox single "$(single_filter)"
    rm -rf --one-file-system "$copy"
}

e2e() {
    RUN_AS=()
    if [ "$(id -u)" = 0 ]; then
        # The longest first, so that no long one is left alone at the end; with sanitizers that is users.
        # requests to slurmctld, and so doubts, do not live long
        local doubts='cluster = sandbox\ncall_deadline_s = 30'
        sandbox_run users '!(acct|admin|control|control_dbd|control_site|crowd|doubt|exporter|failover|fair|follow|greedy|hint|history*|hostile|late|limits|logs|outcome|private*|renewal|requests|reuse|s3|single|staging*|truth)/*'
        sandbox_run jobs '@(control|follow|logs)/*'
        # slurmctld forgets soon; job names that begin with `lifted` are not kept held
        sandbox_run staging 'staging*/*' minjobage=5 job_submit=lift dbd=1
        # slurmdbd alone knows what has ended
        sandbox_run acct 'acct/*' dbd=1 minjobage=2 agentd_conf='acct_deadline_s = 4'
        sandbox_run requests 'requests/*' late=1 msgtimeout=4 agentd_conf="$doubts" cred_ttl=5
        # leave nng in need of a new broker, see docs/DESIGN.md section 2
        sandbox_run greedy '@(greedy|hostile)/*'
        sandbox_run history 'history/*' minjobage=4
        # alice may, bob may not, and a user of the system may look on
        sandbox_run admin '@(admin|exporter)/*' agentd_conf='admins = alice\nstats_users = daemon'
        # slurmctld forgets ended jobs soon
        sandbox_run truth 'truth/*' minjobage=5 msgtimeout=5
        # GPUs, workload keys, top for everybody
        sandbox_run control_site 'control_site/*' dbd=1 nodes=2 cpus=8 \
            node_conf='Sockets=2 CoresPerSocket=4 ThreadsPerCore=1 TmpDisk=2000 Gres=gpu:tesla:4' \
            gres_conf='Name=gpu Type=tesla File=/dev/null,/dev/zero,/dev/full,/dev/random' \
            extra_conf='TrackWCKey=yes\nGresTypes=gpu\nAllowSpecResourcesUsage=Yes\nSchedulerParameters=batch_sched_delay=1,sched_min_interval=0,bf_interval=2,enable_user_top'
        # limits, operators, and what slurmdbd keeps of scripts and environments
        sandbox_run control_dbd 'control_dbd/*' dbd=1 minjobage=2 extra_conf='AccountingStorageEnforce=limits\nMaxJobCount=20'
        sandbox_run late 'late/*' late=1 msgtimeout=4 agentd_conf="$doubts" cred_ttl=5
        # slurmctld forgets jobs before anybody has looked, and slurmdbd does not
        sandbox_run doubt 'doubt/*' dbd=1 minjobage=2 msgtimeout=4 agentd_conf="$doubts" cred_ttl=5
        # sessions as short as they may be
        sandbox_run private '@(private|private_switch|renewal)/*' minjobage=5 private_data=jobs agentd_conf='session_s = 10'
        # slurmctld says when jobs begin and end; we hardly ever ask by ourselves
        sandbox_run hint '@(hint|load)/*' hint=1 agentd_conf='poll_ms = 30000'
        sandbox_run history_dbd 'history_dbd/*' minjobage=2 dbd=1
        # with a store that checks signatures
        sandbox_run s3 's3/*' store=swift
        sandbox_run outcome 'outcome/*' minjobage=30 extra_conf='PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\nPartitionName=urgent Nodes=ALL PriorityTier=10 MaxTime=INFINITE DefMemPerCPU=10 State=UP'
        # as few requests of a user as may be
        sandbox_run limits 'limits/*' agentd_conf='max_requests_per_user = 10\nmax_request_ids_per_user = 12'
        # few questions a second, and a slurmctld that is soon too slow
        sandbox_run fair 'fair/*' msgtimeout=4 agentd_conf='query_rate_per_user = 100\nslurm_slow_ms = 300'
        # the second slurmctld needs a host's name of its own
        if unshare --uts --mount true; then
            sandbox_run failover 'failover/*' backup=1 msgtimeout=5 extra_conf='SlurmctldTimeout=5'
        else
            echo "not run: failover (no namespaces here)"
        fi
        sandbox_run reuse 'reuse/*' minjobage=2 extra_conf='FirstJobId=100\nMaxJobId=110'
        sandbox_run history_private 'history_private/*' minjobage=2 private_data=jobs agentd_conf='watch_user = slurm'
        [[ " ${E2E_ONLY:-single} " != *" single "* ]] || begin single_user
        # takes the whole machine for a while
        end_all
        sandbox_run crowd 'crowd/*'
        end_all
    else
        sandbox_run single "$(single_filter)"
        echo "not run as an ordinary user: the suites that need two users (run as root)"
    fi
}

store() {
    local dir=build/store-sb
    echo "== sandbox store"
    if bash tests/sandbox/sandbox.sh up "$dir" bin="$B" store=swift slurm=0; then
        up+=("$dir")
        # shellcheck disable=SC2016  # expanded by the inner shell
        criterion store bash -c '. "$1/env"; exec "$2" -j2' _ "$dir" "$B/tests/store"
        bash tests/sandbox/sandbox.sh down "$dir" || fails "taking down sandbox store"
        up=()
    else
        echo "sandbox store did not come up"
        failed=$((failed + 1))
    fi
}

# The counts of tests/sbatch/run.sh's last line.
sbatch() {
    local log line
    log=$(mktemp)
    echo "== sbatch"
    B=$B bash tests/sbatch/run.sh 2>&1 | tee "$log"
    line=$(tail -n 1 "$log")
    rm -f "$log"
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        fails "sbatch without its counts"
    fi
}

for suite in "$@"; do
    case $suite in
    unit) begin criterion unit "$B/tests/unit" -j$((2 * $(nproc))) ;;   # most of these wait, too
    fuzz | store | sbatch) begin "$suite" ;;
    e2e) e2e ;;
    *) echo "no such suite: $suite" >&2; exit 2 ;;
    esac
done
end_all
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
