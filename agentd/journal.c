/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The journal's thread, and the queue between it and the loop. */
#include "agentd/journal.h"

#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "agentd/journal_db.h"
#include "agentd/journal_works.h"
#include "agentd/metrics.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/fdio.h"
#include "common/log.h"
#include "common/str.h"
#include "common/thread.h"

enum {
    WRITE_ROWS = 1000000, /* that wait */
    WRITE_BYTES = 512 << 20,
    TRANSACTION_ROWS = 10000, /* about */
    ALIVE_S = 20,             /* between two notes that jobs are being watched */
    HUNG_MS = 5000,           /* a disk that takes longer does not answer */
    CLOSE_S = 5,
    TICK_MS = 500,
};

static const char HUNG_TEXT[] = "the journal's disk does not answer";

struct journal {
    sd_event_source *done_source, *tick;
    int done_fd;
    pthread_t thread;
    bool started;
    struct journal_state seen; /* the loop's copy */
    int64_t loaded, noted;     /* the last whole load, and what was noted of it */
    char hung[80];

    pthread_mutex_t lock;
    pthread_cond_t more_work;
    /* under the lock */
    struct works writes; /* go before all questions */
    struct askers askers;
    struct works done;
    bool closing;
    int64_t busy_ms;             /* since when it writes; 0: it does not */
    struct journal_state posted; /* how things stood after the last work or chore */

    struct journal_db *db;         /* the thread's */
    struct journal_staging staged; /* as it was when we began, */
    struct err staged_err;         /* or why that is not known */
};

/* ---- the thread ---- */

static int do_write(struct journal *j, struct work *w, struct err *err)
{
    struct journal_row *rows = w->finding.rows;
    int rc = 0;
    switch (w->kind) {
    case WORK_PUT:
        for (size_t i = 0; rc == 0 && i < w->finding.n; i++)
            rc = journal_db_put(j->db, &rows[i], err);
        return rc;
    case WORK_SAW:
        for (size_t i = 0; rc == 0 && i < w->finding.n; i++)
            rc = journal_db_saw(j->db, rows[i].rec, err);
        return rc;
    case WORK_ALIVE:
        return journal_db_alive(j->db, w->alive, w->whole, err);
    case WORK_BEGIN:
        return journal_db_request_begin(j->db, &w->requests, err);
    case WORK_NOTE:
        return journal_db_request_note(j->db, &w->requests, err);
    case WORK_STAGING_NOTE:
        return journal_db_staging_note(j->db, &w->staging, err);
    default:
        return 0;
    }
}

/* Those that came together are one transaction: one fsync.  Returns the first that is not of it. */
static struct work *do_writes(struct journal *j, struct work *first)
{
    struct err err = {0};
    struct work *end = first;
    size_t rows = 0;
    int64_t begun_us = clock_mono_us();
    int rc = journal_db_begin(j->db, &err);
    for (; end && rows < TRANSACTION_ROWS; end = end->next) {
        rc = rc == 0 ? do_write(j, end, &err) : rc;
        rows += work_rows(end);
    }
    FAILPOINT(before_commit);
    if (rc == 0)
        rc = journal_db_commit(j->db, &err);
    first->commit_us = clock_mono_us() - begun_us;
    if (first->kind == WORK_BEGIN)
        FAILPOINT(after_commit);
    else
        FAILPOINT(after_note);
    for (struct work *w = first; w != end; w = w->next) {
        w->err = err;
        for (size_t i = 0; rc < 0 && i < w->finding.n; i++)
            w->finding.rows[i].number = 0, w->finding.rows[i].known = false;
    }
    return end;
}

/* Answers from first to end, or how things stand, go to the loop; a question that has a further
 * part goes behind the others. */
static void post(struct journal *j, struct work *first, const struct work *end)
{
    pthread_mutex_lock(&j->lock);
    bool news = first || strcmp(j->posted.trouble, journal_db_state(j->db)->trouble) != 0 ||
                j->posted.openings != journal_db_state(j->db)->openings;
    j->posted = *journal_db_state(j->db);
    j->busy_ms = 0;
    for (struct work *w = first, *next; w != end; w = next) {
        next = w->next;
        bool again = w->again;
        w->again = false;
        if (!again || !askers_add(&j->askers, w, true))
            works_add(&j->done, w);
    }
    pthread_mutex_unlock(&j->lock);
    if (news)
        fdio_ring(j->done_fd);
}

