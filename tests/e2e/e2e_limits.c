/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Users who have as many requests as they may: in a sandbox with max_requests_per_user = 10 (those
 * in memory) and max_request_ids_per_user = 12 (those on disk) */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(limits, .timeout = 300);

enum { OPEN = 10, KEPT = 12, PATIENCE_MS = 60000 };

static char id[100];

static const char *id_of(const char *name, int n)
{
    snprintf(id, sizeof id, "%s-%d-%d", name, n, (int)getpid());
    return id;
}

static struct run submit_as(const char *user, const char *request_id)
{
    AUTO(free) char *script = scratch_file(user, "l.sh", "#!/bin/sh\n");
    return run_as(user, "slurm-agent", "submit", "--parsable", "--hold", "--request-id", request_id,
                  script);
}

/* The job's id; the caller's to free. */
static char *must_submit(const char *user, const char *request_id)
{
    AUTO(run_free) struct run r = submit_as(user, request_id);
    cr_assert_eq(r.status, 0, "%s: %s", request_id, r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    return strdup(r.out);
}

static void expect_limit(const char *user, const char *request_id, const char *part)
{
    AUTO(run_free) struct run r = submit_as(user, request_id);
    cr_expect_eq(r.status, 6, "%d: %s", r.status, r.out);
    cr_expect_contains(r.err, part);
    AUTO(run_free) struct run get = run_as(user, "slurm-agent", "get", "--request-id", request_id);
    cr_expect_eq(get.status, 3, "nothing is noted of it: %s", get.out);
}

struct one {
    const char *user, *request_id;
};

static bool has_ended(void *arg)
{
    const struct one *o = arg;
    return strcmp(request_field(o->user, o->request_id, "state"), "ENDED") == 0;
}

static char *submit_and_end(const char *user, const char *request_id)
{
    struct one o = {user, request_id};
    char *job = must_submit(user, request_id);
    cancel_quietly(user, job);
    cr_assert(wait_until(has_ended, &o, PATIENCE_MS), "it is %s",
              request_field(user, request_id, "state"));
    return job;
}

/* What has ended is in the journal alone then. */
static void forget(void)
{
    sandbox("stop", "agentd");
    sandbox("start", "agentd");
}

Test(limits, who_has_no_room_has_the_answers_to_what_was_submitted_before)
{
    char *jobs[OPEN];
    AUTO(free) char *first = submit_and_end(user_b(), id_of("known", 0));
    forget();
    for (int i = 0; i < OPEN; i++)
        jobs[i] = must_submit(user_b(), id_of("open", i));
    expect_limit(user_b(), id_of("more", 0), "max_requests_per_user");
    AUTO(free) char *known = must_submit(user_b(), id_of("known", 0));
    cr_expect_str_eq(known, first, "the journal knows it");
    AUTO(free) char *open = must_submit(user_b(), id_of("open", 3));
    cr_expect_str_eq(open, jobs[3]);
    for (int i = 0; i < OPEN; i++) {
        cancel_quietly(user_b(), jobs[i]);
        free(jobs[i]);
    }
}

Test(limits, as_many_ids_are_kept_as_may_be_and_all_have_their_answer)
{
    AUTO(free) char *first = submit_and_end(user_a(), id_of("kept", 0));
    for (int i = 1; i < KEPT; i++) {
        if (i == KEPT / 2)
            forget();
        free(submit_and_end(user_a(), id_of("kept", i)));
    }
    forget();
    expect_limit(user_a(), id_of("kept", KEPT), "12 request ids of yours are kept");
    expect_limit(user_a(), id_of("kept", KEPT), "max_request_ids_per_user");
    expect_limit(user_a(), id_of("kept", KEPT), "the oldest goes at 20");
    AUTO(free) char *again = must_submit(user_a(), id_of("kept", 0));
    cr_expect_str_eq(again, first, "no room is needed for it");
}
