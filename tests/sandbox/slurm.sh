# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Configuration and parts of a sandbox without accounting (dbd.sh has that).  Sourced by sandbox.sh.

# conf_put FILE LINES: adds lines ("\n" stands for a newline) of the form Key=value; one that is there
# with the same key goes, since both Slurm and inih object to a key given twice.  NodeName and its
# like may come often: there the name belongs to the key.
conf_put() {
    local file=$1 line key
    while IFS= read -r line; do
        [ -n "${line// /}" ] || continue
        case ${line,,} in
            nodename=* | partitionname=* | nodeset=* | downnodes=*) key=${line%%[[:space:]]*} ;;
            *) key=${line%%=*} key=${key//[[:space:]]/} ;;
        esac
        KEY=${key,,} awk '
            { k = tolower($0)
              if (ENVIRON["KEY"] ~ /=/) { split(k, w, /[ \t]/); k = w[1] } else sub(/[ \t]*=.*/, "", k) }
            k != ENVIRON["KEY"]' "$file" >"$file.new"
        printf '%s\n' "$line" >>"$file.new"
        mv "$file.new" "$file"
    done <<<"${2//\\n/$'\n'}"
}

write_slurm_conf() {
    local host base=${opt[base]} cgroup=disabled
    host=$(hostname -s)
    cat >"$R/etc/slurm.conf" <<C
ClusterName=${opt[cluster]}
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((base + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$R/run/munge/munge.sock${opt[cred_ttl]:+,ttl=${opt[cred_ttl]}}
SlurmUser=$SLURM_USER
SlurmdUser=$(id -un)
StateSaveLocation=$R/state/slurmctld
SlurmdSpoolDir=$R/spool/%n
SlurmctldPidFile=$R/run/slurm/slurmctld.pid
SlurmdPidFile=$R/run/slurm/slurmd-%n.pid
SlurmctldLogFile=$R/log/slurm/slurmctld.log
SlurmdLogFile=$R/log/slurm/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
DebugFlags=NO_CONF_HASH
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
MinJobAge=${opt[minjobage]}
MessageTimeout=${opt[msgtimeout]}
TCPTimeout=2
SlurmctldTimeout=30
SlurmdTimeout=60
KillWait=2
MaxJobCount=50000
MaxArraySize=2001
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_min_interval=0,bf_interval=2,default_queue_depth=200
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
PriorityType=priority/basic
NodeName=node[1-${opt[nodes]}] NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 10))-$((base + 9 + ${opt[nodes]})) CPUs=${opt[cpus]} RealMemory=4000${opt[node_conf]:+ ${opt[node_conf]}} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=10 State=UP
C
    [ -z "${opt[job_submit]}" ] || write_job_submit
    [ -z "${opt[private_data]}" ] || conf_put "$R/etc/slurm.conf" "PrivateData=${opt[private_data]}"
    [ "${opt[dbd]}" = 0 ] || write_dbd_conf
    [ "${opt[hint]}" = 0 ] || write_hint_conf
    [ "${opt[late]}" = 0 ] || write_late_conf
    [ "${opt[backup]}" = 0 ] || sed -i 's/^SlurmctldHost=.*/&\nSlurmctldHost=backup(127.0.0.2)/' "$R/etc/slurm.conf"
    conf_put "$R/etc/slurm.conf" "${opt[extra_conf]}"
    [ -z "${opt[gres_conf]}" ] || printf '%s\n' "${opt[gres_conf]//\\n/$'\n'}" >"$R/etc/gres.conf"
    # slurmd looks for a cgroup plugin even when nothing uses it.  22.05 has no "disabled"; its v1
    # plugin does without a mounted cgroup, which "autodetect" does not.
    case $(slurmctld -V) in *\ 2[0-2].*) cgroup=cgroup/v1 ;; esac
    printf 'CgroupPlugin=%s\n' "$cgroup" >"$R/etc/cgroup.conf"
}

write_job_submit() {
    conf_put "$R/etc/slurm.conf" "JobSubmitPlugins=lua"
    cat >"$R/etc/job_submit.lua" <<'C'
function slurm_job_submit(job, part_list, uid)
   if job.name == "lifted" then job.priority = 100 end
   return slurm.SUCCESS
end
function slurm_job_modify(job, rec, part_list, uid)
   return slurm.SUCCESS
end
return slurm.SUCCESS
C
}

