#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# suites.sh [SUITE...]: on each of these releases of Debian (bookworm trixie sid) the packages are built
# and installed, and the unit, fuzz corpus, object store and end to end tests run with what was installed.
# Root trees are kept in build/suites; E2E_ONLY and TEST_JOBS as for tests/run.sh, SUITE_TESTS: which of its suites (SUITE_TESTS=sbatch).  Ends with "N passed, M failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SELF=suites
# shellcheck source=tests/system/lib.sh
. tests/system/lib.sh
[ "$(id -u)" = 0 ] || die 'only root can make root trees'
tools debootstrap
[ $# -gt 0 ] || set -- bookworm trixie sid
passed=0 failed=0
mkdir -p build/suites
exec 9>build/suites/lock
flock -n 9 || die 'another run of it is at work in build/suites'

make_tree() {
    bootstrap "$DIR/root"
    inside "$DIR/root" sh -ec 'apt-get -q update
        apt-get -q install -y --no-install-recommends systemd ca-certificates build-essential debhelper dpkg-dev fakeroot lintian'
}
# Also into a tree that is there, when deps.sh has come to name more.
install_deps() {
    cp tests/sandbox/deps.sh "$DIR/root/root/deps.sh"
    inside "$DIR/root" sh -ec 'bash /root/deps.sh
        rm -rf /var/cache/apt/archives/*.deb'
}
# Each of the two when what it is made of has changed.
tree() {
    local part begun=$SECONDS made deps
    made=$(cat tests/system/lib.sh <(declare -f make_tree) | sha256sum | cut -d' ' -f1)
    deps=$(cat tests/sandbox/deps.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$DIR/stamp" 2>/dev/null)" != "$made $deps" ] || return 0
    if ! grep -qsx "$made .*" "$DIR/stamp"; then
        for part in stamp root work; do [ ! -e "$DIR/$part" ] || remove "$DIR/$part"; done
        make_tree >"$DIR/tree.log" 2>&1
    fi
    install_deps >>"$DIR/tree.log" 2>&1
    echo "$made $deps" >"$DIR/stamp"
    note "$SUITE: root tree made in $((SECONDS - begun)) s, $(du -sm "$DIR/root" | cut -f1) MB"
}

# A shell in a copy of the tree, with devices, a network and a host name of its own.
in_copy() {
    # shellcheck disable=SC2016  # expanded by the inner shell
    unshare --mount --pid --net --uts --ipc --fork --kill-child --propagation private bash -euc '
        dir=$1 suite=$2
        shift 2
        mount -t overlay overlay -o "lowerdir=$dir/root,upperdir=$dir/up,workdir=$dir/work" "$dir/m"
        root=$dir/m
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/dev"
        for d in null zero full random urandom tty fuse; do
            [ -e "/dev/$d" ] || continue
            : >"$root/dev/$d"
            mount --bind "/dev/$d" "$root/dev/$d"
        done
        ln -s /proc/self/fd "$root/dev/fd"
        ln -s /proc/self/fd/0 "$root/dev/stdin"
        ln -s /proc/self/fd/1 "$root/dev/stdout"
        ln -s /proc/self/fd/2 "$root/dev/stderr"
        mkdir "$root/dev/shm" "$root/dev/pts"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
        ln -s pts/ptmx "$root/dev/ptmx"
        hostname "$suite"
        echo "127.0.0.1 localhost $suite" >"$root/etc/hosts"
        ip link set lo up
        # With loopback alone getaddrinfo() finds no names for Slurm (AI_ADDRCONFIG).
        ip link add br0 type bridge
        ip addr add 10.24.0.1/24 dev br0
        ip link set br0 up
        # Not chroot: in a mount namespace below this one /proc/self/exe must be found again.
        mkdir "$root/old"
        cd "$root"
        pivot_root . old
        umount -l /old
        exec /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin E2E_ONLY="${E2E_ONLY:-}" \
            TEST_JOBS="${TEST_JOBS:-3}" SUITE_TESTS="${SUITE_TESTS:-unit fuzz store e2e}" "$@"
    ' _ "$DIR" "$SUITE" "$@"
}

# shellcheck disable=SC2016  # runs in the copy
steps='
set -eu
cd /src
[ -n "$E2E_ONLY" ] || unset E2E_ONLY
echo "== $(. /etc/os-release && echo "$PRETTY_NAME"), Slurm $(slurmctld -V | cut -d" " -f2)"
make --no-print-directory deb
rm -f build/deb/*dbgsym*
apt-get -qq install -y --no-install-recommends ./build/deb/*.deb >/dev/null
make -j"$(nproc)" --no-print-directory tests-built >/tmp/build.log 2>&1 || { tail -30 /tmp/build.log; exit 1; }
cp /usr/sbin/slurm-agentd /usr/sbin/slurm-agent-exporter /usr/bin/slurm-agent build/bin/
cp -p /usr/libexec/slurm-agent/* build/libexec/
bash tests/run.sh $SUITE_TESTS
'

for SUITE in "$@"; do
    DIR=$PWD/build/suites/$SUITE
    mkdir -p "$DIR"
    tree </dev/null &   # set -e means nothing in a condition
    if ! wait $!; then
        tail -n 20 "$DIR/tree.log"
        echo "$SUITE: no root tree could be made"
        failed=$((failed + 1))
        continue
    fi
    for part in up work m; do
        [ ! -e "$DIR/$part" ] || remove "$DIR/$part"
    done
    mkdir "$DIR/up" "$DIR/work" "$DIR/m"
    # Into the upper directory, for the same reason as pivot_root.
    git clone -q --no-hardlinks . "$DIR/up/src"
    begun=$SECONDS
    status=0   # of what runs in there: tee always succeeds
    in_copy bash -c "$steps" </dev/null 2>&1 9>&- | tee "$DIR/log" || status=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$DIR/log" | tail -1 || true)
    if [ -n "$line" ]; then
        passed=$((passed + ${line%% *}))
        line=${line#*, }
        failed=$((failed + ${line%% *}))
        # What fails without being counted, or behind the count.
        if [ "$status" != 0 ] && [ "${line%% *}" = 0 ]; then
            echo "$SUITE: FAILED with status $status behind its tests"
            failed=$((failed + 1))
        fi
    else
        echo "$SUITE: FAILED"
        failed=$((failed + 1))
    fi
    note "$SUITE took $((SECONDS - begun)) s"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
