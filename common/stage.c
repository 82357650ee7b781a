/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage.c: what is the same for every kind of store */
#include "common/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/stage_impl.h"
#include "common/str.h"
#include "common/thread.h"

struct stage {
    enum stage_scheme scheme;
    const struct stage_ops *ops;
    void *store;
};

enum { DAY_MS = 24 * 60 * 60 * 1000 };

int stage_open(enum stage_scheme scheme, const struct stage_conf *conf, struct stage **ret,
               struct err *err)
{
    AUTO(free) struct stage *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_INTERNAL, "no memory");
    s->scheme = scheme;
    int rc = scheme == STAGE_S3 ? stage_s3_open(conf, &s->ops, &s->store, err)
                                : stage_file_open(&s->ops, &s->store, err);
    if (rc == 0)
        *ret = TAKE(s);
    return rc;
}

void stage_close(struct stage *s)
{
    if (!s)
        return;
    s->ops->close(s->store);
    free(s);
}

int stage_go_on(const struct stage_run *run, int64_t more_bytes, struct err *err)
{
    if (run->progress && run->progress(run->arg, more_bytes) != 0)
        return err_set(err, ERR_INTERRUPTED, "stopped");
    if (clock_mono_ms() >= run->deadline_ms)
        return err_set(err, ERR_TIMEOUT, "the time for it is over");
    return 0;
}

/* The store is the URL's?  Fills in what the caller has left out. */
static int begin(const struct stage *s, const struct stage_url *u, const struct stage_run *run,
                 struct stage_run *ret, struct err *err)
{
    char text[STAGE_URL_TEXT];
    if (u->scheme != s->scheme)
        return err_set(err, ERR_INVALID, "%s is of another kind than the store that was opened",
                       stage_url_text(u, text));
    *ret = run ? *run : (struct stage_run){0};
    if (!ret->deadline_ms)
        ret->deadline_ms = clock_mono_ms() + DAY_MS;
    return 0;
}

/* Of an object, not of many. */
static int begin_object(const struct stage *s, const struct stage_url *u,
                        const struct stage_run *run, struct stage_run *ret, struct err *err)
{
    char text[STAGE_URL_TEXT];
    if (stage_url_is_prefix(u))
        return err_set(err, ERR_INVALID, "%s names no object: it ends with '/'",
                       stage_url_text(u, text));
    return begin(s, u, run, ret, err);
}

