#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A private Slurm with slurm-agentd in one directory, for tests, the demo and playing.
set -euo pipefail
shopt -s extglob nullglob

usage() {
    cat >&2 <<'U'
usage: sandbox.sh up DIR [key=value ...]     then:  . DIR/env
       sandbox.sh down|status DIR
       sandbox.sh start|stop|kill|pause|resume|pid DIR PART
       sandbox.sh reconf DIR 'Key=value\nKey=value'    into slurm.conf; slurmctld starts anew, state kept

PART: munged slurmctld backup slurmd (all of them; node1 ... for one) slurmdbd mariadb slurmrestd agentd
      memcached swift-account swift-container swift-object swift-proxy swift-tls

  bin=build         where the built programs are: bin/slurm-agentd, bin/slurm-agent, libexec/
  cli=              another build directory, whose slurm-agent is called by its name
  agentd=1          0: Slurm alone (start DIR agentd starts it later)
  agentd_conf=      more lines for agentd.conf, as in extra_conf
  nodes=4 cpus=4    nodes (50 at most), CPUs of each
  node_conf=        more words for the line of the nodes in slurm.conf, e.g. Feature=big
  gres_conf=        lines for gres.conf, \n between them
  base=             first of 64 ports; empty: a free block
  cluster=sandbox   ClusterName
  minjobage=300     seconds a finished job stays known to slurmctld
  msgtimeout=10     MessageTimeout
  cred_ttl=         seconds a credential is good for; empty: as munge has it, 300
  private_data=     PrivateData, e.g. jobs
  job_submit=lift   a job_submit plugin that lifts the hold of jobs named lifted (Lua)
  extra_conf=       more lines for slurm.conf, \n between them; a key given here replaces the default line
  dbd=0             1: slurmdbd on a private MariaDB, account acc with the users in it
  backup=0          1: a second slurmctld (part backup), which takes over from the first; as root
  hint=0            1: slurmctld tells slurm-agentd of jobs that begin and end (slurm-agent-hint)
  late=0            1: a job_submit plugin keeps the next submit for the seconds that DIR/run/slurm/late says, or
                    until DIR/run/slurm/late.kept is removed
  store=            swift: an S3 store, OpenStack Swift, over http and https: see DIR/env and DIR/etc/aws
  store_region=     what signatures must be made for; empty: us-east-1
  slurm=1           0: the store alone
  users=2           as root: how many users there are (20 at most): alice, bob, user3 ...
  restd=0           1: slurmrestd on DIR/run/restd/rest.sock, as the first user

As root the users are alice and bob, and each part runs as on a real cluster; else everything runs as you.
U
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/sandbox/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/sandbox/slurm.sh
. "$here/slurm.sh"
# shellcheck source=tests/sandbox/dbd.sh
. "$here/dbd.sh"
# shellcheck source=tests/sandbox/swift.sh
. "$here/swift.sh"

umask 022
# Debian keeps daemons where an ordinary user's PATH does not look.
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8
unset SLURM_AGENT_SERVER SLURM_AGENT_CONF SLURM_CONF SLURM_CLUSTERS SLURM_JWT SQUEUE_FORMAT SINFO_FORMAT
DEADLINE=20
MARKER=.slurm-agent-sandbox
ROOT=0
[ "$(id -u)" != 0 ] || ROOT=1
declare -A opt=([bin]=build [cli]='' [agentd]=1 [agentd_conf]='' [nodes]=4 [cpus]=4 [node_conf]='' [gres_conf]='' [base]='' [cluster]=sandbox
    [minjobage]=300 [msgtimeout]=10 [cred_ttl]='' [private_data]='' [extra_conf]='' [job_submit]='' [backup]=0 [hint]=0 [late]=0 [dbd]=0 [restd]=0
    [store]='' [store_region]=us-east-1 [slurm]=1 [users]=2)
if [ "$ROOT" = 1 ]; then
    SLURM_USER=slurm USERS='alice bob'
else
    SLURM_USER=$(id -un) USERS=$(id -un)
fi

# In the order of starting.
all_parts() {
    local i last=${opt[nodes]}
    if [ -n "${opt[store]}" ]; then printf '%s\n' $SWIFT_PARTS; fi
    if [ "${opt[slurm]}" = 0 ]; then return 0; fi
    echo munged
    [ "${opt[dbd]}" = 0 ] || printf '%s\n' mariadb slurmdbd
    echo slurmctld
    [ "${opt[backup]}" = 0 ] || echo backup
    for ((i = 1; i <= last; i++)); do echo "slurmd-node$i"; done
    [ "${opt[restd]}" = 0 ] || echo slurmrestd
    echo agentd
}
# The parts that a name of the command line means, into parts[].
expand_part() {
    local p
    parts=()
    while read -r p; do
        case $p in "$1" | "slurmd-$1") parts+=("$p") ;; slurmd-*) [ "$1" != slurmd ] || parts+=("$p") ;; esac
    done < <(all_parts)
    [ ${#parts[@]} -gt 0 ] || die "$1 is no part of this sandbox; it has: $(all_parts | tr '\n' ' ')"
}

own() { [ "$ROOT" = 0 ] || chown "$1" "${@:2}"; }
# others_reach PATH: can somebody else get there?  (asked of the kernel, which knows ACLs as well)
others_reach() {
    local p=$1
    while [ ! -e "$p" ]; do p=$(dirname "$p"); done
    setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$p"
}

# ---- up -------------------------------------------------------------------------------------------
read_options() {
    local arg key i
    for arg in "$@"; do
        key=${arg%%=*}
        if [ "$key" = "$arg" ] || [ -z "$key" ] || [ -z "${opt[$key]+known}" ]; then
            die "$arg: no such setting (sandbox.sh without arguments lists them)"
        fi
        opt[$key]=${arg#*=}
    done
    for key in agentd backup hint late dbd restd slurm; do
        [[ ${opt[$key]} == [01] ]] || die "$key=${opt[$key]}: give 0 or 1"
    done
    for key in nodes cpus minjobage msgtimeout users; do
        [[ ${opt[$key]} == +([0-9]) ]] || die "$key=${opt[$key]}: give a number"
    done
    [[ ${opt[users]} == @([2-9]|1[0-9]|20) ]] || die "users=${opt[users]}: give 2 to 20"
    [ "$ROOT" = 0 ] || for ((i = 3; i <= opt[users]; i++)); do USERS+=" user$i"; done
    [[ ${opt[nodes]} == @([1-9]|[1-4][0-9]|50) ]] || die "nodes=${opt[nodes]}: give 1 to 50"
    [[ ${opt[store]} == @(|swift) ]] || die "store=${opt[store]}: give swift"
    [ -z "${opt[store]}" ] || [ "${opt[nodes]}" -le 40 ] || die "nodes=${opt[nodes]}: with a store, give 1 to 40"
    [ -n "${opt[store_region]}" ] || opt[store_region]=us-east-1
    [ "${opt[slurm]}" = 1 ] || opt[agentd]=0
    [[ ${opt[cred_ttl]} == ?(+([0-9])) ]] || die "cred_ttl=${opt[cred_ttl]}: give seconds"
    [[ ${opt[base]} == ?(+([0-9])) ]] || die "base=${opt[base]}: give a port"
    [ "$ROOT" = 1 ] || [ "${opt[backup]}" = 0 ] || die "backup=1: a host of its own name needs root"
    opt[bin]=$(realpath -m "${opt[bin]}")
    [ -z "${opt[cli]}" ] || opt[cli]=$(realpath -m "${opt[cli]}")
}

need() {
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} = 0 ] || die "not installed: ${missing[*]} (make deps installs what is missing)"
}

