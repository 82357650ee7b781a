# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Processes, waiting and ports for sandbox.sh, which sources this.  R is the sandbox's real directory.

note() { echo "sandbox: $*" >&2; }
die() {
    note "$*"
    exit 1
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# wait_until SECONDS PART COMMAND...: polls until COMMAND succeeds; fails at the deadline, or as soon
# as the process PART (empty: none) is gone.
wait_until() {
    local end=$(($(now_ms) + $1 * 1000)) part=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ -z "$part" ] || alive "$part" || return 1
        [ "$(now_ms)" -lt "$end" ] || return 1
        sleep 0.02
    done
    [ -z "$part" ] || alive "$part"   # somebody else may have answered
}

# ---- processes ------------------------------------------------------------------------------------
# R/run/PART.pid holds "pid starttime": a pid alone may by now be somebody else's.

# proc_stat PID: sets PROC_STATE PROC_PPID PROC_START; fails when there is no such process.
proc_stat() {
    local line fields
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${line##*) }"   # the name before may contain anything, blanks and ")" too
    PROC_STATE=${fields[0]} PROC_PPID=${fields[1]} PROC_START=${fields[19]}
}

# still PID START: runs, and is the one that was started then.  A zombie (nobody reaps in some
# containers) counts as gone, which kill -0 would not notice.
still() { proc_stat "$1" && [ "$PROC_START" = "$2" ] && [[ $PROC_STATE != [ZX] ]]; }

# alive PART: sets PART_PID.
alive() {
    local start
    PART_PID=
    { read -r PART_PID start <"$R/run/$1.pid"; } 2>/dev/null || return 1
    still "$PART_PID" "$start"
}

# daemon PART [NAME=value...] COMMAND...: in the background with an environment of its own (nothing
# of the caller's may reach Slurm, agentd or a job), signals as a shell leaves them in the foreground
# (bash ignores INT and QUIT in background commands), and none of the caller's files.
daemon() {
    local part=$1 kept=() name pid start=0
    shift
    for name in ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS; do
        [ -z "${!name:-}" ] || kept+=("$name=${!name}")
    done
    (
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        cd /
        exec setsid env -i --default-signal PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            LC_ALL=C.UTF-8 SLURM_CONF="$R/etc/slurm.conf" ${kept[@]+"${kept[@]}"} "$@"
    ) </dev/null >>"$R/log/$part.log" 2>&1 &
    pid=$!
    disown "$pid"   # else bash reports its end
    ! proc_stat "$pid" || start=$PROC_START
    echo "$pid $start" >"$R/run/$part.pid"
}

# The processes below the given ones, as lines "pid".
descendants() {
    ps -e -o pid=,ppid= | awk -v roots="$*" '
        BEGIN { n = split(roots, r, " "); for (i = 1; i <= n; i++) in_tree[r[i]] = 1 }
        { parent[$1] = $2 }
        END {
            do {
                grew = 0
                for (p in parent)
                    if (!(p in in_tree) && (parent[p] in in_tree)) { in_tree[p] = 1; grew = 1; print p }
            } while (grew)
        }'
}

# with_start PID...: "pid starttime" lines of those that run.
with_start() {
    local pid
    for pid in "$@"; do
        ! proc_stat "$pid" || echo "$pid $PROC_START"
    done
}

# all_gone LINES: none of the "pid starttime" lines runs.
all_gone() {
    local pid start
    while read -r pid start; do
        [ -z "$pid" ] || ! still "$pid" "$start" || return 1
    done <<<"$1"
}
signal_lines() {
    local pid start
    while read -r pid start; do
        [ -z "$pid" ] || ! still "$pid" "$start" || kill "-$1" "$pid" 2>/dev/null || true
    done <<<"$2"
}

# below PART: "pid starttime" of what PART started, even when PART itself is gone: daemon() gave it a
# session of its own, whose number its children keep.  Job steps outlive a slurmd on purpose.
below() {
    local pids start
    # "return 0": within a trap a bare return means the status from before the trap
    if [[ $1 == slurmd-* ]] || [ ! -s "$R/run/$1.pid" ]; then return 0; fi
    read -r PART_PID start <"$R/run/$1.pid"
    if proc_stat "$PART_PID" && [ "$PROC_START" != "$start" ]; then return 0; fi   # another's by now
    pids=$(descendants "$PART_PID" && ps -e -o pid=,sid= | awk -v s="$PART_PID" '$2 == s && $1 != s { print $1 }')
    # shellcheck disable=SC2086  # words are meant
    with_start $pids
}

# end_parts SECONDS PART...: TERM to all of them, KILL at the deadline, and to what they leave behind.
end_parts() {
    local seconds=$1 part
    local -A rest=()
    shift
    for part in "$@"; do
        rest[$part]=$(below "$part")
        if alive "$part"; then
            kill -TERM "$PART_PID" 2>/dev/null || true
            kill -CONT "$PART_PID" 2>/dev/null || true   # a stopped one would not notice the TERM
            signal_lines CONT "${rest[$part]}"
        fi
    done
    for part in "$@"; do
        if ! wait_until "$seconds" '' is_dead "$part"; then
            note "$part did not end in $seconds s: killed"
            ! alive "$part" || kill -KILL "$PART_PID" 2>/dev/null || true
            wait_until 5 '' is_dead "$part" || die "$part does not even end by KILL"
        fi
        if ! wait_until 2 '' all_gone "${rest[$part]}"; then
            note "$part left processes behind: killed"
            signal_lines KILL "${rest[$part]}"
        fi
        rm -f "$R/run/$part.pid"
    done
}
is_dead() { ! alive "$1"; }

# freeze STOP|CONT PART: its whole tree but for job steps, as a hung host would; waits until it is so.
freeze() {
    local signal=$1 part=$2 pids pid
    alive "$part" || die "$part does not run"
    pids=$PART_PID
    case $part in slurmd-*) ;; *) pids+=" $(descendants "$PART_PID" | tr '\n' ' ')" ;; esac
    for pid in $pids; do kill -"$signal" "$pid" 2>/dev/null || true; done
    for pid in $pids; do
        wait_until 5 '' is_frozen "$signal" "$pid" || die "process $pid of $part does not take $signal"
    done
}
is_frozen() {
    proc_stat "$2" || return 0
    case $1$PROC_STATE in STOP[TtZX]) ;; CONT[Tt]) return 1 ;; CONT*) ;; *) return 1 ;; esac
}

