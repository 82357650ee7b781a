/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The job's environment.  Nothing here reads this process's own. */
#include "agentd/sbatch_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/str.h"

/* Of two variables with one name the one added later wins. */
struct var {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
    size_t order;
};

struct vars {
    struct var *v;
    size_t n, room;
};

static void add_n(struct vars *vars, const char *name, size_t name_len, const char *value,
                  size_t value_len)
{
    assert(vars->n < vars->room);
    vars->v[vars->n] = (struct var){name, name_len, value, value_len, vars->n};
    vars->n++;
}

static void add(struct vars *vars, const char *name, const char *value)
{
    add_n(vars, name, strlen(name), value, strlen(value));
}

static int by_name(const struct var *a, const struct var *b)
{
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int d = memcmp(a->name, b->name, n);
    return d ? d : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static int by_name_and_order(const void *pa, const void *pb)
{
    const struct var *a = pa, *b = pb;
    int d = by_name(a, b);
    return d ? d : (a->order > b->order) - (a->order < b->order);
}

/* Sorts and leaves the last of each name. */
static void settle(struct vars *vars)
{
    size_t kept = 0;
    if (vars->n)
        qsort(vars->v, vars->n, sizeof *vars->v, by_name_and_order);
    for (size_t i = 0; i < vars->n; i++)
        if (i + 1 == vars->n || by_name(&vars->v[i], &vars->v[i + 1]) != 0)
            vars->v[kept++] = vars->v[i];
    vars->n = kept;
}

static const struct var *find(const struct vars *vars, const char *name, size_t n)
{
    size_t low = 0, high = vars->n;
    struct var key = {.name = name, .name_len = n};
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int d = by_name(&key, &vars->v[mid]);
        if (d == 0)
            return &vars->v[mid];
        if (d < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static bool has_prefix(const char *name, size_t n, const char *prefix)
{
    size_t len = strlen(prefix);
    return n >= len && memcmp(name, prefix, len) == 0;
}

static bool is(const char *name, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(name, word, n) == 0;
}

/* True of the client's machine only (SLURM_CONF), secret (SLURM_JWT), or an order to the node that
 * is not to be given by chance: SLURM_RLIMIT_* sets the job's limits. */
static bool stays_out(const char *name, size_t n)
{
    return is(name, n, "SLURM_CONF") || is(name, n, "SLURM_JWT") ||
           has_prefix(name, n, "SLURM_RLIMIT_");
}

/* What describes a submit, and would describe an earlier one when the client itself is a job. */
static bool is_ours(const char *name, size_t n)
{
    return is(name, n, "SLURM_GET_USER_ENV") || is(name, n, "SLURM_JOB_NAME");
}

static int take_offered(const struct pairs *offered, struct vars *out, struct err *err)
{
    for (size_t i = 0; offered && i < offered->n; i++) {
        const char *name = str_or(offered->v[i].name, "");
        char shown[SBATCH_SHOWN];
        size_t n = strlen(name);
        if (n == 0)
            return err_set(err, ERR_INVALID, "environment: a variable without a name");
        if (memchr(name, '=', n))
            return err_set(err, ERR_INVALID, "environment: the name '%s' has a = in it",
                           sbatch_shown(name, n, shown));
        if (!stays_out(name, n) && !is_ours(name, n))
            add(out, name, str_or(offered->v[i].value, ""));
    }
    settle(out);
    return 0;
}

static void copy(struct vars *to, const struct vars *from, const char *prefix)
{
    for (size_t i = 0; i < from->n; i++)
        if (has_prefix(from->v[i].name, from->v[i].name_len, prefix))
            add_n(to, from->v[i].name, from->v[i].name_len, from->v[i].value, from->v[i].value_len);
}

/* The length of the first element: commas in quotes do not count, and as with sbatch the quotes
 * stay in the value. */
static size_t element(const char *p)
{
    char quote = 0;
    size_t n;
    for (n = 0; p[n] && (quote || p[n] != ','); n++) {
        if (quote && p[n] == quote)
            quote = 0;
        else if (!quote && (p[n] == '"' || p[n] == '\''))
            quote = p[n];
    }
    return n;
}

/* NAME and NAME=value, ALL among them.  The given values go to last, as they win over what sbatch
 * sets itself. */
static int take_list(const char *list, const struct vars *offered, struct vars *out,
                     struct vars *last, struct err *err)
{
    bool all = false;
    char shown[SBATCH_SHOWN];
    for (const char *p = list; *p;) {
        size_t n = element(p);
        const char *equals = memchr(p, '=', n);
        size_t name_len = equals ? (size_t)(equals - p) : n;
        if (equals && name_len == 0)
            return err_set(err, ERR_INVALID, "--export=%s: a value without a name",
                           sbatch_shown(list, strlen(list), shown));
        if (equals && stays_out(p, name_len))
            return err_set(err, ERR_INVALID, "--export: %s cannot be set for a job",
                           sbatch_shown(p, name_len, shown));
        if (equals) {
            add_n(last, p, name_len, equals + 1, n - name_len - 1);
        } else if (n == 3 && strncasecmp(p, "ALL", n) == 0) {
            if (!all)
                copy(out, offered, "");
            all = true;
        } else if (n) {
            const struct var *v = find(offered, p, n);
            if (v)
                add_n(out, v->name, v->name_len, v->value, v->value_len);
        }
        p += n + (p[n] == ',');
    }
    return 0;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "environment: out of memory");
}

static bool make_room(struct vars *vars, size_t room, struct arena *arena)
{
    vars->v = arena_array(arena, room ? room : 1, sizeof *vars->v);
    vars->room = room;
    return vars->v;
}

static void add_own(const struct sbatch *in, bool login, const char *work_dir,
                    const char *submit_host, const char *numbers[2], struct vars *out)
{
    add(out, "SLURM_SUBMIT_DIR", str_or(work_dir, ""));
    if (submit_host)
        add(out, "SLURM_SUBMIT_HOST", submit_host);
    if (in->job_name)
        add(out, "SLURM_JOB_NAME", in->job_name);
    if (in->dependency)
        add(out, "SLURM_JOB_DEPENDENCY", in->dependency);
    if (in->export_env && strcasecmp(in->export_env, "ALL") != 0)
        add(out, "SLURM_EXPORT_ENV", in->export_env);
    if (numbers[0]) {
        add(out, "SLURM_NTASKS", numbers[0]);
        add(out, "SLURM_NPROCS", numbers[0]);
    }
    if (numbers[1])
        add(out, "SLURM_CPUS_PER_TASK", numbers[1]);
    if (login)
        add(out, "SLURM_GET_USER_ENV", "1");
    add(out, "SLURM_PRIO_PROCESS", "0");
    add(out, "SLURM_UMASK", "0022");
}

int sbatch_environment(const struct sbatch *in, const struct pairs *offered, bool login,
                       const char *work_dir, const char *submit_host, struct arena *arena,
                       struct strs *out, struct err *err)
{
    enum { OWN = 16 }; /* add_own() adds fewer */
    const char *list = str_or(in->export_env, "ALL");
    size_t n_offered = offered ? offered->n : 0, n_list = 1;
    for (const char *p = list; *p; p++)
        n_list += *p == ',';

    struct vars from = {0}, job = {0}, given = {0};
    if (!make_room(&from, n_offered, arena) || !make_room(&given, n_list, arena) ||
        !make_room(&job, n_offered * 2 + n_list * 2 + OWN, arena))
        return no_memory(err);
    if (take_offered(offered, &from, err) < 0)
        return -1;

    if (strcasecmp(list, "ALL") == 0) {
        copy(&job, &from, "");
    } else {
        copy(&job, &from, "SLURM_");
        bool nil = strcasecmp(list, "NIL") == 0;
        if (!nil && strcasecmp(list, "NONE") != 0 && take_list(list, &from, &job, &given, err) < 0)
            return -1;
        login = !nil;
    }

    const char *numbers[2] = {NULL, NULL};
    const int64_t values[2] = {in->ntasks, in->cpus_per_task};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (values[i] != SBATCH_UNSET &&
            !(numbers[i] = arena_printf(arena, "%lld", (long long)values[i])))
            return no_memory(err);
    add_own(in, login, work_dir, submit_host, numbers, &job);
    copy(&job, &given, "");
    settle(&job);

    char **strings = arena_array(arena, job.n, sizeof *strings);
    if (!strings)
        return no_memory(err);
    for (size_t i = 0; i < job.n; i++) {
        const struct var *v = &job.v[i];
        char *s = arena_alloc(arena, v->name_len + v->value_len + 2);
        if (!s)
            return no_memory(err);
        memcpy(s, v->name, v->name_len);
        s[v->name_len] = '=';
        memcpy(s + v->name_len + 1, v->value, v->value_len);
        strings[i] = s;
    }
    *out = (struct strs){.v = (const char *const *)strings, .n = job.n};
    return 0;
}