# The users stay after down: removing one whose home or processes a test still looks at does more harm
# than a few accounts on a machine for tests.
make_users() {
    local user
    getent passwd slurm >/dev/null || die "there is no user slurm (the package slurmctld makes it)"
    getent passwd slurm-agent >/dev/null ||
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin slurm-agent
    getent group sagent-test >/dev/null || groupadd sagent-test
    for user in $USERS; do
        getent passwd "$user" >/dev/null || useradd --create-home --shell /bin/bash "$user"
        [ "$(id -u "$user")" -ge 1000 ] || die "user $user has a uid below 1000"
    done
    [[ " $(id -Gn alice) " == *' sagent-test '* ]] || usermod --append --groups sagent-test alice
}

# Sockets' paths are short (108 bytes with what Slurm adds: R/spool/node50/node50_JOBID.STEPID), Slurm's
# settings take no blanks, and the users must get there: else the real directory is under /tmp.
make_dir() {
    local why=
    mkdir -p "$(dirname "$DIR")"
    if [ -L "$DIR" ] && [ ! -e "$DIR" ]; then
        rm "$DIR"
    elif [ -d "$DIR" ] && [ ! -L "$DIR" ]; then
        rmdir "$DIR" 2>/dev/null || die "$DIR is there, not empty and no sandbox"
    fi
    R=$(realpath -m "$DIR")
    if [ ${#R} -gt 58 ]; then
        why='its path is long'
    elif [[ $R == *[!A-Za-z0-9_./+@-]* ]]; then
        why='its path has unusual characters'
    elif [ "$ROOT" = 1 ] && ! others_reach "$(dirname "$R")"; then
        why='other users cannot get there'
    fi
    if [ -z "$why" ]; then
        mkdir "$R" || die "cannot make $DIR"
    else
        R=$(mktemp -d /tmp/slurm-agent-sandbox.XXXXXX)
        chmod 755 "$R"
        ln -s "$R" "$DIR" || { rmdir "$R"; die "cannot make $DIR"; }
        note "$DIR is a link to $R: $why"
    fi
    : >"$R/$MARKER"
}

fill_dir() {
    local d
    mkdir -p "$R"/{etc,log,run,state,spool}
    mkdir -m 755 "$R"/run/{munge,slurm,agentd,restd,mariadb} "$R"/log/{munge,slurm}
    mkdir -m 700 "$R"/etc/munge "$R"/state/{slurmctld,agentd,mariadb}
    for d in run/slurm log/slurm state/slurmctld run/mariadb state/mariadb; do own "$SLURM_USER:" "$R/$d"; done
    own slurm-agent: "$R/run/agentd" "$R/state/agentd"
    own "${USERS%% *}:" "$R/run/restd"
    (umask 077 && head -c 128 /dev/urandom >"$R/etc/munge/munge.key")
    write_slurm_conf
    write_agent_conf
    [ -z "${opt[store]}" ] || fill_swift
}

save_options() {
    local key
    opt[dir]=$DIR
    for key in "${!opt[@]}"; do printf 'opt[%s]=%q\n' "$key" "${opt[$key]}"; done >"$R/$MARKER"
}

start_part() {
    CURRENT=$1
    case $1 in
        slurmd-*) start_slurmd "$@" ;;
        *) "start_$1" ;;
    esac
}
show_logs() {
    local file
    note "$CURRENT did not come up; the end of its logs:"
    for file in "$R/log/$CURRENT".log "$R"/log/{munge,slurm}/"$CURRENT".log; do
        [ -s "$file" ] || continue
        echo "--- ${file#"$R"/}" >&2
        tail -n 25 "$file" >&2
    done
}

