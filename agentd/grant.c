/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/grant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/str.h"

enum { NAME = 2 * MONITOR_REQUEST + 16 };

/* A file: this and nothing else. */
struct record {
    char magic[8];
    uint32_t uid, gid;
    int64_t until;
    uint8_t request[MONITOR_REQUEST];
    uint8_t hash[SEAL_HASH];
    uint32_t ngroups;
    uint32_t groups[LEASE_MAX_GROUPS];
    uint32_t zero; /* no padding is left unsaid */
};
static const char magic[8] = {'S', 'L', 'A', 'G', 'R', 'N', 'T', '1'};

struct grants {
    int dir; /* -1: why says why there is none */
    char why[200];
    size_t n;
    struct grant v[GRANTS_MAX];
};

struct grants *grants_new(void)
{
    struct grants *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->dir = -1;
    str_copy(g->why, sizeof g->why, "there is no directory for grants");
    return g;
}

void grants_free(struct grants *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        free(g->v[i].groups);
    if (g->dir >= 0)
        close(g->dir);
    free(g);
}

static void name_of(uint32_t uid, const uint8_t request[MONITOR_REQUEST], char out[NAME])
{
    int n = snprintf(out, NAME, "%u-", uid);
    str_hex(request, MONITOR_REQUEST, out + n);
}

/* ---- reading ---- */

static int read_record(const struct grants *g, const char *name, struct record *out)
{
    struct stat st;
    char right[NAME];
    AUTO(close) int fd = openat(g->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        st.st_size != sizeof *out || read(fd, out, sizeof *out) != sizeof *out ||
        memcmp(out->magic, magic, sizeof magic) != 0 || out->ngroups > LEASE_MAX_GROUPS)
        return -1;
    name_of(out->uid, out->request, right);
    return str_eq(name, right) ? 0 : -1;
}

static int keep(struct grants *g, const struct record *r)
{
    uint32_t *groups = calloc(r->ngroups ? r->ngroups : 1, sizeof *groups);
    if (!groups || g->n == GRANTS_MAX) {
        free(groups);
        return -1;
    }
    memcpy(groups, r->groups, r->ngroups * sizeof *groups);
    struct grant *at = &g->v[g->n++];
    *at = (struct grant){
        .uid = r->uid,
        .gid = r->gid,
        .until = r->until,
        .ngroups = r->ngroups,
        .groups = groups,
    };
    memcpy(at->request, r->request, sizeof at->request);
    memcpy(at->hash, r->hash, sizeof at->hash);
    return 0;
}

static int read_all(struct grants *g)
{
    static struct record r;
    int fd = fcntl(g->dir, F_DUPFD_CLOEXEC, 3);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        if (read_record(g, e->d_name, &r) < 0 || keep(g, &r) < 0)
            log_warning("grant %s is not used: it is damaged, not ours, or one too many",
                        e->d_name);
    }
    closedir(d);
    return 0;
}

/* -1: it cannot be used. */
static int open_dir(const char *dir, struct err *err)
{
    struct stat st;
    AUTO(close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, ERR_INTERNAL, "%s (grants_dir)", dir);
    if (st.st_uid != geteuid() || st.st_mode & 022)
        return err_set(err, ERR_INTERNAL,
                       "%s (grants_dir) must belong to uid %u and be writable for nobody else", dir,
                       geteuid());
    return TAKE_FD(fd);
}

int grants_open(struct grants *g, const char *dir, struct err *err)
{
    if (mkdir(dir, 0700) == 0)
        log_notice("%s (grants_dir) was not there, and was made", dir);
    else if (errno != EEXIST)
        err_errno(err, ERR_INTERNAL, "%s (grants_dir)", dir);
    if (err->code == ERR_NONE && (g->dir = open_dir(dir, err)) >= 0 && read_all(g) < 0)
        err_errno(err, ERR_INTERNAL, "%s (grants_dir) cannot be read", dir);
    if (err->code == ERR_NONE)
        return 0;
    if (g->dir >= 0)
        close(TAKE_FD(g->dir));
    str_copy(g->why, sizeof g->why, err->text);
    return -1;
}

