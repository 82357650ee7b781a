#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# run.sh DEBS [NAME...]: the packages in DEBS on three booted hosts, as an administrator and as users
# would use them.  Each test goes on where the one before has left the hosts; NAME... runs those alone,
# on hosts that are up (KEEP=1 leaves them up).
# Ends with "N passed, M failed"; status 77 and a reason where containers cannot boot.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
DEBS=$(realpath "$1")
shift
T=$PWD/build/system
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
D=$T/hosts
passed=0 failed=0

# ---- words of the tests -----------------------------------------------------------------------------
on() { timeout -k 5 "${ON_S:-100}" bash "$here/hosts.sh" on "$D" "$@"; }
alice() { on client -u alice "$@"; }
bob() { on client -u bob "$@"; }
agent() { alice slurm-agent "$@"; }
# Runs it; its output is in $out, its status in $rc.
try() {
    rc=0
    out=$("$@" 2>&1) || rc=$?
}
is() { [ "$1" = "$2" ] || { printf 'it is "%s", and should be "%s"\n' "$1" "$2"; exit 1; }; }
has() { [[ $1 == *"$2"* ]] || { printf '"%s" is not in:\n%s\n' "$2" "$1"; exit 1; }; }
hasnt() { [[ $1 != *"$2"* ]] || { printf '"%s" is in:\n%s\n' "$2" "$1"; exit 1; }; }
# soon COMMAND...: within a minute
soon() {
    local s=${SOON_S:-60}
    local end=$((SECONDS + s))
    until "$@" >"$D/soon" 2>&1; do
        [ $SECONDS -lt $end ] || { printf 'not in %d s: %s\n' "$s" "$*"; cat "$D/soon"; exit 1; }
        sleep 0.3
    done
}
says() { local text=$1; shift; [[ $("$@" 2>&1) == *"$text"* ]]; }
log_says() { on head journalctl -q -u slurm-agentd --no-pager -o cat | grep -qF -- "$1"; }
serves() { says 'slurmctld up' agent ping; }
put() { bash "$here/hosts.sh" put "$D" "$1" "$2"; }
apt_install() {   # HOST PACKAGE...
    local host=$1 name list=()
    shift
    for name in "$@"; do
        put "$host" "/root/${name##*/}" <"$name"
        list+=("/root/${name##*/}")
    done
    on "$host" apt-get -q install -y --no-install-recommends --allow-downgrades -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "${list[@]}"
}
deb() { echo "$DEBS"/"$1"_*.deb; }
main_pid() { on head systemctl show -P MainPID slurm-agentd; }
submit() { agent submit --parsable --output=/home/alice/%j.out "$@"; }
# slurm-agentd one version older, in $T/older: the first commit that had packages, or, where history does not
# reach so far, these packages again.  Its conffile has another line.  Made while other tests run.
make_older() {
    local from=$DEBS commit name=slurm-agentd work=$T/older/unpacked
    commit=$(git log --diff-filter=A --format=%H -- packaging/deb.sh | tail -1)
    if [ -n "$commit" ] && [ "$commit" != "$(git rev-parse HEAD)" ]; then
        from=$T/older-$commit
        compgen -G "$from/slurm-agentd_*.deb" >/dev/null || nice bash packaging/deb.sh "$from" "$commit"
    fi
    dpkg-deb -R "$from"/${name}_*.deb "$work"
    sed -i -E 's/^(Version: .*)/\1~older/' "$work/DEBIAN/control"
    echo '# a line of the older one' >>"$work/etc/slurm-agent/agentd.conf"
    dpkg-deb --root-owner-group -b "$work" "$T/older/older.deb"
}

