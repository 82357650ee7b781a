/* SPDX-License-Identifier: GPL-3.0-or-later */
/* staging_impl.h: what staging.c (the states), staging_runs.c (what workers do), staging_set.c
 * (what there is) and staging_tell.c (what is told of it) share; nobody else includes it */
#ifndef AGENTD_STAGING_IMPL_H
#define AGENTD_STAGING_IMPL_H

#include <sys/queue.h>

#include "agentd/staging.h"
#include "agentd/stage_op.h"
#include "agentd/stagers.h"
#include "common/log.h"
#include "common/manifest.h"

struct staged;
struct unit;
struct stager;

/* Something for a stage worker to do. */
struct run {
    struct staged *job;
    struct unit *unit; /* NULL: the job's own */
    bool wanted;
    enum stage_op op;
    struct stager *stager;
    int64_t since_ms; /* begun, by the first worker; 0: not yet */
    int64_t retry_ms;
    unsigned tries;  /* that came to nothing, one after the other */
    unsigned deaths; /* the last of them, of workers that died */
    bool left;       /* a worker was killed in the middle: half files may be there */
    int64_t files, files_total, bytes, bytes_total;
    char trouble[300]; /* why it is tried again; "" */
};

/* One end of a job whose outputs are stored: of an array each task has its own. */
struct unit {
    uint32_t task;   /* JOBREC_NO_TASK: not of an array */
    uint32_t job_id; /* its own record's */
    int64_t submit_time;
    enum staging_state state; /* SOUGHT, STORING or OVER */
    bool failed;              /* it did not succeed, for Slurm */
    bool forgotten;           /* by slurmctld, which does that run again; on disk alone */
    bool reported;            /* its records are as they will stay */
    int64_t begun, changed, code;
    char text[STAGING_TEXT];
    struct run run;
};

struct staged {
    TAILQ_ENTRY(staged) in_all;
    struct staged *next, *next_id, *next_job; /* in its buckets */
    struct staging *s;
    uint32_t uid, tag;
    uint8_t id[REQUEST_ID];
    int64_t attempt, job_id, submit_time, begun, changed, code;
    enum staging_state state;
    char text[STAGING_TEXT];
    struct bytes manifest; /* owned */
    bool has_inputs, outputs_ok, outputs_failed, held, array;
    int64_t timeout_s;
    bool by_hand;     /* released before its inputs were there; of an array, a task at least */
    bool none_held;   /* and so is all of it */
    bool seen;        /* slurmctld has shown it */
    bool was_open;    /* and it had not ended when it last did */
    bool restored;    /* of a broker before */
    bool look;        /* something about it has changed */
    bool busy;        /* the journal is writing what the next step waits for */
    bool unwritten;   /* it could not: to be tried again */
    bool grant_lost;  /* the monitor has none: to be asked for again when its user is here */
    int64_t asked_ms; /* the journal, or the monitor, was last asked */
    int64_t seek_ms;  /* so was slurmdbd; 0: not yet */
    struct run run;
    struct unit **units; /* sorted by task */
    size_t n_units, room_units;
    size_t sought; /* of them are SOUGHT */

    /* of a submit that waits */
    staging_begun_fn begun_fn;
    void *begun_arg;
    uint32_t grant_serial; /* 0: none is under way */
    bool on_disk;
    struct err begin_err;
};

enum { STAGED_BUCKETS = 4096 };

/* What must not be told as Slurm has it, of jobs of which nothing else is known any more: their
 * inputs were not there, or outputs were not stored.  From the journal, and from what has gone. */
struct verdict {
    TAILQ_ENTRY(verdict) in_all; /* oldest first */
    struct verdict *next;        /* in its bucket */
    uint32_t uid;
    int64_t job_id, task; /* the array's; STAGING_JOB: of all of it, for its inputs */
    int64_t submit_time, code;
    char text[];
};

struct verdicts {
    TAILQ_HEAD(, verdict) all;
    size_t n;
    struct verdict *by_job[STAGED_BUCKETS];
};

struct staging {
    struct agentd *a;
    TAILQ_HEAD(, staged) all;
    size_t count;
    struct staged *by_tag[STAGED_BUCKETS], *by_id[STAGED_BUCKETS], *by_job[STAGED_BUCKETS];
    struct verdicts verdicts;
    uint32_t serial;
    int64_t openings;    /* of the journal, that were read */
    int64_t read_ms;     /* when one was last begun to be */
    bool read;           /* one was: what is not known here has no data to be moved */
    bool seeing;         /* see_table() is at it: it tells what there is to be told itself */
    bool whole;          /* the table has had all that slurmctld has */
    int64_t boot_time;   /* slurmctld's; 0: not known yet */
    int64_t as_of;       /* the last load, by the clock that can be set */
    int64_t alive;       /* the last one of the slurmctld before; 0: not known */
    int64_t alive_first; /* the last one that a broker before had; 0: not known */
    struct jobrecs kept; /* gone from slurmctld, to be put back */
    struct sd_event_source *tick;
};

enum {
    STAGING_ASK_MS = 2000,    /* between two looks at what became of something */
    STAGING_GRANT_MS = 15000, /* the same for a grant that was lost: its user may be here now */
};

/* Of a job's row, in place of an error's code: */
enum {
    CODE_OF_ENDS = -1, /* one of its ends has a code */
    CODE_HELD = -2,    /* it waits for its inputs, and its user has said since that it is to be */
    CODE_FREE = -3,    /* held when they are there, or not */
};

