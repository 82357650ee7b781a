/* SPDX-License-Identifier: GPL-3.0-or-later */
/* address.h: what a user calls the server, as a URL
 *
 * tcp://HOST[:PORT], HOST, HOST:PORT, [v6]:PORT, ipc:///PATH and /PATH.
 */
#ifndef CLIENT_ADDRESS_H
#define CLIENT_ADDRESS_H

#include <stddef.h>

#include "common/err.h"

#define ADDRESS_DEFAULT "ipc:///run/slurm-agentd/agent.sock"

enum { ADDRESS_MAX = 256 };

/* ERR_INVALID for what is none of these; out is then left alone. */
int address_parse(const char *said, char out[ADDRESS_MAX], struct err *err);
/* The path of an ipc URL, NULL for others.  Borrowed from url. */
const char *address_path(const char *url);

#endif
