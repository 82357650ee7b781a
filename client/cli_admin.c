/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_admin.c: slurm-agent admin: a server's statistics, users and limits, and what is done to it
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/slurmagent_admin.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_stats, sagent_stats_free)
CLEANUP_FN(struct sagent_limits, sagent_limits_free)
CLEANUP_FN(struct sagent_sessions, sagent_sessions_free)
CLEANUP_FN(struct cli_table, cli_table_free)

/* What one of the subcommands is given. */
struct admin {
    struct sagent *s;
    const char *user; /* NULL: none */
    bool json;
};

static json_t *json_array_in(json_t *object, const char *key)
{
    json_t *v = json_array();
    json_object_set_new(object, key, v);
    return v;
}

static void set_number(json_t *object, const char *key, int64_t v)
{
    json_object_set_new(object, key, json_integer(v));
}

static void add_number(struct cli_table *t, int64_t v)
{
    char text[CLI_TEXT];
    cli_table_add(t, cli_number(v, text));
}

/* ---- stats ---- */

static double in_units(const struct sagent_family *f, int64_t v)
{
    return (double)v / (double)f->divisor;
}

static int64_t count_of(const struct sagent_sample *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->bucket_count; i++)
        n += s->buckets[i];
    return n;
}

static json_t *sample_json(const struct sagent_family *f, const struct sagent_sample *s)
{
    json_t *j = json_object(), *labels = json_object();
    for (size_t i = 0; i < s->label_count; i++)
        cli_json_set(labels, s->labels[i].name, s->labels[i].value);
    json_object_set_new(j, "labels", labels);
    json_object_set_new(j, s->bucket_count ? "sum" : "value",
                        f->divisor == 1 ? json_integer(s->value)
                                        : json_real(in_units(f, s->value)));
    if (!s->bucket_count)
        return j;
    set_number(j, "count", count_of(s));
    json_t *buckets = json_array_in(j, "buckets");
    for (size_t i = 0; i < s->bucket_count; i++) {
        json_t *b = json_object();
        if (i < f->bound_count)
            json_object_set_new(b, "up_to", json_real(in_units(f, f->bounds[i])));
        set_number(b, "count", s->buckets[i]);
        json_array_append_new(buckets, b);
    }
    return j;
}

static void stats_json(const struct sagent_stats *p)
{
    json_t *j = json_object(), *families = json_array_in(j, "families");
    cli_json_set(j, "version", p->version);
    cli_json_set(j, "cluster", p->cluster);
    cli_json_set(j, "slurm_version", p->slurm_version);
    set_number(j, "server_time", p->server_time);
    for (size_t i = 0; i < p->family_count; i++) {
        const struct sagent_family *f = &p->families[i];
        json_t *o = json_object(), *samples = json_array_in(o, "samples");
        cli_json_set(o, "name", f->name);
        cli_json_set(o, "kind", f->kind);
        cli_json_set(o, "help", f->help);
        for (size_t k = 0; k < f->sample_count; k++)
            json_array_append_new(samples, sample_json(f, &f->samples[k]));
        json_array_append_new(families, o);
    }
    cli_json_print(j);
}

/* The bound that this share of them is not above; -1: it is above all bounds. */
static int64_t quantile(const struct sagent_family *f, const struct sagent_sample *s, int64_t share,
                        int64_t of)
{
    int64_t n = count_of(s), seen = 0;
    for (size_t i = 0; i < f->bound_count; i++) {
        seen += s->buckets[i];
        if (seen * of >= n * share)
            return f->bounds[i];
    }
    return -1;
}

static char *text_of(const struct sagent_family *f, const struct sagent_sample *s, char out[100])
{
    int64_t n = s->bucket_count ? count_of(s) : 0;
    if (s->bucket_count && !n) {
        snprintf(out, 100, "0");
    } else if (s->bucket_count) {
        int64_t high = quantile(f, s, 99, 100);
        if (high < 0)
            high = f->bounds[f->bound_count - 1];
        snprintf(out, 100, "%lld, mean %.6g, 99%% %s %.6g", (long long)n,
                 in_units(f, s->value) / (double)n,
                 quantile(f, s, 99, 100) < 0 ? ">" : "<=", in_units(f, high));
    } else if (f->divisor != 1) {
        snprintf(out, 100, "%.6g", in_units(f, s->value));
    } else {
        snprintf(out, 100, "%lld", (long long)s->value);
    }
    return out;
}

static int admin_stats(const struct admin *a, struct sagent_error *err)
{
    AUTO(sagent_stats_free) struct sagent_stats *p = NULL;
    if (sagent_stats(a->s, &p, err) < 0)
        return -1;
    if (a->json) {
        stats_json(p);
        return 0;
    }
    for (size_t i = 0; i < p->family_count; i++)
        for (size_t k = 0; k < p->families[i].sample_count; k++) {
            const struct sagent_sample *s = &p->families[i].samples[k];
            char labels[300] = "", text[100];
            for (size_t m = 0, n = 0; m < s->label_count && n < sizeof labels; m++)
                n += (size_t)snprintf(labels + n, sizeof labels - n, "%s%s=%s", m ? "," : " ",
                                      s->labels[m].name, s->labels[m].value);
            char *line = NULL;
            if (asprintf(&line, "%s%s", p->families[i].name, labels) < 0)
                cli_no_memory();
            printf("%-64s %s\n", str_printable(line), text_of(&p->families[i], s, text));
            free(line);
        }
    return 0;
}