static void write_all(struct journal *j, struct work *w)
{
    while (w) {
        pthread_mutex_lock(&j->lock);
        j->busy_ms = clock_mono_ms();
        pthread_mutex_unlock(&j->lock);
        struct work *end = do_writes(j, w), *first = w;
        w = end;
        post(j, first, end);
    }
}

static void look_up(struct journal *j, struct work *w)
{
    switch (w->kind) {
    case WORK_SEEN:
        journal_db_seen(j->db, &w->finding, &w->again, &w->err);
        break;
    case WORK_GET:
        journal_db_request_get(j->db, &w->requests, &w->err);
        break;
    case WORK_OPEN:
        journal_db_requests_open(j->db, &w->requests, &w->err);
        break;
    case WORK_STAGING_FIND:
        journal_db_staging_find(j->db, &w->staging, &w->err);
        break;
    default:
        journal_db_find(j->db, &w->finding, &w->again, &w->err);
    }
    post(j, w, NULL);
}

/* Waits for work until there is a chore to do.  False: closing, and nothing is left. */
static bool take_work(struct journal *j, struct work **ret_writes, struct work **ret_find)
{
    int64_t until = journal_db_due(j->db);
    pthread_mutex_lock(&j->lock);
    while (!j->writes.first && !j->askers.first && !j->closing && clock_mono_ms() < until)
        thread_cond_wait(&j->more_work, &j->lock, until);
    for (struct work *w; j->closing && (w = askers_next(&j->askers));) {
        err_set(&w->err, ERR_BUSY, "the server is stopping");
        works_add(&j->done, w);
    }
    *ret_writes = works_take(&j->writes);
    *ret_find = *ret_writes ? NULL : askers_next(&j->askers);
    bool go_on = *ret_writes || *ret_find || !j->closing;
    pthread_mutex_unlock(&j->lock);
    return go_on;
}

static void *thread(void *arg)
{
    struct journal *j = arg;
    struct work *writes, *find;
    pthread_setname_np(pthread_self(), "journal");
    while (take_work(j, &writes, &find)) {
        write_all(j, writes);
        if (find)
            look_up(j, find);
        if (clock_mono_ms() >= journal_db_due(j->db)) {
            journal_db_chore(j->db);
            post(j, NULL, NULL);
        }
    }
    return NULL;
}

/* ---- the loop's side ---- */

static void count(const struct work *w)
{
    if (w->commit_us) {
        metrics_add(commits, result_of(w->err.code), 0, 1);
        histogram_add(&metrics.commit_time[0], w->commit_us);
    }
    if (w->err.code == ERR_NONE)
        metrics_add(commit_rows, 0, 0, (int64_t)work_rows(w));
}

static void deliver(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    struct work *w = works_take(&j->done);
    j->seen = j->posted;
    pthread_mutex_unlock(&j->lock);
    while (w) {
        struct work *next = w->next;
        const struct journal_finding *f = &w->finding;
        count(w);
        size_t n = work_writes(w) || w->err.code == ERR_NONE ? f->n : 0;
        if (w->fn)
            w->fn(w->arg, f->rows, n, f->more, &w->err);
        if (w->requests.fn)
            journal_requests_tell(&w->requests, w->arg, &w->err);
        if (w->staging.fn)
            journal_staging_tell(&w->staging, w->arg, &w->err);
        work_free(w);
        w = next;
    }
}

/* Under the lock. */
static int64_t hung_ms(const struct journal *j)
{
    int64_t busy = j->busy_ms ? clock_mono_ms() - j->busy_ms : 0;
    return busy > HUNG_MS ? busy : 0;
}

