/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/stage_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/aws_conf.h"
#include "common/beneath.h"
#include "common/clock.h"
#include "common/stage_impl.h"
#include "common/str.h"

enum { TELL_MS = 500 };

/* ---- what was granted ---- */

static int read_hex(const char *text, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &v) != 1)
            return -1;
        out[i] = (uint8_t)v;
    }
    return 0;
}

int stage_granted_parse(const char *text, struct stage_granted *out)
{
    const size_t id = 2 * sizeof out->request, hash = 2 * sizeof out->hash;
    if (strlen(text) != id + 1 + hash || text[id] != ':')
        return -1;
    return read_hex(text, out->request, sizeof out->request) < 0
               ? -1
               : read_hex(text + id + 1, out->hash, sizeof out->hash);
}

int stage_granted_tag(const struct stage_granted *g, uint32_t uid, int64_t attempt, uint32_t *ret,
                      struct err *err)
{
    if (attempt > STAGE_ATTEMPTS_MAX)
        return err_set(err, ERR_LIMIT, "attempt %lld of a request with data, at most %d are made",
                       (long long)attempt, STAGE_ATTEMPTS_MAX);
    *ret = request_tag(uid, g->request, attempt);
    return 0;
}

/* ---- how far it is ---- */

void stage_meter_init(struct stage_meter *m, int fd, const struct chan_head *head,
                      int64_t timeout_s)
{
    *m = (struct stage_meter){
        .fd = fd,
        .head = {.serial = head->serial, .op = head->op},
        .told_ms = clock_mono_ms(),
        .deadline_ms = clock_mono_ms() + timeout_s * 1000,
    };
    pthread_mutex_init(&m->lock, NULL);
}

void stage_meter_done(struct stage_meter *m)
{
    pthread_mutex_destroy(&m->lock);
}

/* Nothing is to come while we work: whatever does is the end of who asked. */
static bool has_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

/* Under the lock. */
static void tell(struct stage_meter *m)
{
    AUTO(wire_out_free) struct wire_out *out = NULL;
    struct err err = {0};
    int64_t now = clock_mono_ms();
    if (m->fd < 0 || now - m->told_ms < TELL_MS)
        return;
    m->told_ms = now;
    if (!(out = wire_out_new()))
        return;
    msg_pack(&stage_report_type, &m->now, out);
    struct bytes b = wire_out_bytes(out);
    if (has_gone(m->fd) || (b.p && chan_write(m->fd, &m->head, b, &err) < 0))
        m->stop = true;
}

static int on_progress(void *arg, int64_t more)
{
    struct stage_meter *m = arg;
    pthread_mutex_lock(&m->lock);
    m->now.bytes += more;
    if (m->now.bytes < 0)
        m->now.bytes = 0;
    m->is_more |= m->most && m->now.bytes > m->most;
    tell(m);
    bool stop = m->stop || m->is_more;
    pthread_mutex_unlock(&m->lock);
    return stop;
}

struct stage_run stage_meter_run(struct stage_meter *m)
{
    return (struct stage_run){.deadline_ms = m->deadline_ms, .progress = on_progress, .arg = m};
}

void stage_meter_file(struct stage_meter *m)
{
    pthread_mutex_lock(&m->lock);
    m->now.files++;
    tell(m);
    pthread_mutex_unlock(&m->lock);
}

int stage_meter_look(struct stage_meter *m, struct err *err)
{
    const struct stage_run run = stage_meter_run(m);
    return stage_go_on(&run, 0, err);
}

/* ---- stores and directories ---- */

/* As the user's own tools on this host find it: whoever started us, no variable counts. */
static struct aws_conf *users_aws(struct stage_job *j, struct err *err)
{
    struct aws_conf *aws = NULL;
    const struct passwd *pw = getpwuid(getuid());
    const char *sites = j->conf->aws_home, *user = strstr(sites, "%u"), *home;
    if (!pw || pw->pw_dir[0] != '/') {
        err_set(err, ERR_NOT_FOUND, "user id %u has no home directory here, and so no ~/.aws",
                getuid());
        return NULL;
    }
    if (user)
        home =
            arena_printf(j->arena, "%.*s%s%s", (int)(user - sites), sites, pw->pw_name, user + 2);
    else
        home = *sites ? sites : pw->pw_dir;
    const struct aws_options o = {.home = home};
    if (aws_conf_load(&o, &aws, err) < 0)
        err_while(err, "keys for s3:// of %s on the cluster", pw->pw_name);
    return aws;
}

