/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/str.h"

/* ---- the tables ---- */

enum kind { FLAG, VALUE, OPTIONAL };
enum place { ANYWHERE, COMMAND_LINE, ENVIRONMENT };

struct option {
    const char *name;
    char letter;
    enum kind kind;
    enum place place;
    sbatch_value_fn read; /* NULL: refused, or an alias */
    bool alias;
    size_t target;
    const char *why; /* it is refused; or what it is an alias of */
};

static const struct option options_table[] = {
#define AT(member) offsetof(struct sbatch, member)
#define OPTION(name, letter, kind, how, target)                                                    \
    {name, letter, kind, ANYWHERE, sbatch_value_##how, false, AT(target), NULL},
#define ALIAS(name, kind, other) {name, 0, kind, ANYWHERE, NULL, true, 0, other},
#define EARLY(name, letter, kind, how, target)                                                     \
    {name, letter, kind, COMMAND_LINE, sbatch_value_##how, false, AT(target), NULL},
#define UNNAMED(name, how, target)                                                                 \
    {name, 0, VALUE, ENVIRONMENT, sbatch_value_##how, false, AT(target), NULL},
#define REFUSED(name, letter, kind, reason) {name, letter, kind, ANYWHERE, NULL, false, 0, reason},
#include "agentd/sbatch_options.def"
#undef OPTION
#undef ALIAS
#undef EARLY
#undef UNNAMED
#undef REFUSED
};
enum { OPTIONS = ARRAY_LEN(options_table) };

const char *const sbatch_option_names[] = {
#define OPTION(name, letter, kind, how, target) name,
#define ALIAS(name, kind, other) name,
#define EARLY(name, letter, kind, how, target) name,
#define UNNAMED(name, how, target)
#define REFUSED(name, letter, kind, reason)
#include "agentd/sbatch_options.def"
#undef OPTION
#undef ALIAS
#undef EARLY
#undef UNNAMED
#undef REFUSED
    NULL,
};

enum scope { JOB, PART };

static const struct field {
    size_t at;
    bool number;
    enum scope scope;
} fields[] = {
#define TEXT(scope, member) {AT(member), false, scope},
#define NUMBER(scope, member) {AT(member), true, scope},
#define SENT_TEXT TEXT
#define SENT_NUMBER NUMBER
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
};

const struct sbatch sbatch_unsaid = {
#define TEXT(scope, member)
#define NUMBER(scope, member) .member = SBATCH_UNSET,
#define SENT_TEXT TEXT
#define SENT_NUMBER NUMBER
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
};

static void unset(struct sbatch *job, const struct field *f)
{
    if (f->number)
        *(int64_t *)((char *)job + f->at) = SBATCH_UNSET;
    else
        *(const char **)((char *)job + f->at) = NULL;
}

static const struct field *field_of(const struct option *o)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].at == o->target)
            return &fields[i];
    return NULL;
}

const char *sbatch_shown(const char *value, size_t n, char buf[SBATCH_SHOWN])
{
    size_t max = SBATCH_SHOWN - 4, len = n < max ? n : max;
    for (size_t i = 0; i < len; i++)
        buf[i] = (unsigned char)value[i] < ' ' || value[i] == 0x7f ? '?' : value[i];
    strcpy(buf + len, n > max ? "..." : "");
    return buf;
}

struct parser {
    struct sbatch job;
    struct {
        bool said, by_environment;
    } state[OPTIONS];
    struct arena *arena;
    int64_t now;
    const struct sbatch_source *source;
    bool environment; /* it is what is being read */
    bool early;       /* see first_pass() */
    /* in the script only */
    size_t line;
    const struct option *pending; /* its value is the next word */
    char pending_name[SBATCH_SHOWN];
    bool ended; /* after "--" */
};

/* ---- which option it is ---- */

static const struct option *itself(const struct option *o)
{
    for (size_t i = 0; o->alias && i < OPTIONS; i++)
        if (!options_table[i].alias && str_eq(options_table[i].name, o->why))
            return &options_table[i];
    return o;
}

