# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# OpenStack Swift with its S3 interface, for sandboxes with store=swift: one disk, one copy of each
# object, over http and over https with a certificate authority of its own.  Sourced by sandbox.sh.
#
# Each user has an account and keys, a bucket "data" in it, and the aws files of a user in
# DIR/etc/aws/USER.  Swift checks V4 signatures, regions, digests and who may do what.

SWIFT_PARTS='memcached swift-account swift-container swift-object swift-proxy swift-tls'

# Where each part listens.
swift_port() {
    local part i=54
    for part in $SWIFT_PARTS; do
        [ "$part" != "$1" ] || { echo $((${opt[base]} + i)); return; }
        i=$((i + 1))
    done
}

# Swift keeps an object's facts in extended attributes of its file.
check_swift_disk() {
    : >"$R/state/swift/xattr"
    setfattr -n user.sandbox -v 1 "$R/state/swift/xattr" 2>/dev/null ||
        die "the file system of $R has no extended attributes, which Swift needs"
}

write_certificates() {
    local d=$R/etc/swift/tls
    mkdir -p "$d"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj '/CN=sandbox authority' \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$d/ca.key" -out "$d/ca.pem" &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
            -keyout "$d/server.key" -out "$d/server.csr" &&
        openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 3650 \
            -extfile <(echo 'subjectAltName=DNS:localhost,DNS:data.localhost,IP:127.0.0.1') -out "$d/server.pem"
} >>"$R/log/openssl.log" 2>&1

write_ring() { # TYPE PORT
    swift-ring-builder "$1.builder" create 4 1 0 &&
        swift-ring-builder "$1.builder" add "r1z1-127.0.0.1:$2/disk" 1 &&
        swift-ring-builder "$1.builder" rebalance
}

write_swift_server() { # TYPE PORT
    cat >"$R/etc/swift/$1-server.conf" <<C
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $2
workers = 0
user = $SLURM_USER
swift_dir = $R/etc/swift
devices = $R/state/swift
mount_check = false
disable_fallocate = true
log_address = /nonexistent
[pipeline:main]
pipeline = $1-server
[app:$1-server]
use = egg:swift#$1
recon_cache_path = $R/run/swift
C
}

write_swift_proxy() { # PART [LINES]
    local user
    {
        cat <<C
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $(swift_port "$1")
workers = 0
user = $SLURM_USER
swift_dir = $R/etc/swift
log_address = /nonexistent
${2:-}
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$(swift_port memcached)
[filter:s3api]
use = egg:swift#s3api
location = ${opt[store_region]}
dns_compliant_bucket_names = true
check_bucket_owner = false
min_segment_size = 1
storage_domain = localhost
[filter:tempauth]
use = egg:swift#tempauth
C
        for user in root $USERS; do echo "user_${user}_$user = $user-secret .admin"; done
        for user in catch_errors gatekeeper listing_formats bulk copy slo dlo versioned_writes; do
            printf '[filter:%s]\nuse = egg:swift#%s\n' "$user" "$user"
        done
        echo 'allow_versioned_writes = true'
    } >"$R/etc/swift/$1.conf"
}

write_aws_files() {
    local user dir
    for user in $(printf '%s\n' root $USERS | sort -u); do
        [ "$ROOT" = 1 ] || [ "$user" != root ] || continue
        dir=$R/etc/aws/$user
        mkdir -p "$dir"
        cat >"$dir/config" <<C
[default]
region = ${opt[store_region]}
endpoint_url = http://127.0.0.1:$(swift_port swift-proxy)
s3 =
    addressing_style = path
[profile tls]
region = ${opt[store_region]}
endpoint_url = https://localhost:$(swift_port swift-tls)
ca_bundle = $R/etc/swift/tls/ca.pem
C
        for profile in default tls; do
            printf '[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$profile" "$user:$user" "$user-secret"
        done >"$dir/credentials"
        chmod 600 "$dir/credentials"
        own "$user:" "$dir" "$dir/config" "$dir/credentials"
        ln -s . "$dir/.aws"   # as in a home directory
        chmod 700 "$dir"
    done
}

