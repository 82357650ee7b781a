/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_watch.c: watch */
#include <jansson.h>
#include <stdlib.h>

#include "client/cli_follow.h"
#include "common/cleanup.h"

CLEANUP_FN(struct sagent, sagent_close)

static void print_lines(const struct sagent_events *e)
{
    if (sagent_events_reset(e))
        cli_say("note: the server no longer knows all that has happened: ends that were missed "
                "come first, then the present state");
    for (size_t i = 0; i < sagent_events_count(e); i++) {
        AUTO(free) char *line = cli_event_line(sagent_events_at(e, i), cli_arrow());
        puts(line);
    }
    cli_flush_output();
}

/* Going on from a line's cursor loses nothing: what came with it in one answer may come again, but
 * for the last line's, which is the answer's own. */
static void print_objects(const struct sagent_events *e, const char *before)
{
    size_t n = sagent_events_count(e);
    if (sagent_events_reset(e)) {
        json_t *reset = json_object();
        cli_json_set(reset, "what", "reset");
        cli_json_set(reset, "cursor", n ? before : sagent_events_cursor(e));
        cli_json_print_line(reset);
    }
    for (size_t i = 0; i < n; i++) {
        const struct sagent_event *one = sagent_events_at(e, i);
        json_t *j = json_object();
        cli_json_set(j, "what", one->what);
        cli_json_set_number(j, "time", one->time);
        cli_json_set(j, "was", one->was);
        cli_json_set(j, "cursor", i + 1 < n ? before : sagent_events_cursor(e));
        json_object_set_new(j, "job", cli_json_job(one->job));
        cli_json_print_line(j);
    }
}

static void tell(void *arg, const struct sagent_events *e, const char *before)
{
    const bool *json = arg;
    if (*json)
        print_objects(e, before);
    else
        print_lines(e);
}

int cmd_watch(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    struct cli_outage outage = {0};
    AUTO(cli_follow_done)
    struct cli_follow f = {.tell = tell, .arg = &json, .outage = &outage, .notes = true};
    struct sagent_events_request *r = &f.request;
    const struct cli_option options[] = {
        {"user", 'u', NULL, &r->user, "USER",
         "of this user: a name that the cluster knows, or a uid"},
        {"all", 'a', &r->all_users, NULL, NULL, "of everybody"},
        {"partition", 'p', NULL, &r->partition, "NAME", "in this partition"},
        {"name", 'n', NULL, &r->name, "NAME", "with this name"},
        {"snapshot", 's', &r->snapshot, NULL, NULL, "begin with the present state"},
        {"cursor", 0, NULL, &r->cursor, "CURSOR", "go on behind a JSON line with that `cursor`"},
        {"json", 0, &json, NULL, NULL, "one JSON object a line"},
    };
    static const char more[] =
        "Prints what happens to your jobs, unless told otherwise, as it happens, and waits over\n"
        "outages.  Each job's end comes once.  With IDs it begins with their present state, and "
        "ends\nwhen all of them have ended: 0, or 3 when one of them is not known, or how it ended.\n"
        "--json: what (new, change, end, lost, state, reset), time, was (the state before), job "
        "and\ncursor.  From a line's cursor nothing is lost; the last lines may come again.\n";
    struct cli_args args;
    int status;
    struct sagent_error err;
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 0, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    r->ids = ids;
    r->id_count = args.n;
    f.until_end = args.n > 0;
    if (r->cursor && r->snapshot) {
        cli_say("watch: --cursor and --snapshot exclude each other");
        return CLI_USAGE;
    }
    if (args.n && !r->cursor)
        r->snapshot = true;
    cli_outage_watch(&outage, cli);
    AUTO(sagent_close) struct sagent *s = f.s = cli_open(cli, &status);
    if (!s)
        return status;
    cli_signals_catch(1);
    cli_signals_to(s);
    int rc = cli_follow(&f, &err);
    cli_signals_to(NULL);
    if (rc == 0)
        return cli_end_output(f.missing ? CLI_MISSING : 0);
    if (err.code != SAGENT_ERR_INTERRUPTED)
        return cli_fail(&err);
    sagent_close(TAKE(s));
    return cli_signals_end();
}