/* ---- limits ---- */

static void limits_json(const struct sagent_limits *p)
{
    json_t *j = json_object(), *v = json_array_in(j, "limits");
    for (size_t i = 0; i < p->n; i++) {
        const struct sagent_limit *l = &p->limits[i];
        json_t *o = json_object();
        cli_json_set(o, "name", l->name);
        cli_json_set(o, "help", l->help);
        cli_json_set(o, "unit", l->unit);
        set_number(o, "used", l->used);
        set_number(o, "max", l->max);
        cli_json_set(o, "who", l->who);
        json_array_append_new(v, o);
    }
    cli_json_print(j);
}

static int admin_limits(const struct admin *a, struct sagent_error *err)
{
    static const struct cli_column columns[] = {
        {"LIMIT", false, 0, 0}, {"USED", true, 0, 0},   {"MAX", true, 0, 0},
        {"UNIT", false, 0, 0},  {"MOST", false, 2, 12}, {"WHAT", false, 1, 20},
    };
    AUTO(sagent_limits_free) struct sagent_limits *p = NULL;
    if (sagent_limits(a->s, &p, err) < 0)
        return -1;
    if (a->json) {
        limits_json(p);
        return 0;
    }
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < p->n; i++) {
        const struct sagent_limit *l = &p->limits[i];
        cli_table_add(t, l->name);
        add_number(t, l->used);
        add_number(t, l->max);
        cli_table_add(t, l->unit);
        cli_table_add(t, l->who);
        cli_table_add(t, l->help);
    }
    cli_table_print(t);
    return 0;
}

/* ---- sessions ---- */

static void sessions_json(const struct sagent_sessions *p, bool one)
{
    json_t *j = json_object(), *users = json_array_in(j, "users");
    for (size_t i = 0; i < p->user_count; i++) {
        const struct sagent_session_user *u = &p->users[i];
        json_t *o = json_object(), *rights = json_array_in(o, "rights");
        cli_json_set(o, "user", u->user);
        set_number(o, "uid", u->uid);
        for (size_t k = 0; k < u->right_count; k++)
            json_array_append_new(rights, cli_json_string(u->rights[k]));
        set_number(o, "sessions", u->sessions);
        set_number(o, "requests", u->requests);
        set_number(o, "held", u->held);
        set_number(o, "submits", u->submits);
        cli_json_set_number(o, "seen", u->seen);
        json_array_append_new(users, o);
    }
    json_t *sessions = one ? json_array_in(j, "sessions") : NULL;
    for (size_t i = 0; sessions && i < p->session_count; i++) {
        const struct sagent_session *e = &p->sessions[i];
        json_t *o = json_object();
        cli_json_set(o, "id", e->id);
        cli_json_set(o, "origin", e->origin);
        cli_json_set(o, "munge_host", e->munge_host);
        cli_json_set_number(o, "since", e->since);
        cli_json_set_number(o, "ends", e->ends);
        json_array_append_new(sessions, o);
    }
    set_number(j, "more", p->more);
    cli_json_print(j);
}

static void print_users(const struct sagent_sessions *p)
{
    static const struct cli_column columns[] = {
        {"USER", false, 1, 8},    {"UID", true, 0, 0},     {"SESSIONS", true, 0, 0},
        {"REQUESTS", true, 0, 0}, {"HELD", true, 0, 0},    {"SUBMITS", true, 0, 0},
        {"LAST", false, 0, 0},    {"RIGHTS", false, 2, 5},
    };
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < p->user_count; i++) {
        const struct sagent_session_user *u = &p->users[i];
        char rights[100] = "", text[CLI_TEXT];
        for (size_t k = 0, n = 0; k < u->right_count && n < sizeof rights; k++)
            n +=
                (size_t)snprintf(rights + n, sizeof rights - n, "%s%s", k ? "," : "", u->rights[k]);
        cli_table_add(t, u->user);
        add_number(t, u->uid);
        add_number(t, u->sessions);
        add_number(t, u->requests);
        add_number(t, u->held);
        add_number(t, u->submits);
        cli_table_add(t, cli_time(u->seen, text));
        cli_table_add(t, rights);
    }
    cli_table_print(t);
}

