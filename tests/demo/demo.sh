#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What `make demo` shows: a private Slurm and slurm-agentd, a job submitted to it and watched, all down
# again.  demo.sh [BIN [DIR]]: where the programs are built, where the sandbox goes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${1:-${BIN:-build}}
dir=${2:-${DIR:-build/demo}}
sandbox=$here/../sandbox/sandbox.sh

say() { printf '\n# %s\n' "$*"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}

# A sandbox that somebody has running there is not ours to take down.
bash "$sandbox" up "$dir" bin="$bin" nodes=2 cpus=2 || exit 1
finish() {
    local status=$?
    trap '' INT TERM
    if [ $status != 0 ] && [ -s "$dir/log/agentd.log" ]; then
        echo "demo: slurm-agentd's last words:" >&2
        tail -n 20 "$dir/log/agentd.log" >&2
    fi
    say 'taking it all down'
    bash "$sandbox" down "$dir" || status=1
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# shellcheck disable=SC1091
. "$dir/env"

# As a user with an environment of their own: no SLURM_CONF, as on a host without Slurm.
user=${SLURM_AGENT_USERS%% *}
home=$(getent passwd "$user" | cut -d: -f6)
as_user=(env -i HOME="$home" USER="$user" LOGNAME="$user" LC_ALL=C.UTF-8 PATH="$PATH" SLURM_AGENT_CONF="$SLURM_AGENT_CONF")
for name in ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS; do
    [ -z "${!name:-}" ] || as_user+=("$name=${!name}")
done
[ "$(id -u)" != 0 ] || as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "${as_user[@]}")
agent() { "${as_user[@]}" timeout 20 slurm-agent "$@"; }
show() {
    printf '\n%s$ slurm-agent %s\n' "$user" "$*"
    agent "$@"
}

work=$(realpath "$dir")/work
mkdir "$work"
cp "$here/primes.sh" "$work/"
[ "$(id -u)" != 0 ] || chown -R "$user:" "$work"
cd "$work"
dir=$(dirname "$work")

say "Slurm with two nodes and slurm-agentd run here; $user talks to $SLURM_AGENT_SERVER and to nothing else"
if [ "$(id -u)" != 0 ]; then
    say "Started without root, Slurm and slurm-agentd run as $user, who thus is SlurmUser: Slurm allows" \
        'SlurmUser everything, so this shows no permissions. As root the demo uses ordinary users.'
fi
show ping
show whoami
show info

submit=(submit --chdir="$work" primes.sh)
printf '\n%s$ slurm-agent %s\n' "$user" "${submit[*]}"
answer=$(agent "${submit[@]}")
echo "$answer"
id=$(sed -n 's/^Submitted batch job \([0-9][0-9]*\).*/\1/p' <<<"$answer")
[ -n "$id" ] || fail 'no job id in that answer'

printf '\n%s$ slurm-agent get %s      (again and again; shown when the state changes)\n' "$user" "$id"
last='' state=''
end=$((SECONDS + 40))
while :; do
    json=$(agent get "$id" --json) || fail "get $id failed"
    state=$(tr -d '\n' <<<"$json" | sed -n 's/^[^[]*"jobs": *\[[^]]*"state": *"\([A-Z_]*\)".*/\1/p')
    if [ "$state" != "$last" ]; then
        printf '%s  %s\n' "$(date +%T)" "${state:-no state in: $json}"
        last=$state
        if [ "$state" = RUNNING ]; then show list; echo; fi
    fi
    case $state in
        PENDING | CONFIGURING | RUNNING | COMPLETING | '') ;;
        *) break ;;
    esac
    [ $SECONDS -lt $end ] || fail "job $id is $state after 40 s"
    sleep 0.3
done

show get "$id"
printf '\n%s$ cat primes-%s.out\n' "$user" "$id"
cat "primes-$id.out" || true
[ "$state" = COMPLETED ] || fail "job $id ended as $state"
say "job $id: $state"

say "Its data moves with a job: inputs are there before it starts, outputs are stored before it counts as done"
mkdir store
printf '%s\n' 17 4 23 8 >store/numbers.txt
[ "$(id -u)" != 0 ] || chown -R "$user:" store
# shellcheck disable=SC2016  # for the job
show run --chdir="$work" --input "file://$work/store/numbers.txt:in/" --output "out/=file://$work/store/result-%j/" \
    --wrap 'mkdir out; sort -n in/numbers.txt >out/sorted.txt; echo "sorted $(wc -l <out/sorted.txt) numbers"'
printf '\n%s$ cat store/result-*/sorted.txt\n' "$user"
cat store/result-*/sorted.txt
[ "$(head -n 1 store/result-*/sorted.txt)" = 4 ] || fail 'the output is not what it should be'
