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
    on "$host" apt-get -q install -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "${list[@]}"
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
}
test_comes_up_by_itself_once_they_are_there() {
    local pid
    pid=$(main_pid)
    on head mv /etc/slurm/later /etc/slurm/slurm.conf
    on head systemctl start munge slurmctld
    soon says 'slurmctld up' on head -u alice slurm-agent ping
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
test_errors_a_stopped_agentd() {
    on head systemctl stop slurm-agentd
    try agent ping
    is $rc 12
    has "$out" 'tcp://head:6821'
    is "$(on head sh -c 'ps -eo comm | grep -c "^agent-" || true')" 0
    on head systemctl start slurm-agentd
    soon serves
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
    try agent ping
    is $rc 5
    has "$out" 'munge key'
    on client systemctl stop munge
    try agent ping
    is $rc 18
    on client sh -ec 'cp -p /root/munge.key /etc/munge/munge.key; systemctl start munge'
    serves
}
test_errors_users_who_are_not_served() {
    on client useradd -m -u 2003 carol
    try on client -u carol slurm-agent ping
    is $rc 4
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
    is "$(grep -c "uid=2001 op=job.cancel job=$id from=10.23.0.3 code=OK" <<<"$out")" 1
    hasnt "$out" SECRET
    hasnt "$out" MUNGE:
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
    on head apt-get -q purge -y slurm-agentd
    on head sh -ec '! test -e /var/lib/slurm-agentd; ! test -e /etc/slurm-agent/agentd.conf; ! test -e /usr/sbin/slurm-agentd'
    is "$(on head sh -c 'ps -eo comm | grep -c "^agent-" || true')" 0
}
# On the client: submits by request ids until there is a file "enough", each again until it is taken, and at
# last all of them once more.  The jobs write their own list.
submitting() {
    cat <<'S'
set -eu
submit() {
    slurm-agent submit --parsable --request-id="$1" --job-name="$1" --output=/dev/null --wrap="echo $1 >>/home/alice/ran"
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
submits() { on client cat /home/alice/submits; }
submits_reach() { [ "$(submits | wc -l)" -ge "$1" ]; }
test_upgrade_keeps_conf_and_history_with_submits_under_way() {
    local id before n submitter
    SOON_S=150 soon test -e "$T/older/made"
    [ -e "$T/older/older.deb" ] || { tail -n 30 "$T/older/log"; exit 1; }
    apt_install head "$T/older/older.deb"
    on head sed -i 's/^#listen_tcp.*/listen_tcp = 10.23.0.1:6821\n# edited/' /etc/slurm-agent/agentd.conf
    on head systemctl restart slurm-agentd
    soon serves
    has "$(on head dpkg-query -W -f '${Version}' slurm-agentd)" older
    id=$(submit --job-name=history --wrap=true)
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
    has "$(on head cat /etc/slurm-agent/agentd.conf)" '# edited'
    has "$(agent get --json "$id")" COMPLETED
    # Each request is one job, and that ran once.
    submits >"$D/submits"
    n=$(wc -l <"$D/submits")
    is "$(cut -d' ' -f2 "$D/submits" | sort | uniq -d)" ''
    soon says "$n" on head sh -c 'sort -u /home/alice/ran | wc -l'
    is "$(on head sort /home/alice/ran)" "$(cut -d' ' -f1 "$D/submits" | sort)"
    echo "$n submits, $(on client sh -c 'cat /home/alice/again 2>/dev/null | wc -l') of them had to be sent again"
}

# ---- all of it --------------------------------------------------------------------------------------
run() {
    local name=$1 log=$D/test.log begun=$SECONDS
    # In the background, since set -e means nothing inside a condition.
    (set -euo pipefail; "test_$name") >"$log" 2>&1 </dev/null &
    if wait $!; then
        passed=$((passed + 1))
        printf 'ok    %-60s %3d s\n' "${name//_/ }" $((SECONDS - begun))
        sed -n -e 's/^FIGURE: /      /p' -e '/ had to be sent again$/s/^/      /p' "$log"
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
need=()
for p in debootstrap systemd-container; do
    dpkg-query -W -f '${db:Status-Status}' $p 2>/dev/null | grep -qx installed || need+=($p)
done
if [ ${#need[@]} -gt 0 ] && [ "$(id -u)" = 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${need[@]}" </dev/null >/dev/null
fi
if [ $# = 0 ]; then
    bash "$here/hosts.sh" probe || exit $?
    bash "$here/tree.sh" "$T"
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