/* By name or, as getopt_long() does, by an abbreviation that fits one option only. */
static const struct option *find_long(const char *name, size_t n, struct err *err)
{
    const struct option *found = NULL;
    char shown[SBATCH_SHOWN], fits[200] = "";
    size_t used = 0, count = 0;
    bool cut = false;
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options_table[i];
        if (n == 0 || o->place == ENVIRONMENT || strncmp(o->name, name, n) != 0)
            continue;
        if (o->name[n] == '\0')
            return itself(o);
        found = o;
        /* the list ends at the first that does not fit, with room kept to say so */
        if (!cut && used + strlen(o->name) + strlen(" -- ...") < sizeof fits)
            used += (size_t)snprintf(fits + used, sizeof fits - used, " --%s", o->name);
        else
            cut = true;
        count++;
    }
    if (count == 1)
        return itself(found);
    sbatch_shown(name, n, shown);
    if (count == 0)
        err_set(err, ERR_INVALID, "there is no option --%s", shown);
    else
        err_set(err, ERR_INVALID, "--%s may be any of%s%s", shown, fits, cut ? " ..." : "");
    return NULL;
}

static const struct option *find_letter(char letter, struct err *err)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (letter && options_table[i].letter == letter)
            return &options_table[i];
    char shown[SBATCH_SHOWN];
    err_set(err, ERR_INVALID, "there is no option -%s", sbatch_shown(&letter, 1, shown));
    return NULL;
}

static const struct option *find_variable(const char *name, struct err *err)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (options_table[i].place == ENVIRONMENT && str_eq(options_table[i].name, name))
            return &options_table[i];
    return find_long(name, strlen(name), err);
}

/* ---- reading values ---- */

/* Puts the script's line in front when the option comes from the script.  Returns -1. */
static int in_line(const struct parser *p, struct err *err)
{
    return p->line ? err_while(err, "script line %zu", p->line) : -1;
}

/* An option that is none, or a value that sbatch does not take while it reads options. */
static int bad(struct err *err)
{
    err->bad_option = true;
    return -1;
}

/* Of these sbatch says no later, or in another way: its exit status is another one. */
static bool is_judged_later(const struct option *o)
{
    static const sbatch_value_fn readers[] = {
        sbatch_value_array,           sbatch_value_cluster,   sbatch_value_core_spec,
        sbatch_value_count,           sbatch_value_count16,   sbatch_value_dependency,
        sbatch_value_extra_node_info, sbatch_value_gres,      sbatch_value_hosts,
        sbatch_value_node_list,       sbatch_value_propagate, sbatch_value_switches,
        sbatch_value_thread_spec,
    };
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if (o->read == readers[i])
            return true;
    return false;
}

/* given is the option as written, for the message. */
static int apply(struct parser *p, const struct option *o, const char *given, const char *value,
                 bool off, struct err *err)
{
    if (!o->read) {
        err_set(err, ERR_UNSUPPORTED, "%s: %s", given, o->why);
        return bad(err);
    }
    if (o->place == COMMAND_LINE && p->line)
        return 0;
    struct sbatch_value v = {.text = value,
                             .off = off,
                             .now = p->now,
                             .source = p->source,
                             .job = &p->job,
                             .target = (char *)&p->job + o->target,
                             .arena = p->arena};
    const char *wrong = o->read(&v);
    if (!wrong) {
        p->state[o - options_table].said = !off;
        p->state[o - options_table].by_environment = (p->environment || p->early) && !off;
        return 0;
    }
    char shown[SBATCH_SHOWN];
    err_set(err, ERR_INVALID, "--%s=%s: %s", o->name, sbatch_shown(value, strlen(value), shown),
            wrong);
    return is_judged_later(o) ? -1 : bad(err);
}

static int long_option(struct parser *p, const char *text, struct err *err)
{
    const char *equals = strchrnul(text, '=');
    const struct option *o = find_long(text, (size_t)(equals - text), err);
    char given[SBATCH_SHOWN];
    if (!o)
        return bad(err);
    snprintf(given, sizeof given, "--%s", o->name);
    /* refused before its value is looked for: the value is not what is wrong */
    if (!o->read)
        return apply(p, o, given, "", false, err);
    if (o->kind == FLAG && *equals) {
        err_set(err, ERR_INVALID, "--%s takes no value", o->name);
        return bad(err);
    }
    if (o->kind == VALUE && !*equals) {
        p->pending = o;
        str_copy(p->pending_name, sizeof p->pending_name, given);
        return 0;
    }
    return apply(p, o, given, *equals ? equals + 1 : "", false, err);
}

