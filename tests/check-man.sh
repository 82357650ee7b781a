#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Manual pages are well formed, and say something of each setting, command, option and function.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
bad=0
fail() { echo "$*"; bad=1; }

for page in "$B"/man/*; do
    mandoc -T lint -W warning "$page" || fail "$page: not well formed"
done
# has PAGE WORD: as a reader sees it
has() { mandoc -T utf8 "$B/man/$1" | col -bx | grep -qF -- "$2" || fail "$1 says nothing of $2"; }
count=0
while read -r name; do
    has slurm-agentd.conf.5 "$name"
    count=$((count + 1))
done < <("$B/bin/slurm-agentd" --print-config | sed -n 's/ = .*//p')
[ $count -gt 20 ] || fail 'slurm-agentd prints no settings'
while read -r name; do
    has slurm-agent-client.conf.5 "$name"
done < <(sed -n 's/^CONF_[A-Z]*(\([a-z_]*\),.*/\1/p' client/conf.def)
while read -r name; do
    while read -r option; do has slurm-agent.1 "$option"; done \
        < <("$B/bin/slurm-agent" help "$name" | grep -E '^  ' | grep -oE -- '--[a-z-]+' | sort -u)
done < <("$B/bin/slurm-agent" --help | awk '/^  --/ {exit} /^  [a-z]/ {print $1}')
while read -r name; do
    has libslurmagent.3 "$name("
done < <(nm -D --defined-only "$B/lib/libslurmagent.so.1" | sed -n 's/.* T \(sagent_[a-z_]*\).*/\1/p')
count=0
while read -r option; do
    has slurm-agent-sbatch.1 "--$option"
    count=$((count + 1))
done < <(sed -nE 's/^(OPTION|ALIAS|EARLY|REFUSED)\("([a-z-]+)".*/\2/p' agentd/sbatch_options.def)
[ $count -gt 100 ] || fail 'sbatch_options.def has no options'
while read -r name; do
    has slurm-agent-sbatch.1 "$name"
done < <(sed -nE 's/^VARIABLE\("([A-Z0-9_]+)".*/\1/p' client/cli_sbatch_env.def)
count=0
while read -r name; do
    has slurm-agent-exporter.8 "$name"
    count=$((count + 1))
done < <(sed -nE 's/^(COUNTER|HISTOGRAM|READING)\([^"]*("(gauge|counter)", )?"([a-z_]+)".*/\4/p' agentd/metrics.def)
[ $count -gt 20 ] || fail 'metrics.def has no metrics'
while read -r option; do
    has slurm-agent-exporter.8 "$option"
done < <("$B/bin/slurm-agent-exporter" --help | grep -oE -- '^  --[a-z]+' | tr -d ' ')
bash -n client/completion/slurm-agent.bash || bad=1
[ $bad = 0 ] && echo 'man: ok'
exit $bad
