/* SPDX-License-Identifier: GPL-3.0-or-later */
/* raw.h: the agent's protocol without nng: a socket, and the frames on it
 *
 * nng's own client has threads of its own and is the slower of the two sides; a load generator that
 * shares its cores with the server is to cost little.  Sealing and MUNGE are those of every client.
 */
#ifndef TESTS_BENCH_RAW_H
#define TESTS_BENCH_RAW_H

#include "common/msg.h"
#include "common/ops.h"
#include "common/seal.h"

enum { RAW_BUFFER = 65536 };

struct raw {
    int fd;
    bool ipc;
    bool bare; /* no session: frames are what is given */
    struct seal seal;
    uint64_t counter;   /* of the request under way */
    uint32_t request;   /* nng's number of it */
    size_t have;        /* bytes in in[] */
    struct bytes reply; /* the last reply's plaintext, in plain[]: 2 bytes of code, 2, the body */
    uint8_t in[RAW_BUFFER], plain[RAW_BUFFER];
};

/* tcp://HOST:PORT or ipc:///PATH, with a session.  All of these die() when something fails. */
void raw_open(struct raw *r, const char *address);
/* The same without a session: op and sealing are left out. */
void raw_open_bare(struct raw *r, const char *address);
/* Ends the session as well. */
void raw_close(struct raw *r);
/* One request under way at a time. */
void raw_send(struct raw *r, enum op_number op, struct bytes body);
/* Reads once, waiting for it; true when the reply has come. */
bool raw_receive(struct raw *r);
/* Both; says again what was refused as BUSY, when the server has said that it may. */
struct bytes raw_call(struct raw *r, enum op_number op, struct bytes body);

#endif