static int give(int rc, const struct stage_info *info, struct stage_info *ret)
{
    if (rc == 0 && ret)
        *ret = *info;
    return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int stage_put(struct stage *s, const struct stage_url *to, int fd, const struct stage_run *run,
              struct stage_info *ret, struct err *err)
{
    struct stage_run r;
    struct stage_info info = {0};
    struct stat before, after;
    if (begin_object(s, to, run, &r, err) < 0)
        return -1;
    if (fstat(fd, &before) < 0 || !S_ISREG(before.st_mode))
        return err_set(err, ERR_INVALID, "not a regular file");
    if (s->ops->put(s->store, to, fd, (uint64_t)before.st_size, &r, &info, err) < 0)
        return -1;
    if (fstat(fd, &after) < 0 || !same_file(&before, &after))
        return err_set(err, ERR_INVALID, "the file was changed while it was being stored");
    return give(0, &info, ret);
}

int stage_get(struct stage *s, const struct stage_url *from, int fd, const struct stage_run *run,
              struct stage_info *ret, struct err *err)
{
    struct stage_run r;
    struct stage_info info = {0};
    struct stat st;
    if (begin_object(s, from, run, &r, err) < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "not a regular file");
    return give(s->ops->get(s->store, from, fd, &r, &info, err), &info, ret);
}

/* ---- files that appear whole ---- */
/* Their names: ".", the file's own, ".", random digits, ".part". */
enum { PART_RANDOM = 8, PART_MORE = 1 + 1 + PART_RANDOM + 5, PART_TRIES = 10 };

static size_t part_room(const char *name)
{
    return str_cut(name, NAME_MAX - PART_MORE);
}

bool stage_part_is(const char *entry)
{
    size_t n = strlen(entry);
    if (entry[0] != '.' || n <= PART_MORE || !str_eq(entry + n - 5, ".part"))
        return false;
    const char *random = entry + n - 5 - PART_RANDOM;
    return random[-1] == '.' && strspn(random, "0123456789abcdef") == PART_RANDOM;
}

/* So much of a name as is in its part's name. */
struct stem {
    const char *p;
    size_t n;
};

static int compare_stems(struct stem a, struct stem b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static struct stem stem_of(const void *name)
{
    const char *p = *(const char *const *)name;
    return (struct stem){p, part_room(p)};
}

static int by_stem(const void *a, const void *b)
{
    return compare_stems(stem_of(a), stem_of(b));
}

static int stem_and_name(const void *stem, const void *name)
{
    return compare_stems(*(const struct stem *)stem, stem_of(name));
}

static bool is_part_of(const char *entry, const char **names, size_t n)
{
    struct stem stem = {entry + 1, 0};
    if (!stage_part_is(entry))
        return false;
    stem.n = strlen(entry) - PART_MORE;
    return bsearch(&stem, names, n, sizeof *names, stem_and_name) != NULL;
}

static int file_error(struct err *err, const char *what, const char *name)
{
    bool denied = errno == EACCES || errno == EPERM || errno == EROFS;
    bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return err_errno(err,
                     denied            ? ERR_DENIED
                     : full            ? ERR_LIMIT
                     : errno == ENOENT ? ERR_NOT_FOUND
                                       : ERR_INVALID,
                     "cannot %s %s", what, name);
}

/* Locked while somebody writes it, so that nobody sweeps it away (see stage_sweep_parts()).  Where
 * there are no locks nothing is swept.  0: it was swept before it was locked. */
static int lock_part(int fd)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return 0;
    return fstat(fd, &st) < 0 || st.st_nlink > 0;
}

int stage_part_open(int dirfd, const char *name, mode_t mode, char ret_part[NAME_MAX + 1],
                    struct err *err)
{
    uint32_t random;
    char hex[PART_RANDOM + 1];
    for (int i = 0; i < PART_TRIES; i++) {
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return err_errno(err, ERR_INTERNAL, "getrandom");
        str_hex(&random, sizeof random, hex);
        snprintf(ret_part, NAME_MAX + 1, ".%.*s.%s.part", (int)part_room(name), name, hex);
        AUTO(close)
        int fd = openat(dirfd, ret_part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
            return file_error(err, "make", ret_part);
        if (lock_part(fd))
            return TAKE_FD(fd);
    }
    return err_set(err, ERR_BUSY, "%s is swept away again and again", ret_part);
}

int stage_fetch(struct stage *s, const struct stage_url *from, int dirfd, const char *name,
                mode_t mode, const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    char part[NAME_MAX + 1];
    if (!*name || strchr(name, '/') || strlen(name) > NAME_MAX || str_eq(name, ".") ||
        str_eq(name, ".."))
        return err_set(err, ERR_INVALID, "'%.300s' is not the name of a file", name);
    AUTO(close) int fd = stage_part_open(dirfd, name, mode, part, err);
    if (fd < 0)
        return -1;
    int rc = stage_get(s, from, fd, run, ret, err);
    if (rc == 0 && !(run && run->unsynced) && fsync(fd) < 0)
        rc = file_error(err, "write", name);
    if (rc == 0 && renameat(dirfd, part, dirfd, name) < 0)
        rc = file_error(err, "make", name);
    if (rc < 0)
        unlinkat(dirfd, part, 0);
    return rc;
}

/* Whoever writes it holds its lock until it is renamed, or dead. */
static bool is_abandoned(int dirfd, const char *entry)
{
    AUTO(close)
    int fd = openat(dirfd, entry, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

int stage_sweep_parts(int dirfd, const char **names, size_t n)
{
    int swept = 0;
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    qsort(names, n, sizeof *names, by_stem);
    for (const struct dirent *e; (e = readdir(d));)
        if (is_part_of(e->d_name, names, n) && is_abandoned(dirfd, e->d_name) &&
            unlinkat(dirfd, e->d_name, 0) == 0)
            swept++;
    closedir(d);
    return swept;
}

/* ---- the rest ---- */
int stage_head(struct stage *s, const struct stage_url *u, const struct stage_run *run,
               struct stage_info *ret, struct err *err)
{
    struct stage_run r;
    struct stage_info info = {0};
    if (begin_object(s, u, run, &r, err) < 0)
        return -1;
    return give(s->ops->head(s->store, u, &r, &info, err), &info, ret);
}

int stage_list(struct stage *s, const struct stage_url *prefix, size_t max, stage_list_fn *fn,
               void *arg, const struct stage_run *run, struct err *err)
{
    struct stage_run r;
    if (begin(s, prefix, run, &r, err) < 0)
        return -1;
    return s->ops->list(s->store, prefix, max, fn, arg, &r, err);
}

int stage_copy(struct stage *s, const struct stage_url *from, const struct stage_url *to,
               const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    struct stage_run r;
    struct stage_info info = {0};
    if (begin_object(s, from, run, &r, err) < 0 || begin_object(s, to, run, &r, err) < 0)
        return -1;
    return give(s->ops->copy(s->store, from, to, &r, &info, err), &info, ret);
}

int stage_delete(struct stage *s, const struct stage_url *u, const struct stage_run *run,
                 struct err *err)
{
    struct stage_run r;
    if (begin_object(s, u, run, &r, err) < 0)
        return -1;
    return s->ops->del(s->store, u, &r, err);
}

int stage_add_size(int64_t *sum, uint64_t size_bytes, struct err *err)
{
    if (size_bytes > STAGE_OBJECT_MAX)
        return err_set(err, ERR_LIMIT, "%" PRIu64 " bytes, and an object has 5 TiB at most",
                       size_bytes);
    if (__builtin_add_overflow(*sum, (int64_t)size_bytes, sum))
        return err_set(err, ERR_LIMIT, "more bytes in all than can be counted");
    return 0;
}

/* ---- many at once ---- */
struct each {
    size_t n;
    int (*fn)(void *arg, size_t i, struct err *err);
    void *arg;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock;
    struct err *err; /* the first one's; under the lock */
};

static void *each_main(void *arg)
{
    struct each *e = arg;
    while (!atomic_load(&e->failed)) {
        size_t i = atomic_fetch_add(&e->next, 1);
        struct err mine = {0};
        if (i >= e->n)
            break;
        if (e->fn(e->arg, i, &mine) == 0)
            continue;
        pthread_mutex_lock(&e->lock);
        if (!atomic_exchange(&e->failed, true))
            *e->err = mine;
        pthread_mutex_unlock(&e->lock);
    }
    return NULL;
}

int stage_each(size_t n, int threads, int (*fn)(void *arg, size_t i, struct err *err), void *arg,
               struct err *err)
{
    pthread_t others[STAGE_PARALLEL_MAX];
    struct err first = {0};
    struct each e = {.n = n, .fn = fn, .arg = arg, .err = &first};
    pthread_mutex_init(&e.lock, NULL);
    int started = 0;
    /* No more than there is to do; without a thread to be had those there are do all of it. */
    while (started < threads && started < STAGE_PARALLEL_MAX && (size_t)started + 1 < n &&
           thread_start(&others[started], each_main, &e) == 0)
        started++;
    each_main(&e);
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    pthread_mutex_destroy(&e.lock);
    if (!atomic_load(&e.failed))
        return 0;
    if (err->code == ERR_NONE)
        *err = first;
    return -1;
}
