#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh SUITE...: runs what `make tests-built` made in $B and adds up the counts.
#   unit   tests/unit            fuzz   each fuzz target over its corpus
#   e2e    tests/e2e on private Slurms: as root with users alice and bob, with PrivateData=jobs,
#          and as an ordinary user with --single-user
# E2E_ONLY="NAME ..." leaves out the other sandboxes.
# Ends with "N passed, N failed"; exit status 1 when something failed or nothing ran.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
passed=0 failed=0
up=()   # sandboxes that are up

# shellcheck disable=SC2317  # called by the trap
cleanup() {
    local d
    for d in "${up[@]}"; do
        [ -n "$d" ] || continue
        bash tests/sandbox/sandbox.sh down "$d" >/dev/null 2>&1 || echo "could not take down $d" >&2
    done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Runs a Criterion program and adds its counts.
criterion() {
    local name=$1 log counts
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

# sandbox_run NAME FILTER [key=value ...]: a sandbox with these parameters, and the tests that match.
# RUN_AS is what to run all of it as another user.
sandbox_run() {
    local name=$1 filter=$2 dir
    shift 2
    [[ " ${E2E_ONLY:-$name} " == *" $name "* ]] || return 0
    dir=${RUN_DIR:-build/e2e}-$name
    echo "== sandbox $name"
    if ! "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh up "$dir" bin="$B" "$@"; then
        echo "sandbox $name did not come up"
        failed=$((failed + 1))
        return
    fi
    up+=("$dir")
    # shellcheck disable=SC2016  # expanded by the inner shell
    criterion "$name" "${RUN_AS[@]}" bash -c '. "$1/env"; exec "$2" -j1 --filter "$3"' _ "$dir" "$B/tests/e2e" "$filter"
    "${RUN_AS[@]}" bash tests/sandbox/sandbox.sh down "$dir" || failed=$((failed + 1))
    up=("${up[@]/$dir/}")
}

e2e() {
    RUN_AS=()
    if [ "$(id -u)" = 0 ]; then
        sandbox_run users '!(private|renewal|single|truth|reuse|hint|history*|acct)/*'
        # slurmctld forgets ended jobs soon
        sandbox_run truth 'truth/*' minjobage=5 msgtimeout=5
        sandbox_run history 'history/*' minjobage=2
        sandbox_run history_private 'history_private/*' minjobage=2 private_data=jobs agentd_conf='watch_user = slurm'
        sandbox_run history_dbd 'history_dbd/*' minjobage=2 dbd=1
        sandbox_run reuse 'reuse/*' minjobage=2 extra_conf='FirstJobId=100\nMaxJobId=110'
        # slurmdbd alone knows what has ended
        sandbox_run acct 'acct/*' dbd=1 minjobage=2 agentd_conf='acct_deadline_s = 4'
        # sessions as short as they may be
        sandbox_run private '@(private|renewal)/*' private_data=jobs agentd_conf='session_s = 10'
        # slurmctld says when jobs begin and end; we hardly ever ask by ourselves
        sandbox_run hint '@(hint|load)/*' hint=1 agentd_conf='poll_ms = 30000'
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
        B=$copy RUN_DIR=$copy/run/sb sandbox_run single '@(single|submit)/*'
        rm -rf --one-file-system "$copy"
        RUN_AS=()
    else
        sandbox_run single '@(single|submit)/*'
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
