/* SPDX-License-Identifier: GPL-3.0-or-later */
/* requests_set.h: requests in memory, found by id and by tag, and what requests.c and
 * requests_judge.c share; nobody else includes it */
#ifndef AGENTD_REQUESTS_SET_H
#define AGENTD_REQUESTS_SET_H

#include <sys/queue.h>

#include "agentd/requests.h"
#include "common/log.h"

/* One attempt's tag: also those of earlier attempts are looked for. */
struct tag_node {
    struct tag_node *next; /* in its bucket */
    struct tag_node *more; /* of the same request */
    struct request *q;
    int64_t attempt;
    uint32_t tag;
};

/* A submit that waits for the answer. */
struct request_waiter {
    struct request_waiter *next;
    uint8_t hash[REQUEST_HASH];
    int64_t deadline_ms;
    request_fn fn;
    void *arg;
};

enum request_list {
    LIST_NONE,    /* its job lives */
    LIST_BUSY,    /* BEGINNING or SUBMITTING */
    LIST_PENDING, /* to be judged by the next loads */
    LIST_SOON,    /* over, and forgotten soon */
    LIST_LATER,   /* over, but a job may yet turn up */
    LISTS,
};

struct request {
    struct requests *owner;
    struct request *next; /* in its bucket */
    TAILQ_ENTRY(request) in_list;
    TAILQ_ENTRY(request) in_notes;
    enum request_list list;
    bool noted; /* in the list of those to be noted */

    uint32_t uid;
    uint8_t id[REQUEST_ID], hash[REQUEST_HASH];
    enum request_state state, before; /* of BEGINNING: what it was */
    int64_t attempt, begun, changed, job_id, submit_time, code;
    char *text;

    struct tag_node *tags; /* the newest attempt's first */
    /* IN_DOUBT: until this load, by either clock, no job of it would have been missed, and what of
     * that is noted.  REQUEST_LONG_AGO: not known. */
    int64_t watched_ms, watched, watched_noted;
    int64_t over_ms, over;         /* its call ended, by either clock */
    int64_t alive_ms, alive;       /* its job was last known to be there */
    bool stuck;                    /* IN_DOUBT: no load will settle it */
    bool disputed;                 /* a job with its tag is there that seems to be another's */
    bool seen;                     /* its job has been in a load */
    bool held;                     /* somebody is submitting it */
    int64_t found_job, found_time; /* seen with its tag before the call had ended */
    int64_t twin_job, twin_time;   /* a job of an earlier attempt */
    bool twin_begun, twin_gone;    /* it does not wait any more; it has ended and is forgotten */
    int64_t list_ms;               /* when it came into its list */
    struct request_waiter *waiters;
};

#define REQUEST_LONG_AGO INT64_MIN

TAILQ_HEAD(request_queue, request);

struct user_count {
    struct user_count *next;
    uint32_t uid;
    size_t n;
};

struct request_set {
    struct request **by_id;
    struct tag_node **by_tag;
    struct user_count **per_user; /* by a hash of the uid */
    uint64_t key[4];
    size_t count;
    struct request_queue lists[LISTS], notes;
};

int request_set_init(struct request_set *s);
void request_set_done(struct request_set *s);
struct request *request_set_find(const struct request_set *s, uint32_t uid,
                                 const uint8_t id[REQUEST_ID]);
/* A new one in state BEGINNING; NULL without memory. */
struct request *request_set_add(struct request_set *s, uint32_t uid, const uint8_t id[REQUEST_ID]);
/* It has no waiters. */
void request_set_remove(struct request_set *s, struct request *q);
size_t request_set_of_user(const struct request_set *s, uint32_t uid);
/* Moves it to the end of that list. */
void request_set_list(struct request_set *s, struct request *q, enum request_list list,
                      int64_t now_ms);
void request_set_note(struct request_set *s, struct request *q);
/* From now on this attempt's tag leads to it.  False without memory. */
bool request_set_tag(struct request_set *s, struct request *q, int64_t attempt);
/* The first with that tag; the others are found by next. */
struct tag_node *request_set_tagged(const struct request_set *s, uint32_t tag);

/* ---- requests ---- */

/* Tags are above any session id of a real login. */
#define REQUEST_TAGS UINT32_C(0x80000000)

struct requests {
    struct requests_env env;
    size_t max_per_user, held;
    struct request_set set;
    int64_t
        chain_ms; /* since this load no gap was long enough for a job to be made and forgotten */
    int64_t last_ms, last_as_of; /* the last load */
    int64_t shown_ms;            /* as of it, an ended job is shown so long at least */
    int64_t chain_shown_ms;      /* it was before chain_ms, as far as is known */
    int64_t boot_time, other_ms; /* slurmctld's, and the last load that showed another one */
    int64_t anew_ms;             /* when a whole one was last asked for */
};

int64_t requests_now_ms(const struct requests *r);
void request_say(const struct request *q, enum log_level level, const char *what);
/* It is that job; seen: slurmctld has shown it.  Whoever waits is told, as by the others. */
void request_is_job(struct requests *r, struct request *q, int64_t job_id, int64_t submit_time,
                    bool seen);
/* Its job has ended, or nobody will ever know. */
void request_is_over(struct requests *r, struct request *q);
void request_no_job(struct requests *r, struct request *q, enum request_state state,
                    enum request_list list, enum err_code code, const char *text);
/* In doubt, and only its user can settle it. */
void request_is_stuck(struct requests *r, struct request *q);
/* Ends the waiting job of an earlier attempt. */
void request_stop_twin(struct requests *r, struct request *q);

#endif
