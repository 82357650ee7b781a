/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_sbatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

enum takes { NONE, REQUIRED, OPTIONAL };

struct option {
    const char *name;
    char letter;
    enum takes takes;
    bool local; /* not for the server */
    bool whole; /* sbatch lacks it: not to be abbreviated, what it has must stay unambiguous */
};

static const struct option options[] = {
    {"remote-script", 0, REQUIRED, true, true},   {"json", 0, NONE, true, true},
    {"request-id", 0, REQUIRED, true, true},      {"retry", 0, REQUIRED, true, true},
    {"optional-output", 0, REQUIRED, true, true}, {"output-on", 0, REQUIRED, true, true},
    {"stdout-to", 0, REQUIRED, true, true},       {"stderr-to", 0, REQUIRED, true, true},
    {"stage-timeout", 0, REQUIRED, true, true},   {"stage-quota", 0, REQUIRED, true, true},
    {"upload", 0, REQUIRED, true, true},          {"upload-store", 0, REQUIRED, true, true},
#define SBATCH(name, letter, takes, value, help) {name, letter, takes, false, false},
#define HERE(name, letter, help) {name, letter, NONE, true, false},
#define REFUSED(name, letter, takes) {name, letter, takes, false, false},
#define NEWER(name, takes) {name, 0, takes, false, true},
#include "client/cli_sbatch.def"
#undef SBATCH
#undef HERE
#undef REFUSED
#undef NEWER
};

const char *cli_sbatch_name(size_t i, char *ret_letter)
{
    for (size_t k = 0; k < ARRAY_LEN(options); k++) {
        if (options[k].local)
            continue;
        if (i-- == 0) {
            *ret_letter = options[k].letter;
            return options[k].name;
        }
    }
    return NULL;
}

struct parsing {
    struct cli_sbatch *out;
    struct err *err;
    int argc, i; /* argv[i] is being read */
    char **argv;
};

/* ---- what an option does ---- */

static int no_memory(struct parsing *p)
{
    return err_set(p->err, ERR_INTERNAL, "no memory");
}

/* What is no option, or has no value: not the same as what does not go together. */
static int bad(const struct parsing *p)
{
    p->err->bad_option = true;
    return -1;
}

/* Two of these are more than the last of them. */
static bool adds_up(const char *name)
{
    return str_eq(name, "mail-type") || str_eq(name, "mem-bind");
}

/* NONE takes nothing away from what was said before; in a list it would take all of it. */
static bool adds_nothing(const char *name, const char *value)
{
    return str_eq(name, "mail-type") && strcasecmp(value, "NONE") == 0;
}

/* name is copied, value borrowed; joined values are the process's for good. */
static int put(struct cli_pairs *pairs, const char *name, size_t name_len, const char *value)
{
    size_t i = 0;
    char *copy = strndup(name, name_len);
    struct sagent_pair *grown = reallocarray(pairs->v, pairs->n + 1, sizeof *pairs->v);
    if (grown)
        pairs->v = grown;
    if (!grown || !copy) {
        free(copy);
        return -1;
    }
    while (i < pairs->n && !str_eq(pairs->v[i].name, copy))
        i++;
    if (i < pairs->n) {
        char *joined = NULL;
        if (adds_up(copy) && pairs->v[i].value && value && adds_nothing(copy, value)) {
            value = pairs->v[i].value;
        } else if (adds_up(copy) && pairs->v[i].value && value &&
                   !adds_nothing(copy, pairs->v[i].value)) {
            if (asprintf(&joined, "%s,%s", pairs->v[i].value, value) < 0) {
                free(copy);
                return -1;
            }
            value = joined;
        }
        free((char *)pairs->v[i].name);
        pairs->n--;
        memmove(&pairs->v[i], &pairs->v[i + 1], (pairs->n - i) * sizeof *pairs->v);
    }
    pairs->v[pairs->n++] = (struct sagent_pair){copy, value};
    return 0;
}

static int add(struct parsing *p, const char *name, size_t name_len, const char *value)
{
    struct cli_sbatch *out = p->out;
    if (put(&out->sets[out->set_count - 1], name, name_len, value) < 0)
        return no_memory(p);
    return 0;
}

/* What of the options for the server concerns us, too.  True: nobody else; it is not sent, since
 * the same submit printed in another way is the same request. */
static bool notice(struct cli_sbatch *out, const char *name, const char *value)
{
    if (str_eq(name, "export"))
        out->export_list = value;
    else if (str_eq(name, "wrap"))
        out->wrap = value;
    else if (str_eq(name, "test-only"))
        out->test_only = true;
    else if (str_eq(name, "parsable"))
        return out->parsable = true;
    else if (str_eq(name, "wait"))
        return out->wait = true;
    return false;
}

