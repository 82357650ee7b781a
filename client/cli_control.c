/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_control.c: cancel */
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_cancelled, sagent_cancelled_free)

static void say_about(const char *id, const char *text)
{
    if (strstr(text, id))
        cli_say("%s", text);
    else
        cli_say("job %s: %s", id, text);
}

/* The first id that failed gives the exit status. */
static int report(const struct sagent_cancelled *r, bool quiet)
{
    int status = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct sagent_cancel_result *one = &r->results[i];
        if (one->code == SAGENT_OK) {
            if (one->text && *one->text && !quiet)
                say_about(one->id, one->text);
            continue;
        }
        say_about(one->id, str_or(one->text, sagent_code_help(one->code)));
        if (status == 0)
            status = sagent_code_exit_status(one->code);
    }
    return status;
}

int cmd_cancel(struct cli *cli, int argc, char **argv)
{
    bool quiet = false;
    struct sagent_cancel_request request = {0};
    const struct cli_option options[] = {
        {"signal", 's', NULL, &request.signal, "SIGNAL", "send this one: a name or a number"},
        {"batch", 'b', &request.batch, NULL, NULL, "the signal to the batch script alone"},
        {"full", 'f', &request.full, NULL, NULL, "the signal to the batch script and its children"},
        {"quiet", 'Q', &quiet, NULL, NULL, "do not say that a job had already ended"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_cancelled_free) struct sagent_cancelled *r = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 1, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    request.ids = ids;
    request.id_count = args.n;
    if (sagent_cancel(s, &request, &r, &err) < 0)
        return cli_fail(&err);
    return report(r, quiet);
}
