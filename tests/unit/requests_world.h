/* SPDX-License-Identifier: GPL-3.0-or-later */
/* requests_world.h: a journal, an slurmctld, a client and clocks that do as they are told, for the
 * tests of requests.c and what belongs to it; each file of them has its own */
#ifndef TESTS_UNIT_REQUESTS_WORLD_H
#define TESTS_UNIT_REQUESTS_WORLD_H

#include <criterion/criterion.h>
#include <string.h>

#include "agentd/requests.h"
#include "common/seal.h"
#include "common/str.h"
#include "tests/kit/record.h"

enum { ROWS = 64, ALICE = 1001, BOB = 1002, BEGIN_S = 1000000, MAX = 8, WORKER = 5, TURN_S = 200 };

static const uint8_t one[REQUEST_ID] = {1};
static const uint8_t content[REQUEST_HASH] = {7};

/* ---- the world ---- */

static struct {
    struct requests *r;
    struct request_row disk[ROWS];
    size_t n;
    bool broken; /* the journal cannot be written */
    bool slow;   /* and answers later */
    struct request_row want;
    journal_requests_fn fn;
    void *fn_arg;
    struct jobrec *table[ROWS];
    size_t jobs;
    bool later; /* what is noted is answered by answer_notes() */
    struct request_row noted[ROWS];
    size_t noted_n;
    journal_requests_fn note_fn;
    void *note_arg;
    int anew, notes;
    int64_t cancelled;
    uint32_t ending; /* this worker is to end, and has not */
} w;
static int64_t wall, mono;
static size_t most = MAX; /* of a user in memory */

static inline int64_t wall_now(void)
{
    return wall;
}

static inline int64_t mono_now(void)
{
    return mono;
}

static inline void pass(int64_t s)
{
    wall += s;
    mono += s * 1000;
}

static inline struct request_row *on_disk(uint32_t uid, const uint8_t *id)
{
    for (size_t i = 0; i < w.n; i++)
        if (w.disk[i].uid == uid && memcmp(w.disk[i].id, id, REQUEST_ID) == 0)
            return &w.disk[i];
    return NULL;
}

static inline void keep(const struct request_row *row)
{
    struct request_row *at = on_disk(row->uid, row->id);
    if (!at)
        at = &w.disk[w.n++];
    *at = *row;
}

static inline void answer_begin(void)
{
    struct err err = {0};
    struct request_row *there = on_disk(w.want.uid, w.want.id), row = w.want;
    journal_requests_fn fn = w.fn;
    w.fn = NULL;
    if (w.broken) {
        err_set(&err, ERR_INTERNAL, "the disk is full");
        fn(w.fn_arg, NULL, 0, false, &err);
        return;
    }
    bool begun = !there || (request_may_submit(there->state) &&
                            memcmp(there->hash, row.hash, REQUEST_HASH) == 0);
    if (!begun)
        row = *there;
    else if (there && there->attempt >= row.attempt)
        row.attempt = there->attempt + 1;
    if (begun)
        keep(&row);
    fn(w.fn_arg, &row, 1, begun, &err);
}

static inline void begin(void *arg, const struct request_row *want, journal_requests_fn fn,
                         void *fn_arg)
{
    (void)arg;
    cr_assert(!w.fn, "one at a time");
    w.want = *want;
    w.fn = fn;
    w.fn_arg = fn_arg;
    if (!w.slow)
        answer_begin();
}

static inline void note(void *arg, const struct request_row *rows, size_t n, journal_requests_fn fn,
                        void *fn_arg)
{
    struct err err = {0};
    (void)arg;
    if (w.broken)
        err_set(&err, ERR_INTERNAL, "the disk is full");
    w.notes++;
    if (w.later) {
        cr_assert_eq(w.noted_n, 0, "one at a time");
        memcpy(w.noted, rows, n * sizeof *rows);
        w.noted_n = n;
        w.note_fn = fn;
        w.note_arg = fn_arg;
        return;
    }
    for (size_t i = 0; !w.broken && i < n; i++)
        keep(&rows[i]);
    fn(fn_arg, rows, w.broken ? 0 : n, false, &err);
}

static inline void answer_notes(void)
{
    struct err none = {0};
    size_t n = w.noted_n;
    for (size_t i = 0; i < n; i++)
        keep(&w.noted[i]);
    w.noted_n = 0;
    w.note_fn(w.note_arg, w.noted, n, false, &none);
}

static inline void load_anew(void *arg)
{
    (void)arg;
    w.anew++;
}

static inline void show_table(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < w.jobs; i++)
        requests_saw(w.r, w.table[i]);
}

static inline bool is_there(void *arg, uint32_t uid, int64_t job_id, int64_t tag)
{
    (void)arg;
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->group == job_id && w.table[i]->keys.uid == uid &&
            w.table[i]->keys.tag == tag)
            return true;
    return false;
}

static inline bool may_act(void *arg, uint32_t uid, uint32_t worker)
{
    (void)arg;
    (void)uid;
    return worker == w.ending;
}

static inline void cancel(void *arg, uint32_t uid, int64_t job_id, int64_t submit_time)
{
    (void)arg;
    (void)uid;
    (void)submit_time;
    w.cancelled = job_id;
}

