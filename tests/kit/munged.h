/* SPDX-License-Identifier: GPL-3.0-or-later */
/* munged.h: a munged of the test's own, as the user the test runs as */
#ifndef TESTS_KIT_MUNGED_H
#define TESTS_KIT_MUNGED_H

#include <sys/types.h>

#include "tests/kit/scratch.h"

struct munged {
    pid_t pid;
    char dir[SCRATCH_PATH];
    char socket[SCRATCH_PATH];
};

/* With a new key. */
void munged_start(struct munged *m);
/* One with the same key whose clock is so many seconds off. */
void munged_start_shifted(struct munged *m, const struct munged *same_key, int shift_s);
/* Ends it; munged_begin() starts it again, with the same key and nothing in its replay cache. */
void munged_end(struct munged *m);
void munged_begin(struct munged *m);
/* Ends it and removes its files. */
void munged_stop(struct munged *m);

#endif
