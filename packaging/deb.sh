#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# deb.sh DIR [COMMIT]: Debian packages of HEAD, or of that commit, into DIR, built in a staged tree.
# Those of HEAD are looked at by lintian.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1 commit=${2:-HEAD}
# Nothing is removed for it: SchedMD's packages exclude Debian's.
apt_get() {
    local sudo=sudo command
    [ "$(id -u)" != 0 ] || sudo=
    for command in update "$*"; do
        # shellcheck disable=SC2086  # words are wanted
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
            --no-install-recommends --no-remove -y $command </dev/null >/dev/null
    done
}
missing=()
for p in build-essential debhelper dpkg-dev fakeroot lintian; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
done
[ ${#missing[@]} = 0 ] || apt_get install "${missing[@]}"

mkdir -p "$out"
out=$(cd "$out" && pwd)
stage=$(mktemp -d "${TMPDIR:-/tmp}/slurm-agent-deb-XXXXXX")
trap 'rm -rf --one-file-system "$stage"' EXIT
mkdir "$stage/slurm-agent"
git archive "$commit" | tar -x -C "$stage/slurm-agent"
cp -a "$stage/slurm-agent/packaging/debian" "$stage/slurm-agent/debian"
# Each release of Debian has another libslurm, so its packages have another version.
release=$(. /etc/os-release && if [ -n "${VERSION_ID:-}" ]; then echo "~deb${VERSION_ID}u1) $VERSION_CODENAME"; else echo '~sid1) unstable'; fi)
sed -i -E "1s/~deb[0-9]+u1\) [a-z]+/$release/" "$stage/slurm-agent/debian/changelog"
# What is released is as old as its last change: the same commit gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
cd "$stage/slurm-agent"
dpkg-checkbuilddeps 2>/dev/null || apt_get build-dep ./
log=$stage/log
if ! dpkg-buildpackage -us -uc -b -j"$(nproc)" >"$log" 2>&1; then
    tail -40 "$log" >&2
    exit 1
fi
rm -f "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo
mv "$stage"/*.deb "$stage"/*.changes "$stage"/*.buildinfo "$out"
[ "$commit" = HEAD ] || exit 0
cd "$out"
echo "== lintian"
lintian --allow-root --fail-on error,warning ./*.changes
ls -l ./*.deb | awk '{ print $5, $9 }'