# slurmctld gives its programs no arguments, and requeues a job whose prolog fails: a copy of the
# programs comes after slurmctld.
write_hint_conf() {
    cat >"$R/etc/hint" <<C
#!/bin/sh
hint=${opt[prog]}/libexec/slurm-agent-hint
[ ! -x "\$hint" ] || exec "\$hint" --socket $R/run/agentd/hint.sock
C
    chmod 755 "$R/etc/hint"
    conf_put "$R/etc/slurm.conf" "PrologSlurmctld=$R/etc/hint\nEpilogSlurmctld=$R/etc/hint"
}

# With a number of seconds in that file one request is late: it has been authenticated, and who sent it
# has given up, when its job is made; at once when late.kept is removed, which stands for it meanwhile.
# late.name has its job's name.
write_late_conf() {
    cat >"$R/etc/job_submit.lua" <<C
local path = "$R/run/slurm/late"
function slurm_job_submit(job, partitions, uid)
    local f = io.open(path)
    if f then
        local s = f:read("*n")
        f:close()
        local name = io.open(path .. ".name", "w")
        if name then
            name:write(job.name or "", "\\n")
            name:close()
        end
        os.rename(path, path .. ".kept")
        local from = os.time() -- on a busy host a sleep takes longer than it should
        for i = 1, (s or 0) * 5 do
            if os.time() - from > (s or 0) then break end
            local kept = io.open(path .. ".kept")
            if not kept then break end
            kept:close()
            os.execute("sleep 0.2")
        end
        os.remove(path .. ".kept")
    end
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
return slurm.SUCCESS
C
    if compgen -G '/usr/lib/*/slurm*/job_submit_lua.so' >/dev/null; then
        conf_put "$R/etc/slurm.conf" "JobSubmitPlugins=lua"
    else
        rm "$R/etc/job_submit.lua"
        note "late=1: this Slurm has no job_submit/lua"
    fi
}

write_agent_conf() {
    local user=slurm-agent port=${opt[base]}
    [ "$ROOT" = 1 ] || user=$(id -un)
    cat >"$R/etc/agentd.conf" <<C
[agentd]
listen_tcp = 127.0.0.1:$port
listen_ipc = $R/run/agentd/agent.sock
hint_socket = $R/run/agentd/hint.sock
user = $user
slurm_conf = $R/etc/slurm.conf
munge_socket = $R/run/munge/munge.sock
libexec_dir = ${opt[prog]}/libexec
state_dir = $R/state/agentd
grants_dir = $R/state/grants
min_uid = 1000
C
    [ -z "${opt[store]}" ] || conf_put "$R/etc/agentd.conf" "aws_home = $R/etc/aws/%u"
    conf_put "$R/etc/agentd.conf" "${opt[agentd_conf]}"
    {
        echo '[client]'
        echo "server = tcp://127.0.0.1:$port"
        echo "munge_socket = $R/run/munge/munge.sock"
        [ "$ROOT" = 1 ] || echo "server_uid = $(id -u)"
        echo "cluster = ${opt[cluster]}"
    } >"$R/etc/client.conf"
    quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
    local programs=${opt[prog]}/bin
    if [ -n "${opt[cli]}" ]; then
        mkdir -p "$R/cli"
        cp "${opt[cli]}/bin/slurm-agent" "$R/cli/" || return 1
        programs=$R/cli:$programs
    fi
    cat >"$R/env" <<C
# to be sourced by sh
export SLURM_CONF=$R/etc/slurm.conf
export SLURM_AGENT_CONF=$R/etc/client.conf
export SLURM_AGENT_SERVER=tcp://127.0.0.1:$port
export SLURM_AGENT_IPC=ipc://$R/run/agentd/agent.sock
export SLURM_AGENT_SANDBOX=$(quoted "$DIR")
export SLURM_AGENT_USERS=$(quoted "$USERS")
export SLURM_AGENT_MUNGE_SOCKET=$R/run/munge/munge.sock
export SLURM_AGENT_BASE=$port
export PATH=$(quoted "$programs"):"\$PATH"
C
}

