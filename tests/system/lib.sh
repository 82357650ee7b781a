# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034
# Root trees: sourced by tree.sh, suites.sh and run.sh; the first two set DIR (where they work) and SUITE.
export PATH=$PATH:/usr/sbin:/sbin
note() { printf '%s: %s\n' "${SELF:-tree}" "$*"; }
die() { printf '%s: %s\n' "${SELF:-tree}" "$*" >&2; exit 1; }

# What making root trees takes on this machine.  apt may be at work for somebody else just now.
tools() {
    local p missing=()
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] || [ "$(id -u)" != 0 ] ||
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y "${missing[@]}" </dev/null >/dev/null
}

# Nothing is removed while something is mounted in it.
remove() {
    local d
    d=$(realpath -m "$1")
    [[ $d == "$DIR"/?* ]] || die "$d is not below $DIR"
    ! awk -v d="$d" '$5 == d || index($5, d "/") == 1 {f = 1} END {exit !f}' /proc/self/mountinfo ||
        die "$d has something mounted in it"
    rm -rf --one-file-system -- "$d"
}

# The command runs in a chroot of $1, with what it mounts in a mount namespace of its own.
# OVERLAY: an upper directory over it.
inside() {
    local root=$1
    shift
    # shellcheck disable=SC2016  # expanded by the inner shell
    unshare --mount --pid --fork --kill-child --propagation private bash -euc '
        root=$1 overlay=$2 work=$3
        shift 3
        if [ -n "$overlay" ]; then
            mkdir -p "$work/w" "$work/m" "$overlay"
            mount -t overlay overlay -o "lowerdir=$root,upperdir=$overlay,workdir=$work/w" "$work/m"
            root=$work/m
        fi
        mount -t proc proc "$root/proc"
        exec chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/usr/sbin:/usr/bin:/sbin:/bin http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" "$@"
    ' _ "$root" "${OVERLAY:-}" "$DIR/work" "$@"
}

# What apt on this machine knows of mirrors, proxies, certificates and keys.
copy_apt() {
    local to=$1 codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    cp /etc/resolv.conf "$to/etc/resolv.conf"
    mkdir -p "$to/etc/apt/apt.conf.d" "$to/etc/apt/trusted.gpg.d" "$to/usr/share/keyrings" "$to/etc/ssl/certs"
    cp -a /etc/apt/trusted.gpg.d/. "$to/etc/apt/trusted.gpg.d/"
    cp -a /usr/share/keyrings/debian-* "$to/usr/share/keyrings/"
    apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https|ftp|Check|Retries|Languages)' |
        grep -v '""' >"$to/etc/apt/apt.conf.d/90machine" || true
    rm -f "$to/etc/apt/sources.list" "$to"/etc/apt/sources.list.d/*
    if [ "$SUITE" = "$codename" ]; then
        apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
            'Created-By: Packages' 'Origin: Debian' | sort -u >"$to/etc/apt/sources.list"
    else
        echo "deb $(mirror) $SUITE main" >"$to/etc/apt/sources.list"
    fi
}

mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
        awk '$2 !~ /-/ {print $1; exit}'
}

# A new tree in $1, with what apt here knows.
bootstrap() {
    local to=$1 url
    command -v debootstrap >/dev/null || die "debootstrap is not installed"
    url=$(mirror)
    [ -n "$url" ] || die "apt on this machine names no mirror"
    debootstrap --variant=minbase "$SUITE" "$to" "$url"
    copy_apt "$to"
    printf '#!/bin/sh\nexit 101\n' >"$to/usr/sbin/policy-rc.d"
    chmod 755 "$to/usr/sbin/policy-rc.d"
}