UP=no CURRENT=
after_up() {
    local status=$?
    [ "$UP" = half ] || return 0
    trap '' INT TERM
    [ -z "$CURRENT" ] || show_logs
    take_down
    note "$DIR is down again"
    exit $((status ? status : 1))
}

up() {
    local begun
    begun=$(now_ms)
    read_options "$@"
    need setpriv flock ps hostname
    [ "${opt[slurm]}" = 0 ] || need munged munge slurmctld slurmd scontrol sinfo
    [ -z "${opt[store]}" ] || need memcached swift-proxy-server swift-object-server swift-ring-builder openssl curl setfattr
    [ "${opt[dbd]}" = 0 ] || need slurmdbd sacctmgr mariadbd mariadb-install-db mariadb
    [ "${opt[restd]}" = 0 ] || need slurmrestd
    [ "${opt[agentd]}" = 0 ] || [ -x "${opt[bin]}/bin/slurm-agentd" ] ||
        die "${opt[bin]}/bin/slurm-agentd is not built (agentd=0 does without)"
    if [ -e "$DIR/$MARKER" ]; then
        open_dir
        ! is_running || die "$DIR is up already: sandbox.sh down $DIR ends it"
        take_down   # left by a crash
        load_defaults "$@"
    fi
    trap after_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    [ "$ROOT" = 0 ] || locked make_users
    make_dir
    UP=half
    opt[prog]=${opt[bin]}
    if [ "$ROOT" = 1 ] && ! others_reach "${opt[bin]}"; then
        opt[prog]=$R/prog   # agentd runs workers as the users: they must get at the programs
    fi
    locked take_ports
    save_options
    fill_dir
    if [ -n "${opt[store]}" ]; then start_store || exit 1; fi
    [ "${opt[slurm]}" = 0 ] || start_cluster
    UP=yes
    note "up in $(($(now_ms) - begun)) ms, ports from ${opt[base]}: . $DIR/env"
}
start_cluster() {
    local slurmds=()
    start_part munged || exit 1
    if [ "${opt[dbd]}" = 1 ]; then
        start_part mariadb || exit 1
        start_part slurmdbd || exit 1
        add_accounts || exit 1
    fi
    start_part slurmctld || exit 1
    if [ "${opt[backup]}" = 1 ]; then start_part backup || exit 1; fi
    mapfile -t slurmds < <(all_parts | grep ^slurmd-)
    start_part "${slurmds[@]}" || exit 1
    if [ "${opt[restd]}" = 1 ]; then start_part slurmrestd || exit 1; fi
    if [ "${opt[agentd]}" = 1 ]; then start_part agentd || exit 1; fi
}

