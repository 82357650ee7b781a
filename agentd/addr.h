/* SPDX-License-Identifier: GPL-3.0-or-later */
/* addr.h: does an address belong to a list of networks? (allow_from) */
#ifndef AGENTD_ADDR_H
#define AGENTD_ADDR_H

#include <stdbool.h>

#include "common/err.h"

/* ERR_INVALID names the word of the list that is no address or network. */
int addr_check_list(const char *list, struct err *err);
/* address is numeric, IPv4 or IPv6.  An empty list holds every address. */
bool addr_in_list(const char *list, const char *address);

#endif