# ---- one thing at a time, among all sandboxes of this host ----------------------------------------
# The directory is both the lock (flock takes a directory, and reading is enough, so the owner does
# not matter) and the list of ports taken: a file per block, named by its base, holding the sandbox.
PORTS=/tmp/slurm-agent-sandbox.ports
BLOCK=64

locked() {
    local fd
    mkdir -m 1777 "$PORTS" 2>/dev/null || true
    if [ ! -d "$PORTS" ] || [ -L "$PORTS" ]; then die "$PORTS is not a directory"; fi
    exec {fd}<"$PORTS"
    flock -w 30 "$fd" || die "another sandbox holds $PORTS for too long"
    "$@"
    exec {fd}<&-
}

# Every TCP port of this host in use here, TIME_WAIT left out, into the array used[].
read_used_ports() {
    local port
    used=()
    while read -r port; do used[16#$port]=1; done < <(
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
            awk '$2 ~ /:....$/ && $4 != "06" { port = substr($2, length($2) - 3); if (!seen[port]++) print port }')
}
block_is_free() {
    local port
    for ((port = $1; port < $1 + BLOCK; port++)); do
        [ -z "${used[port]:-}" ] || return 1
    done
}
# claim_block BASE: false when another sandbox, which still exists, has some of it.
claim_block() {
    local file other holder
    for file in "$PORTS"/*; do
        other=${file##*/}
        [[ $other == +([0-9]) ]] || continue
        ((other < $1 + BLOCK && $1 < other + BLOCK)) || continue
        { read -r holder <"$file"; } 2>/dev/null || holder=
        taken_by=$holder
        [ -z "$holder" ] || [ ! -e "$holder/$MARKER" ] || return 1
        # A sandbox that is gone and did not say so.  Others' files stay: they may only look gone.
        if [ ! -O "$file" ] && [ "$ROOT" = 0 ]; then return 1; fi
        rm -f "$file"
    done
    (set -C && echo "$R" >"$PORTS/$1") 2>/dev/null
}
# Sets opt[base], the given one or the first free one below the ports that the kernel gives away.
take_ports() {
    local base taken_by=
    local -a used
    read_used_ports
    if [ -n "${opt[base]}" ]; then
        block_is_free "${opt[base]}" || die "base=${opt[base]}: one of the next $BLOCK ports is in use"
        claim_block "${opt[base]}" || die "base=${opt[base]}: taken by $taken_by"
        return 0
    fi
    for ((base = 20000; base + BLOCK <= 32768; base += BLOCK)); do
        if block_is_free "$base" && claim_block "$base"; then
            opt[base]=$base
            return 0
        fi
    done
    die "no free block of $BLOCK ports"
}
give_ports_back() {
    local file=$PORTS/${opt[base]}
    if [ -f "$file" ] && [ "$(<"$file")" = "$R" ]; then rm -f "$file"; fi
}
# listens PORT...: all of them have a listening socket.
listens() {
    local port hex
    for port in "$@"; do
        printf -v hex '%04X' "$port"
        grep -qE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null || return 1
    done
}