/* -HJname: flags may stand together, the first option with a value takes the rest. */
static int short_options(struct parser *p, const char *text, struct err *err)
{
    for (; *text; text++) {
        const struct option *o = find_letter(*text, err);
        char given[SBATCH_SHOWN];
        if (!o)
            return bad(err);
        snprintf(given, sizeof given, "-%c (--%s)", o->letter, o->name);
        if (!o->read || o->kind == FLAG) {
            if (apply(p, o, given, "", false, err) < 0)
                return -1;
            continue;
        }
        if (text[1] || o->kind == OPTIONAL)
            return apply(p, o, given, text + 1, false, err);
        p->pending = o;
        str_copy(p->pending_name, sizeof p->pending_name, given);
    }
    return 0;
}

static int one_word(struct parser *p, const char *word, struct err *err)
{
    char shown[SBATCH_SHOWN];
    if (p->pending)
        return apply(p, TAKE(p->pending), p->pending_name, word, false, err);
    if (p->ended || word[0] != '-' || !word[1]) {
        err_set(err, ERR_INVALID, "'%s' is not an option", sbatch_shown(word, strlen(word), shown));
        return bad(err);
    }
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

static int script_options(struct parser *p, struct bytes script, size_t component, bool *ret_more,
                          struct err *err)
{
    p->ended = false;
    if (sbatch_script_words(script, component, p->arena, on_word, p, ret_more, err) < 0)
        return -1;
    if (p->pending) {
        err_set(err, ERR_INVALID, "%s needs a value", p->pending_name);
        bad(err);
        return in_line(p, err);
    }
    p->line = 0;
    return 0;
}

/* A flag in the environment: "", yes and any number but 0 set it, all else takes it back. */
static bool is_on(const char *value)
{
    char *end;
    return !*value || strcasecmp(value, "yes") == 0 || (strtol(value, &end, 10) && !*end);
}

static int request_option(struct parser *p, const struct pair *given, struct err *err)
{
    const char *name = str_or(given->name, ""), *value = str_or(given->value, "");
    const struct option *o =
        p->environment ? find_variable(name, err) : find_long(name, strlen(name), err);
    if (!o)
        return bad(err);
    char shown[SBATCH_SHOWN];
    bool off = false;
    snprintf(shown, sizeof shown, "--%s", o->name);
    if (o->read && o->kind == FLAG && *value) {
        if (!p->environment) {
            err_set(err, ERR_INVALID, "--%s takes no value", o->name);
            return bad(err);
        }
        off = !is_on(value);
        value = "";
    }
    value = arena_strdup(p->arena, value);
    if (!value)
        return err_set(err, ERR_LIMIT, "--%s: out of memory", o->name);
    return apply(p, o, shown, value, off, err);
}

static int request_options(struct parser *p, const struct pairs *options, bool environment,
                           struct err *err)
{
    p->environment = environment;
    for (size_t i = 0; options && i < options->n; i++)
        if (request_option(p, &options->v[i], err) < 0)
            return environment ? err_while(err, "from the environment (SBATCH_*)") : -1;
    p->environment = false;
    return 0;
}

/* ---- what does not go together ---- */

enum by { BY_ANY, BY_OPTION, BY_ENVIRONMENT };

static bool is_said(const struct parser *p, const char *name, enum by by)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (str_eq(options_table[i].name, name))
            return by == BY_ENVIRONMENT
                       ? p->state[i].by_environment
                       : p->state[i].said && (by == BY_ANY || !p->state[i].by_environment);
    return false;
}

static void forget(struct parser *p, const char *name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (str_eq(options_table[i].name, name)) {
            p->state[i].said = p->state[i].by_environment = false;
            unset(&p->job, field_of(&options_table[i]));
        }
}

static int only_one(const struct parser *p, const char *const *names, size_t n, enum by by,
                    struct err *err)
{
    const char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_said(p, names[i], by))
            continue;
        if (first)
            return err_set(err, ERR_INVALID, "--%s and --%s exclude each other%s", first, names[i],
                           by == BY_ENVIRONMENT ? ", as variables SBATCH_* too"
                                                : ", be they in the script or in the request");
        first = names[i];
    }
    return 0;
}

/* What is said in the script or the request makes the environment's forgotten. */
static int agree_memory(struct parser *p, struct err *err)
{
    static const char *const names[] = {"mem", "mem-per-cpu", "mem-per-gpu"};
    enum { N = ARRAY_LEN(names) };
    if (only_one(p, names, N, BY_OPTION, err) < 0)
        return -1;
    for (size_t i = 0; i < N; i++) {
        if (!is_said(p, names[i], BY_OPTION))
            continue;
        for (size_t k = 0; k < N; k++)
            if (k != i)
                forget(p, names[k]);
        return 0;
    }
    return only_one(p, names, N, BY_ENVIRONMENT, err);
}

