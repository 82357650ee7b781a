#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who may include what.  Prints each line that breaks a rule; exit status 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
# only WHERE (an extended regex of paths) may have lines that match WHAT
only() {
    local what=$1 where=$2 why=$3 lines
    lines=$(grep -rnE "$what" --include='*.[ch]' agentd client common exporter | grep -vE "^($where):")
    if [ -n "$lines" ]; then
        printf '%s:\n%s\n' "$why" "$lines"
        bad=1
    fi
}
only '#include [<"]slurm/' 'agentd/cluster_slurm[a-z_]*\.[ch]' 'slurm/ headers belong to agentd/cluster_slurm*.c'
only '#include [<"]libs3\.h' 'common/stage_s3\.c' 'libs3.h belongs to common/stage_s3.c'
only '#include [<"]curl/' 'common/stage_s3\.c' 'curl belongs to common/stage_s3.c'
only '#include [<"]libxml/' 'common/s3_answer\.c' 'libxml2 belongs to common/s3_answer.c'
only '#include [<"]gnutls/' 'common/s3_(sign|digest|put|get)\.c' 'gnutls belongs to common/s3_sign.c, s3_digest.c, s3_put.c and s3_get.c'
only '#include [<"]munge\.h' 'common/cred\.c' 'munge.h belongs to common/cred.c'
only '#include [<"]sqlite3\.h' 'agentd/journal_(db|rows|requests|staging)\.c|agentd/journal_impl\.h' 'sqlite3.h belongs to agentd/journal_db.c, journal_rows.c, journal_requests.c and journal_staging.c'
only '#include [<"]sodium' 'common/seal\.c' 'sodium.h belongs to common/seal.c'
only '#include [<"]msgpack' 'common/wire\.c' 'msgpack.h belongs to common/wire.c'
only '#include [<"]nng/' 'agentd/(listen|nng_mends)\.c|client/(line|conn)\.c' 'nng belongs to agentd/listen.c, agentd/nng_mends.c, client/line.c and client/conn.c'
only '#include [<"]jansson' 'client/cli_[a-z_]*\.[ch]' 'jansson belongs to the CLI'
only '#include [<"]microhttpd' 'exporter/http\.c' 'microhttpd.h belongs to exporter/http.c'
only '\b(fork|vfork|setresuid|setresgid|setgroups|execve|fexecve|execveat)[[:space:]]*\(' 'agentd/spawn\.c' \
    'processes and users are changed in agentd/spawn.c alone'
only '\b(system|popen|execvp?|execlp?|posix_spawnp?)[[:space:]]*\(' 'nowhere' 'nothing runs a command'
lines=$(grep -rnE '#include "(agentd|client|exporter)/' --include='*.[ch]' common)
[ -z "$lines" ] || { printf 'common reaches up:\n%s\n' "$lines"; bad=1; }
lines=$(grep -rnE '#include "agentd/' --include='*.[ch]' client; grep -rnE '#include "client/' --include='*.[ch]' agentd)
[ -z "$lines" ] || { printf 'client and agentd know each other:\n%s\n' "$lines"; bad=1; }
lines=$(grep -rnE '#include "(common|client)/' client/cli_*.[ch] 2>/dev/null | grep -vE '"client/(cli[a-z_]*\.(h|def)|slurmagent(_store|_admin)?\.h)"|"common/(cleanup|str|err|clock)\.h"')
[ -z "$lines" ] || { printf 'the CLI uses slurmagent.h alone (and common/cleanup.h, str.h, err.h, clock.h):\n%s\n' "$lines"; bad=1; }
lines=$(grep -rnE '#include "(common|client|agentd)/' --include='*.[ch]' exporter | grep -vE '"client/slurmagent(_admin)?\.h"|"common/(cleanup|str|err|clock|log|thread)\.h"')
[ -z "$lines" ] || { printf 'the exporter is a client: it uses slurmagent.h and slurmagent_admin.h\n%s\n' "$lines"; bad=1; }
[ $bad = 0 ] && echo 'layers: ok'
exit $bad