/* Under the lock.  Whoever asked comes again; what the broker itself wants to know has time. */
static void withdraw_finds(struct journal *j)
{
    struct works kept;
    works_init(&kept);
    for (struct work *w; (w = askers_next(&j->askers));) {
        if (!work_is_a_users(w)) {
            works_add(&kept, w);
            continue;
        }
        err_set(&w->err, ERR_BUSY, "%s", HUNG_TEXT);
        works_add(&j->done, w);
    }
    for (struct work *w = works_take(&kept), *next; w; w = next) {
        next = w->next;
        if (!askers_add(&j->askers, w, true)) {
            err_set(&w->err, ERR_BUSY, "no memory");
            works_add(&j->done, w);
        }
    }
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct journal *j = arg;
    pthread_mutex_lock(&j->lock);
    if (hung_ms(j))
        withdraw_finds(j);
    bool answers = j->done.first != NULL;
    pthread_mutex_unlock(&j->lock);
    if (answers)
        deliver(j);
    sd_event_source_set_time(s, usec + TICK_MS * 1000);
    return 0;
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    (void)s;
    (void)revents;
    fdio_hush(fd);
    deliver(arg);
    return 0;
}

static bool add_write(struct journal *j, struct work *w)
{
    if (j->writes.rows + w->finding.n > WRITE_ROWS || j->writes.bytes + w->bytes > WRITE_BYTES)
        return false;
    works_add(&j->writes, w);
    return true;
}

static void submit(struct journal *j, struct work *w)
{
    pthread_mutex_lock(&j->lock);
    bool hung = work_is_a_users(w) && hung_ms(j);
    bool taken = !j->closing && !hung &&
                 (work_writes(w) ? add_write(j, w) : askers_add(&j->askers, w, false));
    if (taken) {
        pthread_cond_signal(&j->more_work);
    } else {
        err_set(&w->err, ERR_BUSY, "%s",
                j->closing       ? "the server is stopping"
                : hung           ? HUNG_TEXT
                : work_writes(w) ? "the journal has too much to write"
                                 : "too many requests of yours wait for the journal");
        works_add(&j->done, w);
    }
    pthread_mutex_unlock(&j->lock);
    if (!taken)
        fdio_ring(j->done_fd);
}

static void no_memory(journal_fn fn, void *arg)
{
    struct err err = {0};
    err_set(&err, ERR_BUSY, "no memory");
    if (fn)
        fn(arg, NULL, 0, false, &err);
}

static void write_records(struct journal *j, enum work_kind kind, struct jobrec *const *recs,
                          size_t n, journal_fn fn, void *arg)
{
    struct work *w = work_new(kind, fn, arg);
    if (!w || !(w->finding.rows = calloc(n ? n : 1, sizeof *w->finding.rows))) {
        free(w);
        no_memory(fn, arg);
        return;
    }
    w->finding.n = n;
    for (size_t i = 0; i < n; i++) {
        w->finding.rows[i].rec = jobrec_ref(recs[i]);
        w->bytes += recs[i]->packed.n;
    }
    submit(j, w);
}

void journal_put(struct journal *j, struct jobrec *const *recs, size_t n, journal_fn fn, void *arg)
{
    write_records(j, WORK_PUT, recs, n, fn, arg);
}

void journal_saw(struct journal *j, struct jobrec *const *recs, size_t n, journal_fn fn, void *arg)
{
    write_records(j, WORK_SAW, recs, n, fn, arg);
}

void journal_seen(struct journal *j, journal_fn fn, void *arg)
{
    struct work *w = work_new(WORK_SEEN, fn, arg);
    if (w)
        submit(j, w);
    else
        no_memory(fn, arg);
}

int64_t journal_alive(const struct journal *j)
{
    return j->loaded ? j->loaded : j->seen.alive;
}

bool journal_loaded(struct journal *j, int64_t as_of, int64_t min_job_age_s)
{
    int64_t before = journal_alive(j);
    bool gap = before && min_job_age_s > 0 && as_of - before >= min_job_age_s;
    j->loaded = as_of;
    if (!gap && as_of - j->noted < ALIVE_S)
        return false;
    struct work *w = work_new(WORK_ALIVE, NULL, NULL);
    if (!w)
        return gap;
    if (gap)
        log_notice("jobs that ended and were forgotten by slurmctld before %lld are known to "
                   "slurmdbd at most",
                   (long long)as_of);
    j->noted = as_of;
    w->alive = as_of;
    w->whole = gap ? as_of : 0;
    submit(j, w);
    return gap;
}