static void apply_local(struct cli_sbatch *out, const char *name, const char *value)
{
    if (str_eq(name, "remote-script"))
        out->remote_script = value;
    else if (str_eq(name, "request-id"))
        out->request_id = value;
    else if (str_eq(name, "retry"))
        out->retry = value;
    else if (str_eq(name, "json"))
        out->json = true;
    else if (str_eq(name, "quiet"))
        out->quiet = true;
    else if (str_eq(name, "version"))
        out->version = true;
    else if (str_eq(name, "verbose"))
        out->verbose = true; /* there is nothing more to say */
    else if (str_eq(name, "usage"))
        out->usage = true;
    else
        out->help = true;
}

/* value: what is behind = or behind the letter; NULL when nothing is. */
static int apply(struct parsing *p, const struct option *o, const char *shown, const char *value)
{
    if (o->takes == NONE && value)
        return err_set(p->err, ERR_INVALID, "%s takes no value", shown);
    if (o->takes == REQUIRED && !value) {
        if (p->i + 1 >= p->argc)
            return err_set(p->err, ERR_INVALID, "%s needs a value", shown);
        value = p->argv[++p->i];
    }
    int staged = cli_stage_take(&p->out->stage, o->name, value, p->err);
    if (staged)
        return staged < 0 ? -1 : 0;
    if (o->local) {
        apply_local(p->out, o->name, value);
        return 0;
    }
    return notice(p->out, o->name, value) ? 0 : add(p, o->name, strlen(o->name), value);
}

/* ---- which option it is ---- */

static int ambiguous(struct parsing *p, const char *name, size_t n)
{
    char list[200] = "";
    size_t used = 0;
    for (size_t i = 0; i < ARRAY_LEN(options) && used < sizeof list; i++)
        if (!options[i].whole && strncmp(options[i].name, name, n) == 0)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s--%s", used ? ", " : "",
                                     options[i].name);
    return err_set(p->err, ERR_INVALID, "--%.*s may be each of %s", (int)n, name, list);
}

static int unknown(struct parsing *p, const char *name)
{
    const char *names[ARRAY_LEN(options)];
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        names[i] = options[i].name;
    const char *near = cli_nearest(name, names, ARRAY_LEN(names));
    if (near)
        return err_set(p->err, ERR_INVALID, "there is no option --%.100s: did you mean --%s?", name,
                       near);
    return err_set(p->err, ERR_INVALID,
                   "there is no option --%.100s here (as --%.100s=VALUE it would be passed on to "
                   "the server)",
                   name, name);
}

/* Abbreviations as getopt_long() takes them. */
static int long_option(struct parsing *p, const char *text)
{
    const struct option *found = NULL;
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text), matches = 0;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strncmp(options[i].name, text, n) != 0 ||
            (options[i].whole && strlen(options[i].name) != n))
            continue;
        matches++;
        found = &options[i];
        if (strlen(found->name) == n) {
            matches = 1;
            break;
        }
    }
    if (n == 0)
        return err_set(p->err, ERR_INVALID, "--%s has no name", text);
    if (matches > 1)
        return ambiguous(p, text, n);
    if (!found)
        return equals ? add(p, text, n, equals + 1) : unknown(p, text);
    char shown[64];
    snprintf(shown, sizeof shown, "--%s", found->name);
    return apply(p, found, shown, equals ? equals + 1 : NULL);
}

/* -HO, -n4, -n 4 */
static int letters(struct parsing *p, const char *text)
{
    for (; *text; text++) {
        const struct option *o = NULL;
        char shown[] = {'-', *text, '\0'};
        for (size_t i = 0; i < ARRAY_LEN(options) && !o; i++)
            if (options[i].letter == *text)
                o = &options[i];
        if (!o)
            return err_set(p->err, ERR_INVALID, "there is no option %s", shown);
        if (o->takes != NONE)
            return apply(p, o, shown, text[1] ? text + 1 : NULL);
        if (apply(p, o, shown, NULL) < 0)
            return -1;
    }
    return 0;
}

/* ---- the whole ---- */

