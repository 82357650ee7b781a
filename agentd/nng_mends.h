/* SPDX-License-Identifier: GPL-3.0-or-later */
/* nng_mends.h: what nng before 1.8 cannot bear is kept from it
 *
 * nng calls sendmsg(), readv() and getsockopt() of whoever is linked first: the program.  Its
 * nng_mends.c has them; for what nng has nothing to do with they are libc's.
 */
#ifndef AGENTD_NNG_MENDS_H
#define AGENTD_NNG_MENDS_H

#include <stdbool.h>
#include <stdint.h>

/* Has the connection (nng's number of the pipe) end: nothing is read of it any more, and nng sees
 * its end there and closes it.  From whatever thread.  False: it cannot, or has for a while, and
 * nng has not looked: then nng_pipe_close(), which is right when nng is not reading. */
bool nng_hang_up(uint32_t id);

#endif
