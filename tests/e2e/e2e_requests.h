/* SPDX-License-Identifier: GPL-3.0-or-later */
/* e2e_requests.h: submits by id, and what became of them, for the tests of these */
#ifndef TESTS_E2E_REQUESTS_H
#define TESTS_E2E_REQUESTS_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

enum { DOUBT_MS = 60000 }; /* longer than a doubt lasts here */

static inline const char *script(void)
{
    static char *path;
    free(path);
    path = scratch_file(user_a(), "r.sh", "#!/bin/sh\nsleep 60\n");
    return path;
}

/* An id that no other test has, and no run before. */
static inline const char *fresh(const char *name)
{
    static char id[100];
    snprintf(id, sizeof id, "%s-%lld", name, (long long)clock_mono_ms());
    return id;
}

static inline struct run submit_as(const char *user, const char *id)
{
    return run_as(user, "slurm-agent", "submit", "--parsable", "--hold", "--request-id", id,
                  script());
}

/* The job's id; the caller's to free. */
static inline char *must_submit(const char *id)
{
    AUTO(run_free) struct run r = submit_as(user_a(), id);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    return strdup(r.out);
}

/* One field of what became of it; static. */
static inline const char *became(const char *id, const char *field)
{
    return request_field(user_a(), id, field);
}

struct wanted {
    const char *id, *state;
};

static inline bool is_so(void *arg)
{
    const struct wanted *w = arg;
    return strcmp(became(w->id, "state"), w->state) == 0;
}

static inline void expect_becomes(const char *id, const char *state)
{
    struct wanted w = {id, state};
    cr_expect(wait_until(is_so, &w, DOUBT_MS), "it is %s", became(id, "state"));
}

#endif