/* What follows the options: the script and its arguments. */
static int take_rest(struct parsing *p)
{
    struct cli_sbatch *out = p->out;
    if (out->quiet && out->verbose)
        return err_set(p->err, ERR_INVALID, "--quiet and --verbose exclude each other");
    if (out->wrap && out->remote_script)
        return err_set(p->err, ERR_INVALID, "--wrap and --remote-script exclude each other");
    if (out->wrap && p->i < p->argc)
        return err_set(p->err, ERR_INVALID, "with --wrap there is no script and no argument: '%s'",
                       p->argv[p->i]);
    if (!out->wrap && !out->remote_script && p->i < p->argc) {
        out->script = p->argv[p->i++];
    }
    out->arguments = (const char *const *)(p->argv + p->i);
    out->argument_count = (size_t)(p->argc - p->i);
    return 0;
}

static int begin_component(struct parsing *p)
{
    struct cli_sbatch *out = p->out;
    struct cli_pairs *grown = reallocarray(out->sets, out->set_count + 1, sizeof *out->sets);
    if (!grown)
        return no_memory(p);
    out->sets = grown;
    out->sets[out->set_count++] = (struct cli_pairs){0};
    return 0;
}

int cli_sbatch_parse(int argc, char **argv, struct cli_sbatch *out, struct err *err)
{
    struct parsing p = {.out = out, .err = err, .argc = argc, .argv = argv};
    *out = (struct cli_sbatch){0};
    if (begin_component(&p) < 0)
        return -1;
    for (p.i = 1; p.i < argc; p.i++) {
        const char *arg = argv[p.i];
        int rc = 0;
        if (strcmp(arg, "--") == 0) {
            p.i++;
            break;
        }
        if (strcmp(arg, ":") == 0)
            rc = begin_component(&p);
        else if (*arg != '-' || !arg[1])
            break;
        else
            rc = arg[1] == '-' ? long_option(&p, arg + 2) : letters(&p, arg + 1);
        if (rc < 0)
            return bad(&p);
        if (out->help || out->usage || out->version)
            return 0; /* whatever comes behind */
    }
    cli_stage_end(&out->stage);
    return take_rest(&p);
}

void cli_pairs_done(struct cli_pairs *p)
{
    for (size_t i = 0; i < p->n; i++)
        free((char *)p->v[i].name);
    free(p->v);
    *p = (struct cli_pairs){0};
}

void cli_sbatch_done(struct cli_sbatch *s)
{
    cli_stage_done(&s->stage);
    for (size_t i = 0; i < s->set_count; i++)
        cli_pairs_done(&s->sets[i]);
    free(s->sets);
    *s = (struct cli_sbatch){0};
}

/* ---- environment ---- */

/* The value of a variable; NULL without it. */
static const char *variable(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

int cli_sbatch_defaults(char *const *env, struct cli_pairs *out, const char **ret_export)
{
    static const struct {
        const char *name, *option;
    } variables[] = {
#define VARIABLE(name, option) {name, option},
#include "client/cli_sbatch_env.def"
#undef VARIABLE
    };
    *out = (struct cli_pairs){0};
    *ret_export = NULL;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *value = variable(env, variables[i].name), *option = variables[i].option;
        if (!value)
            continue;
        if (str_eq(option, "export"))
            *ret_export = value;
        if (put(out, option, strlen(option), value) < 0)
            return -1;
    }
    return 0;
}

/* Does the list name the variable?  Commas in quotes do not count; NAME=value is not looked up. */
static bool names(const char *list, const char *name, size_t n)
{
    for (const char *p = list; *p;) {
        char quote = 0;
        size_t len;
        for (len = 0; p[len] && (quote || p[len] != ','); len++) {
            if (quote && p[len] == quote)
                quote = 0;
            else if (!quote && (p[len] == '"' || p[len] == '\''))
                quote = p[len];
        }
        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}

bool cli_sbatch_is_all(const char *list)
{
    return list && (names(list, "ALL", 3) || strcasecmp(list, "ALL") == 0);
}

const char **cli_sbatch_environment(const char *list, char *const *env, size_t extra, size_t *ret_n,
                                    bool *ret_login)
{
    bool all = cli_sbatch_is_all(list);
    size_t n = 0, count = 0;
    while (env[count])
        count++;
    const char **out = calloc(count + extra + 1, sizeof *out);
    if (!out)
        return NULL;
    *ret_login = !all && !(list && strcasecmp(list, "NIL") == 0);
    bool none = !list || strcasecmp(list, "NIL") == 0 || strcasecmp(list, "NONE") == 0;
    for (size_t i = 0; i < count && !none; i++) {
        const char *equals = strchr(env[i], '=');
        if (equals && equals != env[i] && (all || names(list, env[i], (size_t)(equals - env[i]))))
            out[n++] = env[i];
    }
    *ret_n = n;
    return out;
}
