# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# slurmdbd on a private MariaDB, for sandboxes with dbd=1.  Sourced by sandbox.sh.

write_dbd_conf() {
    local port=$((${opt[base]} + 2))
    # AccountingStoragePass is the munge socket: without it sacctmgr asks the system's munged.
    cat >>"$R/etc/slurm.conf" <<C
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$port
AccountingStoragePass=$R/run/munge/munge.sock
AccountingStoreFlags=job_comment,job_script,job_env
C
    (umask 077 && cat >"$R/etc/slurmdbd.conf") <<C
AuthType=auth/munge
AuthInfo=socket=$R/run/munge/munge.sock
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$port
SlurmUser=$SLURM_USER
DebugLevel=info
LogFile=$R/log/slurm/slurmdbd.log
PidFile=$R/run/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$SLURM_USER
StorageLoc=slurm_acct
CommitDelay=1
C
    own "$SLURM_USER" "$R/etc/slurmdbd.conf"   # it insists: mode 600 and SlurmUser's
}

database_answers() { timeout 5 mariadb --no-defaults --socket="$R/run/mariadb/my.sock" --execute 'use slurm_acct'; }
start_mariadb() {
    # A directory of its own for temporary tables: two servers that begin at once in /tmp take each other's.
    local data=$R/state/mariadb tmp=$R/run/mariadb user=()
    [ "$ROOT" = 0 ] || user=(--user="$SLURM_USER")
    if [ ! -d "$data/mysql" ]; then
        TMPDIR=$tmp mariadb-install-db --no-defaults ${user[@]+"${user[@]}"} --datadir="$data" --skip-test-db \
            --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
            --innodb-log-file-size=8M >>"$R/log/mariadb.log" 2>&1 || return 1
    fi
    cat >"$R/etc/mariadb-init.sql" <<C
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS '$SLURM_USER'@'localhost' IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct.* TO '$SLURM_USER'@'localhost';
C
    # A crash of the host may cost the sandbox its accounting; waiting for fsync would cost each start.
    daemon mariadb /usr/sbin/mariadbd --no-defaults ${user[@]+"${user[@]}"} --datadir="$data" --tmpdir="$tmp" \
        --socket="$R/run/mariadb/my.sock" --pid-file="$R/run/mariadb/mariadbd.pid" --skip-networking \
        --init-file="$R/etc/mariadb-init.sql" --skip-log-bin --innodb-log-file-size=8M \
        --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900
    wait_until "$DEADLINE" mariadb database_answers
}

slurmdbd_answers() { slurm sacctmgr -n show cluster; }
start_slurmdbd() {
    # MYSQL_UNIX_PORT is how its MySQL library is told the socket.  -s: its working directory is its own.
    daemon slurmdbd MYSQL_UNIX_PORT="$R/run/mariadb/my.sock" SLURM_CONF="$R/etc/slurm.conf" /usr/sbin/slurmdbd -D -s
    wait_until "$DEADLINE" slurmdbd slurmdbd_answers
}

add_accounts() {
    slurm sacctmgr -i add cluster "${opt[cluster]}" &&
        slurm sacctmgr -i add account acc &&
        slurm sacctmgr -i add user "${USERS// /,}" account=acc
} >>"$R/log/slurmdbd.log" 2>&1
