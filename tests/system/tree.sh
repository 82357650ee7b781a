#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tree.sh DIR [SUITE]: root trees for hosts to boot, made with this machine's own apt configuration.
#   DIR/base    systemd, munge and the libraries that our packages need; users alice and bob
#   DIR/slurm   what a Slurm adds to it (an overlay): slurmctld, slurmd, Slurm's commands
# Kept from one run to the next; made anew when this script changes.
set -euo pipefail
DIR=$(realpath -m "${1:?usage: tree.sh DIR [SUITE]}")
SUITE=${2:-$(. /etc/os-release && echo "$VERSION_CODENAME")}

base_packages=(systemd systemd-sysv dbus libpam-systemd iproute2 procps netcat-openbsd munge adduser ca-certificates)
# By the names that a release gives them.
libraries='libnng1|libinih1|libjansson4|libmsgpackc2|libmsgpack-c2|libsodium23|libsqlite3-0|libmunge2|libsystemd0'
slurm_packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins)
slurm_libraries='libslurm[0-9]+'

# shellcheck source=tests/system/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stamp=$(cat "${BASH_SOURCE[0]}" "$(dirname "${BASH_SOURCE[0]}")/lib.sh" /etc/os-release <(echo "$SUITE") | sha256sum | cut -d' ' -f1)
if [ "$(cat "$DIR/stamp" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
[ "$(id -u)" = 0 ] || die "only root can make root trees"

install() {
    local root=$1 pattern=$2
    shift 2
    inside "$root" sh -euc '
        pattern=$1
        shift
        apt-get -q update
        # shellcheck disable=SC2046
        apt-get -q install -y --no-install-recommends "$@" \
            $(apt-cache pkgnames | grep -xE "($pattern)(t64)?")
        rm -rf /var/cache/apt/archives/*.deb
    ' _ "$pattern" "$@"
}

make_base() {
    local b=$DIR/base user
    bootstrap "$b"
    install "$b" "$libraries" "${base_packages[@]}"
    for user in alice:2001 bob:2002; do
        chroot "$b" useradd --create-home --uid "${user#*:}" --shell /bin/bash "${user%:*}"
    done
    : >"$b/etc/machine-id"
    (umask 077 && head -c 128 /dev/urandom >"$b/etc/munge/munge.key")
    chroot "$b" chown munge: /etc/munge/munge.key
    printf '127.0.0.1 localhost\n10.23.0.1 head\n10.23.0.2 node1\n10.23.0.3 client\n' >"$b/etc/hosts"
}

make_slurm() {
    OVERLAY=$DIR/slurm install "$DIR/base" "$slurm_libraries" "${slurm_packages[@]}"
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