struct stage *stage_stores_get(struct stage_stores *s, struct stage_job *j,
                               enum stage_scheme scheme, struct err *err)
{
    AUTO(aws_conf_free) struct aws_conf *aws = NULL;
    struct stage_conf conf = {0};
    if (s->of[scheme])
        return s->of[scheme];
    if (scheme == STAGE_S3) {
        if (!(aws = users_aws(j, err)))
            return NULL;
        conf = *aws_conf_stage(aws);
        conf.deny_endpoints = j->conf->deny_endpoints;
    }
    conf.parallel = STAGE_THREADS;
    return stage_open(scheme, &conf, &s->of[scheme], err) < 0 ? NULL : s->of[scheme];
}

void stage_stores_done(struct stage_stores *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->of); i++)
        stage_close(s->of[i]);
}

int stage_open_base(const char *dir, struct err *err)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_errno(err,
                  errno == ENOENT    ? ERR_NOT_FOUND
                  : errno == ENOTDIR ? ERR_INVALID
                                     : ERR_DENIED,
                  "directory %s", dir);
    return fd;
}

/* ---- places ---- */

/* The first n bytes of path, which end with a slash, below base: the directory. */
static int open_own(int base, const char *path, size_t n, bool make_dirs, struct err *err)
{
    char file[PATH_MAX];
    const char *name;
    if (snprintf(file, sizeof file, "%.*sx", (int)n, path) >= (int)sizeof file)
        return err_set(err, ERR_INVALID, "%.60s... is longer than a path may be", path);
    return beneath_open_parent(base, file, make_dirs, &name, err);
}

int stage_place_open(const struct stage_job *j, const struct stage_place *p, bool make_dirs,
                     const char **ret_name, struct err *err)
{
    size_t root = strspn(p->path, "/");
    const char *path = p->path + root;
    AUTO(close) int base = stage_open_base(root ? "/" : j->m->body.work_dir, err);
    if (base >= 0 && p->own > root) {
        int own = open_own(base, path, p->own - root, make_dirs, err);
        close(base);
        base = own;
        path = p->path + p->own;
        path += strspn(path, "/");
    }
    return base < 0 ? -1 : beneath_open_parent(base, path, make_dirs, ret_name, err);
}

static size_t name_at(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash + 1 - path) : 0;
}

static int by_directory(const void *a, const void *b)
{
    const char *one = ((const struct stage_place *)a)->path;
    const char *two = ((const struct stage_place *)b)->path;
    size_t n = name_at(one), m = name_at(two);
    return n == m ? memcmp(one, two, n) : (n > m) - (n < m);
}

int stage_places_sweep(const struct stage_job *j, struct stage_place *v, size_t n, struct err *err)
{
    AUTO(free) const char **names = calloc(n + 1, sizeof *names);
    if (!names)
        return err_set(err, ERR_BUSY, "no memory left for so many files");
    if (n)
        qsort(v, n, sizeof *v, by_directory);
    for (size_t i = 0, m; i < n; i += m) {
        struct err ignored = {0};
        const char *name;
        for (m = 0; i + m < n && by_directory(&v[i], &v[i + m]) == 0; m++)
            names[m] = v[i + m].path + name_at(v[i + m].path);
        AUTO(close) int dir = stage_place_open(j, &v[i], false, &name, &ignored);
        if (dir >= 0)
            stage_sweep_parts(dir, names, m);
    }
    return 0;
}

/* ---- limits ---- */

int stage_check_quota(const struct stage_job *j, int64_t bytes, const char *what, struct err *err)
{
    int64_t sites = j->conf->max_stage_gib << 30, own = j->m->body.quota;
    int64_t most = own && own < sites ? own : sites;
    j->meter->most = most;
    if (bytes <= most)
        return 0;
    return err_set(err, ERR_LIMIT, "%s are %lld bytes, at most %lld are allowed (%s)", what,
                   (long long)bytes, (long long)most,
                   most == own ? "the job's own quota" : "max_stage_gib of the server");
}

int stage_check_moved(const struct stage_job *j, int rc, const char *what, struct err *err)
{
    if (!j->meter->is_more)
        return rc;
    *err = (struct err){0};
    return stage_check_quota(j, j->meter->now.bytes, what, err) < 0
               ? -1
               : err_set(err, ERR_LIMIT, "%s became more than are allowed while they were moved",
                         what);
}

const char *stage_amount(int64_t files, int64_t bytes, struct arena *arena)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1024;
    return arena_printf(arena, u ? "%lld file%s, %.1f %s" : "%lld file%s, %.0f %s",
                        (long long)files, files == 1 ? "" : "s", v, units[u]);
}
