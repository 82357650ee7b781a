/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The job's environment.  Nothing here reads this process's own. */
#include "agentd/sbatch_impl.h"

#include <assert.h>
#include <stdio.h>
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

static bool has(const struct vars *vars, const char *name)
{
    return find(vars, name, strlen(name));
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

static const char rlimit[] = "SLURM_RLIMIT_";

/* True of the client's machine only (SLURM_CONF), secret (SLURM_JWT), or an order to the node that
 * is not to be given by chance: SLURM_RLIMIT_* sets the job's limits. */
static bool stays_out(const char *name, size_t n)
{
    return is(name, n, "SLURM_CONF") || is(name, n, "SLURM_JWT") || has_prefix(name, n, rlimit);
}

/* Is the limit one that --propagate names? */
static bool propagates(const char *list, const char *name, size_t n)
{
    if (!has_prefix(name, n, rlimit))
        return false;
    name += strlen(rlimit);
    n -= strlen(rlimit);
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ", \t");
        const char *word = p;
        p += len + (p[len] != '\0');
        if (len == 3 && strncasecmp(word, "ALL", len) == 0)
            return true;
        if (len > 7 && strncmp(word, "RLIMIT_", 7) == 0) {
            word += 7;
            len -= 7;
        }
        if (len == n && strncasecmp(word, name, n) == 0)
            return true;
    }
    return false;
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

/* NAME and NAME=value, ALL among them; the given values go to last. */
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

/* ---- what sbatch adds ---- */

/* A variable of its own, or of a component: then with its number behind, by two names. */
struct adding {
    struct vars *to;
    struct arena *arena;
    bool full; /* there was no memory */
    bool het;
    size_t component;
};

static const char *number(struct adding *a, int64_t n)
{
    char *text = arena_printf(a->arena, "%lld", (long long)n);
    a->full |= !text;
    return str_or(text, "");
}

static void add_text(struct adding *a, const char *name, const char *value)
{
    static const char *const suffixes[] = {"PACK_GROUP", "HET_GROUP"};
    if (!value)
        return;
    if (!a->het) {
        add(a->to, name, value);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char *full = arena_printf(a->arena, "%s_%s_%zu", name, suffixes[i], a->component);
        if (full)
            add(a->to, full, value);
        a->full |= !full;
    }
}

static void add_number(struct adding *a, const char *name, int64_t value)
{
    if (value == SBATCH_INFINITE)
        value = UINT16_MAX;
    if (value != SBATCH_UNSET)
        add_text(a, name, number(a, value));
}

static const char *const dist_words[] = {
    [SBATCH_DIST_BLOCK] = "block",     [SBATCH_DIST_CYCLIC] = "cyclic",
    [SBATCH_DIST_FCYCLIC] = "fcyclic", [SBATCH_DIST_ARBITRARY] = "arbitrary",
    [SBATCH_DIST_PLANE] = "plane",
};

static const char *distribution(const struct sbatch *job, struct adding *a)
{
    const int64_t level[] = {job->dist_node, job->dist_socket, job->dist_core};
    char text[64] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(level); i++)
        if (level[i] != SBATCH_UNSET)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? ":" : "",
                                  dist_words[level[i]]);
    if (job->dist_pack != SBATCH_UNSET)
        snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "",
                 job->dist_pack ? "pack" : "nopack");
    char *copy = *text ? arena_strdup(a->arena, text) : NULL;
    a->full |= *text && !copy;
    return copy;
}

static const char *mem_bind(const struct sbatch *job, struct adding *a)
{
    static const struct {
        int64_t bit;
        const char *word;
    } words[] = {{SBATCH_MEM_VERBOSE, "verbose,"}, {SBATCH_MEM_PREFER, "prefer,"},
                 {SBATCH_MEM_SORT, "sort,"},       {SBATCH_MEM_NONE, "none"},
                 {SBATCH_MEM_RANK, "rank"},        {SBATCH_MEM_LOCAL, "local"},
                 {SBATCH_MEM_MAP, "map_mem"},      {SBATCH_MEM_MASK, "mask_mem"}};
    char text[64] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (job->mem_bind_type & words[i].bit)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", words[i].word);
    if (n && text[n - 1] == ',')
        text[n - 1] = '\0';
    char *all = job->mem_bind ? arena_printf(a->arena, "%s:%s", text, job->mem_bind)
                              : arena_strdup(a->arena, text);
    a->full |= !all;
    return all;
}

static void add_mem_bind(const struct sbatch *job, const struct vars *offered, struct adding *a)
{
    const char *sort = job->mem_bind_type & SBATCH_MEM_SORT ? "sort" : NULL,
               *verbose = job->mem_bind_type & SBATCH_MEM_VERBOSE ? "verbose" : "quiet";
    /* what the user's environment says stays */
    if (!has(offered, "SBATCH_MEM_BIND"))
        add_text(a, "SLURM_MEM_BIND", mem_bind(job, a));
    if (!has(offered, "SLURM_MEM_BIND_SORT"))
        add_text(a, "SLURM_MEM_BIND_SORT", sort);
    if (!has(offered, "SLURM_MEM_BIND_VERBOSE"))
        add_text(a, "SLURM_MEM_BIND_VERBOSE", verbose);
}