static int agree_gpus(struct parser *p, struct err *err)
{
    static const char *const not_with[] = {"gpus-per-task", "gpus-per-socket", "ntasks-per-node"};
    const struct sbatch *job = &p->job;
    bool gpu = is_said(p, "ntasks-per-gpu", BY_ANY), tres = is_said(p, "ntasks-per-tres", BY_ANY);
    if (!gpu && !tres)
        return 0;
    if (gpu && tres && job->ntasks_per_gpu != job->ntasks_per_tres)
        return err_set(err, ERR_INVALID, "--ntasks-per-gpu=%lld and --ntasks-per-tres=%lld differ",
                       (long long)job->ntasks_per_gpu, (long long)job->ntasks_per_tres);
    for (size_t i = 0; i < ARRAY_LEN(not_with); i++)
        if (is_said(p, not_with[i], BY_ANY))
            return err_set(err, ERR_INVALID, "--%s and --%s exclude each other", not_with[i],
                           gpu ? "ntasks-per-gpu" : "ntasks-per-tres");
    return 0;
}

/* core-spec and thread-spec are one number to Slurm: what is said closer counts. */
static int agree_spec(struct parser *p, struct err *err)
{
    static const char *const names[] = {"core-spec", "thread-spec"};
    if (only_one(p, names, 2, BY_OPTION, err) < 0)
        return -1;
    for (size_t i = 0; i < 2; i++)
        if (is_said(p, names[i], BY_OPTION)) {
            forget(p, names[!i]);
            return 0;
        }
    return is_said(p, names[0], BY_ANY) && is_said(p, names[1], BY_ANY)
               ? only_one(p, names, 2, BY_ENVIRONMENT, err)
               : 0;
}

/* hint gives way to what it would set, when that is said as closely. */
static void agree_hint(struct parser *p)
{
    static const char *const others[] = {"ntasks-per-core", "threads-per-core", "extra-node-info"};
    bool by_option = is_said(p, "hint", BY_OPTION);
    bool other = false;
    if (!is_said(p, "hint", BY_ANY))
        return;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        other |= is_said(p, others[i], BY_OPTION) ||
                 (!by_option && is_said(p, others[i], BY_ENVIRONMENT));
    if (other) {
        forget(p, "hint");
        return;
    }
    if (!by_option)
        return;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (is_said(p, others[i], BY_ENVIRONMENT))
            forget(p, others[i]);
}

static int agree(struct parser *p, struct err *err)
{
    const struct sbatch *job = &p->job;
    if (agree_gpus(p, err) < 0 || agree_spec(p, err) < 0 || agree_memory(p, err) < 0)
        return -1;
    if (job->burst_buffer && job->bb_file)
        return err_set(err, ERR_INVALID, "--bb and --bbf exclude each other");
    agree_hint(p);
    if (job->deadline != SBATCH_UNSET && job->begin_time != SBATCH_UNSET &&
        job->deadline < job->begin_time)
        return err_set(err, ERR_INVALID, "--deadline is before --begin");
    return 0;
}

/* ---- components ---- */

void sbatch_clear(struct sbatch *job)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        unset(job, &fields[i]);
}

/* What was said of the component before is not said of the next one. */
static void begin_component(struct parser *p)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].scope == PART)
            unset(&p->job, &fields[i]);
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct field *f = options_table[i].read ? field_of(&options_table[i]) : NULL;
        if (f && f->scope == PART)
            p->state[i].said = false;
    }
}

/* The command of --wrap, wherever it is said; NULL without. */
static const char *wrapped(const struct sbatch_source *in)
{
    const char *command = NULL;
    for (size_t i = 0; i < in->n_options; i++)
        for (size_t k = 0; k < in->options[i].n; k++) {
            const struct pair *given = &in->options[i].v[k];
            const char *name = str_or(given->name, "");
            struct err none = {0};
            const struct option *o = find_long(name, strlen(name), &none);
            if (o && str_eq(o->name, "wrap"))
                command = str_or(given->value, "");
        }
    return command;
}

