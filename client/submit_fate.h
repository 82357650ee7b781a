/* SPDX-License-Identifier: GPL-3.0-or-later */
/* submit_fate.h: what an answer says of a submit that was in doubt before; for api_submit.c */
#ifndef CLIENT_SUBMIT_FATE_H
#define CLIENT_SUBMIT_FATE_H

#include <stdbool.h>

#include "common/err.h"

/* Is that what became of it, also of the tries before?  A server that has no right, no room or no
 * such operation for this try says nothing of them; Slurm's own no has its number. */
bool submit_is_fate(const struct err *err);

#endif
