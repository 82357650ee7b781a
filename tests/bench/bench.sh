#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# bench.sh [SECTION ...]: a sandbox of its own and the benchmark in it; see docs/performance.md
#   BENCH=quick        the short form
#   BENCH_ROUNDS=7     of the peers' table
#   BENCH_SSH_PORT=    where a private sshd listens on 127.0.0.1; empty: a free port of the sandbox's
#   SSHD=              its program, where it is not in PATH
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build} dir=build/bench-sandbox sshd_pid='' bench_pid=''
as=()
export PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    [ -z "$bench_pid" ] || kill "$bench_pid" 2>/dev/null || true   # its callers end with it
    [ -z "${BENCH_SSH:-}" ] || "${as[@]}" ssh -F "$BENCH_SSH" -O exit master 2>/dev/null || true
    [ -z "$sshd_pid" ] || kill "$sshd_pid" 2>/dev/null || true
    bash tests/sandbox/sandbox.sh down "$dir" >/dev/null 2>&1 || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM
ulimit -n "$(ulimit -Hn)"

# Finished jobs go early: what is queued is what the benchmark queues.  The caps that are raised are
# those on many connections from one address and on what one user may ask: a load generator is one
# host, and few users.
[ "$(id -u)" = 0 ] && first=alice || first=$(id -un)
bash tests/sandbox/sandbox.sh up "$dir" bin="$B" minjobage=2 restd=1 hint=1 users=8 \
    agentd_conf="hello_rate = 20000\nhello_rate_per_address = 20000\nmax_pipes_per_address = 4000\nmax_sessions_per_user = 8000\nquery_rate_per_user = 10000000\nlog_rate_per_user = 10000000\ncall_rate_per_user = 10000000\nchange_rate_per_user = 10000000\nstats_users = $first"
# shellcheck disable=SC1091  # made just now
. "$dir/env"
real=$(dirname "$(dirname "$SLURM_CONF")")
user=${SLURM_AGENT_USERS%% *}
[ "$(id -u)" != 0 ] || as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups)

export BENCH_SCRIPT=$real/etc/bench-script
printf '#!/bin/sh\ntrue\n' >"$BENCH_SCRIPT"

# An sshd that is the first user, with keys of its own: it lets in that user alone.
start_sshd() {
    local ssh=$real/ssh port=${BENCH_SSH_PORT:-$((SLURM_AGENT_BASE + 60))} sshd=${SSHD:-$(command -v sshd || true)}
    if [ -z "$sshd" ]; then
        export BENCH_NO_SSH='there is no sshd (openssh-server; SSHD names it where it is not in PATH)'
        return
    fi
    install -d -m 700 "$ssh"
    ssh-keygen -q -t ed25519 -N '' -C bench -f "$ssh/host"
    ssh-keygen -q -t ed25519 -N '' -C bench -f "$ssh/user"
    cat >"$ssh/sshd_config" <<C
ListenAddress 127.0.0.1:$port
HostKey $ssh/host
PidFile none
AuthorizedKeysFile $ssh/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv SLURM_CONF=$SLURM_CONF PATH=$PATH
C
    cat >"$ssh/config" <<C
Host master fresh
  HostName 127.0.0.1
  Port $port
  User $user
  IdentityFile $ssh/user
  IdentitiesOnly yes
  BatchMode yes
  HostKeyAlias bench
  UserKnownHostsFile $ssh/known_hosts
  GlobalKnownHostsFile none
  LogLevel ERROR
Host master
  ControlMaster auto
  ControlPath $ssh/%C
  ControlPersist yes
C
    printf 'bench %s\n' "$(cat "$ssh/host.pub")" >"$ssh/known_hosts"
    [ "$(id -u)" != 0 ] || chown -R "$user:" "$ssh"
    "${as[@]}" "$sshd" -D -e -f "$ssh/sshd_config" >"$real/log/sshd.log" 2>&1 &
    sshd_pid=$!
    for _ in $(seq 100); do
        if "${as[@]}" ssh -F "$ssh/config" fresh true 2>"$real/log/ssh.log"; then
            export BENCH_SSH=$ssh/config
            "${as[@]}" ssh -F "$BENCH_SSH" master true   # leaves the connection that all of them share
            return
        fi
        sleep 0.05
    done
    BENCH_NO_SSH="sshd does not let $user in: $(tail -n 1 "$real/log/ssh.log")"
    export BENCH_NO_SSH
}
start_sshd

for part in slurmctld agentd slurmrestd; do
    export "BENCH_${part^^}=$(bash tests/sandbox/sandbox.sh pid "$dir" "$part")"
done
export BENCH_ECHO_PORT=$((SLURM_AGENT_BASE + 61)) BENCH_JSON=$B/bench.json SLURM_AGENT_SANDBOX=$real
"$B/tests/bench" "$@" &
bench_pid=$!
wait "$bench_pid"   # which a signal ends
bench_pid=''