static int parse_component(struct parser *p, const struct sbatch_source *in, size_t component,
                           bool *ret_more, struct err *err)
{
    size_t last = in->n_options ? in->n_options - 1 : 0;
    const struct pairs *options =
        in->n_options ? &in->options[component < last ? component : last] : NULL;
    bool in_script = false;
    /* what --wrap makes of a command is no script with options */
    if ((!wrapped(in) && script_options(p, in->script, component, &in_script, err) < 0) ||
        request_options(p, in->defaults, true, err) < 0 ||
        request_options(p, options, false, err) < 0 || agree(p, err) < 0)
        return -1;
    *ret_more = in_script || component < last;
    return 0;
}

/* sbatch reads its command line twice.  At first all of it, as if it was one component's and from
 * the environment: what holds for further components begins as that, for the first one as well, and
 * so "-n 1 : -t 5" limits both.  Of the rest it keeps, after it has been reset, that it came from
 * the environment, which is why SBATCH_MEM_PER_NODE=1 and "-n 1 : --mem-per-cpu=1" exclude each
 * other. */
static int first_pass(struct parser *p, const struct sbatch_source *in, struct err *err)
{
    p->early = true;
    for (size_t i = 0; i < in->n_options; i++)
        if (request_options(p, &in->options[i], false, err) < 0)
            return err_while(err, "component %zu", i);
    p->early = false;
    begin_component(p);
    return 0;
}

int sbatch_parse(const struct sbatch_source *in, struct arena *arena, struct sbatch_jobs *out,
                 struct err *err)
{
    struct parser p = {.arena = arena, .now = in->now, .source = in};
    struct sbatch *v = arena_array(arena, SBATCH_MAX_COMPONENTS, sizeof *v);
    bool more = true;
    size_t n = 0;
    if (!v)
        return err_set(err, ERR_LIMIT, "out of memory");
    if (sbatch_script_check(in->script, in->max_script, err) < 0)
        return -1;
    sbatch_clear(&p.job);
    if (in->n_options > 1 && first_pass(&p, in, err) < 0)
        return -1;
    while (more) {
        if (n == SBATCH_MAX_COMPONENTS)
            return err_set(err, ERR_INVALID,
                           "the heterogeneous job has more than %d components, Slurm's limit",
                           SBATCH_MAX_COMPONENTS);
        if (n)
            begin_component(&p);
        if (parse_component(&p, in, n, &more, err) < 0)
            return n || in->n_options > 1 ? err_while(err, "component %zu", n) : -1;
        v[n++] = p.job;
    }
    if (p.job.ignore_pbs == SBATCH_UNSET && !wrapped(in) &&
        sbatch_script_refuse_pbs(in->script, err) < 0)
        return -1;
    *out = (struct sbatch_jobs){v, n};
    return 0;
}

bool sbatch_said(const struct sbatch *job, const char *option, const char **ret_text)
{
    *ret_text = NULL;
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct field *f = options_table[i].read && str_eq(options_table[i].name, option)
                                    ? field_of(&options_table[i])
                                    : NULL;
        if (!f)
            continue;
        const void *value = (const char *)job + f->at;
        if (f->number)
            return *(const int64_t *)value != SBATCH_UNSET;
        *ret_text = *(const char *const *)value;
        return *ret_text;
    }
    return false;
}

/* ---- scripts that options make ---- */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "no memory for the script");
}

int sbatch_wrap(const struct sbatch_source *in, struct arena *arena, struct bytes *ret,
                struct err *err)
{
    const char *command = wrapped(in);
    *ret = (struct bytes){NULL, 0};
    if (!command)
        return 0;
    char *text = arena_printf(
        arena, "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n%s\n", command);
    if (!text)
        return no_memory(err);
    *ret = (struct bytes){(const uint8_t *)text, strlen(text)};
    return 0;
}

int sbatch_add_lines(struct bytes script, struct bytes lines, struct arena *arena,
                     struct bytes *ret, struct err *err)
{
    const uint8_t *end = memchr(script.p, '\n', script.n);
    size_t first = end ? (size_t)(end - script.p) + 1 : script.n;
    uint8_t *text = arena_alloc(arena, script.n + lines.n + 3), *to = text;
    if (!text)
        return no_memory(err);
    to = mempcpy(to, script.p, first);
    if (!end)
        *to++ = '\n';
    to = mempcpy(to, lines.p, lines.n);
    if (lines.n && lines.p[lines.n - 1] != '\n')
        *to++ = '\n';
    to = mempcpy(to, script.p + first, script.n - first);
    *ret = (struct bytes){text, (size_t)(to - text)};
    return 0;
}
