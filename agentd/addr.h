/* SPDX-License-Identifier: GPL-3.0-or-later */
/* addr.h: does an address belong to a list of networks (allow_from), and what counts as one host */
#ifndef AGENTD_ADDR_H
#define AGENTD_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* ERR_INVALID names the word of the list that is no address or network. */
int addr_check_list(const char *list, struct err *err);
/* address is numeric, IPv4 or IPv6.  An empty list holds every address. */
bool addr_in_list(const char *list, const char *address);
/* What limits count together: a host has a whole /64 of IPv6, and one IPv4 address however that is
 * written.  What is no address stays as it is. */
void addr_key(const char *address, char *out, size_t size);

#endif
