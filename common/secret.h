/* SPDX-License-Identifier: GPL-3.0-or-later */
/* secret.h: memory for keys: in no core dump, in no child, wiped when it is given back */
#ifndef COMMON_SECRET_H
#define COMMON_SECRET_H

#include <stddef.h>

#include "common/cleanup.h"

/* Zeroed; NULL without memory.  Gives: secret_free(). */
void *secret_new(size_t size);
/* NULL is fine. */
void secret_free(void *p);
CLEANUP_FN(void, secret_free)

/* Overwrites what functions that have returned left on the stack. */
void secret_wipe_stack(void);

/* A copy of a text; NULL of NULL too. */
char *secret_strdup(const char *s);

#endif
