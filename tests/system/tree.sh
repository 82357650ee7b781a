#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tree.sh DIR DEBS [SUITE]: root trees for hosts to boot, made with this machine's own apt configuration.
#   DIR/base    systemd, munge and the libraries that the packages in DEBS need; users alice and bob
#   DIR/slurm   what a Slurm adds to it (an overlay): slurmctld, slurmd, Slurm's commands
# Kept from one run to the next; made anew when this script changes.
set -euo pipefail
DIR=$(realpath -m "${1:?usage: tree.sh DIR DEBS [SUITE]}")
DEBS=${2:?}
SUITE=${3:-$(. /etc/os-release && echo "$VERSION_CODENAME")}

base_packages=(systemd systemd-sysv dbus libpam-systemd iproute2 procps netcat-openbsd munge adduser ca-certificates
    sqlite3 bash-completion zsh)
slurm_packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins)
# The first choice of each dependency; Slurm's own library goes where Slurm is.
needed() {
    local deb
    for deb in "$DEBS"/{slurm-agentd,slurm-agent-exporter,slurm-agent-client,libslurmagent1}_*.deb; do
        dpkg-deb -f "$deb" Depends | tr , '\n' | sed -E 's/^ *([^ ]+).*/\1/'
    done | sort -u | grep "$@"
}
mapfile -t libraries < <(needed -v -e ^libslurm -e ^slurm)
mapfile -t slurm_libraries < <(needed -E '^libslurm[0-9]')

# shellcheck source=tests/system/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stamp=$(cat "${BASH_SOURCE[0]}" "$(dirname "${BASH_SOURCE[0]}")/lib.sh" /etc/os-release <(echo "$SUITE ${libraries[*]}") | sha256sum | cut -d' ' -f1)
if [ "$(cat "$DIR/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
[ "$(id -u)" = 0 ] || die "only root can make root trees"

install() {
    local root=$1
    shift
    inside "$root" sh -euc '
        apt-get -q update
        apt-get -q install -y --no-install-recommends "$@"
        rm -rf /var/cache/apt/archives/*.deb
    ' _ "$@"
}

make_base() {
    local b=$DIR/base user
    bootstrap "$b"
    install "$b" "${base_packages[@]}" "${libraries[@]}"
    for user in alice:2001 bob:2002; do
        chroot "$b" useradd --create-home --uid "${user#*:}" --shell /bin/bash "${user%:*}"
    done
    : >"$b/etc/machine-id"
    (umask 077 && head -c 128 /dev/urandom >"$b/etc/munge/munge.key")
    chroot "$b" chown munge: /etc/munge/munge.key
    printf '127.0.0.1 localhost\n10.23.0.1 head\n10.23.0.2 node1\n10.23.0.3 client\n' >"$b/etc/hosts"
}

make_slurm() {
    OVERLAY=$DIR/slurm install "$DIR/base" "${slurm_packages[@]}" "${slurm_libraries[@]}"
}

mkdir -p "$DIR"
for part in stamp base slurm work; do
    [ ! -e "$DIR/$part" ] || remove "$DIR/$part"
done
log=$DIR/log
begun=$SECONDS
for part in base slurm; do
    note "making $part of $SUITE (log: $log)"
    # In the background, since set -e means nothing inside a condition.
    "make_$part" >"$log" 2>&1 </dev/null &
    if ! wait $!; then
        tail -n 20 "$log" >&2
        die "could not make $part of $SUITE"
    fi
done
rm -f "$DIR/base/usr/sbin/policy-rc.d"
remove "$DIR/work"
echo "$stamp" >"$DIR/stamp"
note "made in $((SECONDS - begun)) s: $(du -sm "$DIR/base" "$DIR/slurm" | awk '{s += $1} END {print s}') MB"