static void print_sessions(const struct sagent_sessions *p)
{
    static const struct cli_column columns[] = {
        {"SESSION", false, 0, 0}, {"FROM", false, 1, 12}, {"HOST", false, 2, 12},
        {"SINCE", false, 0, 0},   {"ENDS", false, 0, 0},
    };
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < p->session_count; i++) {
        const struct sagent_session *e = &p->sessions[i];
        char text[CLI_TEXT];
        cli_table_add(t, e->id);
        cli_table_add(t, e->origin);
        cli_table_add(t, e->munge_host);
        cli_table_add(t, cli_time(e->since, text));
        cli_table_add(t, cli_time(e->ends, text));
    }
    printf("\n");
    cli_table_print(t);
}

static int admin_sessions(const struct admin *a, struct sagent_error *err)
{
    AUTO(sagent_sessions_free) struct sagent_sessions *p = NULL;
    if (sagent_sessions(a->s, a->user, &p, err) < 0)
        return -1;
    if (a->json) {
        sessions_json(p, a->user != NULL);
        return 0;
    }
    print_users(p);
    if (a->user)
        print_sessions(p);
    if (p->more)
        cli_say("%lld more are not shown", (long long)p->more);
    return 0;
}

/* ---- what is done ---- */

/* One number, and what it counts. */
static int tell(const struct admin *a, const char *key, int64_t n, const char *text)
{
    if (a->json) {
        json_t *j = json_object();
        set_number(j, key, n);
        cli_json_print(j);
    } else {
        printf("%s: %lld\n", text, (long long)n);
    }
    return 0;
}

static int admin_drop(const struct admin *a, struct sagent_error *err)
{
    int64_t n;
    if (sagent_drop_sessions(a->s, a->user, &n, err) < 0)
        return -1;
    return tell(a, "sessions", n, "sessions ended");
}

static int admin_drain(const struct admin *a, struct sagent_error *err)
{
    int64_t n;
    if (sagent_drain(a->s, true, &n, err) < 0)
        return -1;
    return tell(a, "submits", n, "no new submits are taken; under way");
}

static int admin_resume(const struct admin *a, struct sagent_error *err)
{
    int64_t n;
    if (sagent_drain(a->s, false, &n, err) < 0)
        return -1;
    return tell(a, "submits", n, "submits are taken; under way");
}

static int admin_reload(const struct admin *a, struct sagent_error *err)
{
    int64_t n;
    if (sagent_reload(a->s, &n, err) < 0)
        return -1;
    return tell(a, "changed", n,
                n ? "another broker takes over; settings changed" : "settings changed");
}

/* ---- the command ---- */

static const struct verb {
    const char *name;
    int (*run)(const struct admin *a, struct sagent_error *err);
    size_t min, max; /* users that it takes */
    const char *synopsis, *help;
} verbs[] = {
    {"stats", admin_stats, 0, 0, "", "what the server has counted, and how it is now"},
    {"limits", admin_limits, 0, 0, "", "what agentd.conf caps, and how much of it is in use"},
    {"sessions", admin_sessions, 0, 1, " [USER]", "who is there; of one user each session"},
    {"drop", admin_drop, 1, 1, " USER", "end a user's sessions (who may still do so comes back)"},
    {"drain", admin_drain, 0, 0, "", "take no new submits"},
    {"resume", admin_resume, 0, 0, "", "take submits again"},
    {"reload", admin_reload, 0, 0, "", "read agentd.conf anew"},
};

static void describe(char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(verbs) && n < size; i++) {
        char form[40];
        snprintf(form, sizeof form, "%s%s", verbs[i].name, verbs[i].synopsis);
        n += (size_t)snprintf(out + n, size - n, "  %-16s %s\n", form, verbs[i].help);
    }
    if (n < size)
        snprintf(out + n, size - n,
                 "\nFor the users that admins in agentd.conf names, and root on the server's own "
                 "host; stats also\nfor stats_users.\n");
}

static const struct verb *find_verb(const char *name)
{
    const char *names[ARRAY_LEN(verbs)];
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (str_eq(verbs[i].name, name))
            return &verbs[i];
        names[i] = verbs[i].name;
    }
    const char *near = cli_nearest(name, names, ARRAY_LEN(names));
    if (near)
        cli_say("admin: there is no '%s': did you mean %s?", name, near);
    else
        cli_say("admin: there is no '%s': see slurm-agent help admin", name);
    return NULL;
}

int cmd_admin(struct cli *cli, int argc, char **argv)
{
    struct admin a = {0};
    const struct cli_option options[] = {
        {"json", 0, &a.json, NULL, NULL, "as JSON"},
    };
    struct cli_args args;
    struct sagent_error err;
    int status;
    char more[1000];
    describe(more, sizeof more);
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 1, 2, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **words = args.positional;
    const struct verb *v = find_verb(words[0]);
    if (!v)
        return CLI_USAGE;
    if (args.n - 1 < v->min || args.n - 1 > v->max) {
        cli_say("usage: slurm-agent admin %s%s", v->name, v->synopsis);
        return CLI_USAGE;
    }
    a.user = args.n > 1 ? words[1] : NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    a.s = s;
    return v->run(&a, &err) < 0 ? cli_fail(&err) : cli_end_output(0);
}
