#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh TARGET...: libFuzzer on each target for $FUZZ_S seconds, beginning with its corpus.
# Finds are left in build/fuzz/found, new inputs in build/fuzz/corpus; nothing in the tree changes.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=build/fuzz passed=0 failed=0
mkdir -p "$out/found"
flags=(-std=gnu11 -O1 -g -D_GNU_SOURCE '-DVERSION="fuzz"' '-DLIBEXECDIR="/nonexistent"' '-DSYSCONFDIR="/nonexistent"'
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -iquote .)
sources=(common/*.c agentd/sbatch*.c agentd/conf.c agentd/jobid.c agentd/jobrec.c agentd/cursor.c agentd/outcome.c agentd/logname.c agentd/table.c agentd/addr.c agentd/chan_io.c)
for f in client/*.c; do
    case $f in client/cli_*) ;; *) sources+=("$f") ;; esac
done
libs=(-lnng -lmunge -lsodium -linih -lpthread)
read -ra msgpack < <(pkg-config --libs msgpack 2>/dev/null || pkg-config --libs msgpack-c)
for t in "$@"; do
    echo "== $t for ${FUZZ_S:-60} s"
    mkdir -p "$out/corpus/$t"
    if ! clang "${flags[@]}" -o "$out/$t" "tests/fuzz/$t.c" "${sources[@]}" "${libs[@]}" "${msgpack[@]}"; then
        failed=$((failed + 1))
        continue
    fi
    # hold memory and time of one input to what a frame may cost
    if timeout $((${FUZZ_S:-60} + 60)) "$out/$t" -max_total_time="${FUZZ_S:-60}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$out/found/$t-" "$out/corpus/$t" "tests/fuzz/corpus/$t" >"$out/$t.log" 2>&1; then
        grep -E 'stat::number_of_executed_units' "$out/$t.log"
        passed=$((passed + 1))
    else
        tail -30 "$out/$t.log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