static inline void start(void)
{
    static const struct requests_env env = {NULL,     begin,   note,   load_anew, show_table,
                                            is_there, may_act, cancel, wall_now,  mono_now};
    w.r = requests_new(&env, most, TURN_S * 1000);
    cr_assert_not_null(w.r);
}

static inline void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    memset(&w, 0, sizeof w);
    wall = BEGIN_S;
    mono = 500000;
    start();
}

static inline void tear_down(void)
{
    requests_stop(w.r);
    requests_free(w.r);
    for (size_t i = 0; i < w.jobs; i++)
        jobrec_unref(w.table[i]);
}

/* The broker dies: what was not noted is not known to the next one. */
static inline void restart(void)
{
    requests_free(w.r);
    start();
    size_t n = 0;
    struct request_row open[ROWS];
    for (size_t i = 0; i < w.n; i++)
        if (w.disk[i].state <= REQUEST_OPEN_MAX || request_may_submit(w.disk[i].state) ||
            w.disk[i].attempt > 1)
            open[n++] = w.disk[i];
    requests_opened(w.r, open, n);
}

/* ---- a client ---- */

struct client {
    int told;
    enum request_turn turn;
    enum request_state state;
    struct request_row row;
    struct request *q;
    struct err err;
};

static inline void on_turn(void *arg, enum request_turn turn, struct request *q,
                           const struct err *err)
{
    struct client *c = arg;
    c->told++;
    c->turn = turn;
    c->q = q;
    c->err = *err;
    if (!q)
        return;
    request_row(q, &c->row);
    c->state = request_state(q);
}

static inline struct client ask_as(uint32_t uid, const uint8_t *id, const uint8_t *hash)
{
    struct client c = {0};
    requests_submit(w.r, uid, id, hash, on_turn, &c);
    cr_assert_eq(c.told, 1);
    return c;
}

static inline struct client ask(void)
{
    return ask_as(ALICE, one, content);
}

static inline struct client must_go(void)
{
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO, "state %d: %s", (int)c.state, c.err.text);
    cr_assert(requests_send(w.r, c.q));
    return c;
}

static inline void outcome(struct client *c, enum request_state state, int64_t job_id)
{
    struct err err = {0};
    if (state != REQUEST_SUBMITTED)
        err_set(&err, state == REQUEST_REFUSED ? ERR_INVALID : ERR_SLURM_DOWN, "so it went");
    err.slurm_errno = state == REQUEST_REFUSED ? 2000 : 0;
    request_had_worker(c->q, WORKER);
    requests_outcome(w.r, c->q, state, job_id, &err, NULL, NULL);
    requests_tick(w.r);
}

static inline struct client submitted(int64_t job_id)
{
    struct client c = must_go();
    outcome(&c, REQUEST_SUBMITTED, job_id);
    return c;
}

static inline struct client doubted(void)
{
    struct client c = must_go();
    outcome(&c, REQUEST_IN_DOUBT, 0);
    return c;
}

static inline enum request_state state(void)
{
    const struct request *q = requests_find(w.r, ALICE, one);
    return q ? request_state(q) : (enum request_state) - 1;
}

/* ---- slurmctld ---- */

static inline struct jobrec *job(uint32_t id, int64_t attempt, const char *word)
{
    struct job j = {
        .job_id = id,
        .id = "1",
        .uid = ALICE,
        .state = word,
        .phase = str_eq(word, "COMPLETED") ? "SUCCEEDED" : "QUEUED",
        .submit_time = wall,
        .tag = request_tag(ALICE, one, attempt),
    };
    return record_of(&j);
}

/* slurmctld has it from now on. */
static inline void appears_as(uint32_t id, struct jobrec *rec)
{
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->job_id == id) {
            jobrec_unref(w.table[i]);
            w.table[i] = w.table[--w.jobs];
        }
    w.table[w.jobs++] = rec;
    requests_saw(w.r, rec);
}

static inline void appears(uint32_t id, int64_t attempt, const char *word)
{
    appears_as(id, job(id, attempt, word));
}

/* What it keeps of a job that it refuses. */
static inline void refusal_appears(uint32_t id, int64_t attempt)
{
    struct job j = {
        .job_id = id,
        .id = "1",
        .uid = ALICE,
        .state = "FAILED",
        .phase = "FAILED",
        .submit_time = wall,
        .start_time = wall,
        .end_time = wall,
        .tag = request_tag(ALICE, one, attempt),
    };
    appears_as(id, record_of(&j));
}

static inline void vanishes(uint32_t id)
{
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->job_id == id) {
            struct jobrec *rec = w.table[i];
            w.table[i] = w.table[--w.jobs];
            requests_gone(w.r, rec);
            jobrec_unref(rec);
            return;
        }
}

static int64_t boot_time = BEGIN_S - 1000, min_job_age_ms = 300000;

static inline void load(bool whole)
{
    struct requests_load l = {
        .begun_ms = mono,
        .as_of = wall,
        .whole = whole,
        .boot_time = boot_time,
        .min_job_age_ms = min_job_age_ms,
        .rpc_ms = 310000,
    };
    requests_loaded(w.r, &l);
    requests_tick(w.r);
}

/* The watcher looks on, once a second. */
static inline void watch_for(int64_t s)
{
    for (int64_t i = 0; i < s; i += 10) {
        pass(10);
        load(true);
    }
}

static inline void reboot(void)
{
    pass(2);
    boot_time = wall;
    pass(2);
}

#endif
