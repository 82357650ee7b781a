/* SPDX-License-Identifier: GPL-3.0-or-later */
/* requests.h: exactly one job for each request id: what became of every submit
 *
 * A submit of an id that is known gets the answer of the first; one whose outcome is not known is
 * in doubt until its job is seen, by the tag that it carries, or until it is proved that there is
 * none.  Nothing is ever submitted again but at a client's wish, and then only what certainly made
 * no job.  Here is the state of what is open, or was just now; the rest is in the journal.
 *
 * Asks the world only through struct requests_env (requests_env.c is the real one).  Belongs to the
 * loop.
 */
#ifndef AGENTD_REQUESTS_H
#define AGENTD_REQUESTS_H

#include "agentd/journal_requests.h"

enum request_state {
    REQUEST_BEGINNING = 0, /* on its way to the journal */
#define REQUEST(name, number, may_submit, help) REQUEST_##name = (number),
#include "agentd/requests.def"
#undef REQUEST
    REQUEST_OPEN_MAX = REQUEST_SUBMITTED,
};

/* NULL for a number that is none. */
const char *request_word(int64_t state);
/* May its id be submitted again? */
bool request_may_submit(int64_t state);
/* What the attempt's job carries as alloc_sid: above any session id of a real login. */
uint32_t request_tag(uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt);
/* 32 hexadecimal digits. */
void request_hex(const uint8_t id[REQUEST_ID], char out[2 * REQUEST_ID + 1]);

struct requests;
struct request;

struct requests_env {
    void *arg;
    void (*begin)(void *arg, const struct request_row *want, journal_requests_fn fn, void *fn_arg);
    void (*note)(void *arg, const struct request_row *rows, size_t n);
    /* Load slurmctld's settings and the whole table. */
    void (*load_anew)(void *arg);
    /* Call requests_saw() for each job in the table. */
    void (*show_table)(void *arg);
    /* Does slurmctld, by the last load, have a job with this id or in this group, with that tag? */
    bool (*is_there)(void *arg, uint32_t uid, int64_t job_id, int64_t tag);
    /* End the job, if it is still this one. */
    void (*cancel)(void *arg, uint32_t uid, int64_t job_id, int64_t submit_time);
    int64_t (*now)(void);    /* Unix seconds */
    int64_t (*now_ms)(void); /* of a clock that cannot be set */
};

/* max_per_user: requests of a user in memory: open ones, and those of the last minutes. */
struct requests *requests_new(const struct requests_env *env, size_t max_per_user);
/* Waiting ones are not told: requests_stop() before. */
void requests_free(struct requests *r); /* NULL is fine */

/* What a submit is told. */
enum request_turn {
    REQUEST_GO,     /* it is this one's to submit: the intent is on disk */
    REQUEST_ANSWER, /* somebody else's, or earlier: the state is the answer, or that it is open
                       still */
    REQUEST_FAIL,   /* err; nothing was submitted */
};
/* q is good until the function returns; after GO until requests_outcome() has returned. */
typedef void (*request_fn)(void *arg, enum request_turn turn, struct request *q,
                           const struct err *err);

/* Calls fn once, perhaps before it returns.  With an id whose outcome is open that may take
 * REQUEST_WAIT_MS. */
enum { REQUEST_WAIT_MS = 20000 };
void requests_submit(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID],
                     const uint8_t hash[REQUEST_HASH], request_fn fn, void *arg);
/* After GO, before Slurm is asked.  False: the job of an earlier attempt has turned up; then
 * requests_outcome() is not to be called, q has its answer. */
bool requests_send(struct requests *r, struct request *q);
/* After GO: what became of it.  SUBMITTED with job_id; IN_DOUBT, REFUSED or NOT_SUBMITTED with err.
 * NULL, or fn is told when it is no longer in doubt, or after REQUEST_WAIT_MS. */
void requests_outcome(struct requests *r, struct request *q, enum request_state state,
                      int64_t job_id, const struct err *err, request_fn fn, void *arg);
enum request_state request_state(const struct request *q);
/* Its row, as it would be in the journal. */
void request_row(const struct request *q, struct request_row *out);
/* NULL when it is not in memory. */
const struct request *requests_find(const struct requests *r, uint32_t uid,
                                    const uint8_t id[REQUEST_ID]);
size_t requests_in_doubt(const struct requests *r, uint32_t uid);
/* Being submitted just now. */
size_t requests_busy(const struct requests *r);

/* From the journal, when it was opened. */
void requests_opened(struct requests *r, const struct request_row *rows, size_t n);

/* From the watcher: a job's record; one that slurmctld has no more; and the end of a load. */
void requests_saw(struct requests *r, const struct jobrec *rec);
void requests_gone(struct requests *r, const struct jobrec *rec);
struct requests_load {
    int64_t begun_ms, as_of; /* when it began, by either clock */
    bool whole;              /* table and settings, of all that there is */
    bool blind;              /* it may not see all jobs: never whole */
    int64_t boot_time; /* slurmctld's, Unix seconds; without whole it may be some seconds old */
    int64_t min_job_age_ms; /* 0: jobs are never forgotten */
    int64_t rpc_ms;         /* so old a request to slurmctld is not carried out any more */
};
void requests_loaded(struct requests *r, const struct requests_load *load);

/* Now and then, four times a second say. */
void requests_tick(struct requests *r);
/* The server stops: what waits is told, what is new goes to the journal. */
void requests_stop(struct requests *r);

#endif