# ---- down and the rest ------------------------------------------------------------------------------
open_dir() {
    [ -e "$DIR/$MARKER" ] || die "$DIR is not a sandbox"
    R=$(realpath "$DIR")
    # Its contents are run as commands below.
    [ -O "$R/$MARKER" ] || die "$DIR is the sandbox of $(stat -c %U "$R/$MARKER"): only that user can do this"
    # shellcheck disable=SC1090,SC1091
    . "$R/$MARKER"
}
load_defaults() { # after another sandbox's settings were read
    local key
    for key in "${!opt[@]}"; do opt[$key]=${defaults[$key]:-}; done
    unset 'opt[dir]' 'opt[prog]'
    read_options "$@"
}

is_running() {
    local file
    for file in "$R"/run/*.pid; do
        file=${file##*/}
        ! alive "${file%.pid}" || return 0
    done
    return 1
}

take_down() {
    local part slurmds=() file
    for part in agentd slurmrestd backup slurmctld; do
        end_parts 5 "$part"
    done
    for file in "$R"/run/slurmd-*.pid; do
        file=${file##*/}
        slurmds+=("${file%.pid}")
    done
    end_parts 5 ${slurmds[@]+"${slurmds[@]}"}
    end_steps
    end_parts 10 slurmdbd
    end_parts 10 mariadb
    end_parts 5 munged
    # shellcheck disable=SC2086  # words are meant
    end_parts 5 $SWIFT_PARTS
    give_ports_back
    rm -rf --one-file-system -- "$R"
    for part in "$DIR" "${opt[dir]:-$DIR}"; do
        [ ! -L "$part" ] || rm -f -- "$part"
    done
}

status() {
    local part state bad=0
    while read -r part; do
        state=stopped
        if alive "$part"; then
            state="pid $PART_PID"
            [[ $PROC_STATE != [Tt] ]] || state+=' paused' bad=1
        elif [ "$part" != agentd ] || [ "${opt[agentd]}" = 1 ]; then
            bad=1
        fi
        printf '%-14s %s\n' "$part" "$state"
    done < <(all_parts)
    echo "ports from ${opt[base]}, real directory $R"
    return $bad
}

start() {
    local p
    for p in "${parts[@]}"; do ! alive "$p" || die "$p runs already"; done
    start_part "${parts[@]}" || { show_logs; exit 1; }
}

if [ $# -lt 2 ] || [ -z "$2" ]; then usage; fi
command=$1
DIR=$(realpath -ms "$2")
R=
shift 2
case $command in
    up)
        declare -A defaults
        for key in "${!opt[@]}"; do defaults[$key]=${opt[$key]}; done
        up "$@"
        exit
        ;;
    down | status) [ $# = 0 ] || usage ;;
    start | stop | kill | pause | resume | pid | reconf) [ $# = 1 ] || usage ;;
    *) usage ;;
esac
open_dir
case $command in start | stop | kill | pause | resume | pid) expand_part "$1" ;; esac
case $command in
    down) take_down ;;
    status) status ;;
    start) start ;;
    stop) end_parts 10 "${parts[@]}" ;;
    kill)   # as a crash would: no warning, and nothing else is ended
        for p in "${parts[@]}"; do
            alive "$p" || die "$p does not run"
            rest=$(below "$p")
            kill -KILL "$PART_PID"
            wait_until 5 '' is_dead "$p" || die "$p does not end"
            signal_lines CONT "$rest"   # of a stopped one: they see that it has gone, and go
        done
        ;;
    pause) for p in "${parts[@]}"; do freeze STOP "$p"; done ;;
    resume) for p in "${parts[@]}"; do freeze CONT "$p"; done ;;
    pid) for p in "${parts[@]}"; do 
            alive "$p" || die "$p does not run"
            echo "$PART_PID"
        done
        ;;
    reconf)
        conf_put "$R/etc/slurm.conf" "$1"
        if alive slurmctld; then
            end_parts 10 slurmctld
            parts=(slurmctld)
            start
        fi
        ;;
esac
