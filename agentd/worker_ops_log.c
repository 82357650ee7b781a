/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log: a piece of a job's output file
 *
 * The file is opened anew each time: that is what makes NFS look whether it has grown, a file put
 * in its place is seen at once, and it costs less than a hundredth of reading a piece.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/worker_file.h"
#include "agentd/worker_ops.h"
#include "common/str.h"

enum {
    PIECE = 262144,      /* when the request has no max: DESIGN.md section 7 has the figures */
    PIECE_MAX = 1 << 20, /* messages.def has the same */
    TAIL_BLOCK = 65536,
    TAIL_FAR = 64 << 20, /* the last lines are looked for no further back */
    MARK = 64,           /* bytes in front of a position that a mark is made of */
};

struct file {
    int fd;
    const char *path;
    int64_t size;
    uint64_t id; /* of device, inode and birth */
};

static int read_failed(const struct file *f, struct err *err)
{
    /* ESTALE: taken away on the NFS server; the next open finds what is there now */
    return err_set(err, errno == ESTALE ? ERR_BUSY : worker_path_error(errno),
                   "reading log %s: %s on %s", f->path, strerror(errno), worker_host());
}

/* Reads what there is, n bytes at most. */
static ssize_t read_at(const struct file *f, void *p, size_t n, int64_t offset, struct err *err)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(f->fd, (uint8_t *)p + got, n - got, offset + (int64_t)got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return read_failed(f, err);
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

/* ---- which file it is ---- */

static const uint64_t HASH_START = 14695981039346656037U;

/* FNV-1a: tells files apart, defends against nobody. */
static uint64_t hash(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 1099511628211U;
    return h;
}

/* Inodes are used again; where the file system knows a file's birth, that tells them apart. */
static uint64_t identify(int fd, const struct stat *st)
{
    struct statx x;
    uint64_t v[4] = {st->st_dev, st->st_ino, 0, 0};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &x) == 0 && x.stx_mask & STATX_BTIME) {
        v[2] = (uint64_t)x.stx_btime.tv_sec;
        v[3] = x.stx_btime.tv_nsec;
    }
    return hash(HASH_START, v, sizeof v);
}

/* A hash of what is in front of a position: a file that was emptied and has grown past it again
 * differs there. */
static int mark_at(const struct file *f, int64_t position, uint64_t *ret, struct err *err)
{
    uint8_t bytes[MARK];
    size_t n = position < MARK ? (size_t)position : MARK;
    ssize_t got = read_at(f, bytes, n, position - (int64_t)n, err);
    if (got < 0)
        return -1;
    *ret = hash(HASH_START, bytes, (size_t)got);
    return 0;
}

static int make_token(struct worker_call *c, const struct file *f, int64_t end, const char **ret,
                      struct err *err)
{
    uint64_t mark;
    if (mark_at(f, end, &mark, err) < 0)
        return -1;
    *ret = arena_printf(c->arena, "%" PRIx64 ".%" PRIx64 ".%" PRIx64, f->id, (uint64_t)end, mark);
    return *ret ? 0 : err_set(err, ERR_LIMIT, "no memory left for the request");
}

/* 1 when the token is of this file as it is, 0 when not. */
static int same_file(const struct file *f, const char *token, struct err *err)
{
    uint64_t id, end, mark, now;
    char more;
    if (sscanf(token, "%" SCNx64 ".%" SCNx64 ".%" SCNx64 "%c", &id, &end, &mark, &more) != 3 ||
        end > INT64_MAX)
        return err_set(err, ERR_INVALID, "file '%.80s': give `file` of the reply before", token);
    if (id != f->id || (int64_t)end > f->size)
        return 0;
    if (mark_at(f, (int64_t)end, &now, err) < 0)
        return -1;
    return now == mark;
}

/* ---- the last lines ---- */

/* Where the line begins that has `lines` newlines behind it; a last line without a newline counts.
 * One block of memory, however large the file is. */
static int find_tail(const struct file *f, int64_t lines, int64_t *ret, struct err *err)
{
    static char block[TAIL_BLOCK];
    int64_t first = f->size > TAIL_FAR ? f->size - TAIL_FAR : 0, found = first;
    for (int64_t end = f->size; end > first;) {
        int64_t begin = end - first > TAIL_BLOCK ? end - TAIL_BLOCK : first;
        ssize_t n = read_at(f, block, (size_t)(end - begin), begin, err);
        if (n < 0)
            return -1;
        if (n < end - begin) { /* cut short under our hands: there is less than nothing new */
            *ret = begin + n;
            return 0;
        }
        while (n > 0) {
            const char *nl = memrchr(block, '\n', (size_t)n);
            if (!nl)
                break;
            n = nl - block;
            int64_t next = begin + n + 1;
            if (next == f->size) /* it ends the last line */
                continue;
            found = next;
            if (--lines == 0) {
                *ret = found;
                return 0;
            }
        }
        end = begin;
    }
    /* All of the file is wanted; or too far back, and then from the first whole line on. */
    *ret = first ? found : 0;
    return 0;
}

/* ---- a piece ---- */

static int choose_offset(const struct file *f, const struct log_request *in, struct log_reply *out,
                         struct err *err)
{
    if (in->tail)
        return find_tail(f, in->tail, &out->offset, err);
    /* Without `file` nobody says that the file had been longer: there is just nothing there yet. */
    int same = !in->file ? 1 : in->offset > f->size ? 0 : same_file(f, in->file, err);
    if (same < 0)
        return -1;
    out->restarted = !same;
    out->offset = same ? in->offset : 0;
    return 0;
}

static int read_piece(struct worker_call *c, const struct file *f, size_t max,
                      struct log_reply *out, struct err *err)
{
    if (out->offset >= f->size)
        return 0;
    size_t n = f->size - out->offset < (int64_t)max ? (size_t)(f->size - out->offset) : max;
    uint8_t *p = arena_alloc(c->arena, n);
    if (!p)
        return err_set(err, ERR_LIMIT, "no memory left for the request");
    ssize_t got = read_at(f, p, n, out->offset, err);
    if (got < 0)
        return -1;
    out->data = (struct bytes){p, (size_t)got};
    return 0;
}

int wop_log(struct worker_call *c, const struct log_request *in, struct log_reply *out,
            struct err *err)
{
    struct stat st;
    if (!in->path || in->path[0] != '/')
        return err_set(err, ERR_PROTOCOL, "log without a whole path");
    AUTO(close) int fd = worker_open_file("log", in->path, &st, err);
    if (fd < 0)
        return -1;
    const struct file f = {.fd = fd, .path = in->path, .size = st.st_size, .id = identify(fd, &st)};
    int64_t max = in->max <= 0 ? PIECE : in->max < PIECE_MAX ? in->max : PIECE_MAX;
    if (choose_offset(&f, in, out, err) < 0 || read_piece(c, &f, (size_t)max, out, err) < 0)
        return -1;
    int64_t end = out->offset + (int64_t)out->data.n;
    out->size = f.size > end ? f.size : end;
    out->path = in->path;
    return make_token(c, &f, end, &out->file, err);
}