static void add_component(const struct sbatch *job, const struct vars *offered, struct adding *a)
{
    add_number(a, "SLURM_CPUS_PER_GPU", job->cpus_per_gpu);
    add_text(a, "SLURM_GPUS", job->gpus);
    add_text(a, "SLURM_GPU_BIND", job->tres_bind ? strchr(job->tres_bind, ':') + 1 : NULL);
    add_text(a, "SLURM_GPU_FREQ", job->gpu_freq);
    add_text(a, "SLURM_GPUS_PER_NODE", job->gpus_per_node);
    add_text(a, "SLURM_GPUS_PER_SOCKET", job->gpus_per_socket);
    add_text(a, "SLURM_GPUS_PER_TASK", job->gpus_per_task);
    add_number(a, "SLURM_MEM_PER_GPU", job->mem_per_gpu);
    add_number(a, "SLURM_CPUS_PER_TASK", job->cpus_per_task);
    add_text(a, "SLURM_DISTRIBUTION", distribution(job, a));
    if (job->dist_node == SBATCH_DIST_PLANE)
        add_number(a, "SLURM_DIST_PLANESIZE", job->plane_size);
    if (job->mem_bind_type != SBATCH_UNSET && job->mem_bind_type)
        add_mem_bind(job, offered, a);
    if (job->ntasks > 0) {
        add_number(a, "SLURM_NTASKS", job->ntasks);
        add_number(a, "SLURM_NPROCS", job->ntasks);
    }
    add_number(a, "SLURM_NTASKS_PER_CORE", job->ntasks_per_core);
    if (job->ntasks_per_tres != SBATCH_UNSET)
        add_number(a, "SLURM_NTASKS_PER_TRES", job->ntasks_per_tres);
    else
        add_number(a, "SLURM_NTASKS_PER_GPU", job->ntasks_per_gpu);
    add_number(a, "SLURM_NTASKS_PER_NODE", job->ntasks_per_node);
    add_number(a, "SLURM_NTASKS_PER_SOCKET", job->ntasks_per_socket);
    add_number(a, "SLURM_THREADS_PER_CORE", job->threads_per_core);
}

static const char *profile(int64_t bits, struct adding *a)
{
    static const struct {
        int64_t bit;
        const char *word;
    } words[] = {{SBATCH_PROFILE_ENERGY, "Energy"},
                 {SBATCH_PROFILE_LUSTRE, "Lustre"},
                 {SBATCH_PROFILE_NETWORK, "Network"},
                 {SBATCH_PROFILE_TASK, "Task"}};
    char text[64] = "";
    if (bits == SBATCH_PROFILE_NONE)
        return "None";
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (bits == SBATCH_PROFILE_ALL || bits & words[i].bit) {
            if (*text)
                strcat(text, ",");
            strcat(text, words[i].word);
        }
    char *copy = arena_strdup(a->arena, text);
    a->full |= !copy;
    return copy;
}

static const char *frequency(int64_t f, struct adding *a)
{
    static const struct {
        int64_t f;
        const char *word;
    } words[] = {{SBATCH_FREQ_LOW, "Low"},
                 {SBATCH_FREQ_MEDIUM, "Medium"},
                 {SBATCH_FREQ_HIGHM1, "Highm1"},
                 {SBATCH_FREQ_HIGH, "High"},
                 {SBATCH_GOV_CONSERVATIVE, "Conservative"},
                 {SBATCH_GOV_ONDEMAND, "OnDemand"},
                 {SBATCH_GOV_PERFORMANCE, "Performance"},
                 {SBATCH_GOV_POWERSAVE, "PowerSave"},
                 {SBATCH_GOV_SCHEDUTIL, "SchedUtil"},
                 {SBATCH_GOV_USERSPACE, "UserSpace"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].f == f)
            return words[i].word;
    return f == SBATCH_UNSET ? NULL : number(a, f);
}

static const char *cpu_freq(const struct sbatch *job, struct adding *a)
{
    const char *min = frequency(job->cpu_freq_min, a), *max = frequency(job->cpu_freq_max, a),
               *gov = frequency(job->cpu_freq_gov, a);
    if (!min && !max && !gov)
        return NULL;
    char *text = arena_printf(a->arena, "%s%s%s%s%s", str_or(min, ""), min ? "-" : "",
                              str_or(max, ""), gov && max ? ":" : "", str_or(gov, ""));
    a->full |= !text;
    return text;
}

/* What sbatch puts into its own environment, from which --export picks; --export-file empties it in
 * between. */
