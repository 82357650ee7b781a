/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/store_work.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "client/handle.h"
#include "common/aws_conf.h"
#include "common/beneath.h"
#include "common/clock.h"
#include "common/str.h"

enum { PARALLEL = 4, TIMEOUT_S = 30 * 24 * 3600 };

/* ---- opening ---- */

static int open_s3(struct sagent_store *st, const struct sagent_store_options *o, struct err *err)
{
    AUTO(aws_conf_free) struct aws_conf *aws = NULL;
    const struct aws_options options = {
        .home = getenv("HOME"),
        .profile = o->profile,
        .endpoint = o->endpoint,
        .region = o->region,
        .environment = true,
        .anonymous = o->anonymous,
    };
    if (aws_conf_load(&options, &aws, err) < 0)
        return -1;
    struct stage_conf conf = *aws_conf_stage(aws);
    conf.proxy_from_environment = true;
    conf.parallel = st->parallel;
    return stage_open(STAGE_S3, &conf, &st->stage, err);
}

int store_open(const char *url, const struct sagent_store_options *o, struct sagent_store **ret,
               struct err *err)
{
    static const struct sagent_store_options none;
    AUTO(free) struct sagent_store *st = calloc(1, sizeof *st);
    struct stage_url u;
    if (!o)
        o = &none;
    if (!st)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (handle_reserved(o->reserved, ARRAY_LEN(o->reserved), err) < 0)
        return -1;
    if (!url || stage_url_parse(url, &u, err) < 0)
        return err_set(err, ERR_INVALID, "no URL");
    st->scheme = u.scheme;
    st->parallel = o->parallel > 0 ? o->parallel : PARALLEL;
    if ((u.scheme == STAGE_S3 ? open_s3(st, o, err) : stage_open(u.scheme, NULL, &st->stage, err)) <
        0)
        return -1;
    *ret = TAKE(st);
    return 0;
}

int store_mark(int fd, struct store_mark *ret, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "it is not a regular file");
    *ret = (struct store_mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim, false};
    return 0;
}

/* ---- many files ---- */

