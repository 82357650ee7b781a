/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_control.c: cancel, hold, release and what else can be done to jobs */
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_controlled, sagent_controlled_free)

static void say_about(const char *id, const char *text)
{
    if (strstr(text, id))
        cli_say("%s", text);
    else
        cli_say("job %s: %s", id, text);
}

/* The first id that failed gives the exit status. */
static int report(const struct sagent_controlled *r, bool quiet)
{
    int status = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct sagent_control_result *one = &r->results[i];
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

static int control(struct cli *cli, const struct sagent_control_request *request, bool quiet)
{
    int status;
    struct sagent_error err;
    AUTO(sagent_controlled_free) struct sagent_controlled *r = NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_control(s, request, &r, &err) < 0)
        return cli_fail(&err);
    return report(r, quiet);
}

/* ---- which jobs ---- */

enum { FILTERS = 11 };

/* What is said of filters on the command line, beside the request. */
struct filters {
    const char *states;
    const char *state[64];
};

static void filter_options(struct sagent_control_request *r, struct filters *f,
                           struct cli_option out[FILTERS])
{
    const struct cli_option options[FILTERS] = {
        {"me", 0, &r->me, NULL, NULL, "all of your own"},
        {"user", 'u', NULL, &r->user, "USER", "of this user"},
        {"all", 'a', &r->all_users, NULL, NULL, "of all users"},
        {"state", 't', NULL, &f->states, "STATE,...", "in one of these states"},
        {"partition", 'p', NULL, &r->partition, "NAME", "in this partition"},
        {"name", 'n', NULL, &r->name, "NAME", "with this name"},
        {"account", 'A', NULL, &r->account, "NAME", "of this account"},
        {"qos", 'q', NULL, &r->qos, "NAME", "with this QOS"},
        {"reservation", 'R', NULL, &r->reservation, "NAME", "in this reservation"},
        {"nodelist", 'w', NULL, &r->nodelist, "NODES", "on one of these nodes"},
        {"wckey", 0, NULL, &r->wckey, "KEY", "with this workload characterization key"},
    };
    memcpy(out, options, sizeof options);
}

/* Takes the states apart; the text is a copy that the caller keeps. */
static int split_states(char *text, struct filters *f, struct sagent_control_request *r)
{
    r->states = f->state;
    for (char *word; (word = strsep(&text, ","));) {
        if (!*word || r->state_count == ARRAY_LEN(f->state)) {
            cli_say("--state: %s", *word ? "more than 64" : "a state is empty");
            return CLI_USAGE;
        }
        f->state[r->state_count++] = word;
    }
    return 0;
}

static bool says_which(const struct sagent_control_request *r)
{
    return r->me || r->user || r->all_users || r->states || r->partition || r->name || r->account ||
           r->qos || r->reservation || r->nodelist || r->wckey;
}

/* A command with ids or filters, and options of its own. */
static int control_chosen(struct cli *cli, int argc, char **argv,
                          struct sagent_control_request *request, const struct cli_option *own,
                          size_t n, const bool *quiet)
{
    struct filters filters = {0};
    struct cli_option options[FILTERS + 8];
    struct cli_args args;
    int status;
    memcpy(options, own, n * sizeof *own);
    filter_options(request, &filters, options + n);
    if (!cli_begin(options, n + FILTERS, 0, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    AUTO(free) char *states = filters.states ? strdup(filters.states) : NULL;
    if (filters.states && !states)
        cli_no_memory();
    if (states && (status = split_states(states, &filters, request)) != 0)
        return status;
    request->ids = ids;
    request->id_count = args.n;
    if (args.n == 0 && !says_which(request)) {
        cli_say("%s: which jobs? Give ids, or what they are, such as --me: see slurm-agent help %s",
                argv[0], argv[0]);
        return CLI_USAGE;
    }
    return control(cli, request, *quiet);
}

/* ---- commands ---- */

int cmd_cancel(struct cli *cli, int argc, char **argv)
{
    bool quiet = false;
    struct sagent_control_request request = {.verb = SAGENT_CANCEL};
    const struct cli_option options[] = {
        {"signal", 's', NULL, &request.signal, "SIGNAL", "send this one: a name or a number"},
        {"batch", 'b', &request.batch, NULL, NULL, "the signal to the batch script alone"},
        {"full", 'f', &request.full, NULL, NULL, "the signal to the batch script and its children"},
        {"quiet", 'Q', &quiet, NULL, NULL, "do not say that a job had already ended"},
    };
    return control_chosen(cli, argc, argv, &request, options, ARRAY_LEN(options), &quiet);
}

int cmd_notify(struct cli *cli, int argc, char **argv)
{
    bool quiet = false;
    struct sagent_control_request request = {.verb = SAGENT_NOTIFY};
    const struct cli_option options[] = {
        {"message", 'm', NULL, &request.message, "TEXT", "what is to be written"},
    };
    return control_chosen(cli, argc, argv, &request, options, ARRAY_LEN(options), &quiet);
}

/* The command's name is the verb. */
static enum sagent_verb verb_of(const char *command)
{
    static const struct {
        const char *command;
        enum sagent_verb verb;
    } verbs[] = {
        {"hold", SAGENT_HOLD},     {"release", SAGENT_RELEASE}, {"suspend", SAGENT_SUSPEND},
        {"resume", SAGENT_RESUME}, {"requeue", SAGENT_REQUEUE}, {"requeuehold", SAGENT_REQUEUEHOLD},
        {"top", SAGENT_TOP},
    };
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eq(verbs[i].command, command))
            return verbs[i].verb;
    return 0;
}

int cmd_control(struct cli *cli, int argc, char **argv)
{
    bool quiet = false;
    struct sagent_control_request request = {.verb = verb_of(argv[0])};
    const struct cli_option options[] = {
        {"quiet", 'Q', &quiet, NULL, NULL, "do not say that there was nothing to do"},
    };
    return control_chosen(cli, argc, argv, &request, options, ARRAY_LEN(options), &quiet);
}

/* ---- update ---- */

enum { CHANGES_MAX = 64 };

/* Its options are sbatch's, so that there is no room for filters. */
int cmd_update(struct cli *cli, int argc, char **argv)
{
    size_t n;
    const struct sagent_update_option *known = sagent_update_options(&n);
    bool flags[CHANGES_MAX] = {false};
    const char *values[CHANGES_MAX] = {NULL};
    struct cli_option options[CHANGES_MAX];
    struct sagent_pair pairs[CHANGES_MAX];
    struct sagent_control_request request = {.verb = SAGENT_UPDATE, .options = pairs};
    struct cli_args args;
    int status;
    n = n < CHANGES_MAX ? n : CHANGES_MAX;
    for (size_t i = 0; i < n; i++)
        options[i] = (struct cli_option){
            .name = known[i].name,
            .letter = known[i].letter,
            .flag = known[i].has_value ? NULL : &flags[i],
            .value = known[i].has_value ? &values[i] : NULL,
            .metavar = known[i].has_value ? "VALUE" : NULL,
            .help = known[i].help,
        };
    if (!cli_begin(options, n, 1, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    for (size_t i = 0; i < n; i++)
        if (flags[i] || values[i])
            pairs[request.option_count++] = (struct sagent_pair){known[i].name, values[i]};
    if (request.option_count == 0) {
        cli_say("update: what is to be changed? See slurm-agent help update");
        return CLI_USAGE;
    }
    request.ids = ids;
    request.id_count = args.n;
    return control(cli, &request, false);
}
