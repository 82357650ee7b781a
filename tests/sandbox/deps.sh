#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what building and testing needs, from Debian's own packages (12, 13, sid).
# Says nothing and takes no time when all of it is there.
set -euo pipefail

# One line each; alternatives (names differ between Debian releases) are separated by |, the first
# that apt knows is installed, any of them that is installed will do.  * matches as in dpkg-query.
wanted=(
    gcc make pkg-config git clang clang-format 'libclang-rt-dev|libclang-rt-*-dev'
    slurmctld slurmd slurm-client slurm-wlm-basic-plugins libslurm-dev
    munge libmunge-dev libnng-dev libsqlite3-dev 'libmsgpack-c-dev|libmsgpack-dev'
    libs3-dev libcurl4-gnutls-dev libxml2-dev libgnutls28-dev
    libcriterion-dev libsodium-dev libsystemd-dev libinih-dev libjansson-dev libmicrohttpd-dev
    slurmdbd mariadb-server-core mariadb-client-core slurmrestd
    swift-proxy swift-account swift-container swift-object memcached openssl curl attr time s3cmd
    valgrind procps iproute2 util-linux hostname passwd mandoc bsdextrautils bash-completion
)

command -v dpkg-query >/dev/null || {
    echo "deps: this is not Debian; needed are, by Debian's names: ${wanted[*]}" >&2
    exit 1
}

# Exit status 1 only says that some pattern matched nothing.
mapfile -t patterns < <(printf '%s\n' "${wanted[@]}" | tr '|' '\n')
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${patterns[@]}" 2>/dev/null || true)
installed=$(sed -n 's/^installed //p' <<<"$installed")

missing=()
for entry in "${wanted[@]}"; do
    found=
    while IFS= read -r name; do
        IFS='|' read -ra alternatives <<<"$entry"
        for pattern in "${alternatives[@]}"; do
            # shellcheck disable=SC2053  # the pattern is meant as one
            [[ $name == $pattern ]] && found=1
        done
    done <<<"$installed"
    [ -n "$found" ] || missing+=("$entry")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null; then
        as_root=(sudo)
    else
        as_root=(none)
    fi
fi

release=$(sed -n 's/^VERSION_ID="*\([0-9]*\).*/\1/p' /etc/os-release)
# The name among the alternatives that this release has.  While apt has no lists: the first, but in
# Debian 12 the last.
choose() {
    local alternatives name guess
    guess=
    IFS='|' read -ra alternatives <<<"$1"
    for name in "${alternatives[@]}"; do
        [[ $name != *'*'* ]] || continue
        if [ -z "$guess" ] || [ "$release" = 12 ]; then guess=$name; fi
        if [ -n "$(apt-cache madison "$name" 2>/dev/null)" ]; then
            echo "$name"
            return
        fi
    done
    echo "$guess"
}
chosen() {
    local entry
    packages=()
    for entry in "${missing[@]}"; do packages+=("$(choose "$entry")"); done
}

if [ "${as_root[*]}" = none ]; then
    chosen
    echo "deps: packages are missing and there is no sudo; as root run" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends ${packages[*]}" >&2
    exit 1
fi

# env behind sudo, because sudo drops the caller's environment.  debconf must not ask, and a changed
# configuration file is kept: nobody is there to answer.
apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
    apt-get -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
chosen
echo "deps: installing ${packages[*]}"
# SchedMD's packages exclude Debian's: theirs are not to be removed for a test.
"${apt[@]}" install -y --no-install-recommends --no-remove \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "${packages[@]}" </dev/null
