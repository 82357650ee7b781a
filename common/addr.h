/* SPDX-License-Identifier: GPL-3.0-or-later */
/* addr.h: does an address belong to a list of networks, and what counts as one host */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* ERR_INVALID names the setting, and the word of the list that is no address or network. */
int addr_check_list(const char *setting, const char *list, struct err *err);
/* address is numeric, IPv4 or IPv6.  An empty list holds every address. */
bool addr_in_list(const char *list, const char *address);
/* The same, also when the address is one of IPv6 that a gateway or a tunnel makes one of IPv4 of:
 * 64:ff9b::a.b.c.d (NAT64), 2002:... (6to4), ::a.b.c.d. */
bool addr_leads_into(const char *list, const char *address);
/* What limits count together: a host has a whole /64 of IPv6, and one IPv4 address however that is
 * written.  What is no address stays as it is. */
void addr_key(const char *address, char *out, size_t size);

#endif
