/* SPDX-License-Identifier: GPL-3.0-or-later */
/* staging.h: what the caller wants moved for a job, as the server's manifest */
#ifndef CLIENT_STAGING_H
#define CLIENT_STAGING_H

#include "client/slurmagent.h"
#include "common/msg.h"

/* in NULL: nothing.  Checks what can be checked here; ERR_INVALID names what is wrong. */
int staging_take(const struct sagent_staging *in, struct arena *arena, struct submit_request *out,
                 struct err *err);

#endif
