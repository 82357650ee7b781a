/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_sbatch.h"

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
    {"wrap", 0, REQUIRED, true, false},      {"remote-script", 0, REQUIRED, true, false},
    {"json", 0, NONE, true, false},          {"parsable", 0, NONE, true, false},
    {"quiet", 'Q', NONE, true, false},       {"help", 'h', NONE, true, false},
    {"usage", 0, NONE, true, false},         {"version", 'V', NONE, true, false},
    {"request-id", 0, REQUIRED, true, true}, {"retry", 0, REQUIRED, true, true},
#define SBATCH(name, letter, takes) {name, letter, takes, false, false},
#include "client/cli_sbatch.def"
#undef SBATCH
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

static int add(struct parsing *p, const char *name, size_t name_len, const char *value)
{
    struct cli_sbatch *out = p->out;
    if (name_len == 6 && memcmp(name, "export", 6) == 0)
        out->export_list = value;
    for (size_t i = 0; i < out->option_count; i++)
        if (strlen(out->options[i].name) == name_len &&
            memcmp(out->options[i].name, name, name_len) == 0) {
            out->options[i].value = value;
            return 0;
        }
    struct sagent_pair *grown =
        reallocarray(out->options, out->option_count + 1, sizeof *out->options);
    if (!grown)
        return no_memory(p);
    out->options = grown;
    char *copy = strndup(name, name_len);
    if (!copy)
        return no_memory(p);
    out->options[out->option_count++] = (struct sagent_pair){copy, value};
    return 0;
}

static void apply_local(struct cli_sbatch *out, const char *name, const char *value)
{
    if (str_eq(name, "wrap"))
        out->wrap = value;
    else if (str_eq(name, "remote-script"))
        out->remote_script = value;
    else if (str_eq(name, "request-id"))
        out->request_id = value;
    else if (str_eq(name, "retry"))
        out->retry = value;
    else if (str_eq(name, "json"))
        out->json = true;
    else if (str_eq(name, "parsable"))
        out->parsable = true;
    else if (str_eq(name, "quiet"))
        out->quiet = true;
    else if (str_eq(name, "version"))
        out->version = true;
    else
        out->help = true; /* help and usage */
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
    if (!o->local)
        return add(p, o->name, strlen(o->name), value);
    apply_local(p->out, o->name, value);
    return 0;
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
    if (p->i < p->argc && strcmp(p->argv[p->i], ":") == 0)
        return err_set(p->err, ERR_INVALID,
                       "a heterogeneous job (the ':') cannot be submitted here yet");
    if (out->wrap && out->remote_script)
        return err_set(p->err, ERR_INVALID, "--wrap and --remote-script exclude each other");
    if (out->wrap && p->i < p->argc)
        return err_set(p->err, ERR_INVALID, "with --wrap there is no script and no argument: '%s'",
                       p->argv[p->i]);
    if (!out->wrap && !out->remote_script && p->i < p->argc) {
        out->script = p->argv[p->i++];
        if (strcmp(out->script, "-") == 0)
            out->script = NULL;
    }
    out->arguments = (const char *const *)(p->argv + p->i);
    out->argument_count = (size_t)(p->argc - p->i);
    return 0;
}

int cli_sbatch_parse(int argc, char **argv, struct cli_sbatch *out, struct err *err)
{
    struct parsing p = {.out = out, .err = err, .argc = argc, .argv = argv};
    *out = (struct cli_sbatch){0};
    for (p.i = 1; p.i < argc; p.i++) {
        const char *arg = argv[p.i];
        if (strcmp(arg, "--") == 0) {
            p.i++;
            break;
        }
        if (*arg != '-' || !arg[1])
            break;
        int rc = arg[1] == '-' ? long_option(&p, arg + 2) : letters(&p, arg + 1);
        if (rc < 0)
            return -1;
    }
    return take_rest(&p);
}

void cli_sbatch_done(struct cli_sbatch *s)
{
    for (size_t i = 0; i < s->option_count; i++)
        free((char *)s->options[i].name);
    free(s->options);
    *s = (struct cli_sbatch){0};
}

/* ---- environment ---- */

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

static bool has_all(const char *list)
{
    return names(list, "ALL", 3) || strcasecmp(list, "ALL") == 0;
}

const char **cli_sbatch_environment(const char *list, char *const *env, size_t *ret_n,
                                    bool *ret_login)
{
    bool all = list && has_all(list);
    size_t n = 0, count = 0;
    while (env[count])
        count++;
    const char **out = calloc(count + 1, sizeof *out);
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