# ---- tests, in this order ---------------------------------------------------------------------------
test_installed_where_munge_and_slurm_are_missing() {
    on head systemctl stop munge slurmctld
    on head mv /etc/slurm/slurm.conf /etc/slurm/later
    apt_install head "$(deb slurm-agentd)" "$(deb slurm-agent-client)"
    is "$(on head dpkg-query -W -f '${db:Status-Status}' slurm-agentd)" installed
    is "$(on head systemctl is-active slurm-agentd)" active
    is "$(on head systemctl is-enabled slurm-agentd)" enabled
    is "$(on head stat -c '%U %a' /var/lib/slurm-agentd)" 'slurm-agent 700'
    try on head slurm-agentd --check
    is $rc 1
    has "$out" 'FAIL  munge'
    log_says 'slurm.conf: No such file or directory'
    log_says 'FAIL  munge'   # from ExecStartPre
    has "$(on head systemctl status --no-pager slurm-agentd)" 'Status: "slurmctld: '
}
test_comes_up_by_itself_once_they_are_there() {
    local pid
    pid=$(main_pid)
    on head mv /etc/slurm/later /etc/slurm/slurm.conf
    on head systemctl start munge slurmctld
    soon says 'slurmctld up' on head -u alice slurm-agent ping
    is "$(on head systemctl show -P StatusText slurm-agentd)" 'slurmctld answers'
    is "$(main_pid)" "$pid"
    try on head slurm-agentd --check
    is "$rc $out" "0 $out"
    has "$out" 'ok    version'
    has "$out" 'all is well'
}
test_one_line_serves_other_hosts() {
    on head sed -i 's/^#listen_tcp.*/listen_tcp = 10.23.0.1:6821/' /etc/slurm-agent/agentd.conf
    on head systemctl restart slurm-agentd
    apt_install client "$(deb slurm-agent-client)"
    on client sed -i 's|^#server.*|server = tcp://head:6821|' /etc/slurm-agent/client.conf
    soon serves
    try agent ping --verbose
    has "$out" 'address    tcp://head:6821'
    has "$out" 'the server is uid 0'
    has "$(agent whoami)" 'alice (uid 2001'
    has "$(bob slurm-agent whoami)" 'bob (uid 2002'
}
test_the_client_needs_no_slurm() {
    hasnt "$(dpkg-deb -f "$(deb slurm-agent-client)" Depends)" slurm
    hasnt "$(dpkg-deb -f "$(deb libslurmagent1)" Depends)" libslurm
    try on client sh -c 'command -v sbatch squeue scontrol; ls /etc/slurm'
    hasnt "$out" /bin/
    has "$out" 'No such file'
    on client test -s /usr/share/man/man1/slurm-agent.1.gz
    on client bash -n /usr/share/bash-completion/completions/slurm-agent
}
# libslurm without its plugins ends every process that uses it.
test_slurms_plugins_come_with_it() {
    has "$(dpkg-deb -f "$(deb slurm-agentd)" Depends)" slurm-wlm-basic-plugins
    local plugins
    plugins=$(on head sh -c 'dirname "$(dpkg -L slurm-wlm-basic-plugins | grep /auth_munge.so)"')
    on head systemctl stop slurm-agentd
    on head mv "$plugins" /root/plugins
    on head systemctl start slurm-agentd
    soon says 'the watcher ended with status 1: ' on head systemctl show -P StatusText slurm-agentd
    try on head slurm-agentd --check
    has "$out" 'FAIL  slurmctld  agent-worker ended with status 1: '
    has "$out" 'fatal: '
    on head mv /root/plugins "$plugins"
    soon serves
    soon says 'slurmctld answers' on head systemctl show -P StatusText slurm-agentd
}
test_drained_it_says_so() {
    on head systemctl kill --kill-whom=main -s USR1 slurm-agentd
    soon says 'it is draining' agent ping
    has "$(on head systemctl show -P StatusText slurm-agentd)" 'draining: no new submits are taken'
    try agent --timeout=2 submit --output=/dev/null --wrap=true
    is $rc 7
    on head systemctl kill --kill-whom=main -s USR2 slurm-agentd
    soon says 'submits    are taken' agent ping --verbose
    is "$(on head systemctl show -P StatusText slurm-agentd)" 'slurmctld answers'
}
# What a user of the head node could do with what is installed.
test_local_users_can_change_nothing() {
    out=$(on head sh -c 'dpkg -L slurm-agentd slurm-agent-client | while read -r f; do
        [ -L "$f" ] || find "$f" -maxdepth 0 \( -perm /6022 -o ! -user root -o ! -group root \) ! -path /run\*; done')
    is "$out" ''
    is "$(on head stat -c '%U:%G %a' /run/slurm-agentd /var/lib/slurm-agentd | tr '\n' ' ')" \
        'slurm-agent:slurm-agent 755 slurm-agent:slurm-agent 700 '
    is "$(on head find /var/lib/slurm-agentd /run/slurm-agentd -type f ! -perm 600)" ''
    is "$(on head find /run/slurm-agentd -type s -printf '%f %m\n' | sort | tr '\n' ' ')" 'agent.sock 666 hint.sock 666 '
    is "$(on head stat -c '%a' /usr/libexec/slurm-agent/agent-broker /usr/libexec/slurm-agent/agent-worker \
        /usr/libexec/slurm-agent/agent-stage | tr '\n' ' ')" '711 711 711 '
    is "$(on head stat -c '%U:%G %a' /var/lib/slurm-agent-grants)" 'root:root 700'
    # The account has no password, no shell and no files of its own.
    has "$(on head getent shadow slurm-agent)" 'slurm-agent:!'
    has "$(on head getent passwd slurm-agent)" /nologin
    is "$(on head find / -xdev -user slurm-agent ! -path '/proc/*' ! -path '/run/slurm-agentd*' ! -path '/var/lib/slurm-agentd*')" ''
    try on head -u alice sh -c 'rm -f /run/slurm-agentd/agent.sock; mv /run/slurm-agentd /run/mine; ln -s /etc /run/slurm-agentd/x
        cat /var/lib/slurm-agentd/journal.db; echo >>/etc/slurm-agent/agentd.conf; exit 0'
    is "$(grep -c 'Permission denied' <<<"$out")" 5
    # Processes that are not hers she can neither trace nor look into; her own worker she cannot trace.
    try on head -u alice sh -c 'slurm-agent script 1 >/dev/null 2>&1
        for p in $(pgrep agent-) $(pgrep -x slurm-agentd); do cat /proc/$p/environ /proc/$p/maps; ls /proc/$p/fd; done 2>&1 |
        grep -v "Permission denied"; pgrep -c -u alice agent-worker'
    is "$out" "$((out))"
    [ "$out" -gt 0 ] || { echo 'she had no worker'; exit 1; }
}
test_hints_of_users_are_not_taken() {
    on head -u alice env SLURM_JOB_ID=1 /usr/libexec/slurm-agent/slurm-agent-hint
    soon log_says 'hints are taken of root and SlurmUser'
    on head runuser -u slurm -- env SLURM_JOB_ID=1 /usr/libexec/slurm-agent/slurm-agent-hint --verbose
    serves
}
test_submit_wait_logs_list() {
    local id
    id=$(submit --job-name=first --wrap='echo on $(hostname) as $(id -un)')
    agent wait "$id"
    is "$(agent logs "$id")" 'on node1 as alice'
    has "$(agent list --since now-1hours)" first
    has "$(agent get "$id")" COMPLETED
    hasnt "$(bob slurm-agent list)" first
}
test_a_program_is_built_with_the_library() {
    local dev=$T/dev lib
    rm -rf --one-file-system "$dev"
    dpkg-deb -x "$(deb libslurmagent1)" "$dev"
    dpkg-deb -x "$(deb libslurmagent-dev)" "$dev"
    lib=$(dirname "$(find "$dev" -name slurmagent.pc)")
    # shellcheck disable=SC2046  # words are wanted
    gcc -o "$dev/example" "$dev"/usr/share/doc/libslurmagent-dev/examples/submit_and_wait.c \
        $(PKG_CONFIG_SYSROOT_DIR=$dev PKG_CONFIG_PATH=$lib pkg-config --cflags --libs slurmagent)
    has "$(readelf -d "$dev/example")" '[libslurmagent.so.1]'
    apt_install client "$(deb libslurmagent1)"
    put client /tmp/example <"$dev/example"
    on client chmod 755 /tmp/example
    try alice /tmp/example 'echo by the library; exit 5'
    is $rc 5
    has "$out" 'by the library'
}
test_run_exits_as_the_job_did() {
    try agent run --quiet --wrap='echo out; echo err >&2; exit 7'
    is $rc 7
    has "$out" out
    has "$out" err
}
test_logs_are_followed() {
    local id
    id=$(submit --wrap='for i in 1 2 3 4 5; do echo line $i; sleep 0.5; done')
    is "$(agent logs -f "$id" 2>/dev/null)" "$(printf 'line %s\n' 1 2 3 4 5)"
}
test_cancel_and_what_is_others() {
    local id
    on head -u alice chmod 700 .
    id=$(submit --wrap='echo mine; sleep 600')
    soon says mine agent logs "$id"
    try bob slurm-agent cancel "$id"
    is $rc 4
    try bob slurm-agent logs "$id"
    is $rc 4
    hasnt "$out" mine
    has "$(agent get "$id")" RUNNING
    agent cancel "$id"
    soon says 'signal 15' agent wait "$id"   # slurmctld has it when the node has ended the job
    has "$(agent get "$id")" CANCELLED
}
# With directories as the store, in the unit's confinement.
staged() { agent submit --parsable --chdir=/home/alice/work --output=/dev/null "$@"; }
test_data_is_moved_for_jobs() {
    local id store=file:///home/alice/store
    on head -u alice sh -c 'umask 077; mkdir -p store work; echo sugar >store/in; truncate -s 300M store/large'
    id=$(staged --input=$store/in:in --output=out=$store/out --wrap='tr a-z A-Z <in >out')
    agent wait "$id"
    is "$(on head cat /home/alice/store/out)" SUGAR
    has "$(agent get --json "$id")" '"phase": "SUCCEEDED"'
    id=$(staged --input=$store/nothing:in --wrap=true)
    try agent wait "$id"
    [ $rc != 0 ] || { echo 'it has succeeded'; exit 1; }
    has "$(agent get --json "$id")" /home/alice/store/nothing
    # What others may not reach they do not reach this way.
    id=$(bob slurm-agent submit --parsable --chdir=/home/bob --output=/dev/null --input=$store/in:in --wrap=true)
    try bob slurm-agent wait "$id"
    [ $rc != 0 ] || { echo 'bob has it'; exit 1; }
    on head test ! -e /home/bob/in
    # Begun again after a restart, without a session of alice's: by a grant, which ends with it.
    id=$(staged --input=$store/large:large --output=large=$store/again --wrap='ls -l large')
    [ "$(on head ls /var/lib/slurm-agent-grants | wc -l)" -gt 0 ] || { echo 'there is no grant'; exit 1; }
    on head systemctl restart slurm-agentd
    agent wait "$id"
    on head cmp /home/alice/store/large /home/alice/store/again
    soon says '0' on head sh -c 'ls /var/lib/slurm-agent-grants | wc -l'
    on head rm -r /home/alice/store /home/alice/work
}
test_errors_a_stopped_agentd() {
    on head systemctl stop slurm-agentd
    try agent ping --verbose
    is $rc 12
    has "$out" 'address    tcp://head:6821'
    has "$out" 'connection FAIL: no slurm-agentd answers at tcp://head:6821'
    is "$(on head sh -c 'ps -eo comm | grep -c "^agent-" || true')" 0
    on head systemctl start slurm-agentd
    soon serves
}
# While slurm-agentd is stopped, as for an upgrade, its port is anybody's on the head node.
test_a_user_who_takes_the_port_gets_nothing_by_it() {
    on head systemctl stop slurm-agentd
    is "$(on head -u alice sh -c 'echo >/run/slurm-agentd/agent.sock; test -e /run/slurm-agentd/agent.sock || echo none' 2>/dev/null)" none
    printf '[agentd]\nlisten_tcp = 10.23.0.1:6821\nlisten_ipc =\nhint_socket =\nstate_dir = /home/alice/state\n' | put head /tmp/alices.conf
    on head -u alice mkdir -p -m 700 state
    on head chmod 644 /tmp/alices.conf
    ON_S=60 on head -u alice timeout 50 slurm-agentd --single-user --config /tmp/alices.conf >"$D/alices" 2>&1 &
    local hers=$!
    soon says 'runs as uid 2001, not as 0' agent ping
    try agent submit --wrap=true
    is $rc 5
    try bob slurm-agent submit --wrap=true
    is $rc 4
    has "$out" 'server: '   # by its own word: that is not believed, only shown
    # The real one says who is in its way, and is there as soon as it is free.
    try on head slurm-agentd --check
    has "$out" 'FAIL  tcp'
    on head systemctl start --no-block slurm-agentd
    soon log_says 'cannot listen at tcp://10.23.0.1:6821: Address in use'
    on head pkill -u alice -x slurm-agentd
    wait $hers || true
    soon serves
    is "$(on head systemctl is-active slurm-agentd)" active
}
test_check_and_reload_with_settings_that_do_not_work() {
    local pid
    on head cp -p /etc/slurm-agent/agentd.conf /root/good.conf
    pid=$(main_pid)
    on head sh -c 'echo "lisen_tcp = 10.23.0.1:6821" >>/etc/slurm-agent/agentd.conf'
    try on head slurm-agentd --check
    is $rc 1
    has "$out" 'FAIL  conf'
    has "$out" lisen_tcp
    try on head systemctl reload slurm-agentd
    [ $rc != 0 ] || { echo 'reload has not failed'; exit 1; }
    log_says lisen_tcp
    serves
    is "$(main_pid)" "$pid"
    on head sh -c 'sed "s/^listen_tcp.*/listen_tcp = 10.99.0.1:6821/" /root/good.conf >/etc/slurm-agent/agentd.conf'
    try on head slurm-agentd --check
    is $rc 1
    has "$out" 'FAIL  tcp'
    has "$out" 10.99.0.1:6821
    on head systemctl reload slurm-agentd
    soon log_says 10.99.0.1:6821
    soon serves                               # with the earlier ones
    is "$(main_pid)" "$pid"
    on head cp -p /root/good.conf /etc/slurm-agent/agentd.conf
    on head systemctl reload slurm-agentd
    soon serves
    on head chown root /var/lib/slurm-agentd
    try on head slurm-agentd --check
    is $rc 1
    has "$out" 'FAIL  state'
    on head chmod 600 /etc/slurm-agent/agentd.conf   # which root alone need read
    on head systemd-tmpfiles --create slurm-agentd.conf
    try on head slurm-agentd --check
    is "$rc $out" "0 $out"
    on head systemctl restart slurm-agentd
    soon serves
    agent cancel "$(submit --hold --wrap=true)"
}
test_errors_a_stopped_slurmctld() {
    local id
    id=$(submit --wrap='sleep 5')
    on head systemctl stop slurmctld
    try agent submit --wrap=true
    is $rc 8
    try agent get "$id"
    has "$out" 'slurmctld'
    soon says 'slurmctld down' agent ping
    on head systemctl restart slurm-agentd     # starts without it
    is "$(on head systemctl is-active slurm-agentd)" active
    on head systemctl start slurmctld
    soon serves
    agent wait "$id"
}
test_errors_the_wrong_munge_key_and_no_munged() {
    on client sh -ec 'cp -p /etc/munge/munge.key /root/; head -c 128 /dev/urandom >/etc/munge/munge.key; systemctl restart munge'
    try agent ping --verbose
    is $rc 5
    has "$out" 'munge      FAIL'
    has "$out" 'munge key'
    on client systemctl stop munge
    try agent ping --verbose
    is $rc 18
    has "$out" 'munge      FAIL: munged on this host'
    on client sh -ec 'cp -p /root/munge.key /etc/munge/munge.key; systemctl start munge'
    serves
}
test_errors_users_who_are_not_served() {
    on client useradd -m -u 2003 carol
    try on client -u carol slurm-agent ping --verbose
    is $rc 4
    has "$out" 'user       FAIL'
    has "$out" 'uid 2003 is not known on the server'
    try on client slurm-agent ping
    is $rc 4
    has "$out" 'root is not served'
}
# A wait and a followed log that are open while $@ happens on the head.
over() {
    local id w l rc=0
    id=$(submit --wrap='echo begun; sleep 4; echo ended; exit 3')
    ON_S=100 agent wait "$id" >"$D/wait.log" 2>&1 &
    w=$!
    ON_S=100 agent logs -f "$id" >"$D/logs.log" 2>"$D/logs.err" &
    l=$!
    soon says RUNNING agent get "$id"
    "$@"
    wait $w || rc=$?
    is $rc 3
    wait $l || { cat "$D/logs.err"; exit 1; }
    is "$(cat "$D/logs.log")" "$(printf 'begun\nended')"
    has "$(agent get "$id")" FAILED
    is "$(agent list --since now-1hours --json | grep -c "\"id\": \"$id\"")" 1
}
test_over_a_restart() { over on head systemctl restart slurm-agentd; }
test_over_a_kill() {
    local restarts
    restarts=$(on head systemctl show -P NRestarts slurm-agentd)
    over on head systemctl kill -s KILL --kill-who=main slurm-agentd
    is "$(on head systemctl show -P NRestarts slurm-agentd)" $((restarts + 1))
}
stop_and_start() {
    on head systemctl stop slurm-agentd
    sleep 1
    on head systemctl start slurm-agentd
}
test_over_a_stop_and_a_start() { over stop_and_start; }
test_reload_leaves_everything_alone() {
    local pid
    pid=$(main_pid)
    over on head systemctl reload slurm-agentd
    is "$(main_pid)" "$pid"
    is "$(on head systemctl is-active slurm-agentd)" active
}
# A loop that stands still is no service: SIGSTOP to the broker alone.
test_the_watchdog_starts_it_anew() {
    local pid broker
    on head mkdir -p /run/systemd/system/slurm-agentd.service.d
    printf '[Service]\nWatchdogSec=3s\n' | put head /run/systemd/system/slurm-agentd.service.d/watchdog.conf
    on head systemctl daemon-reload
    on head systemctl restart slurm-agentd
    soon serves
    pid=$(main_pid)
    sleep 5   # longer than the watchdog's patience: a healthy one stays
    is "$(main_pid)" "$pid"
    broker=$(on head pgrep -x agent-broker)
    on head kill -STOP "$broker"
    soon log_says 'Watchdog timeout'
    soon serves
    [ "$(main_pid)" != "$pid" ] || exit 1
    on head rm -r /run/systemd/system/slurm-agentd.service.d
    on head systemctl daemon-reload
    on head systemctl restart slurm-agentd
    soon serves
}
test_workers_are_in_its_cgroup_and_confined() {
    agent script 1 >/dev/null 2>&1 || true   # starts one of alice's
    has "$(on head sh -c 'cat /proc/$(pgrep -u alice agent-worker | head -1)/cgroup')" /slurm-agentd.service
    is "$(on head sh -c 'for p in $(pgrep agent-) $(pgrep -x slurm-agentd); do grep -h -e CapEff -e NoNewPrivs /proc/$p/status; done | sort -u | tr -d "\t" | tr "\n" " "')" \
        'CapEff:0000000000000000 CapEff:00000000000000e0 NoNewPrivs:1 '
    # There is no man on the hosts to look its pages up with.
    out=$(on head systemd-analyze verify /lib/systemd/system/slurm-agentd.service 2>&1 | grep slurm-agentd | grep -v "Command 'man" || true)
    is "$out" ''
    out=$(on head systemd-analyze security --no-pager slurm-agentd | tail -1)
    echo "FIGURE: $out"
    has "$out" OK
}
test_journald_has_a_line_for_each_change_and_no_secret() {
    local id
    printf '#!/bin/sh\n# SECRET-IN-SCRIPT\nsleep 300\n' | put client /tmp/secret.sh
    id=$(on client -u alice env TOKEN=SECRET-IN-ENVIRONMENT slurm-agent submit --parsable --export=ALL --output=/dev/null /tmp/secret.sh)
    agent cancel "$id"
    bob slurm-agent cancel "$id" 2>/dev/null || true
    out=$(on head journalctl -q -u slurm-agentd --no-pager -o cat)
    is "$(grep -c "uid=2001 op=job.submit job=$id from=10.23.0.3 code=OK" <<<"$out")" 1
    is "$(grep -c "uid=2001 op=job.control verb=cancel job=$id from=10.23.0.3 code=OK" <<<"$out")" 1
    hasnt "$out" SECRET
    hasnt "$out" MUNGE:
    hasnt "$out" PrivateData   # of which there is none
}
is_idle() { [ "$(agent list | wc -l)" = 1 ]; }   # the heading
# As they are loaded by shells that know nothing of us.
page() { on head sh -c "printf 'GET $1 HTTP/1.0\\r\\n\\r\\n' | nc -w 20 127.0.0.1 9821"; }
# Its value: the help in front of it says "slurm_agent_up 1: ...".
metric() { page /metrics | sed -n "s/^slurm_agent_$1 //p"; }
metric_is() { [ "$(metric "$1")" = "$2" ]; }
test_the_exporter_tells_prometheus() {
    apt_install head "$(deb slurm-agent-exporter)"
    is "$(on head systemctl is-active slurm-agent-exporter)" active
    is "$(on head systemctl is-enabled slurm-agent-exporter)" enabled
    soon metric_is up 1
    is "$(metric slurmctld_up)" 1
    has "$(page /readyz)" ' 200 OK'
    local pid
    pid=$(on head systemctl show -P MainPID slurm-agent-exporter)
    is "$(on head stat -c %U "/proc/$pid")" slurm-agent-exporter
    is "$(on head sed -n 's/^CapBnd:[[:space:]]*//p;s/^NoNewPrivs:[[:space:]]*//p' "/proc/$pid/status" | tr '\n' ' ')" '0000000000000000 1 '
    on head systemctl stop slurm-agentd
    soon metric_is up 0
    has "$(page /readyz)" ' 503 '
    has "$(page /healthz)" ' 200 OK'
    on head systemctl start slurm-agentd
    soon metric_is up 1
    # nobody else may, and root may administer where it is
    try on head -u alice slurm-agent admin stats
    is $rc 4
    has "$(on head slurm-agent --server ipc:///run/slurm-agentd/agent.sock admin sessions)" slurm-agent-exporter
    on head apt-get -q purge -y -o Dpkg::Use-Pty=0 slurm-agent-exporter
    try on head test -e /etc/default/slurm-agent-exporter
    is $rc 1
}
test_bash_and_zsh_complete_jobs_and_partitions() {
    local id
    soon is_idle
    id=$(submit --hold --job-name=held --wrap=true)
    cat <<'S' | put client /tmp/complete.bash
. /usr/share/bash-completion/bash_completion
compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE=$* COMP_POINT=${#COMP_LINE}
if type _comp_load >/dev/null 2>&1; then _comp_load slurm-agent; else _completion_loader slurm-agent; fi
_slurm_agent slurm-agent "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
S
    has "$(alice bash /tmp/complete.bash slurm-agent cancel '')" "$id"
    is "$(alice bash /tmp/complete.bash slurm-agent submit --partition m)" main
    has "$(alice bash /tmp/complete.bash slurm-agent l)" logs
    # zsh completes in a terminal alone.
    cat <<'S' | put client /tmp/complete.zsh
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'autoload -Uz compinit; compinit -u -d /dev/null; PROMPT=; LISTMAX=1000; bindkey "^I" complete-word; echo be""gun'
zpty -r -m z line '*begun*' || exit 1
zpty -w -n z "$1"$'\t'
repeat 50; do
    zpty -r -t z more && line+=$more
    [[ $line == *$2* ]] && exit 0
    sleep 0.2
done
print -r -- "$line"
exit 1
S
    alice timeout 60 zsh -f /tmp/complete.zsh "slurm-agent cancel ${id%?}" "slurm-agent cancel $id"
    alice timeout 60 zsh -f /tmp/complete.zsh 'slurm-agent submit --partition=m' 'partition=main'
    alice timeout 60 zsh -f /tmp/complete.zsh 'slurm-agent whoa' 'slurm-agent whoami'
    agent cancel "$id"
}
# admin.md's words.
test_the_journal_is_backed_up_and_put_back() {
    local id s=/var/lib/slurm-agentd
    id=$(submit --job-name=backed-up --wrap=true)
    agent wait "$id"
    SOON_S=90 soon says '"source": "journal"' agent get --json "$id"
    on head runuser -u slurm-agent -- sqlite3 $s/journal.db ".backup $s/backup.db"
    on head systemctl stop slurm-agentd
    on head sh -ec "rm $s/journal.db*; mv $s/backup.db $s/journal.db"
    on head systemctl start slurm-agentd
    soon serves
    has "$(agent get --json "$id")" '"source": "journal"'
    is "$(on head stat -c '%U %a' $s/journal.db)" 'slurm-agent 600'
    agent submit --wrap=true >/dev/null
}
test_remove_leaves_and_purge_removes() {
    local id
    id=$(submit --job-name=kept --wrap=true)
    agent wait "$id"
    on head apt-get -q remove -y slurm-agentd
    on head test -e /etc/slurm-agent/agentd.conf
    on head test -s /var/lib/slurm-agentd/journal.db
    try agent ping
    is $rc 12
    apt_install head "$(deb slurm-agentd)"
    soon serves
    has "$(agent get "$id")" COMPLETED
    # A broker that was taken over, say, has put these there: they are not followed.
    on head sh -ec 'ln -s /home /var/lib/slurm-agentd/a; ln -s /etc/passwd /run/slurm-agentd/b'
    on head apt-get -q purge -y slurm-agentd
    on head test -d /home/alice -a -s /etc/passwd
    on head sh -ec '! test -e /var/lib/slurm-agentd; ! test -e /var/lib/slurm-agent-grants; ! test -e /run/slurm-agentd; ! test -e /etc/slurm-agent/agentd.conf; ! test -e /usr/sbin/slurm-agentd'
    is "$(on head sh -c 'ps -eo comm | grep -c "^agent-" || true')" 0
}
# On the client: submits by request ids until there is a file "enough", each again until it is taken, and at
# last all of them once more.  The jobs write their own list.
submitting() {
    cat <<'S'
set -eu
submit() {
    # no --wrap: the older one leaves that to its client
    printf '#!/bin/sh\necho %s >>/home/alice/ran\n' "$1" |
        slurm-agent submit --parsable --request-id="$1" --job-name="$1" --output=/dev/null
}
n=0
while [ ! -e enough ]; do
    n=$((n + 1))
    until id=$(submit "up$n"); do echo "up$n" >>again; done
    echo "up$n $id" >>submits
done
while read -r name id; do
    second=$(submit "$name")
    [ "$second" = "$id" ] || { echo "$name was job $id, and is job $second now"; exit 1; }
done <submits
S
}
kind_of_journal() { on head sqlite3 /var/lib/slurm-agentd/journal.db 'PRAGMA user_version'; }
install_older() {
    SOON_S=150 soon test -e "$T/older/made"
    [ -e "$T/older/older.deb" ] || { tail -n 30 "$T/older/log"; exit 1; }
    apt_install head "$T/older/older.deb"
}
submits() { on client cat /home/alice/submits; }
submits_reach() { [ "$(submits | wc -l)" -ge "$1" ]; }
test_upgrade_keeps_conf_and_history_with_submits_under_way() {
    local id before n submitter kind
    install_older
    on head sed -i 's/^#listen_tcp.*/listen_tcp = 10.23.0.1:6821\n# edited/' /etc/slurm-agent/agentd.conf
    on head systemctl restart slurm-agentd
    soon serves
    has "$(on head dpkg-query -W -f '${Version}' slurm-agentd)" older
    kind=$(kind_of_journal)
    printf '#!/bin/sh\n' | put client /tmp/nothing.sh
    id=$(submit --job-name=history /tmp/nothing.sh)
    agent wait "$id"
    soon says '"journal"' agent get --json "$id"   # slurmctld has forgotten it
    before=$(main_pid)
    submitting | put client /tmp/submitting.sh
    alice rm -f enough again submits
    ON_S=280 alice bash /tmp/submitting.sh &
    submitter=$!
    soon submits_reach 5
    apt_install head "$(deb slurm-agentd)"
    n=$(submits | wc -l)
    soon submits_reach $((n + 5))
    alice touch enough
    wait $submitter   # each request has the job it had
    [ "$before" != "$(main_pid)" ] || { echo 'it was not restarted'; exit 1; }
    hasnt "$(on head dpkg-query -W -f '${Version}' slurm-agentd)" older
    is "$(on head stat -c '%U:%G %a' /var/lib/slurm-agent-grants)" 'root:root 700'   # which it did not have
    has "$(on head cat /etc/slurm-agent/agentd.conf)" '# edited'
    has "$(agent get --json "$id")" COMPLETED
    [ "$(kind_of_journal)" -ge "$kind" ] || { echo "the journal was of kind $kind"; exit 1; }
    # Each request is one job, and that ran once.
    submits >"$D/submits"
    n=$(wc -l <"$D/submits")
    is "$(cut -d' ' -f2 "$D/submits" | sort | uniq -d)" ''
    soon says "$n" on head sh -c 'sort -u /home/alice/ran | wc -l'
    is "$(on head sort /home/alice/ran)" "$(cut -d' ' -f1 "$D/submits" | sort)"
    echo "FIGURE: the journal was of kind $kind, and is of kind $(kind_of_journal)"
    echo "FIGURE: $n submits, $(on client sh -c 'cat /home/alice/again 2>/dev/null | wc -l') of them had to be sent again"
}
# tests/data has a journal that the first slurm-agentd with one has written.
test_upgrade_migrates_a_journal_of_the_first_kind() {
    local now id
    now=$(kind_of_journal)
    [ "$now" -gt 1 ] || { echo 'there is no other kind'; exit 1; }
    install_older
    on head systemctl stop slurm-agentd
    on head sh -c 'rm /var/lib/slurm-agentd/journal.db*'
    put head /tmp/journal.sql <tests/data/journal-1.sql
    # As if that had been lately: what is old is forgotten.
    on head runuser -u slurm-agent -- sqlite3 /var/lib/slurm-agentd/journal.db \
        '.read /tmp/journal.sql' "UPDATE ended SET end_time = strftime('%s', 'now')"
    is "$(kind_of_journal)" 1
    apt_install head "$(deb slurm-agentd)"
    soon serves
    is "$(kind_of_journal)" "$now"
    out=$(agent get --json 1)
    has "$out" of-an-older-agentd
    has "$out" '"source": "journal"'
    has "$(agent list --since now-1hours)" of-an-older-agentd
    id=$(submit --request-id=after-it --wrap=true)
    agent wait "$id"
    is "$(submit --request-id=after-it --wrap=true)" "$id"
}

# ---- all of it --------------------------------------------------------------------------------------
run() {
    local name=$1 log=$D/test.log begun=$SECONDS
    # In the background, since set -e means nothing inside a condition.
    (set -euo pipefail; "test_$name") >"$log" 2>&1 </dev/null &
    if wait $!; then
        passed=$((passed + 1))
        printf 'ok    %-60s %3d s\n' "${name//_/ }" $((SECONDS - begun))
        sed -n 's/^FIGURE: /      /p' "$log"
    else
        failed=$((failed + 1))
        printf 'FAIL  %-60s %3d s\n' "${name//_/ }" $((SECONDS - begun))
        tail -n 30 "$log" | sed 's/^/      /'
        on head journalctl -q -u slurm-agentd --no-pager -o cat -n 15 2>/dev/null | sed 's/^/      | /' || true
    fi
}

finish() {
    local rc=$?
    wait   # for the older package, with what it leaves in a temporary directory
    [ -n "${KEEP:-}" ] || bash "$here/hosts.sh" down "$D" || rc=1
    exit $rc
}
[ -e "$(deb slurm-agentd)" ] || { echo "there are no packages in $DEBS: make deb"; exit 1; }
tools debootstrap systemd-container
if [ $# = 0 ]; then
    bash "$here/hosts.sh" probe || exit $?
    bash "$here/tree.sh" "$T" "$DEBS"
    trap finish EXIT
    trap 'exit 130' INT TERM
    bash "$here/hosts.sh" up "$D" "$T"
    mapfile -t names < <(sed -nE 's/^test_([a-z_]+)\(\).*/\1/p' "${BASH_SOURCE[0]}")
else
    names=("$@")
fi
if [[ " ${names[*]} " == *" upgrade_"* ]]; then
    rm -rf "$T/older"
    mkdir -p "$T/older"
    {
        (set -euo pipefail; make_older) &
        wait $! || true
        touch "$T/older/made"
    } >"$T/older/log" 2>&1 </dev/null &
fi
for name in "${names[@]}"; do run "$name"; done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
