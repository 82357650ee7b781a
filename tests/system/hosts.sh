#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hosts.sh: three booted hosts, head, node1 and client, as containers (systemd-nspawn) on a network of
# their own.  All of it lives in namespaces of one process, and ends with it: nothing of this machine's
# mounts, network or services is touched.
#   hosts.sh probe                 can containers boot here?  status 77 and a reason when not
#   hosts.sh up DIR TREE           boots; TREE is what tree.sh made.  Leaves a process running
#   hosts.sh on DIR HOST [-u USER] COMMAND...
#   hosts.sh put DIR HOST PATH     stdin into a file of that host
#   hosts.sh down DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOSTS=(head node1 client)
BOOT_S=90

note() { printf 'hosts: %s\n' "$*"; }
die() { printf 'hosts: %s\n' "$*" >&2; exit 1; }
skip() { printf 'hosts: cannot boot containers here: %s\n' "$*" >&2; exit 77; }

# ---- inside the namespaces ------------------------------------------------------------------------
# What every container needs of its surroundings.
prepare() {
    mount -t proc proc /proc
    umount -R /sys/fs/cgroup 2>/dev/null || umount -Rl /sys/fs/cgroup || return 1
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || return 1
    mount -t tmpfs tmpfs /run || return 1
    mkdir -p /run/systemd
}

# tree.sh's directories as one, with what this host writes in DIR/HOST/up.
mount_root() {
    local host=$1 lower=$TREE/base
    [ "$host" = client ] || lower=$TREE/slurm:$lower
    mkdir -p "$DIR/$host/root" "$DIR/$host/work"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$DIR/$host/up,workdir=$DIR/$host/work" "$DIR/$host/root"
    # The cluster shares its homes; the client has others.
    [ "$host" = client ] || mount --bind "$DIR/home" "$DIR/$host/root/home"
}

probe_inside() {
    prepare || { echo 'no cgroup2 can be mounted'; return 1; }
    mkdir -p /run/probe/up /run/probe/work /run/probe/root
    mount -t overlay overlay -o "lowerdir=/,upperdir=/run/probe/up,workdir=/run/probe/work" /run/probe/root ||
        { echo 'no overlay can be mounted'; return 1; }
    ip link add br0 type bridge || { echo 'no network bridge can be made'; return 1; }
    timeout 30 systemd-nspawn --quiet --register=no --keep-unit -D /run/probe/root --network-bridge=br0 --console=pipe /bin/true </dev/null ||
        { echo 'systemd-nspawn cannot run a command in a container'; return 1; }
}

stop_all() {
    local pid
    trap '' TERM
    for pid in "${leaders[@]}"; do kill -s RTMIN+4 "$pid" 2>/dev/null || true; done   # poweroff
    timeout 20 tail -q -f /dev/null ${pids[0]+--pid="${pids[0]}"} ${pids[1]+--pid="${pids[1]}"} ${pids[2]+--pid="${pids[2]}"} 2>/dev/null || true
    exit 0
}

# pid 1 of the namespaces: when it ends, all is gone.
run_inside() {
    local host n=0 pid leader
    pids=() leaders=()
    prepare
    trap stop_all TERM INT
    ip link set lo up
    ip link add br0 type bridge
    ip link set br0 up
    for host in "${HOSTS[@]}"; do
        mount_root "$host"
        mkdir -p "/sys/fs/cgroup/slurm-agent-test.slice/$host"
        (
            echo $BASHPID >"/sys/fs/cgroup/slurm-agent-test.slice/$host/cgroup.procs"
            exec systemd-nspawn --quiet --register=no --keep-unit --resolv-conf=off --timezone=off \
                --link-journal=no --console=pipe --boot -D "$DIR/$host/root" --hostname="$host" \
                --machine="$host" --network-bridge=br0
        ) >"$DIR/$host/console" 2>&1 </dev/null &
        pids+=($!)
    done
    for host in "${HOSTS[@]}"; do
        pid=${pids[$n]}
        n=$((n + 1))
        while leader=$(pgrep -x -P "$pid" systemd); [ -z "$leader" ]; do   # nspawn's other children come and go
            kill -0 "$pid" || exit 1
            sleep 0.1
        done
        leaders+=("$leader")
        echo "$leader" >"$DIR/$host/leader"
    done
    wait
}

if [ "${1:-}" = _inside ]; then
    DIR=$3 TREE=$4
    "$2"
    exit
fi

# ---- outside ----------------------------------------------------------------------------------------
namespaces=(--mount --net --pid --ipc --uts --fork --kill-child --propagation private)

probe() {
    local why
    [ "$(id -u)" = 0 ] || skip 'it takes root'
    command -v systemd-nspawn >/dev/null || skip 'systemd-nspawn is not installed (apt-get install systemd-container)'
    why=$(timeout 60 unshare "${namespaces[@]}" bash "$here/hosts.sh" _inside probe_inside / / 2>/dev/null) ||
        skip "${why:-no namespaces can be made}"
}

