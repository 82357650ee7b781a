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
    int64_t begun; /* REQUEST_LONG_AGO: not known, as of one that an earlier broker began anew */
    uint32_t tag;
    bool said_no; /* Slurm's own answer: it has no job, and not only by proof */
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
    TAILQ_ENTRY(request) in_turns, in_waiting; /* while it waits for its turn */
    struct request_user *user;
    enum request_list list;
    bool waits;     /* for its turn to go to the journal */
    uint64_t turn;  /* which one it has had; 0: none, or its call has ended */
    bool noted;     /* in the list of those to be noted */
    bool unwritten; /* as it is, not known to be on disk */

    uint32_t uid;
    uint8_t id[REQUEST_ID], hash[REQUEST_HASH];
    enum request_state state, before; /* of BEGINNING: what it was */
    int64_t attempt, begun, changed, job_id, submit_time, code;
    char *text;

    struct tag_node *tags; /* the newest attempt's first */
    /* IN_DOUBT: until this load, by either clock, no job of it would have been missed, and what of
     * that is noted.  REQUEST_LONG_AGO: not known. */
    int64_t watched_ms, watched, watched_noted_ms;
    int64_t clock;                 /* of its row, with which watched or alive goes; 0: today's */
    int64_t over_ms, over;         /* its call ended, by either clock */
    int64_t alive_ms, alive;       /* its job was last known to be there */
    uint32_t worker;               /* the process that had its call; 0: none, or an answer */
    bool may_act;                  /* IN_DOUBT: that has not ended */
    bool stuck;                    /* IN_DOUBT: no load will settle it */
    bool disputed;                 /* a job with its tag is there that seems to be another's */
    bool seen;                     /* its job has been in a load */
    int64_t found_job, found_time; /* seen with its tag before the call had ended */
    bool found_dead;               /* that is what slurmctld keeps of what it refuses */
    bool found_part;               /* that may be, if it was refused */
    int64_t twin_job, twin_time;   /* a job of an earlier attempt */
    bool twin_begun, twin_gone;    /* it does not wait any more; it has ended and is forgotten */
    int64_t list_ms;               /* when it came into its list */
    int64_t waits_ms;              /* since when it waits for its turn */
    struct request_waiter *waiters;
};

#define REQUEST_LONG_AGO INT64_MIN

TAILQ_HEAD(request_queue, request);

struct request_user {
    struct request_user *next;
    uint32_t uid;
    size_t n;                   /* requests in memory */
    size_t placed;              /* of them: those that have a turn */
    struct request_queue turns; /* those that wait, first come first */
    bool serving;               /* requests_turns.c is at it: it stays */
};

struct request_set {
    struct request **by_id;
    struct tag_node **by_tag;
    struct request_user **users; /* by a hash of the uid */
    uint64_t key[4];
    size_t count;
    struct request_queue lists[LISTS], notes;
    struct request_queue waiting; /* for their turn, of all users */
    size_t waiting_n;
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
/* It waits for its turn, and does no more. */
void request_set_wait(struct request_set *s, struct request *q, int64_t now_ms);
void request_set_unwait(struct request_set *s, struct request *q);
/* Forgets a user without requests. */
void request_set_drop_user(struct request_set *s, struct request_user *u);
/* Moves it to the end of that list. */
void request_set_list(struct request_set *s, struct request *q, enum request_list list,
                      int64_t now_ms);
void request_set_note(struct request_set *s, struct request *q);
/* From now on this attempt's tag leads to it.  False without memory. */
bool request_set_tag(struct request_set *s, struct request *q, int64_t attempt, int64_t begun);
/* The first with that tag; the others are found by next. */
struct tag_node *request_set_tagged(const struct request_set *s, uint32_t tag);

/* ---- requests ---- */

struct requests {
    struct requests_env env;
    size_t max_per_user;
    size_t placed;   /* of all users */
    uint64_t turns;  /* given so far */
    int64_t turn_ms; /* the longest that one waits for its turn */
    bool closed;     /* none has its turn any more */
    struct request_set set;
    int64_t
        chain_ms; /* since this load no gap was long enough for a job to be made and forgotten */
    int64_t last_ms, last_as_of; /* the last load */
    struct requests_load last;   /* the same */
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
/* In doubt, and slurmctld shows that it has refused it. */
void request_was_refused(struct requests *r, struct request *q);
/* No request that was on its way when its call ended can be carried out any more. */
bool request_is_spent(const struct requests *r, const struct request *q,
                      const struct requests_load *l);
/* Does slurmctld, by the last load, have that job with the tag of one of its attempts? */
bool request_carries_tag(const struct requests *r, const struct request *q, int64_t job_id);
/* Nothing was submitted, and those who wait for it are told why. */
void request_begin_failed(struct requests *r, struct request *q, const struct err *err);
/* In doubt, and only its user can settle it. */
void request_is_stuck(struct requests *r, struct request *q);
/* A job of an earlier attempt does not wait any more: that is only reported. */
void request_twin_runs(struct requests *r, struct request *q, int64_t job_id);
/* Ends the waiting job of an earlier attempt. */
void request_stop_twin(struct requests *r, struct request *q);

/* ---- requests_waiters.c: who waits for the answer ---- */
bool request_add_waiter(struct requests *r, struct request *q, const uint8_t hash[REQUEST_HASH],
                        request_fn fn, void *arg);
/* What the request is, or why nothing was submitted; the waiter is freed. */
void request_tell(struct request *q, struct request_waiter *w, const struct err *why);
/* Those that wait now: who asks anew meanwhile waits anew. */
void request_tell_all(struct request *q, const struct err *why);
void request_answer_all(struct request *q);
/* Those that have waited for too long have their answer. */
void request_expire_waiters(struct requests *r, struct request *q);

/* ---- requests_turns.c ----
 *
 * Whatever has gone to the journal is in doubt when the broker dies, also what Slurm was never
 * asked for; and Slurm is asked by one worker of each user, for one thing at a time.  So a few
 * requests of each user go to the journal, enough of them for its disk to keep up with the worker,
 * and the others wait in memory, where nothing is lost but a client's time.
 */
enum { REQUESTS_AHEAD = 8 };
/* It goes to the journal, at once or when it is its turn: request_has_turn(). */
void request_take_turn(struct requests *r, struct request *q);
void request_has_turn(struct requests *r, struct request *q);
/* Its call has ended, or it has none: the next one's turn. */
void request_leave_turn(struct requests *r, struct request *q);
/* Those that have waited for too long are told so; all: and the others. */
void requests_expire_turns(struct requests *r, bool all);

#endif