# as_user COMMAND...: as the first of the sandbox's users (root itself is not served by agentd)
as_user() {
    if [ "$ROOT" = 1 ]; then
        setpriv --reuid "${USERS%% *}" --regid "$(id -g "${USERS%% *}")" --init-groups "$@"
    else
        "$@"
    fi
}
slurm() { SLURM_CONF=$R/etc/slurm.conf timeout 10 "$@"; }

# ---- parts: start_X starts one and returns when it serves ------------------------------------------
munge_answers() { timeout 2 munge -n --socket "$R/run/munge/munge.sock"; }
start_munged() {
    rm -f "$R/run/munge/munge.sock"
    # --force: a build tree need not be up to munged's demands on its parents (nor does the key matter)
    daemon munged /usr/sbin/munged --foreground --force --socket "$R/run/munge/munge.sock" \
        --key-file "$R/etc/munge/munge.key" --pid-file "$R/run/munge/munged.pid" \
        --log-file "$R/log/munge/munged.log" --seed-file "$R/etc/munge/munged.seed" --num-threads 4
    wait_until "$DEADLINE" munged munge_answers
}

slurmctld_answers() { [[ $(slurm scontrol ping) == *' is UP'* ]]; }
start_slurmctld() {
    local part pids=() nodes=()
    # -i: newer ones do not start without all of their state, which tests take away.
    daemon slurmctld /usr/sbin/slurmctld -D -i -f "$R/etc/slurm.conf"
    # One that finds its backup in control waits until that has let go.
    wait_until $((opt[backup] ? 3 * DEADLINE : DEADLINE)) slurmctld slurmctld_answers || return 1
    # A controller that comes back asks its nodes after 4 s; a slurmd told to reread registers at once.
    while read -r part; do
        if [[ $part == slurmd-* ]] && alive "$part" && [[ $PROC_STATE != [Tt] ]]; then
            pids+=("$PART_PID") nodes+=("${part#slurmd-}")
        fi
    done < <(all_parts)
    if [ ${#pids[@]} -gt 0 ]; then
        kill -HUP "${pids[@]}" 2>/dev/null || true
        wait_until 10 slurmctld nodes_answer "${nodes[@]}" || note 'not all nodes are back'
    fi
}

# A slurmctld knows by its host's name which of the controllers it is, and binds to what that name
# resolves to; its files are its own but for StateSaveLocation.
backup_answers() { [[ $(slurm scontrol ping) == *'(backup)'*' is UP'* ]]; }
start_backup() {
    cp "$R/etc/slurm.conf" "$R/etc/backup.conf"
    conf_put "$R/etc/backup.conf" "SlurmctldPidFile=$R/run/slurm/backup.pid\nSlurmctldLogFile=$R/log/slurm/backup.log"
    { cat /etc/hosts && echo '127.0.0.2 backup'; } >"$R/etc/backup.hosts"
    # shellcheck disable=SC2016  # expanded by the inner shell
    daemon backup unshare --uts --mount sh -c 'hostname backup && mount --bind "$1" /etc/hosts &&
        exec /usr/sbin/slurmctld -D -f "$2"' sh "$R/etc/backup.hosts" "$R/etc/backup.conf"
    wait_until "$DEADLINE" backup backup_answers
}

# Registered and answering, whatever else their state is.
nodes_answer() {
    local names
    names=$(IFS=, && echo "$*")
    [ "$(slurm sinfo -h -N -n "$names" -o '%N %t' | sort -u | grep -cvE '\*$|unk|down')" = $# ]
}
start_slurmd() {   # PART...
    local part node nodes=() ports=()
    for part in "$@"; do
        node=${part#slurmd-}
        mkdir -p "$R/spool/$node"
        daemon "$part" /usr/sbin/slurmd -D -N "$node" -f "$R/etc/slurm.conf"
        nodes+=("$node")
        ports+=($((${opt[base]} + 9 + ${node#node})))
    done
    for part in "$@"; do
        wait_until "$DEADLINE" "$part" listens "${ports[@]}" || return 1
    done
    # A controller that is stopped or paused says nothing about nodes.
    if alive slurmctld && [[ $PROC_STATE != [Tt] ]]; then
        wait_until "$DEADLINE" "$1" nodes_answer "${nodes[@]}"
    fi
}

start_slurmrestd() {
    local socket=$R/run/restd/rest.sock specs=slurmctld as=()
    rm -f "$socket"
    case $(slurmctld -V) in *\ 22.05.*) specs=openapi/v0.0.38 ;; esac
    # It acts as whom it runs as (rest_auth/local), and refuses to be SlurmUser unless told to.
    [ "$ROOT" = 0 ] || as=(setpriv --reuid "${USERS%% *}" --regid "$(id -g "${USERS%% *}")" --init-groups)
    daemon slurmrestd SLURMRESTD_SECURITY=disable_user_check ${as[@]+"${as[@]}"} \
        /usr/sbin/slurmrestd -f "$R/etc/slurm.conf" -a rest_auth/local -s "$specs" "unix:$socket"
    wait_until "$DEADLINE" slurmrestd test -S "$socket"
}

agentd_answers() {
    as_user env SLURM_CONF="$R/etc/slurm.conf" SLURM_AGENT_CONF="$R/etc/client.conf" \
        timeout 5 "${opt[prog]}/bin/slurm-agent" ping
}
start_agentd() {
    local mode=()
    if [ "${opt[prog]}" != "${opt[bin]}" ]; then
        mkdir -p "${opt[prog]}"
        cp -R --remove-destination "${opt[bin]}/bin" "${opt[bin]}/libexec" "${opt[prog]}/" || return 1
        chmod -R a+rX "${opt[prog]}"
        # some are unreadable for a reason, see UNREADABLE in the Makefile
        local program
        for program in agent-broker agent-worker agent-stage; do
            chmod --reference="${opt[bin]}/libexec/$program" "${opt[prog]}/libexec/$program"
        done
    fi
    [ -x "${opt[prog]}/bin/slurm-agentd" ] || die "${opt[bin]}/bin/slurm-agentd is not built"
    [ "$ROOT" = 1 ] || mode=(--single-user)
    daemon agentd "${opt[prog]}/bin/slurm-agentd" --config "$R/etc/agentd.conf" ${mode[@]+"${mode[@]}"}
    wait_until "$DEADLINE" agentd agentd_answers
}

# ---- job steps --------------------------------------------------------------------------------------
# "pid starttime" of this sandbox's slurmstepd and everything below them, and of job processes whose
# slurmstepd is gone.  A shell that has sourced DIR/env has SLURM_CONF too, so a job's process is told
# by what only slurmstepd sets; those who called us are never meant.
step_processes() {
    local dir pid comm link ours=() above=" $$ " up=$$
    while [ "$up" -gt 1 ] && proc_stat "$up"; do
        up=$PROC_PPID above+="$up "
    done
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [[ $above != *" $pid "* ]] || continue
        { read -r comm <"$dir/comm"; } 2>/dev/null || continue
        if [ "$comm" = slurmstepd ]; then
            # Its title overwrites its environment; its log file stays open.
            for link in "$dir"/fd/* "$dir/cwd"; do
                if [[ $(readlink "$link" 2>/dev/null) == "$R"/* ]]; then
                    ours+=("$pid")
                    break
                fi
            done
        elif is_job_process "$dir/environ"; then
            ours+=("$pid")
        fi
    done
    [ ${#ours[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2046  # words are meant
    with_start "${ours[@]}" $(descendants "${ours[@]}")
}
is_job_process() {
    [ -r "$1" ] && grep -qzxF "SLURM_CONF=$R/etc/slurm.conf" "$1" 2>/dev/null &&
        grep -qz '^SLURM_TASK_PID=' "$1" && grep -qzxF "SLURM_CLUSTER_NAME=${opt[cluster]}" "$1"
}
# Twice, as one may fork while the list is made.
end_steps() {
    local lines round
    for round in 1 2 3; do
        lines=$(step_processes)
        [ -n "$lines" ] || return 0
        signal_lines KILL "$lines"
        wait_until 5 '' all_gone "$lines" || note "round $round: job processes do not end"
    done
}
