/* SPDX-License-Identifier: GPL-3.0-or-later */
/* peer.h: a client of the test's own, that can say what the library never would
 *
 * The test's process is the user: become() first.  Not for use after another peer in a fork.
 */
#ifndef TESTS_KIT_PEER_H
#define TESTS_KIT_PEER_H

#include <nng/nng.h>

#include "common/cred.h"
#include "common/msg.h"
#include "common/ops.h"
#include "common/seal.h"

struct peer {
    nng_socket sock;
    struct seal seal;
    uint8_t session[SEAL_ID];
    char *hello; /* credential text of the session's HELLO */
    int anew;    /* how often the broker had had to begin anew by then */
};

/* Turns this process into the user, for good; nothing as that user already. */
void become(const char *user);
/* Connects to the sandbox's server (SLURM_AGENT_SERVER); no HELLO yet. */
void peer_connect(struct peer *p);
void peer_close(struct peer *p);
/* Sends a frame and gives the answer's bytes (free() .p); p NULL when there is none within ms. */
struct bytes peer_exchange(struct peer *p, struct bytes frame, int ms);
/* The same with a frame made of header and payload. */
struct bytes peer_say(struct peer *p, const struct seal_header *h, struct bytes payload, int ms);
/* HELLO with a credential; gives the answer's frame. */
struct bytes peer_hello_raw(struct peer *p, const char *cred);
/* A whole good session; fails the test when refused. */
void peer_login(struct peer *p);
/* Seals a request into a frame of the caller's (free() .p). */
struct bytes peer_seal(struct peer *p, enum op_number op, struct bytes body, uint64_t *ret_counter);
/* One sealed request; the reply's plaintext (free() .p); p NULL when it was refused. */
struct bytes peer_call(struct peer *p, enum op_number op, struct bytes body);
/* The error of a REFUSED frame; ERR_NONE for another frame.  Frees the frame. */
struct err peer_refusal(struct bytes frame);
const char *munge_socket(void);

/* ---- for most tests ---- */

/* The body of a request that has none. */
extern const uint8_t peer_empty_map[1];
#define PEER_EMPTY ((struct bytes){peer_empty_map, 1})

/* Becomes the user, connects and logs in. */
void peer_begin(struct peer *p, const char *user);
/* The code in a reply's plaintext, which is freed; ERR_INTERNAL without one. */
enum err_code peer_code(struct bytes plain);
/* How often the sandbox's broker had to begin anew because nng does not let go of connections, as
 * the daemon's log has it: one that ended for another reason is a test's failure. */
int peer_times_anew(void);
/* Has the broker had to begin anew since the peer's HELLO, because nng does not let go of
 * connections (before 1.8, see docs/DESIGN.md section 2)?  Then the session is lost, and is another
 * one now. */
bool peer_began_anew(struct peer *p);
/* Fails the test when a ping is not answered, but after such a new beginning that of a new session.
 */
void peer_expect_alive(struct peer *p);

#endif