static int copy_query(struct work *w, const struct journal_query *q)
{
    struct journal_finding *f = &w->finding;
    f->query = *q;
    const char **const texts[] = {&f->query.filter.user, &f->query.filter.name,
                                  &f->query.filter.partition};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (*texts[i] && !(*texts[i] = arena_strdup(&w->arena, *texts[i])))
            return -1;
    if (!(f->ids = arena_array(&w->arena, q->n_ids + 1, sizeof *f->ids)))
        return -1;
    if (q->n_ids)
        memcpy(f->ids, q->ids, q->n_ids * sizeof *f->ids);
    f->query.ids = f->ids;
    w->bytes = w->arena.used_bytes;
    return 0;
}

void journal_find(struct journal *j, const struct journal_query *q, journal_fn fn, void *arg)
{
    struct work *w = work_new(WORK_FIND, fn, arg);
    if (!w || copy_query(w, q) < 0) {
        if (w)
            work_free(w);
        no_memory(fn, arg);
        return;
    }
    submit(j, w);
}

/* ---- requests ---- */

static void ask_requests(struct journal *j, enum work_kind kind, uint32_t asker,
                         struct journal_requests *r, bool ok, void *arg)
{
    struct err err = {0};
    struct work *w = ok ? work_new(kind, NULL, arg) : NULL;
    if (!w) {
        free(r->rows);
        err_set(&err, ERR_BUSY, "no memory");
        if (r->fn)
            r->fn(arg, NULL, 0, false, &err);
        return;
    }
    w->requests = *r;
    w->finding.query.asker = asker;
    w->bytes = r->n * sizeof *r->rows;
    submit(j, w);
}

void journal_request_begin(struct journal *j, const struct request_row *want,
                           journal_requests_fn fn, void *arg)
{
    struct journal_requests r;
    bool ok = journal_requests_init(&r, want, 1, fn);
    ask_requests(j, WORK_BEGIN, want->uid, &r, ok, arg);
}

void journal_request_note(struct journal *j, const struct request_row *rows, size_t n,
                          journal_requests_fn fn, void *arg)
{
    struct journal_requests r;
    bool ok = journal_requests_init(&r, rows, n, fn);
    ask_requests(j, WORK_NOTE, 0, &r, ok, arg);
}

void journal_request_get(struct journal *j, uint32_t uid, const uint8_t id[REQUEST_ID],
                         journal_requests_fn fn, void *arg)
{
    struct request_row row = {.uid = uid};
    struct journal_requests r;
    memcpy(row.id, id, REQUEST_ID);
    bool ok = journal_requests_init(&r, &row, 1, fn);
    ask_requests(j, WORK_GET, uid, &r, ok, arg);
}

void journal_requests_open(struct journal *j, int64_t since, journal_requests_fn fn, void *arg)
{
    struct journal_requests r = {.fn = fn, .since = since};
    ask_requests(j, WORK_OPEN, 0, &r, true, arg);
}

/* ---- staging ---- */

static void ask_staging(struct journal *j, enum work_kind kind, struct journal_staging *s, bool ok,
                        void *arg)
{
    struct err err = {0};
    struct work *w = ok ? work_new(kind, NULL, arg) : NULL;
    if (!w) {
        err_set(&err, ERR_BUSY, "no memory");
        if (s->fn)
            journal_staging_tell(s, arg, &err);
        journal_staging_done(s);
        return;
    }
    for (size_t i = 0; i < s->n; i++)
        w->bytes += sizeof *s->rows + s->rows[i].manifest.n;
    w->staging = *s;
    w->finding.query.asker = s->uid;
    submit(j, w);
}

void journal_staging_note(struct journal *j, const struct staging_row *rows, size_t n,
                          journal_staging_fn fn, void *arg)
{
    struct journal_staging s;
    bool ok = journal_staging_init(&s, rows, n, fn);
    ask_staging(j, WORK_STAGING_NOTE, &s, ok, arg);
}

void journal_staging_open(struct journal *j, journal_staging_fn fn, void *arg)
{
    struct journal_staging s = {.fn = fn};
    ask_staging(j, WORK_STAGING_FIND, &s, true, arg);
}

