/* SPDX-License-Identifier: GPL-3.0-or-later */
/* proxy.h: a server between us and a store, that does to requests and answers what networks,
 * proxies and busy stores do
 *
 * In the test's own process, one thread for each connection, one request for each of them.  Answers
 * are kept whole, so objects are small.
 */
#ifndef TESTS_STORE_PROXY_H
#define TESTS_STORE_PROXY_H

enum fault {
    FAULT_NONE,
    FAULT_RESET,       /* the connection, instead of an answer */
    FAULT_CUT_REQUEST, /* reset in the middle of what is sent */
    FAULT_SPOIL_SENT,  /* a byte of what is sent is another */
    FAULT_STALL,       /* no answer, but no end either */
    FAULT_STATUS_500,
    FAULT_STATUS_503, /* SlowDown */
    FAULT_STATUS_301,
    FAULT_STATUS_307,
    FAULT_LOST,         /* the store did it, the answer is lost */
    FAULT_CUT_ANSWER,   /* reset in the middle of it */
    FAULT_STALL_ANSWER, /* nothing more from the middle of it */
    FAULT_TRUNCATE,     /* half of its body, and an orderly end */
    FAULT_NO_LENGTH,    /* half of its body, no length, and an orderly end */
    FAULT_SPOIL_ANSWER, /* a byte of its body is another */
};

struct proxy;

/* Passes on to 127.0.0.1:port; the address to ask is http://127.0.0.1:proxy_port(). */
struct proxy *proxy_start(int port);
int proxy_port(const struct proxy *p);
/* From now on: does it to the next times requests (-1: all) whose head has what in it. */
void proxy_fault(struct proxy *p, enum fault fault, const char *what, int times);
/* How often it was done. */
int proxy_done(struct proxy *p);
void proxy_stop(struct proxy *p);

#endif
