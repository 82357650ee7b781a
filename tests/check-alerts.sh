#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The alert rules: do they ask for what there is, are they good, and fire when they should?  promtool is
# taken from Debian's package without installing that, which would start a Prometheus.  Status 77 when the
# first is so and there is no promtool to be had.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0 count=0
known=$(sed -nE 's/^(COUNTER|READING)\([^"]*("(gauge|counter)", )?"([a-z_]+)".*/\4/p; s/^HISTOGRAM\([^"]*"([a-z_]+)".*/\1_bucket\n\1_sum\n\1_count/p' agentd/metrics.def
    echo up)
while read -r name; do
    count=$((count + 1))
    grep -qxF -- "${name#slurm_agent_}" <<<"$known" || { echo "docs/alerts.yml: there is no $name"; bad=1; }
done < <(grep -E '^ +expr:' docs/alerts.yml | grep -oE 'slurm_agent_[a-z_]+')
[ $count -gt 10 ] || { echo 'docs/alerts.yml has no rules'; bad=1; }
fetch_promtool() {
    mkdir -p build/promtool
    (cd build/promtool && timeout 120 apt-get download prometheus && dpkg -x prometheus_*.deb .) >/dev/null 2>&1
}
PATH=$PATH:$PWD/build/promtool/usr/bin
if ! command -v promtool >/dev/null && ! { fetch_promtool && command -v promtool >/dev/null; }; then
    [ $bad = 0 ] && echo 'alerts: the names are good; NOT RUN: promtool (package prometheus) is not to be had'
    exit $((bad ? 1 : 77))
fi
promtool check rules docs/alerts.yml || bad=1
promtool test rules tests/data/alerts_test.yml || bad=1
[ $bad = 0 ] && echo 'alerts: ok'
exit $bad
