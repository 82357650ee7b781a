/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent_log_chunk, sagent_log_chunk_free)

static bool write_all(struct cli_stream *st, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(st->fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            cli_say("cannot write: %s", strerror(errno));
            return false;
        }
        p += w;
        n -= (size_t)w;
        atomic_fetch_add(&st->written, w);
    }
    return true;
}

/* A pipe whose reader has gone would else be noticed by the next write, which may be hours away. */
static bool nobody_reads(const struct cli_stream *st)
{
    struct pollfd p = {.fd = st->fd};
    return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* Whether it is worth another try, which the library has made for a while already.  A server that
 * has never answered may be the wrong address. */
static bool again(struct cli_stream *st, const struct sagent_error *err)
{
    return st->follow && err->retry && st->answered;
}

/* ---- chunks ---- */

static char *copy(const char *s)
{
    char *p = s ? strdup(s) : NULL;
    if (s && !p)
        cli_no_memory();
    return p;
}

static void say_once(struct cli_stream *st, const char *note)
{
    if (!note || st->quiet || st->beside || str_eq(note, st->note))
        return;
    cli_say("%s", note);
    free(st->note);
    st->note = copy(note);
}

static void say_about(struct cli_stream *st, const struct sagent_log_chunk *c)
{
    st->answered = true;
    if (c->restarted)
        cli_say("%s was written anew: from its beginning", str_or(c->path, "the file"));
    say_once(st, c->note);
}

static void move_on(struct cli_stream *st, const struct sagent_log_chunk *c)
{
    st->request.offset = st->skip ? c->file_size : c->offset + (int64_t)c->size;
    st->request.tail = 0;
    st->request.max = 0;             /* what the server thinks best */
    st->request.follow = st->follow; /* not at once: why there is nothing yet is said first */
    free(st->file);
    st->request.file = st->file = copy(c->file);
    st->skip = false;
}

/* True when there is more to come. */
static bool take(struct cli_stream *st, const struct sagent_log_chunk *c, int *ret_status)
{
    say_about(st, c);
    if (c->same_as && st->request.error && st->beside)
        return false;
    if (c->same_as && st->request.error) {
        cli_say("stderr goes to the same file as %s", c->same_as);
        st->request.error = false;
        return true;
    }
    if (c->size && !st->skip && !write_all(st, c->data, c->size)) {
        *ret_status = CLI_FAILED;
        return false;
    }
    move_on(st, c);
    if (st->follow)
        return !c->done && !nobody_reads(st);
    return c->size && st->request.offset < c->file_size;
}

/* The other stream says it as well, and a job that never ran has no files. */
static bool is_worth_saying(const struct cli_stream *st, const struct sagent_error *err)
{
    return err->code != SAGENT_ERR_INTERRUPTED &&
           !(st->beside && st->request.error && err->code == SAGENT_ERR_NOT_FOUND);
}

static int copy_chunks(struct cli_stream *st)
{
    for (;;) {
        AUTO(sagent_log_chunk_free) struct sagent_log_chunk *c = NULL;
        struct sagent_error err;
        int status = 0;
        if (sagent_log(st->s, &st->request, &c, &err) < 0) {
            if (again(st, &err))
                continue;
            return is_worth_saying(st, &err) ? cli_fail(&err) : err.exit_status;
        }
        if (!take(st, c, &status))
            return status;
    }
}

int cli_stream_copy(struct cli_stream *st)
{
    int status = copy_chunks(st);
    free(st->file);
    free(st->note);
    st->request.file = st->file = st->note = NULL;
    return status;
}
