# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# bash completion for slurm-agent and slurm-agent-sbatch.  Commands and options come from its own help, job ids and
# partitions from the server, which has two seconds for it.

_slurm_agent_ask() { slurm-agent "${_slurm_agent_global[@]}" --timeout 2 "$@" 2>/dev/null </dev/null; }
_slurm_agent_commands() { slurm-agent --help | awk '$1 == "usage:" {next} /^  --/ {exit} /^  [a-z]/ {print $1}'; }
# "--name" or "--name=" of the command's own options and, for submit and run, sbatch's.
_slurm_agent_options() {
    slurm-agent help "$1" 2>/dev/null | awk '
        /^  / {while (match($0, /--[a-z][a-z-]*=?/)) {print substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)}}' | sort -u
}
_slurm_agent_ids() { _slurm_agent_ask list "$@" | awk 'NR > 1 {print $1}'; }
_slurm_agent_partitions() { _slurm_agent_ask info | awk '$1 == "PARTITION" {t = 1; next} t && !NF {exit} t {sub(/\*$/, "", $1); print $1}'; }

# The words on stdin that begin with $cur.  Not by compgen -W, which would execute a $(...) in what the
# server says; nor anything that the shell would read as more than a word.
_slurm_agent_offer() {
    local word
    COMPREPLY=()
    while read -r word; do
        if [[ $word == "$cur"* && $word =~ ^[][A-Za-z0-9_.,:+%=-]+$ ]]; then COMPREPLY+=("$word"); fi
    done
}

_slurm_agent() {
    local cur prev words cword split=false i command=''
    local -a _slurm_agent_global=()
    _init_completion -s -n : || return
    if [ "${words[0]##*/}" = slurm-agent-sbatch ]; then command=submit; fi
    for ((i = 1; i < cword; i++)); do
        if [ -n "$command" ]; then break; fi
        case ${words[i]} in
        --server=* | --cluster=* | --conf=*) _slurm_agent_global+=("${words[i]}") ;;
        --server | --cluster | --conf) _slurm_agent_global+=("${words[i]}" "${words[i + 1]}"); ((i++)) ;;
        --timeout) ((i++)) ;;
        -*) ;;
        *) command=${words[i]}; break ;;
        esac
    done
    case $prev in
    --partition | -p) _slurm_agent_offer < <(_slurm_agent_partitions); return ;;
    --until | -u)
        if [ "$command" = wait ]; then
            mapfile -t COMPREPLY < <(compgen -W 'end start change' -- "$cur")
            return
        fi ;;
    --state | -t)
        if [ "$command" = list ]; then
            mapfile -t COMPREPLY < <(compgen -W 'PENDING RUNNING SUSPENDED COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE OUT_OF_MEMORY' -- "$cur")
            return
        fi ;;
    --signal | -s)
        if [ "$command" = cancel ]; then
            mapfile -t COMPREPLY < <(compgen -W 'HUP INT KILL TERM USR1 USR2 STOP CONT' -- "$cur")
            return
        fi ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$cur"); return ;;
    --conf | --upload | --remote-script | --output | --error | --input | --chdir) _filedir; return ;;
    --profile)
        mapfile -t COMPREPLY < <(compgen -W "$(sed -nE 's/^\[(profile )?([^] ]+)\].*/\2/p' ~/.aws/config ~/.aws/credentials 2>/dev/null)" -- "$cur")
        return ;;
    --endpoint-url | --region | --parallel) return ;;
    --server | --cluster | --timeout) [ -n "$command" ] || return ;;
    esac
    $split && return
    if [ -z "$command" ]; then
        _slurm_agent_offer < <(_slurm_agent_commands; printf '%s\n' --server= --cluster= --conf= --timeout= --help --version)
    elif [[ $cur == -* ]]; then
        _slurm_agent_offer < <(_slurm_agent_options "$command")
    else
        case $command in
        submit | run | put) _filedir; return ;;
        fetch)
            if [[ $cur == [0-9]* ]]; then _slurm_agent_offer < <(_slurm_agent_ids --since now-1days); else _filedir; return; fi ;;
        cancel | hold | release | update | requeue | requeuehold | top | suspend | resume | notify | steps) _slurm_agent_offer < <(_slurm_agent_ids) ;;
        get | wait | watch | logs | script | environment | staging) _slurm_agent_offer < <(_slurm_agent_ids --since now-1days) ;;
        admin)
            if [ "$prev" = drop ] || [ "$prev" = sessions ]; then
                _slurm_agent_offer < <(_slurm_agent_ask admin sessions | awk 'NR > 1 {print $1}')
            elif [ "$prev" = admin ]; then
                mapfile -t COMPREPLY < <(compgen -W 'stats limits sessions drop drain resume reload' -- "$cur")
            fi ;;
        help) _slurm_agent_offer < <(_slurm_agent_commands; echo errors) ;;
        esac
    fi
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}
complete -F _slurm_agent slurm-agent slurm-agent-sbatch
