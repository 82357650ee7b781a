/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor_proto.h: what may be said to the monitor, and what it says
 *
 * Fixed-size structs in the host's byte order, one a packet, over SOCK_SEQPACKET socketpairs: the
 * monitor parses nothing of variable size.  A packet of another size ends the sender.
 */
#ifndef AGENTD_MONITOR_PROTO_H
#define AGENTD_MONITOR_PROTO_H

#include <stdint.h>

#include "agentd/request_tag.h"
#include "common/cred.h"
#include "common/seal.h"

/* File descriptors as the children find them. */
enum {
    MONITOR_FD = 3, /* broker, auth: to the monitor.  worker, watcher: to the broker */
    AUTH_FD = 4,    /* auth: to the broker */
};

enum { MONITOR_AUTHS = 2, LEASE_MAX_GROUPS = 1024, MONITOR_REQUEST = REQUEST_ID };

enum worker_role {
    ROLE_CONTROL = 1, /* libslurm only */
    ROLE_FILE = 2,    /* scripts, directories, logs */
    ROLE_WATCH = 3,   /* the watcher: started by the monitor itself, not on request */
    ROLE_ACCT = 4,    /* slurmdbd */
    ROLE_STAGE = 5,   /* moves a job's data, see grant.h: started by ASK_STAGE */
};

/* ---- broker -> monitor ---- */
enum monitor_ask {
    ASK_SPAWN = 1,  /* a worker for uid in role; answered with SAY_SPAWNED or SAY_REFUSED */
    ASK_KILL = 2,   /* end that process; answered with SAY_ENDED when it is reaped */
    ASK_GRANT = 3,  /* a submit with staging; answered with SAY_GRANTED */
    ASK_STAGE = 4,  /* a stage worker for a request that has a grant; answered as ASK_SPAWN is */
    ASK_REVOKE = 5, /* that job is over: no answer */
    ASK_DRAIN = 6,  /* this broker, and those that follow: answered with SAY_DRAIN */
    ASK_RESUME = 7, /* not any more: the same */
    ASK_RELOAD = 8, /* agentd.conf; answered with SAY_RELOADED */
};

struct monitor_request {
    uint32_t ask;
    uint32_t serial;  /* echoed */
    uint32_t uid;     /* ASK_SPAWN */
    uint32_t role;    /* ASK_SPAWN: any but ROLE_WATCH and ROLE_STAGE */
    uint32_t process; /* ASK_KILL: the number SAY_SPAWNED, SAY_AUTH or SAY_WATCHER gave */
    uint8_t request[MONITOR_REQUEST]; /* ASK_GRANT, ASK_STAGE, ASK_REVOKE */
    uint8_t hash[SEAL_HASH];          /* ASK_GRANT: of the manifest */
    int64_t lifetime_s;               /* ASK_GRANT */
};

/* ---- monitor -> broker ---- */
enum monitor_say {
    SAY_SPAWNED = 1, /* with 2 fds: the worker's socket, its stderr */
    SAY_REFUSED = 2, /* no lease, uid not served, too many: code and text */
    SAY_ENDED = 3,   /* process has been reaped; status as of waitpid() */
    SAY_AUTH = 4,    /* with 1 fd: an auth process (SOCK_SEQPACKET); also after a replacement */
    SAY_WATCHER = 5, /* with 2 fds: the watcher's socket, its stderr; also after a replacement */
    SAY_GRANTED = 6, /* it is, or code and text say why not */
    SAY_DRAIN = 7,   /* status 1: take no new submits; 0: take them */
    SAY_RELOADED =
        8, /* status: how many settings have changed, then SIGHUP follows; or code and text */
};

struct monitor_event {
    uint32_t say;
    uint32_t serial;  /* of the request, 0 when nobody asked */
    uint32_t process; /* never used twice */
    uint32_t uid;
    uint32_t role;
    int32_t status;
    uint32_t code; /* errors.def */
    char text[200];
};

/* ---- auth -> monitor, and its answer ---- */
struct lease_request {
    uint32_t uid, gid;
    uint32_t hello_alone; /* remember the HELLO, and grant nothing: a session without workers */
    int64_t lifetime_s;
    uint8_t hello_hash[SEAL_HASH]; /* of what it says, not of its text; the monitor takes each HELLO
                                    * once: munged forgets on a restart */
    uint32_t ngroups;
    uint32_t groups[LEASE_MAX_GROUPS];
};

struct lease_reply {
    uint32_t
        code; /* 0, or ERR_AUTH (replayed), ERR_DENIED (uid not served), ERR_BUSY (table full) */
    char text[200];
};

/* ---- broker -> auth, and its answer ---- */
struct auth_request {
    uint32_t serial;
    uint32_t lifetime_s;
    char cluster[CRED_CLUSTER_MAX]; /* empty: not known yet, then a HELLO that names one is refused
                                     */
    uint8_t session[SEAL_ID];
    uint8_t server_key[SEAL_KEY];
    uint8_t instance[SEAL_ID];
    uint32_t cred_size;
    char cred[CRED_MAX];
};

struct auth_reply {
    uint32_t serial;
    uint32_t code; /* 0 or an error */
    uint32_t uid, gid;
    uint32_t version; /* agreed protocol version */
    uint32_t rights;  /* enum op_right */
    int64_t until;    /* end of session and lease, Unix seconds */
    char user[256];
    char address[64]; /* as munged says */
    uint8_t client_key[SEAL_KEY];
    uint32_t welcome_size;
    char welcome[CRED_MAX];
    char text[500]; /* of an error, or why RIGHT_JOBS is not among the rights */
};

#endif