static void add_options(const struct sbatch *job, const struct vars *offered, struct adding *a)
{
    add_text(a, "SLURM_JOB_NAME", job->name);
    add_text(a, "SLURM_HINT", job->hint);
    if (!has(offered, "SLURM_CONTAINER"))
        add_text(a, "SLURM_CONTAINER", job->container);
    if (job->open_mode != SBATCH_UNSET)
        add_text(a, "SLURM_OPEN_MODE", job->open_mode == SBATCH_APPEND ? "a" : "t");
    add_text(a, "SLURM_JOB_DEPENDENCY", job->dependency);
    if (job->export_env && strcasecmp(job->export_env, "ALL") != 0 &&
        !has(offered, "SLURM_EXPORT_ENV"))
        add_text(a, "SLURM_EXPORT_ENV", job->export_env);
    if (job->profile != SBATCH_UNSET)
        add_text(a, "SLURM_PROFILE", profile(job->profile, a));
    add_text(a, "SLURM_ACCTG_FREQ", job->acctg_freq);
    add_text(a, "SLURM_CPU_FREQ_REQ", cpu_freq(job, a));
}

static void add_place(const struct sbatch_env_source *in, const struct vars *offered,
                      struct adding *a)
{
    add_text(a, "SLURM_PRIO_PROCESS", "0");
    add_text(a, "SLURM_SUBMIT_DIR", str_or(in->submit_dir, ""));
    add_text(a, "SLURM_SUBMIT_HOST", in->submit_host);
    if (!has(offered, "SLURM_UMASK"))
        add_text(a, "SLURM_UMASK", "0022");
}

/* The client's limits; the U tells slurmd that a user asked for it. */
static void add_limits(const struct sbatch *job, const struct pairs *offered, struct adding *a)
{
    for (size_t i = 0; job->propagate && offered && i < offered->n; i++) {
        const struct pair *p = &offered->v[i];
        if (!p->name || !propagates(job->propagate, p->name, strlen(p->name)))
            continue;
        char *value = arena_printf(a->arena, "U%s", str_or(p->value, ""));
        a->full |= !value;
        add_text(a, p->name, value);
    }
}

static int write_out(const struct vars *vars, struct arena *arena, struct strs *out,
                     struct err *err)
{
    char **strings = arena_array(arena, vars->n, sizeof *strings);
    if (!strings)
        return no_memory(err);
    for (size_t i = 0; i < vars->n; i++) {
        const struct var *v = &vars->v[i];
        char *s = arena_alloc(arena, v->name_len + v->value_len + 2);
        if (!s)
            return no_memory(err);
        memcpy(s, v->name, v->name_len);
        s[v->name_len] = '=';
        memcpy(s + v->name_len + 1, v->value, v->value_len);
        strings[i] = s;
    }
    *out = (struct strs){.v = (const char *const *)strings, .n = vars->n};
    return 0;
}

int sbatch_environment(const struct sbatch_jobs *jobs, const struct sbatch_env_source *in,
                       struct arena *arena, struct strs *out, struct err *err)
{
    enum { OWN = 32, EACH = 56 }; /* more than is added for the job, and for each component */
    const struct sbatch *job = &jobs->v[0];
    const char *list = str_or(job->export_env, in->export_none ? "NONE" : "ALL");
    size_t n_offered = in->offered ? in->offered->n : 0,
           n_exported = in->exported ? in->exported->n : 0, n_list = 1;
    for (const char *p = list; *p; p++)
        n_list += *p == ',';

    struct vars from = {0}, all = {0}, given = {0};
    size_t room = 2 * n_offered + n_exported + OWN;
    if (!make_room(&from, room, arena) || !make_room(&given, n_list, arena) ||
        !make_room(&all, room * 2 + n_list * 2 + EACH * jobs->n, arena))
        return no_memory(err);
    /* --export-file takes the place of all that is offered */
    if (take_offered(job->export_file ? NULL : in->offered, &from, err) < 0)
        return -1;
    struct adding own = {.to = &from, .arena = arena};
    const struct vars offered = from;
    if (!job->export_file)
        add_options(job, &offered, &own);
    add_place(in, &offered, &own);
    if (job->get_user_env == SBATCH_UNSET)
        add_limits(job, in->offered, &own);
    settle(&from);
    for (size_t i = 0; i < n_exported; i++)
        add(&all, str_or(in->exported->v[i].name, ""), str_or(in->exported->v[i].value, ""));

    bool login = in->login || job->get_user_env != SBATCH_UNSET;
    if (strcasecmp(list, "ALL") == 0) {
        copy(&all, &from, "");
    } else {
        bool none = strcasecmp(list, "NIL") == 0 || strcasecmp(list, "NONE") == 0;
        if (!none && take_list(list, &from, &all, &given, err) < 0)
            return -1;
        copy(&all, &given, "");
        copy(&all, &from, "SLURM");
        copy(&all, &from, "_SLURM_SPANK_OPTION_");
        login = true;
    }
    if (login)
        add(&all, "SLURM_GET_USER_ENV", "1");
    if (job->dist_node == SBATCH_DIST_ARBITRARY && job->req_nodes)
        add(&all, "SLURM_ARBITRARY_NODELIST", job->req_nodes);
    struct adding each = {.to = &all, .arena = arena, .het = jobs->n > 1};
    for (size_t i = 0; i < jobs->n; i++) {
        each.component = i;
        add_component(&jobs->v[i], &offered, &each);
    }
    if (own.full || each.full)
        return no_memory(err);
    settle(&all);
    return write_out(&all, arena, out, err);
}
