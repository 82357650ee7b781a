/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The journal's thread, and the queue between it and the loop. */
#include "agentd/journal.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <systemd/sd-event.h>

#include "agentd/journal_db.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    QUEUE_WORKS = 20000, /* that wait */
    QUEUE_ROWS = 1000000,
    QUEUE_BYTES = 512 << 20,  /* of records and ids; most records are the table's too */
    TRANSACTION_ROWS = 10000, /* about: a question may come in between */
    CLOSE_S = 5,
};

enum kind { WORK_PUT, WORK_FIND };

/* What is asked, and then its answer. */
struct work {
    struct work *next;
    enum kind kind;
    journal_fn fn;
    void *arg;
    struct arena arena;             /* FIND: the query's strings and ids */
    struct journal_finding finding; /* PUT: its rows alone */
    size_t bytes;                   /* as counted in the queue */
    bool again;                     /* FIND: there is a further part */
    struct err err;
};

struct list {
    struct work *first, **tail;
    size_t works, rows, bytes;
};

struct journal {
    sd_event_source *done_source;
    int done_fd;
    pthread_t thread;
    bool started;
    struct journal_state seen; /* the loop's copy */

    pthread_mutex_t lock;
    pthread_cond_t more_work;
    /* under the lock */
    struct list queue, done;
    bool closing;
    struct journal_state posted; /* how things stood after the last batch or chore */

    struct journal_db *db; /* the thread's */
};

/* ---- works ---- */

static struct work *work_new(enum kind kind, journal_fn fn, void *arg)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->kind = kind;
    w->fn = fn;
    w->arg = arg;
    return w;
}

static void work_free(struct work *w)
{
    for (size_t i = 0; i < w->finding.n; i++)
        jobrec_unref(w->finding.rows[i].rec);
    free(w->finding.rows);
    arena_done(&w->arena);
    free(w);
}

static size_t rows_of(const struct work *w)
{
    return w->kind == WORK_PUT ? w->finding.n : 0;
}

static void list_init(struct list *l)
{
    *l = (struct list){.tail = &l->first};
}

static void list_add(struct list *l, struct work *w)
{
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
    l->works++;
    l->rows += rows_of(w);
    l->bytes += w->bytes;
}

/* Gives what was in it. */
static struct work *list_take(struct list *l)
{
    struct work *first = l->first;
    list_init(l);
    return first;
}

static bool is_full(const struct list *l, const struct work *w)
{
    return l->works >= QUEUE_WORKS || l->rows + rows_of(w) > QUEUE_ROWS ||
           l->bytes + w->bytes > QUEUE_BYTES;
}

static void ring(const struct journal *j)
{
    const uint64_t one = 1;
    ssize_t ignored = write(j->done_fd, &one, sizeof one);
    (void)ignored; /* it fails when it rings already */
}

/* ---- the thread ---- */

/* Puts that are beside one another are one transaction: one fsync for whoever came together.
 * Returns the first work that is not of it. */
static struct work *do_puts(struct journal *j, struct work *first)
{
    struct err err = {0};
    struct work *end = first;
    size_t rows = 0;
    int rc = journal_db_begin(j->db, &err);
    for (; end && end->kind == WORK_PUT && rows < TRANSACTION_ROWS; end = end->next) {
        for (size_t i = 0; rc == 0 && i < end->finding.n; i++)
            rc = journal_db_put(j->db, &end->finding.rows[i], &err);
        rows += end->finding.n;
    }
    if (rc == 0)
        rc = journal_db_commit(j->db, &err);
    for (struct work *w = first; w != end; w = w->next) {
        w->err = err;
        for (size_t i = 0; rc < 0 && i < w->finding.n; i++)
            w->finding.rows[i].number = 0, w->finding.rows[i].known = false;
    }
    return end;
}

static void do_batch(struct journal *j, struct work *w)
{
    while (w) {
        if (w->kind == WORK_PUT) {
            w = do_puts(j, w);
            continue;
        }
        journal_db_find(j->db, &w->finding, &w->again, &w->err);
        w = w->next;
    }
}

