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
#include "common/failpoint.h"
#include "common/fdio.h"
#include "common/log.h"
#include "common/str.h"

enum {
    WRITE_ROWS = 1000000, /* that wait */
    WRITE_BYTES = 512 << 20,
    FIND_WORKS = 20000,       /* of one user */
    FIND_BYTES = 64 << 20,    /* of their ids and strings */
    TRANSACTION_ROWS = 10000, /* about */
    ALIVE_S = 20,             /* between two notes that jobs are being watched */
    HUNG_MS = 5000,           /* a disk that takes longer does not answer */
    CLOSE_S = 5,
    TICK_MS = 500,
};

static const char HUNG_TEXT[] = "the journal's disk does not answer";

/* Those before WORK_FIND write. */
enum kind {
    WORK_PUT,
    WORK_SAW,
    WORK_ALIVE,
    WORK_BEGIN,
    WORK_NOTE,
    WORK_FIND,
    WORK_SEEN,
    WORK_GET,
    WORK_OPEN,
};

/* What is asked, and then its answer. */
struct work {
    struct work *next;
    enum kind kind;
    journal_fn fn; /* NULL: nobody wants to know */
    void *arg;
    struct arena arena;               /* FIND: the query's strings and ids */
    struct journal_finding finding;   /* PUT, SAW: its rows alone */
    int64_t alive, whole;             /* ALIVE */
    struct journal_requests requests; /* BEGIN, NOTE, GET, OPEN */
    size_t bytes;                     /* as counted in the queue */
    bool again;                       /* FIND, SEEN: there is a further part */
    struct err err;
};

struct list {
    struct work *first, **tail;
    size_t works, rows, bytes;
};

/* A user's questions.  Users take turns. */
struct asker {
    struct asker *next;
    uint32_t uid;
    struct list finds;
};

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
    struct list writes; /* go before all questions */
    struct asker *askers, **askers_tail;
    struct list done;
    bool closing;
    int64_t busy_ms;             /* since when it writes; 0: it does not */
    struct journal_state posted; /* how things stood after the last work or chore */

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
    journal_finding_done(&w->finding);
    free(w->requests.rows);
    arena_done(&w->arena);
    free(w);
}

static bool is_write(const struct work *w)
{
    return w->kind < WORK_FIND;
}

static size_t rows_of(const struct work *w)
{
    return is_write(w) ? w->finding.n + w->requests.n : 0;
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

/* Gives all that was in it. */
static struct work *list_take(struct list *l)
{
    struct work *first = l->first;
    list_init(l);
    return first;
}

static struct work *list_take_one(struct list *l)
{
    struct work *w = l->first;
    l->first = w->next;
    if (!l->first)
        l->tail = &l->first;
    l->works--;
    l->bytes -= w->bytes;
    w->next = NULL;
    return w;
}

/* ---- questions: users in turn; under the lock ---- */

static struct asker *asker_of(struct journal *j, uint32_t uid)
{
    struct asker *a = j->askers;
    while (a && a->uid != uid)
        a = a->next;
    if (a || !(a = calloc(1, sizeof *a)))
        return a;
    a->uid = uid;
    list_init(&a->finds);
    *j->askers_tail = a;
    j->askers_tail = &a->next;
    return a;
}

static struct work *next_find(struct journal *j)
{
    struct asker *a = j->askers;
    if (!a)
        return NULL;
    struct work *w = list_take_one(&a->finds);
    j->askers = a->next;
    if (!j->askers)
        j->askers_tail = &j->askers;
    if (!a->finds.first) {
        free(a);
        return w;
    }
    a->next = NULL;
    *j->askers_tail = a;
    j->askers_tail = &a->next;
    return w;
}

/* False: the user has too many. */
static bool add_find(struct journal *j, struct work *w, bool again)
{
    struct asker *a = asker_of(j, w->finding.query.asker);
    if (!a || (!again && (a->finds.works >= FIND_WORKS || a->finds.bytes > FIND_BYTES)))
        return false;
    list_add(&a->finds, w);
    return true;
}

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
    int rc = journal_db_begin(j->db, &err);
    for (; end && rows < TRANSACTION_ROWS; end = end->next) {
        rc = rc == 0 ? do_write(j, end, &err) : rc;
        rows += rows_of(end);
    }
    FAILPOINT(before_commit);
    if (rc == 0)
        rc = journal_db_commit(j->db, &err);
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
        if (!again || !add_find(j, w, true))
            list_add(&j->done, w);
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
    default:
        journal_db_find(j->db, &w->finding, &w->again, &w->err);
    }
    post(j, w, NULL);
}