# A host's own files, in front of the tree's.
write_host() {
    local host=$1 n=$2 up=$DIR/$1/up
    mkdir -p "$up/etc/systemd/system/multi-user.target.wants" "$up/etc/slurm"
    echo "$host" >"$up/etc/hostname"
    cat >"$up/etc/systemd/system/test-net.service" <<U
[Unit]
DefaultDependencies=no
Before=network.target network-pre.target
Wants=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ip link set lo up; ip addr add 10.23.0.$n/24 dev host0; ip link set host0 up'
[Install]
WantedBy=multi-user.target
U
    ln -s ../test-net.service "$up/etc/systemd/system/multi-user.target.wants/"
    case $host in
    head) ln -s /dev/null "$up/etc/systemd/system/slurmd.service" ;;
    node1) ln -s /dev/null "$up/etc/systemd/system/slurmctld.service" ;;
    client) rmdir "$up/etc/slurm"; return ;;
    esac
    cat >"$up/etc/slurm/slurm.conf" <<C
ClusterName=mars
SlurmctldHost=head
AuthType=auth/munge
SlurmUser=slurm
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=1,sched_min_interval=0,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
MpiDefault=none
KillWait=2
MessageTimeout=10
MinJobAge=10
NodeName=node1 CPUs=8 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP
C
    # slurmd looks for a plugin even when nothing uses it; 22.05 has no "disabled".
    case $(dpkg-query --admindir "$TREE/slurm/var/lib/dpkg" -W -f '${Version}' slurmd) in
    2[0-2].*) echo CgroupPlugin=cgroup/v1 >"$up/etc/slurm/cgroup.conf" ;;
    *) echo CgroupPlugin=disabled >"$up/etc/slurm/cgroup.conf" ;;
    esac
}

is_up() { [ -e "$DIR/pid" ] && kill -0 "$(cat "$DIR/pid")" 2>/dev/null; }

up() {
    local n=0 host begun=$SECONDS state
    ! is_up || die "$DIR is up already"
    probe
    [ ! -e "$DIR" ] || remove
    mkdir -p "$DIR"
    : >"$DIR/.hosts"
    cp -a "$TREE/base/home" "$DIR/home"
    for host in "${HOSTS[@]}"; do
        n=$((n + 1))
        write_host "$host" $n
    done
    # shellcheck disable=SC2024
    setsid unshare "${namespaces[@]}" bash "$here/hosts.sh" _inside run_inside "$DIR" "$TREE" >"$DIR/log" 2>&1 </dev/null &
    echo $! >"$DIR/pid"
    for host in "${HOSTS[@]}"; do
        while state=$(on "$host" systemctl is-system-running 2>/dev/null); [ "$state" != running ] && [ "$state" != degraded ]; do
            is_up || { cat "$DIR/log" >&2; die 'the containers ended'; }
            [ $((SECONDS - begun)) -lt $BOOT_S ] || { tail -n 20 "$DIR/$host/console" >&2; down; die "$host has not booted in $BOOT_S s: ${state:-nothing runs}"; }
            sleep 0.3
        done
        [ "$state" = running ] || { note "$host: failed units:"; on "$host" systemctl --no-legend --plain --failed; }
    done
    note "three hosts are up in $((SECONDS - begun)) s"
}

# A fresh unit of that host's systemd, so that it has its own cgroup and nothing of our environment.
# systemd would take ${Version} for a variable of its own.
on() {
    local host=$1 user=root home=/root init leader
    shift
    if [ "$1" = -u ]; then
        user=$2 home=/home/$2
        shift 2
    fi
    init=$(pgrep -P "$(cat "$DIR/pid")") || die 'the hosts are not up'
    leader=$(cat "$DIR/$host/leader") || die "$host is not up"
    nsenter -t "$init" -m -n -p -- nsenter -t "$leader" -m -u -i -n -p -- \
        systemd-run --quiet --pipe --wait --collect -p "User=$user" -p "WorkingDirectory=$home" -p RuntimeMaxSec=300 \
        -E "HOME=$home" -E "USER=$user" -E LC_ALL=C.UTF-8 -E DEBIAN_FRONTEND=noninteractive \
        -E PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin -- "${@//\$/\$\$}"
}

down() {
    local pid i
    if is_up; then
        pid=$(cat "$DIR/pid")
        pgrep -P "$pid" | xargs -r kill -TERM
        for ((i = 0; i < 250; i++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true   # --kill-child takes the rest along
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    fi
    rm -f "$DIR/pid"
    # This machine's cgroup tree keeps the empty directories.
    unshare --mount --propagation private bash -c '
        mkdir -p "$1" && mount -t cgroup2 cgroup2 "$1" && [ -d "$1/slurm-agent-test.slice" ] &&
        find "$1/slurm-agent-test.slice" -depth -type d -exec rmdir {} +' _ "$DIR/cgroup" 2>/dev/null || true
}

# Nothing is mounted in it out here; the logs stay until the next time.
remove() {
    [ -e "$DIR/.hosts" ] || die "$DIR is not what hosts.sh made"
    ! awk -v d="$DIR" 'index($5, d "/") == 1 {f = 1} END {exit !f}' /proc/self/mountinfo || die "$DIR has something mounted in it"
    rm -rf --one-file-system -- "$DIR"
}

command=${1:-}
[ "$command" != probe ] || { probe; exit; }
[ $# -ge 2 ] || { sed -n '3,11p' "${BASH_SOURCE[0]}" >&2; exit 2; }
DIR=$(realpath -m "$2")
case $command in
up) TREE=$(realpath "$3"); up ;;
on) shift 2; on "$@" ;;
put) on "$3" sh -c 'cat >"$1"' _ "$4" ;;
down) down ;;
*) die "no such command: $command" ;;
esac
