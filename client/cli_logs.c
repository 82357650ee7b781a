/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_logs.c: logs: a job's output, as it is, to stdout */
#include <stdlib.h>
#include <unistd.h>

#include "client/cli_follow.h"
#include "client/cli_stream.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)

enum {
    TAIL_MAX = 1000000,
    /* Between two looks at whether anybody still reads our output. */
    WAIT_MS = 10000,
};

static bool read_number(const char *option, const char *text, int64_t max, int64_t *ret)
{
    if (!text || str_to_i64(text, 0, max, ret))
        return true;
    cli_say("logs: %s %s: give a whole number from 0 to %lld", option, text, (long long)max);
    return false;
}

static bool read_start(struct cli_stream *st, const char *tail, const char *offset)
{
    if (tail && offset) {
        cli_say("logs: --tail and --offset exclude each other");
        return false;
    }
    if (!read_number("--tail", tail, TAIL_MAX, &st->request.tail) ||
        !read_number("--offset", offset, INT64_MAX, &st->request.offset))
        return false;
    if (tail && st->request.tail == 0) { /* where it ends is what a look at its end tells */
        st->skip = true;
        st->request.tail = st->request.max = 1;
    }
    return true;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    const char *tail = NULL, *offset = NULL;
    struct cli_outage outage = {0};
    struct cli_stream st = {.request = {.wait_ms = WAIT_MS}, .fd = STDOUT_FILENO};
    const struct cli_option options[] = {
        {"follow", 'f', &st.follow, NULL, NULL, "go on until the job and its output end"},
        {"stderr", 'e', &st.request.error, NULL, NULL, "the job's stderr instead of its stdout"},
        {"tail", 'n', NULL, &tail, "N", "begin with the last N lines"},
        {"offset", 0, NULL, &offset, "N", "begin at byte N"},
    };
    struct cli_args args;
    int status;
    if (!cli_begin(options, ARRAY_LEN(options), 1, 1, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    if (!read_start(&st, tail, offset))
        return CLI_USAGE;
    cli_outage_watch(&outage, cli);
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    st.s = s;
    st.request.id = ids[0];
    cli_signals_catch(1);
    cli_signals_to(s);
    status = cli_stream_copy(&st);
    cli_signals_to(NULL);
    if (cli_signals_count() == 0)
        return status;
    sagent_close(TAKE(s));
    return cli_signals_end();
}