/* Waits for work until there is a chore to do.  False: closing, and nothing is left. */
static bool take_work(struct journal *j, struct work **ret_writes, struct work **ret_find)
{
    int64_t until = journal_db_due(j->db);
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&j->lock);
    while (!j->writes.first && !j->askers && !j->closing && clock_mono_ms() < until)
        pthread_cond_timedwait(&j->more_work, &j->lock, &ts);
    for (struct work *w; j->closing && (w = next_find(j));) {
        err_set(&w->err, ERR_BUSY, "the server is stopping");
        list_add(&j->done, w);
    }
    *ret_writes = list_take(&j->writes);
    *ret_find = *ret_writes ? NULL : next_find(j);
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

static void deliver(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    struct work *w = list_take(&j->done);
    j->seen = j->posted;
    pthread_mutex_unlock(&j->lock);
    while (w) {
        struct work *next = w->next;
        const struct journal_finding *f = &w->finding;
        size_t n = is_write(w) || w->err.code == ERR_NONE ? f->n : 0;
        if (w->fn)
            w->fn(w->arg, f->rows, n, f->more, &w->err);
        if (w->requests.fn)
            journal_requests_tell(&w->requests, w->arg, &w->err);
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
    struct list kept;
    list_init(&kept);
    for (struct work *w; (w = next_find(j));) {
        if (w->kind != WORK_FIND) {
            list_add(&kept, w);
            continue;
        }
        err_set(&w->err, ERR_BUSY, "%s", HUNG_TEXT);
        list_add(&j->done, w);
    }
    for (struct work *w = list_take(&kept), *next; w; w = next) {
        next = w->next;
        if (!add_find(j, w, true)) {
            err_set(&w->err, ERR_BUSY, "no memory");
            list_add(&j->done, w);
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
    list_add(&j->writes, w);
    return true;
}

static void submit(struct journal *j, struct work *w)
{
    pthread_mutex_lock(&j->lock);
    bool hung = w->kind == WORK_FIND && hung_ms(j);
    bool taken = !j->closing && !hung && (is_write(w) ? add_write(j, w) : add_find(j, w, false));
    if (taken) {
        pthread_cond_signal(&j->more_work);
    } else {
        err_set(&w->err, ERR_BUSY, "%s",
                j->closing    ? "the server is stopping"
                : hung        ? HUNG_TEXT
                : is_write(w) ? "the journal has too much to write"
                              : "too many requests of yours wait for the journal");
        list_add(&j->done, w);
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

static void write_records(struct journal *j, enum kind kind, struct jobrec *const *recs, size_t n,
                          journal_fn fn, void *arg)
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

bool journal_loaded(struct journal *j, int64_t as_of, int64_t min_job_age_s)
{
    int64_t before = j->loaded ? j->loaded : j->seen.alive;
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

static void ask_requests(struct journal *j, enum kind kind, uint32_t asker,
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

void journal_request_note(struct journal *j, const struct request_row *rows, size_t n)
{
    struct journal_requests r;
    bool ok = journal_requests_init(&r, rows, n, NULL);
    ask_requests(j, WORK_NOTE, 0, &r, ok, NULL);
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
    list_init(&j->writes);
    list_init(&j->done);
    j->askers_tail = &j->askers;
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
    if (j->started) {
        pthread_mutex_destroy(&j->lock);
        pthread_cond_destroy(&j->more_work);
    }
    if (j->done_fd >= 0)
        close(j->done_fd);
    free(j);
}