fill_swift() {
    local type
    mkdir -p "$R"/etc/swift "$R"/state/swift/disk "$R"/run/swift "$R/etc/aws"
    check_swift_disk
    own "$SLURM_USER:" "$R/state/swift" "$R/state/swift/disk" "$R/run/swift"
    cat >"$R/etc/swift/swift.conf" <<C
[swift-hash]
swift_hash_path_prefix = sandbox
swift_hash_path_suffix = sandbox
[storage-policy:0]
name = one
default = yes
[swift-constraints]
max_file_size = 5368709122
C
    for type in account container object; do
        (cd "$R/etc/swift" && write_ring "$type" "$(swift_port "swift-$type")") >>"$R/log/swift-ring.log" ||
            die "cannot make Swift's rings: see $R/log/swift-ring.log"
        write_swift_server "$type" "$(swift_port "swift-$type")"
    done
    write_certificates || die "cannot make certificates: see $R/log/openssl.log"
    write_swift_proxy swift-proxy
    write_swift_proxy swift-tls "cert_file = $R/etc/swift/tls/server.pem
key_file = $R/etc/swift/tls/server.key"
    chmod 644 "$R/etc/swift/tls/server.key"   # of a sandbox: read as $SLURM_USER
    write_aws_files
    cat >>"$R/env" <<C
export SLURM_AGENT_STORE=http://127.0.0.1:$(swift_port swift-proxy)
export SLURM_AGENT_STORE_TLS=https://localhost:$(swift_port swift-tls)
export SLURM_AGENT_STORE_CA=$R/etc/swift/tls/ca.pem
export SLURM_AGENT_STORE_REGION=${opt[store_region]}
export SLURM_AGENT_AWS=$R/etc/aws
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION \
    AWS_CA_BUNDLE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
export AWS_CONFIG_FILE=$R/etc/aws/$(id -un)/config
export AWS_SHARED_CREDENTIALS_FILE=$R/etc/aws/$(id -un)/credentials
C
}

start_memcached() {
    local user=()
    [ "$ROOT" = 0 ] || user=(-u "$SLURM_USER")
    daemon memcached /usr/bin/memcached ${user[@]+"${user[@]}"} -l 127.0.0.1 -p "$(swift_port memcached)" -m 64
}
start_swift() { # PART PROGRAM CONF
    daemon "$1" "/usr/bin/$2" "$R/etc/swift/$3" verbose
}
start_swift-account() { start_swift swift-account swift-account-server account-server.conf; }
start_swift-container() { start_swift swift-container swift-container-server container-server.conf; }
start_swift-object() { start_swift swift-object swift-object-server object-server.conf; }
start_swift-proxy() { start_swift swift-proxy swift-proxy-server swift-proxy.conf; }
start_swift-tls() { start_swift swift-tls swift-proxy-server swift-tls.conf; }

store_listens() { listens "$(swift_port "$1")"; }
make_buckets() {
    local user url token at
    at=http://127.0.0.1:$(swift_port swift-proxy)
    for user in $(printf '%s\n' root $USERS | sort -u); do
        read -r url token < <(curl -sS --max-time 20 -D - -o /dev/null -H "X-Auth-User: $user:$user" \
            -H "X-Auth-Key: $user-secret" "$at/auth/v1.0" |
            awk 'tolower($1) == "x-storage-url:" { u = $2 } tolower($1) == "x-auth-token:" { t = $2 }
                 END { gsub(/\r/, "", u); gsub(/\r/, "", t); print u, t }')
        [ -n "$token" ] && curl -sS --max-time 20 --fail -o /dev/null -X PUT -H "X-Auth-Token: $token" "$url/data" || return 1
    done
}
# All at once: each takes seconds to load.
start_store() {
    local part
    for part in $SWIFT_PARTS; do "start_$part"; done
    for part in $SWIFT_PARTS; do
        CURRENT=$part
        wait_until 40 "$part" store_listens "$part" || return 1
    done
    make_buckets
}
