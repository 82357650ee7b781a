/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_impl.h"

#include <stdio.h>
#include <string.h>

#include "common/str.h"

enum kind { FLAG, VALUE, OPTIONAL };

struct option {
    const char *name;
    char letter;
    enum kind kind;
    sbatch_value_fn read; /* NULL: not offered yet */
    size_t target;
    const char *help;
};

static const struct option options_table[] = {
#define OPTION(name, letter, kind, how, target, help)                                              \
    {name, letter, kind, sbatch_value_##how, offsetof(struct sbatch_reading, target), help},
#define LATER(name, letter, kind) {name, letter, kind, NULL, 0, NULL},
#include "agentd/sbatch_options.def"
#undef OPTION
#undef LATER
};

const char *const sbatch_option_names[] = {
#define OPTION(name, letter, kind, how, target, help) name,
#define LATER(name, letter, kind)
#include "agentd/sbatch_options.def"
#undef OPTION
#undef LATER
    NULL,
};

const char *sbatch_shown(const char *value, size_t n, char buf[SBATCH_SHOWN])
{
    size_t max = SBATCH_SHOWN - 4, len = n < max ? n : max;
    for (size_t i = 0; i < len; i++)
        buf[i] = (unsigned char)value[i] < ' ' || value[i] == 0x7f ? '?' : value[i];
    strcpy(buf + len, n > max ? "..." : "");
    return buf;
}

struct parser {
    struct sbatch_reading reading;
    struct arena *arena;
    int64_t now;
    /* in the script only */
    size_t line;
    const struct option *pending; /* its value is the next word */
    char pending_name[SBATCH_SHOWN];
    bool ended; /* after "--" */
};

/* Puts the script's line in front when the option comes from the script.  Returns -1. */
static int in_line(const struct parser *p, struct err *err)
{
    return p->line ? err_while(err, "script line %zu", p->line) : -1;
}

/* given is the option as written, for the message. */
static int apply(struct parser *p, const struct option *o, const char *given, const char *value,
                 struct err *err)
{
    if (!o->read)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s is an option of sbatch that this server does not offer yet", given);
    struct sbatch_value v = {.text = value,
                             .now = p->now,
                             .reading = &p->reading,
                             .target = (char *)&p->reading + o->target};
    const char *wrong = o->read(&v);
    if (!wrong)
        return 0;
    char shown[SBATCH_SHOWN];
    return err_set(err, ERR_INVALID, "--%s=%s: %s", o->name,
                   sbatch_shown(value, strlen(value), shown), wrong);
}

/* By name or, as getopt_long() does, by an abbreviation that fits one option only. */
static const struct option *find_long(const char *name, size_t n, struct err *err)
{
    const struct option *found = NULL;
    char shown[SBATCH_SHOWN], fits[200] = "";
    size_t used = 0, count = 0;
    bool cut = false;
    for (size_t i = 0; i < ARRAY_LEN(options_table); i++) {
        const struct option *o = &options_table[i];
        if (n == 0 || strncmp(o->name, name, n) != 0)
            continue;
        if (o->name[n] == '\0')
            return o;
        found = o;
        /* the list ends at the first that does not fit, with room kept to say so */
        if (!cut && used + strlen(o->name) + strlen(" -- ...") < sizeof fits)
            used += (size_t)snprintf(fits + used, sizeof fits - used, " --%s", o->name);
        else
            cut = true;
        count++;
    }
    if (count == 1)
        return found;
    sbatch_shown(name, n, shown);
    if (count == 0)
        err_set(err, ERR_INVALID, "there is no option --%s", shown);
    else
        err_set(err, ERR_INVALID, "--%s may be any of%s%s", shown, fits, cut ? " ..." : "");
    return NULL;
}

static const struct option *find_letter(char letter, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(options_table); i++)
        if (letter && options_table[i].letter == letter)
            return &options_table[i];
    char shown[SBATCH_SHOWN];
    err_set(err, ERR_INVALID, "there is no option -%s", sbatch_shown(&letter, 1, shown));
    return NULL;
}

static int long_option(struct parser *p, const char *text, struct err *err)
{
    const char *equals = strchrnul(text, '=');
    const struct option *o = find_long(text, (size_t)(equals - text), err);
    char given[SBATCH_SHOWN];
    if (!o)
        return -1;
    snprintf(given, sizeof given, "--%s", o->name);
    /* refused before its value is looked for: the value is not what is wrong */
    if (!o->read)
        return apply(p, o, given, "", err);
    if (o->kind == FLAG && *equals)
        return err_set(err, ERR_INVALID, "--%s takes no value", o->name);
    if (o->kind == VALUE && !*equals) {
        p->pending = o;
        str_copy(p->pending_name, sizeof p->pending_name, given);
        return 0;
    }
    return apply(p, o, given, *equals ? equals + 1 : "", err);
}