/* Answers go to the loop, finds that have a further part to the end of the queue. */
static void post(struct journal *j, struct work *w)
{
    pthread_mutex_lock(&j->lock);
    bool news = w || strcmp(j->posted.trouble, journal_db_state(j->db)->trouble) != 0;
    j->posted = *journal_db_state(j->db);
    while (w) {
        struct work *next = w->next;
        list_add(w->again ? &j->queue : &j->done, w);
        w->again = false;
        w = next;
    }
    pthread_mutex_unlock(&j->lock);
    if (news)
        ring(j);
}

/* Waits for work until there is a chore to do.  False: closing, and nothing is left. */
static bool take_work(struct journal *j, struct work **ret)
{
    int64_t until = journal_db_due(j->db);
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&j->lock);
    while (!j->queue.first && !j->closing && clock_mono_ms() < until)
        pthread_cond_timedwait(&j->more_work, &j->lock, &ts);
    *ret = list_take(&j->queue);
    bool go_on = *ret || !j->closing;
    pthread_mutex_unlock(&j->lock);
    return go_on;
}

static void *thread(void *arg)
{
    struct journal *j = arg;
    struct work *batch;
    pthread_setname_np(pthread_self(), "journal");
    while (take_work(j, &batch)) {
        do_batch(j, batch);
        if (clock_mono_ms() >= journal_db_due(j->db))
            journal_db_chore(j->db);
        post(j, batch);
    }
    return NULL;
}

/* ---- the loop's side ---- */

static void deliver(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    struct work *w = list_take(&j->done);
    j->seen = j->posted;
    pthread_mutex_unlock(&j->lock);
    while (w) {
        struct work *next = w->next;
        const struct journal_finding *f = &w->finding;
        size_t n = w->kind == WORK_PUT || w->err.code == ERR_NONE ? f->n : 0;
        w->fn(w->arg, f->rows, n, f->more, &w->err);
        work_free(w);
        w = next;
    }
}

static int on_done(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    uint64_t count;
    (void)s;
    (void)revents;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
    deliver(arg);
    return 0;
}

static void submit(struct journal *j, struct work *w)
{
    pthread_mutex_lock(&j->lock);
    bool refused = j->closing || is_full(&j->queue, w);
    if (refused)
        err_set(&w->err, ERR_BUSY,
                j->closing ? "the server is stopping" : "the journal has too much to do");
    list_add(refused ? &j->done : &j->queue, w);
    pthread_cond_signal(&j->more_work);
    pthread_mutex_unlock(&j->lock);
    if (refused)
        ring(j);
}

static void no_memory(journal_fn fn, void *arg)
{
    struct err err = {0};
    err_set(&err, ERR_BUSY, "no memory");
    fn(arg, NULL, 0, false, &err);
}

void journal_put(struct journal *j, struct jobrec *const *recs, size_t n, journal_fn fn, void *arg)
{
    struct work *w = work_new(WORK_PUT, fn, arg);
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

const char *journal_trouble(const struct journal *j)
{
    return *j->seen.trouble ? j->seen.trouble : NULL;
}

int64_t journal_newest(const struct journal *j)
{
    return j->seen.newest;
}

int64_t journal_begins(const struct journal *j)
{
    return j->seen.begins ? j->seen.begins : clock_now();
}

/* ---- start and end ---- */

static int start_thread(struct journal *j, struct err *err)
{
    sigset_t all, old;
    pthread_condattr_t attr;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->more_work, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(&j->thread, NULL, thread, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
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
    list_init(&j->queue);
    list_init(&j->done);
    j->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Opened here, so that the first question is answered rightly. */
    if ((j->db = journal_db_new(conf, err)) &&
        (j->done_fd < 0 ||
         sd_event_add_io(loop, &j->done_source, j->done_fd, EPOLLIN, on_done, j) < 0))
        err_set(err, ERR_INTERNAL, "cannot set up the journal");
    if (err->code == ERR_NONE) {
        j->posted = j->seen = *journal_db_state(j->db);
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
    if (j->started && !end_thread(j)) {
        log_err("the journal's disk does not answer: what was not kept by now is lost");
        return; /* the thread still uses all of it; the process ends now */
    }
    while (j->done.first) /* a callback may ask anew, and is refused */
        deliver(j);
    journal_db_free(j->db);
    if (j->started) {
        pthread_mutex_destroy(&j->lock);
        pthread_cond_destroy(&j->more_work);
    }
    if (j->done_fd >= 0)
        close(j->done_fd);
    free(j);
}