void journal_staging_get(struct journal *j, uint32_t uid, int64_t job_id, journal_staging_fn fn,
                         void *arg)
{
    struct journal_staging s = {.fn = fn, .uid = uid, .job_id = job_id};
    ask_staging(j, WORK_STAGING_FIND, &s, true, arg);
}

void journal_staging_first(struct journal *j, journal_staging_fn fn, void *arg)
{
    struct journal_staging s = j->staged;
    j->staged = (struct journal_staging){0};
    fn(arg, s.rows, s.n, &j->staged_err);
    journal_staging_done(&s);
}

const uint8_t *journal_instance(const struct journal *j)
{
    return j->seen.instance;
}

int64_t journal_openings(const struct journal *j)
{
    return j->seen.openings;
}

const char *journal_trouble(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    int64_t busy = hung_ms(j);
    pthread_mutex_unlock(&j->lock);
    if (busy) {
        snprintf(j->hung, sizeof j->hung, "its disk has not answered for %lld s",
                 (long long)busy / 1000);
        return j->hung;
    }
    return *j->seen.trouble ? j->seen.trouble : NULL;
}

size_t journal_waiting(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    size_t n = j->writes.rows;
    pthread_mutex_unlock(&j->lock);
    return n;
}

int64_t journal_newest(const struct journal *j)
{
    return j->seen.newest;
}

int64_t journal_begins(const struct journal *j)
{
    return j->seen.begins ? j->seen.begins : clock_now();
}

int64_t journal_whole(const struct journal *j)
{
    int64_t begins = journal_begins(j);
    return j->seen.whole > begins ? j->seen.whole : begins;
}

/* ---- start and end ---- */

static int start_thread(struct journal *j, struct err *err)
{
    pthread_mutex_init(&j->lock, NULL);
    thread_cond_init(&j->more_work);
    int rc = thread_start(&j->thread, thread, j);
    j->started = rc == 0;
    return rc == 0 ? 0 : err_set(err, ERR_INTERNAL, "cannot start a thread: %s", strerror(rc));
}

struct journal *journal_new(struct sd_event *loop, const struct agentd_conf *conf, struct err *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    works_init(&j->writes);
    works_init(&j->done);
    askers_init(&j->askers);
    j->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Opened here, so that the first question is answered rightly. */
    if ((j->db = journal_db_new(conf, err)) &&
        (j->done_fd < 0 ||
         sd_event_add_io(loop, &j->done_source, j->done_fd, EPOLLIN, on_done, j) < 0 ||
         sd_event_add_time_relative(loop, &j->tick, CLOCK_MONOTONIC, TICK_MS * 1000, 0, on_tick,
                                    j) < 0 ||
         sd_event_source_set_enabled(j->tick, SD_EVENT_ON) < 0))
        err_set(err, ERR_INTERNAL, "cannot set up the journal");
    if (err->code == ERR_NONE) {
        j->posted = j->seen = *journal_db_state(j->db);
        journal_db_staging_find(j->db, &j->staged, &j->staged_err);
        if (start_thread(j, err) == 0)
            return j;
    }
    journal_free(j);
    return NULL;
}

/* False: the disk hangs, and the thread with it. */
static bool end_thread(struct journal *j)
{
    struct timespec ts;
    pthread_mutex_lock(&j->lock);
    j->closing = true;
    pthread_cond_signal(&j->more_work);
    pthread_mutex_unlock(&j->lock);
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += CLOSE_S;
    return pthread_timedjoin_np(j->thread, NULL, &ts) == 0;
}

void journal_free(struct journal *j)
{
    if (!j)
        return;
    sd_event_source_disable_unref(j->done_source);
    sd_event_source_disable_unref(j->tick);
    if (j->started && !end_thread(j)) {
        log_err("the journal's disk does not answer: what was not kept by now is lost");
        return; /* the thread still uses all of it; the process ends now */
    }
    while (j->done.first) /* a callback may ask anew, and is refused */
        deliver(j);
    journal_db_free(j->db);
    journal_staging_done(&j->staged);
    if (j->started) {
        pthread_mutex_destroy(&j->lock);
        pthread_cond_destroy(&j->more_work);
    }
    if (j->done_fd >= 0)
        close(j->done_fd);
    free(j);
}