int grants_check(const char *dir, bool *ret_there, struct err *err)
{
    AUTO(free) char *above = NULL;
    struct stat st;
    *ret_there = lstat(dir, &st) == 0;
    if (*ret_there) {
        AUTO(close) int fd = open_dir(dir, err);
        return fd < 0 ? -1 : 0;
    }
    if (errno != ENOENT)
        return err_errno(err, ERR_INTERNAL, "%s (grants_dir)", dir);
    const char *slash = strrchr(dir, '/');
    if (!slash || !(above = strndup(dir, slash == dir ? 1 : (size_t)(slash - dir))))
        return err_set(err, ERR_INVALID, "%s (grants_dir): give a whole path", dir);
    if (access(above, W_OK | X_OK) < 0)
        return err_errno(err, ERR_INTERNAL,
                         "%s (grants_dir) is not there, and cannot be made in %s", dir, above);
    return 0;
}

/* ---- changes ---- */

/* Renamed when whole.  Not synced: a hung disk must not hold the monitor up.  What a power cut
 * takes is granted anew when its user next comes. */
static int write_record(const struct grants *g, const char *name, const struct record *r)
{
    static const char temporary[] = ".new";
    AUTO(close)
    int fd = openat(g->dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, r, sizeof *r) != sizeof *r)
        return -1;
    return renameat(g->dir, temporary, g->dir, name);
}

static struct grant *find(struct grants *g, uint32_t uid, const uint8_t request[MONITOR_REQUEST])
{
    for (size_t i = 0; i < g->n; i++)
        if (g->v[i].uid == uid && memcmp(g->v[i].request, request, MONITOR_REQUEST) == 0)
            return &g->v[i];
    return NULL;
}

static void drop(struct grants *g, struct grant *at)
{
    char name[NAME];
    name_of(at->uid, at->request, name);
    if (unlinkat(g->dir, name, 0) < 0 && errno != ENOENT)
        log_warning("grant %s cannot be removed: %s", name, strerror(errno));
    free(at->groups);
    *at = g->v[--g->n];
}

static size_t drop_old(struct grants *g, uint32_t uid, int64_t now)
{
    size_t of_user = 0;
    for (size_t i = g->n; i > 0; i--)
        if (g->v[i - 1].until <= now)
            drop(g, &g->v[i - 1]);
        else
            of_user += g->v[i - 1].uid == uid;
    return of_user;
}

int grants_add(struct grants *g, const struct lease *l, const struct monitor_request *req,
               int64_t now, struct err *err)
{
    static struct record r; /* large */
    char name[NAME];
    if (g->dir < 0)
        return err_set(err, ERR_UNSUPPORTED, "nothing can be staged: %.150s", g->why);
    if (req->lifetime_s <= 0 || req->lifetime_s > GRANT_LONGEST_S)
        return err_set(err, ERR_DENIED, "a grant may last %d s at most", GRANT_LONGEST_S);
    size_t of_user = drop_old(g, l->uid, now);
    struct grant *known = find(g, l->uid, req->request);
    if (!known && (of_user >= GRANTS_PER_USER || g->n == GRANTS_MAX))
        return err_set(err, ERR_BUSY, "uid %u has %zu staged jobs, all users %zu: too many", l->uid,
                       of_user, g->n);
    r = (struct record){
        .uid = l->uid,
        .gid = l->gid,
        .until = now + req->lifetime_s,
        .ngroups = l->ngroups,
    };
    memcpy(r.magic, magic, sizeof r.magic);
    memcpy(r.request, req->request, sizeof r.request);
    memcpy(r.hash, req->hash, sizeof r.hash);
    memcpy(r.groups, l->groups, l->ngroups * sizeof *l->groups);
    name_of(r.uid, r.request, name);
    if (write_record(g, name, &r) < 0)
        return err_errno(err, ERR_INTERNAL, "a grant cannot be written (grants_dir)");
    if (known) {
        free(known->groups);
        *known = g->v[--g->n];
    }
    return keep(g, &r) == 0 ? 0 : err_set(err, ERR_BUSY, "no memory for a grant");
}

const struct grant *grants_find(struct grants *g, uint32_t uid,
                                const uint8_t request[MONITOR_REQUEST], int64_t now)
{
    const struct grant *at = find(g, uid, request);
    return at && at->until > now ? at : NULL;
}

void grants_drop(struct grants *g, uint32_t uid, const uint8_t request[MONITOR_REQUEST])
{
    struct grant *at = find(g, uid, request);
    if (at)
        drop(g, at);
}

size_t grants_count(const struct grants *g)
{
    return g->n;
}