/* -HJname: flags may stand together, the first option with a value takes the rest. */
static int short_options(struct parser *p, const char *text, struct err *err)
{
    for (; *text; text++) {
        const struct option *o = find_letter(*text, err);
        char given[SBATCH_SHOWN];
        if (!o)
            return -1;
        snprintf(given, sizeof given, "-%c (--%s)", o->letter, o->name);
        if (!o->read || o->kind == FLAG) {
            if (apply(p, o, given, "", err) < 0)
                return -1;
            continue;
        }
        if (text[1] || o->kind == OPTIONAL)
            return apply(p, o, given, text + 1, err);
        p->pending = o;
        str_copy(p->pending_name, sizeof p->pending_name, given);
    }
    return 0;
}

static int one_word(struct parser *p, const char *word, struct err *err)
{
    char shown[SBATCH_SHOWN];
    if (p->pending)
        return apply(p, TAKE(p->pending), p->pending_name, word, err);
    if (p->ended || word[0] != '-' || !word[1])
        return err_set(err, ERR_INVALID, "'%s' is not an option",
                       sbatch_shown(word, strlen(word), shown));
    if (word[1] != '-')
        return short_options(p, word + 1, err);
    if (!word[2]) {
        p->ended = true;
        return 0;
    }
    return long_option(p, word + 2, err);
}

static int on_word(void *arg, size_t line, const char *word, struct err *err)
{
    struct parser *p = arg;
    if (!p->pending) /* an option's error names the line of the option */
        p->line = line;
    return one_word(p, word, err) < 0 ? in_line(p, err) : 0;
}

static int script_options(struct parser *p, struct bytes script, struct err *err)
{
    if (sbatch_script_words(script, p->arena, on_word, p, err) < 0)
        return -1;
    if (p->pending) {
        err_set(err, ERR_INVALID, "%s needs a value", p->pending_name);
        return in_line(p, err);
    }
    p->line = 0;
    return 0;
}

static int request_option(struct parser *p, const struct pair *given, struct err *err)
{
    const char *name = str_or(given->name, "");
    const struct option *o = find_long(name, strlen(name), err);
    if (!o)
        return -1;
    char shown[SBATCH_SHOWN];
    snprintf(shown, sizeof shown, "--%s", o->name);
    if (o->read && o->kind == FLAG && given->value && *given->value)
        return err_set(err, ERR_INVALID, "--%s takes no value", o->name);
    const char *value = arena_strdup(p->arena, str_or(given->value, ""));
    if (!value)
        return err_set(err, ERR_LIMIT, "--%s: out of memory", o->name);
    return apply(p, o, shown, value, err);
}

/* What sbatch does once all options are read. */
static int agree(struct sbatch *job, struct err *err)
{
    if (job->mem_per_node_mb != SBATCH_UNSET && job->mem_per_cpu_mb != SBATCH_UNSET)
        return err_set(err, ERR_INVALID,
                       "--mem and --mem-per-cpu exclude each other, be they in the script or in "
                       "the request");
    if (job->ntasks != SBATCH_UNSET && job->min_nodes != SBATCH_UNSET) {
        /* no more nodes than tasks */
        if (job->max_nodes != SBATCH_UNSET && job->ntasks < job->max_nodes)
            job->max_nodes = job->ntasks;
        if (job->ntasks < job->min_nodes)
            job->min_nodes = job->max_nodes = job->ntasks;
    }
    return 0;
}

int sbatch_parse(struct bytes script, const struct pairs *options, size_t max_script, int64_t now,
                 struct arena *arena, struct sbatch *out, struct err *err)
{
    struct parser p = {
        .arena = arena,
        .now = now,
        .reading.job =
            {
                .time_limit_min = SBATCH_UNSET,
                .min_nodes = SBATCH_UNSET,
                .max_nodes = SBATCH_UNSET,
                .ntasks = SBATCH_UNSET,
                .cpus_per_task = SBATCH_UNSET,
                .mem_per_node_mb = SBATCH_UNSET,
                .mem_per_cpu_mb = SBATCH_UNSET,
                .begin = SBATCH_UNSET,
                .requeue = SBATCH_UNSET,
                .mail_type = SBATCH_UNSET,
            },
    };
    if (sbatch_script_check(script, max_script, err) < 0 || script_options(&p, script, err) < 0)
        return -1;
    for (size_t i = 0; options && i < options->n; i++)
        if (request_option(&p, &options->v[i], err) < 0)
            return -1;
    if (!p.reading.ignore_pbs && sbatch_script_refuse_pbs(script, err) < 0)
        return -1;
    if (agree(&p.reading.job, err) < 0)
        return -1;
    *out = p.reading.job;
    return 0;
}