/* ---- staging.c ---- */
void staged_set_state(struct staged *e, enum staging_state state);
/* Nothing more is to be done for it; text NULL leaves the one there is. */
void staged_over(struct staged *e, enum err_code code, const char *text);
/* It is that job. */
void staged_is_job(struct staged *e, int64_t job_id);
/* Its inputs will never be there. */
void staged_drop(struct staged *e, enum err_code code, const char *text);
/* It is Slurm's now. */
void staged_released(struct staged *e);
/* Into the journal; fn may be NULL. */
void staged_note(struct staged *e, journal_staging_fn fn, void *arg);
/* All of its records, anew. */
void staged_retell(struct staged *e);
void staged_say(const struct staged *e, enum log_level level, const char *what);
/* Is nothing more to be done for any of its ends?  *ret_bad: one has a code. */
bool staged_ends_over(const struct staged *e, bool *ret_bad);
void unit_over(struct unit *u, enum err_code code, const char *text);
void unit_note(const struct unit *u);

/* ---- staging_again.c ---- */
/* Of a job, in the table. */
struct seen {
    const struct staged *e;
    size_t n, open, waiting, held, failed;
    int64_t submit_time;
};

/* Has slurmctld it held again, as it was before it was released? */
bool staged_lost_release(const struct staged *e, const struct seen *v);
void staged_release_again(struct staged *e);
/* Or has it saved the release? */
void staged_kept_release(struct staged *e, const struct seen *v);
/* The record may be of a run whose end was seen already. */
void staged_lost_ends(struct staged *e, const struct jobrec *rec);
/* It was over, and is not. */
void staged_begin_again(struct staged *e, int64_t submit_time);
/* After each load; is it of another slurmctld than the last one? */
bool staging_note_boot(struct staging *s);

/* ---- staging_runs.c ---- */
void run_want(struct run *r, enum stage_op op);
/* Begins it when it is wanted and there is room; now is of clock_mono_ms(). */
void run_pump(struct run *r, int64_t now);
/* It would begin, but its user's others have much to move still. */
bool run_waits_for_bytes(const struct run *r);
void run_stop(struct run *r);
/* It is released when it is on disk that its inputs are whole. */
void run_release(struct staged *e);
/* A journal_staging_fn, with the struct staging: on disk is that the inputs are whole. */
void run_on_whole(void *arg, const struct staging_row *rows, size_t n, const struct err *err);

/* ---- staging_submits.c ---- */
/* What became of its submit? */
void staged_ask_request(struct staged *e, int64_t now);
void staged_ask_grant(struct staged *e, struct err *err);

/* ---- staging_ends.c ---- */
/* What a stage worker has found out about ends that nobody saw. */
void staged_ends_found(struct staged *e, const struct stage_report *rep);
/* It cannot be found out. */
void staged_ends_unknown(struct staged *e, const char *why);
/* All of it has gone from slurmctld, and who knows how.  False when that has been looked into. */
bool staged_seek(struct staged *e);
/* Goes on looking. */
void staged_seek_on(struct staged *e, int64_t now);

/* ---- staging_verdicts.c ---- */
void verdicts_init(struct verdicts *v);
void verdicts_done(struct verdicts *v);
/* Of a row that is over; nothing without a code. */
void verdicts_take(struct verdicts *v, const struct staging_row *row);
/* NULL: it is as Slurm has it. */
const struct verdict *verdicts_find(const struct verdicts *v, const struct jobrec *rec);

/* ---- staging_set.c ---- */
struct staged *staged_add(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID],
                          int64_t attempt, struct bytes manifest);
void staged_remove(struct staged *e);
struct staged *staged_find(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID]);
/* The one that the record is of; by job id and submit time when it has no tag. */
struct staged *staged_of(struct staging *s, const struct jobrec *rec);
/* How many of the user's jobs are not over, and the bytes of all their manifests. */
size_t staged_of_user(const struct staging *s, uint32_t uid, size_t *ret_bytes);
/* It is another attempt now. */
void staged_set_attempt(struct staged *e, int64_t attempt);
/* The attempt, of those until last, whose tag that job carries; 0: slurmctld does not show it. */
int64_t staged_attempt_of(const struct staged *e, int64_t job_id, int64_t last);
/* Its outputs are to be stored; or, of one whose end is UNKNOWN, that is to be found out. */
struct unit *unit_add(struct staged *e, const struct jobrec *rec);
struct unit *unit_add_sought(struct staged *e, uint32_t task, uint32_t job_id, int64_t submit_time);
void unit_set_state(struct unit *u, enum staging_state state);
struct unit *unit_of_task(const struct staged *e, uint32_t task);
/* It is that job; 0: none. */
void staged_set_job(struct staged *e, int64_t job_id);
struct staged *staged_of_job(struct staging *s, uint32_t uid, int64_t job_id);
void unit_remove(struct staged *e, struct unit *u);
/* slurmctld was killed before it had saved that run, and does it again under the same submit time:
 * what is stored is what that one leaves. */
void unit_forget(struct staged *e, struct unit *u);
/* The end that the record is of. */
struct unit *unit_of(const struct staged *e, const struct jobrec *rec);
/* From the journal: -1 for what is no row of ours. */
int staged_restore(struct staging *s, const struct staging_row *row);
void staged_row(const struct staged *e, struct staging_row *out);
void unit_row(const struct staged *e, const struct unit *u, struct staging_row *out);
/* For metrics.h. */
void run_count(const struct run *r, enum stager_news news, const struct stage_report *rep,
               const struct err *err);

#endif
