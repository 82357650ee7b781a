#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh SUITE...: runs what `make tests-built` made in $B and adds up the counts.
#   unit   tests/unit            fuzz   each fuzz target over its corpus
#   e2e    tests/e2e on private Slurms: as root with users alice and bob, with PrivateData=jobs,
#          and as an ordinary user with --single-user
# E2E_ONLY="NAME ..." leaves out the other sandboxes; E2E_JOBS (2) of them are up at a time, since most
# of a test is waiting.
# Ends with "N passed, N failed"; exit status 1 when something failed or nothing ran.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
passed=0 failed=0
up=()   # sandboxes that are up
declare -A jobs=()   # pid of a sandbox_run in the background: its log

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

# Runs a Criterion program and adds its counts.
criterion() {
    local name=$1 log counts begun=$SECONDS
    shift
    log=$(mktemp)
    echo "== $name"
    timeout "${TEST_TIMEOUT:-600}" "$@" --color=never 2>&1 | tee "$log" | grep -vE '^\[(====)\] Synthesis' || true
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
            echo "$f: FAILED"
            failed=$((failed + 1))
        fi
    done
}

# sandbox_run NAME FILTER [key=value ...]: a sandbox with these parameters, and the tests that match, in
# the background.  RUN_AS is what to run all of it as another user.
sandbox_run() {
    local log
    [[ " ${E2E_ONLY:-$1} " == *" $1 "* ]] || return 0
    [ ${#jobs[@]} -lt "${E2E_JOBS:-2}" ] || sandbox_wait
    log=$(mktemp)
    sandbox_run_alone "$@" >"$log" 2>&1 &
    jobs[$!]=$log
}
sandbox_run_alone() (
    name=$1 filter=$2 dir=${RUN_DIR:-build/e2e}-$1
    shift 2
    passed=0 failed=0 up=() jobs=()
    trap cleanup EXIT
    trap 'exit 143' INT TERM
    echo "== sandbox $name"
    if "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh up "$dir" bin="$B" "$@"; then
        up=("$dir")
        # shellcheck disable=SC2016  # expanded by the inner shell
        criterion "$name" "${RUN_AS[@]}" bash -c '. "$1/env"; exec "$2" -j1 --filter "$3"' _ "$dir" "$B/tests/e2e" "$filter"
        "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh down "$dir" || failed=$((failed + 1))
        up=()
    else
        echo "sandbox $name did not come up"
        failed=$((failed + 1))
    fi
    echo "$passed passed, $failed failed"
)
# Waits for one of them, and adds its counts.
sandbox_wait() {
    local pid line log
    wait -n -p pid "${!jobs[@]}"
    log=${jobs[$pid]}
    unset "jobs[$pid]"
    line=$(tail -n 1 "$log")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        failed=$((failed + 1))
    fi
    sed '$d' "$log"
    rm -f "$log"
}
sandbox_wait_all() { while [ ${#jobs[@]} -gt 0 ]; do sandbox_wait; done; }

# Newer ones give nobody a login environment when slurmd is not root's.
single_filter() {
    case $(slurmctld -V) in
        *\ 2[0-4].*) echo '@(single|submit)/*' ;;
        *) echo 'single/*' ;;
    esac
}

e2e() {
    RUN_AS=()
    if [ "$(id -u)" = 0 ]; then
        sandbox_run users '!(greedy|private*|renewal|single|truth|outcome|failover|reuse|hint|history*|acct|requests)/*'
        # leaves nng in need of a new broker, see docs/DESIGN.md section 2
        sandbox_run greedy 'greedy/*'
        # slurmctld forgets ended jobs soon
        sandbox_run truth 'truth/*' minjobage=5 msgtimeout=5
        sandbox_run outcome 'outcome/*' minjobage=30 extra_conf='PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\nPartitionName=urgent Nodes=ALL PriorityTier=10 MaxTime=INFINITE DefMemPerCPU=10 State=UP'
        # the second slurmctld needs a host's name of its own
        if unshare --uts --mount true; then
            sandbox_run failover 'failover/*' backup=1 msgtimeout=5 extra_conf='SlurmctldTimeout=5'
        else
            echo "not run: failover (no namespaces here)"
        fi
        sandbox_run history 'history/*' minjobage=2
        sandbox_run history_private 'history_private/*' minjobage=2 private_data=jobs agentd_conf='watch_user = slurm'
        sandbox_run history_dbd 'history_dbd/*' minjobage=2 dbd=1
        sandbox_run reuse 'reuse/*' minjobage=2 extra_conf='FirstJobId=100\nMaxJobId=110'
        # slurmdbd alone knows what has ended
        sandbox_run acct 'acct/*' dbd=1 minjobage=2 agentd_conf='acct_deadline_s = 4'
        # sessions as short as they may be
        sandbox_run private '@(private|private_switch|renewal)/*' minjobage=5 private_data=jobs agentd_conf='session_s = 10'
        # requests to slurmctld, and so doubts, do not live long
        sandbox_run requests 'requests/*' msgtimeout=4 agentd_conf='cluster = sandbox\ncall_deadline_s = 30' cred_ttl=5
        # slurmctld says when jobs begin and end; we hardly ever ask by ourselves
        sandbox_run hint '@(hint|load)/*' hint=1 agentd_conf='poll_ms = 30000'
        sandbox_wait_all   # the users are there then
        # an ordinary user, on a copy of the programs that she can reach
        local copy
        copy=$(mktemp -d /tmp/sagent-single-XXXXXX)
        chmod 755 "$copy"
        mkdir -p "$copy/tests"
        cp -r "$B/bin" "$B/libexec" "$copy/"
        cp "$B/tests/e2e" "$copy/tests/"
        mkdir "$copy/run"
        chown alice: "$copy/run"
        RUN_AS=(setpriv --reuid alice --regid "$(id -g alice)" --init-groups env -i
            HOME="$(getent passwd alice | cut -d: -f6)" PATH="$PATH" LANG=C.UTF-8 ASAN_OPTIONS="${ASAN_OPTIONS:-}")
        B=$copy RUN_DIR=$copy/run/sb sandbox_run single "$(single_filter)"
        sandbox_wait_all
        rm -rf --one-file-system "$copy"
        RUN_AS=()
    else
        sandbox_run single "$(single_filter)"
        sandbox_wait_all
        echo "not run as an ordinary user: the suites that need two users (run as root)"
    fi
}

for suite in "$@"; do
    case $suite in
    unit) criterion unit "$B/tests/unit" ;;
    fuzz) fuzz ;;
    e2e) e2e ;;
    *) echo "no such suite: $suite" >&2; exit 2 ;;
    esac
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