/* The stores' own progress comes one at a time for each file alone. */
static int on_progress(void *arg, int64_t more_bytes)
{
    struct store_work *w = arg;
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    w->done_bytes += more_bytes;
    if (w->o->on_bytes) {
        int64_t all = w->plan.bytes > w->done_bytes ? w->plan.bytes : w->done_bytes;
        rc = w->o->on_bytes(w->o->arg, w->done_bytes, all, w->done_files, (int64_t)w->plan.n);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* Others would fail as well. */
static bool ends_all(enum err_code code)
{
    return code == ERR_INTERRUPTED || code == ERR_TIMEOUT || code == ERR_STORE_DOWN;
}

static int tell_file(struct store_work *w, const char *from, const char *to,
                     const struct stage_info *info, const struct err *failed, struct err *err)
{
    struct sagent_error e;
    const struct sagent_transfer t = {
        .from = from,
        .to = to,
        .size = (int64_t)info->size_bytes,
        .modified = info->modified_s,
        .etag = *info->etag ? info->etag : NULL,
        .checked = info->checked,
    };
    bool is_failed = failed->code != ERR_NONE;
    pthread_mutex_lock(&w->lock);
    w->done_files++;
    if (is_failed && w->first.code == ERR_NONE)
        w->first = *failed;
    if (is_failed)
        handle_fail(failed, &e);
    if (w->o->on_file && failed->code != ERR_INTERRUPTED)
        w->o->on_file(w->o->arg, &t, is_failed ? &e : NULL);
    pthread_mutex_unlock(&w->lock);
    bool ends = ends_all(failed->code) || (is_failed && w->marks);
    return ends ? err_set(err, failed->code, "%s", failed->text) : 0;
}

static bool is_same(const struct store_mark *a, const struct store_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* Of an upload.  An object of that key and size, whose name tells its bytes, was put whole. */
static int put_marked(struct store_work *w, size_t i, const struct stage_url *u, int fd,
                      struct stage_info *info, struct err *err)
{
    struct store_mark now, *mark = &w->marks[i];
    struct err none = {0};
    if (store_mark(fd, &now, err) < 0)
        return -1;
    if (!is_same(&now, mark))
        return err_set(err, ERR_INVALID, "it has changed while it was being uploaded");
    if (w->may_be_there && stage_head(w->st->stage, u, &w->run, info, &none) == 0 &&
        info->size_bytes == (uint64_t)mark->size) {
        on_progress(w, mark->size);
        return 0;
    }
    int rc = stage_put(w->st->stage, u, fd, &w->run, info, err);
    /* When the answer was lost it may be there. */
    mark->made = rc == 0 || ends_all(err->code);
    return rc;
}

static int put_one(void *arg, size_t i, struct err *err)
{
    struct store_work *w = arg;
    const struct store_item *item = &w->plan.items[i];
    struct stage_url u = w->plan.url;
    struct stage_info info = {0};
    struct err failed = {0};
    char text[STAGE_URL_TEXT];
    str_copy(u.key, sizeof u.key, item->key);
    /* O_NONBLOCK: a fifo that has come in its place would hold us up. */
    AUTO(close) int fd = open(item->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        err_errno(&failed, errno == ENOENT ? ERR_NOT_FOUND : ERR_DENIED, "cannot read %s",
                  item->path);
    else if ((w->marks ? put_marked(w, i, &u, fd, &info, &failed)
                       : stage_put(w->st->stage, &u, fd, &w->run, &info, &failed)) < 0)
        err_while(&failed, "%s", item->path);
    return tell_file(w, item->path, stage_url_text(&u, text), &info, &failed, err);
}

static int fetch_one(void *arg, size_t i, struct err *err)
{
    struct store_work *w = arg;
    const struct store_item *item = &w->plan.items[i];
    struct stage_url u = w->plan.url;
    struct stage_info info = {0};
    struct err failed = {0};
    char text[STAGE_URL_TEXT];
    const char *name, *dir = w->plan.dir;
    size_t n = strlen(dir);
    AUTO(free) char *path = NULL;
    str_copy(u.key, sizeof u.key, item->key);
    if (asprintf(&path, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", item->path) < 0) {
        path = NULL;
        return err_set(err, ERR_INTERNAL, "no memory");
    }
    AUTO(close) int parent = beneath_open_parent(w->dirfd, item->path, true, &name, &failed);
    if (parent >= 0)
        stage_fetch(w->st->stage, &u, parent, name, 0666, &w->run, &info, &failed);
    else
        err_while(&failed, "%s", stage_url_text(&u, text));
    return tell_file(w, stage_url_text(&u, text), path, &info, &failed, err);
}

static int make_directory(const char *path, struct err *err)
{
    AUTO(free) char *copy = strdup(path);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "no memory");
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) < 0 && errno != EEXIST)
            return err_errno(err, ERR_DENIED, "cannot make %s", copy);
        *slash = '/';
    }
    if (mkdir(copy, 0777) < 0 && errno != EEXIST)
        return err_errno(err, ERR_DENIED, "cannot make %s", copy);
    return 0;
}

static int open_target(struct store_work *w, struct err *err)
{
    const char *dir = *w->plan.dir ? w->plan.dir : ".";
    w->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->dirfd < 0 && errno == ENOENT) {
        if (make_directory(dir, err) < 0)
            return -1;
        w->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (w->dirfd < 0)
        return err_errno(err, errno == ENOTDIR ? ERR_INVALID : ERR_DENIED, "%s", dir);
    return 0;
}

int store_work_through(struct store_work *w, struct err *err)
{
    if (!w->is_put && open_target(w, err) < 0)
        return -1;
    on_progress(w, 0);
    stage_each(w->plan.n, w->st->parallel - 1, w->is_put ? put_one : fetch_one, w, err);
    on_progress(w, 0);
    /* Which of them was the first, whatever ended it all. */
    if (w->first.code != ERR_NONE)
        *err = w->first;
    return err->code == ERR_NONE ? 0 : -1;
}

int store_work_begin(struct store_work *w, struct sagent_store *st, const char *url,
                     const struct sagent_transfer_options *o, struct stage_url *ret,
                     struct err *err)
{
    static const struct sagent_transfer_options none;
    if (!o)
        o = &none;
    *w = (struct store_work){.st = st, .o = o, .dirfd = -1};
    w->run.deadline_ms =
        clock_mono_ms() + (int64_t)(o->timeout_s > 0 ? o->timeout_s : TIMEOUT_S) * 1000;
    w->run.progress = on_progress;
    w->run.arg = w;
    w->run.unsynced = true;
    pthread_mutex_init(&w->lock, NULL);
    store_plan_init(&w->plan);
    w->plan.on_left_out = o->on_left_out;
    w->plan.left_arg = o->arg;
    if (!url || stage_url_parse(url, ret, err) < 0)
        return err_set(err, ERR_INVALID, "no URL");
    return handle_reserved(o->reserved, ARRAY_LEN(o->reserved), err);
}

void store_work_end(struct store_work *w)
{
    store_plan_done(&w->plan);
    pthread_mutex_destroy(&w->lock);
    if (w->dirfd >= 0)
        close(w->dirfd);
}

int store_work_go_on(struct store_work *w, struct err *err)
{
    return on_progress(w, 0) ? err_set(err, ERR_INTERRUPTED, "interrupted") : 0;
}
