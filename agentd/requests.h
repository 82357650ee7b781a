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
#include "agentd/request_tag.h"

enum request_state {
    REQUEST_BEGINNING = 0, /* on its way to the journal, or waiting for its turn */
#define REQUEST(name, number, may_submit, help) REQUEST_##name = (number),
#include "agentd/requests.def"
#undef REQUEST
    REQUEST_OPEN_MAX = REQUEST_SUBMITTED,
};

/* NULL for a number that is none. */
const char *request_word(int64_t state);
/* May its id be submitted again? */
bool request_may_submit(int64_t state);

/* The id came with other content. */
int request_conflict(const uint8_t id[REQUEST_ID], struct err *err);

struct requests;
struct request;

struct requests_env {
    void *arg;
    void (*begin)(void *arg, const struct request_row *want, journal_requests_fn fn, void *fn_arg);
    /* fn may be told later, and not at all when the journal is closed. */
    void (*note)(void *arg, const struct request_row *rows, size_t n, journal_requests_fn fn,
                 void *fn_arg);
    /* Load slurmctld's settings and the whole table. */
    void (*load_anew)(void *arg);
    /* Call requests_saw() for each job in the table. */
    void (*show_table)(void *arg);
    /* Does slurmctld, by the last load, have a job with this id or in this group, with that tag? */
    bool (*is_there)(void *arg, uint32_t uid, int64_t job_id, int64_t tag);
    /* Is that worker of the user's to end, and has not?  What it was doing may come to Slurm yet.
     */
    bool (*may_act)(void *arg, uint32_t uid, uint32_t worker);
    /* End the job, if it is still this one. */
    void (*cancel)(void *arg, uint32_t uid, int64_t job_id, int64_t submit_time);
    int64_t (*now)(void);    /* Unix seconds */
    int64_t (*now_ms)(void); /* of a clock that cannot be set */
};

/* max_per_user: requests of a user in memory: open ones, and those of the last minutes.
 * turn_ms: so long at most does one wait for its turn to go to the journal. */
struct requests *requests_new(const struct requests_env *env, size_t max_per_user, int64_t turn_ms);
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

/* Has the user room for one that is not in memory?  The journal may know it all the same. */
int requests_check_room(const struct requests *r, uint32_t uid, struct err *err);
/* Calls fn once, perhaps before it returns.  With an id whose outcome is open that may take
 * REQUEST_WAIT_MS; when many of the user's are under way it may take turn_ms, and then fails
 * (ERR_BUSY). */
enum { REQUEST_WAIT_MS = 20000 };
void requests_submit(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID],
                     const uint8_t hash[REQUEST_HASH], request_fn fn, void *arg);
/* After GO, before Slurm is asked.  False: the job of an earlier attempt has turned up; then
 * requests_outcome() is not to be called, q has its answer. */
bool requests_send(struct requests *r, struct request *q);
/* After GO, before its outcome: the process that had its call; 0: none. */
void request_had_worker(struct request *q, uint32_t process);
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
/* Is one on its way to the journal, or waiting for that? */
bool requests_is_asked(const struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID]);
size_t requests_in_doubt(const struct requests *r, uint32_t uid);
/* The same of all users; and those of a user that are in memory, which are capped. */
size_t requests_doubts(const struct requests *r);
size_t requests_of_user(const struct requests *r, uint32_t uid);
/* In doubt, and no load will settle it: slurmdbd may know, or the user. */
bool request_stuck(const struct request *q);
/* slurmdbd has its job, which slurmctld does not show: nothing, when it is not in doubt any more.
 */
void requests_found(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t job_id,
                    int64_t submit_time);
/* Its user's word about a doubt: it is that job, or (0) it has none.  Good as well when that is
 * known.  ERR_BUSY or ERR_SLURM_DOWN: it cannot be settled yet; ERR_CONFLICT: it is otherwise. */
int requests_resolve(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t job_id,
                     struct err *err);
/* The same of one that is over, by its row. */
int request_row_resolve(const struct request_row *row, int64_t job_id, struct err *err);
/* Being submitted just now, or waiting for that. */
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
/* From now on none goes to the journal: those that wait for their turn are told so. */
void requests_close(struct requests *r);
/* The server stops: what waits is told, what is new goes to the journal. */
void requests_stop(struct requests *r);

#endif
