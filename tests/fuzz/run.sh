#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh TARGET...: libFuzzer on each target for $FUZZ_S seconds, beginning with its corpus.
# Finds are left in build/fuzz/found, new inputs in build/fuzz/corpus; nothing in the tree changes.
# As many targets run at a time as there are processors.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=build/fuzz passed=0 failed=0
mkdir -p "$out/found"
flags=(-std=gnu11 -O1 -g -D_GNU_SOURCE '-DVERSION="fuzz"' '-DLIBEXECDIR="/nonexistent"' '-DSYSCONFDIR="/nonexistent"'
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -iquote .)
sources=(common/*.c agentd/sbatch*.c agentd/conf.c agentd/jobid.c agentd/jobrec.c agentd/cursor.c agentd/outcome.c agentd/logname.c agentd/table.c agentd/chan_io.c)
for f in client/*.c; do
    case $f in client/cli_*) ;; *) sources+=("$f") ;; esac
done
read -ra xml < <(pkg-config --cflags libxml-2.0)
flags+=("${xml[@]}")
libs=(-lnng -lmunge -lsodium -linih -Wl,--wrap=curl_easy_setopt,--wrap=curl_easy_perform -l:libs3.a -lcurl -lxml2 -lgnutls -lpthread)
read -ra msgpack < <(pkg-config --libs msgpack 2>/dev/null || pkg-config --libs msgpack-c)
# What all targets share is compiled once.
rm -rf "$out/obj"
mkdir -p "$out/obj"
objects=()
for f in "${sources[@]}"; do
    objects+=("$out/obj/${f//\//-}.o")
done
# shellcheck disable=SC2016  # expanded by the inner shell
if ! printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -I{} \
    sh -c 'out=$1 f=$2; shift 2; exec clang "$@" -c -o "$out/obj/$(echo "$f" | tr / -).o" "$f"' sh "$out" {} "${flags[@]}"; then
    echo "0 passed, $# failed"
    exit 1
fi

fuzz() {
    local t=$1
    echo "== $t for ${FUZZ_S:-60} s"
    mkdir -p "$out/corpus/$t"
    clang "${flags[@]}" -fsanitize=fuzzer -o "$out/$t" "tests/fuzz/$t.c" "${objects[@]}" "${libs[@]}" "${msgpack[@]}" || return 1
    # hold memory and time of one input to what a frame may cost
    if timeout $((${FUZZ_S:-60} + 60)) "$out/$t" -max_total_time="${FUZZ_S:-60}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$out/found/$t-" "$out/corpus/$t" "tests/fuzz/corpus/$t" >"$out/$t.log" 2>&1; then
        grep -E 'stat::number_of_executed_units' "$out/$t.log"
        return
    fi
    tail -30 "$out/$t.log"
    echo "$t: FAILED"
    return 1
}

running=0
end_one() {
    if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    running=$((running - 1))
}
for t in "$@"; do
    [ $running -lt "$(nproc)" ] || end_one
    fuzz "$t" >"$out/$t.said" 2>&1 &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do end_one; done
for t in "$@"; do cat "$out/$t.said"; done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
