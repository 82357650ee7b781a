/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How tasks lie on nodes, and what they are bound to */
#include "agentd/sbatch_impl.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "agentd/sbatch_hosts.h"
#include "common/cleanup.h"

/* ---- --nodelist, --nodefile: each takes the other back ---- */

const char *sbatch_value_node_list(const struct sbatch_value *v)
{
    v->job->nodelist = v->text;
    v->job->node_file = NULL;
    return sbatch_hosts_check(v->text);
}

/* slurmctld writes down all that are left out, as those that are wanted. */
const char *sbatch_value_hosts(const struct sbatch_value *v)
{
    *(const char **)v->target = v->text;
    return sbatch_hosts_check(v->text);
}

const char *sbatch_value_node_file(const struct sbatch_value *v)
{
    v->job->nodelist = NULL;
    v->job->node_file = v->text;
    return NULL;
}

/* ---- --switches ---- */

const char *sbatch_value_switches(const struct sbatch_value *v)
{
    const char *p = v->text;
    int64_t count, seconds = SBATCH_UNSET;
    if (!sbatch_number(&p, INT32_MAX, &count) || count < 1 || (*p && *p != '@'))
        return "not a number of switches: give N, or N@TIME";
    const char *wrong = *p ? sbatch_duration(p + 1, &seconds) : NULL;
    if (wrong)
        return wrong;
    v->job->req_switch = count;
    if (seconds != SBATCH_UNSET) /* without end is what Slurm does when nothing is said */
        v->job->wait4switch = seconds == SBATCH_INFINITE ? SBATCH_UNSET : seconds;
    return NULL;
}

/* ---- --extra-node-info ---- */

/* N, or N-M whose M Slurm does not look at; nothing and * are any. */
static bool at_least(const char *p, size_t n, int64_t *ret)
{
    const char *end = p + n;
    int64_t unused;
    *ret = SBATCH_UNSET;
    if (n == 0 || *p == '*')
        return true;
    if (!sbatch_number(&p, UINT16_MAX - 2, ret))
        return false;
    if (p < end && *p == '-') {
        p++;
        if (!sbatch_number(&p, INT32_MAX, &unused) || unused < 1)
            return false;
    }
    return p == end;
}

const char *sbatch_value_extra_node_info(const struct sbatch_value *v)
{
    struct sbatch *job = v->job;
    int64_t *const to[] = {&job->sockets_per_node, &job->cores_per_socket, &job->threads_per_core};
    int64_t values[ARRAY_LEN(to)];
    const char *p = v->text;
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        size_t n = strcspn(p, ":");
        if (!at_least(p, n, &values[i]))
            return "give SOCKETS[:CORES[:THREADS]], each a number, MIN-MAX or *";
        p += n + (p[n] == ':' && i + 1 < ARRAY_LEN(to));
    }
    if (*p)
        return "more than three parts: give SOCKETS[:CORES[:THREADS]]";
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        *to[i] = values[i];
    job->extra_node_info = 1;
    return NULL;
}

/* ---- --distribution ---- */

static const struct sbatch_word pack_words[] = {{"pack", 1}, {"nopack", 0}};

struct dist {
    int64_t level[3], pack;
};

/* NODES[:SOCKETS[:CORES]], where * is Slurm's default: block, cyclic, and as the sockets. */
static bool levels(const char *p, size_t n, struct dist *out)
{
    static const struct sbatch_word words[] = {{"block", SBATCH_DIST_BLOCK},
                                               {"cyclic", SBATCH_DIST_CYCLIC},
                                               {"fcyclic", SBATCH_DIST_FCYCLIC},
                                               {"arbitrary", SBATCH_DIST_ARBITRARY},
                                               {"hostfile", SBATCH_DIST_ARBITRARY}};
    const char *end = p + n;
    size_t i;
    for (i = 0; p < end && i < 3; i++) {
        size_t len = strcspn(p, ":");
        if (len > (size_t)(end - p))
            len = (size_t)(end - p);
        if (len == 1 && *p == '*')
            out->level[i] = i == 0   ? SBATCH_DIST_BLOCK
                            : i == 1 ? SBATCH_DIST_CYCLIC
                                     : out->level[1];
        else if (!sbatch_find_word(p, len, words, ARRAY_LEN(words), &out->level[i]))
            return false;
        if ((i == 0 && out->level[i] == SBATCH_DIST_FCYCLIC) ||
            (out->level[i] == SBATCH_DIST_ARBITRARY && (i > 0 || len < n)))
            return false;
        p += len + (p + len < end);
    }
    return i > 0 && p >= end;
}

const char *sbatch_value_distribution(const struct sbatch_value *v)
{
    static const char form[] =
        "not a distribution: give NODES[:SOCKETS[:CORES]] of block, cyclic, *, and fcyclic for the "
        "latter two; plane=N; or arbitrary; with ,pack or ,nopack";
    struct dist d = {{SBATCH_UNSET, SBATCH_UNSET, SBATCH_UNSET}, SBATCH_UNSET};
    const char *p = v->text;
    if (strncasecmp(p, "plane", 5) == 0) {
        int64_t size;
        p += 5;
        if (*p++ != '=' || !sbatch_number(&p, UINT16_MAX - 2, &size) || *p || size < 1)
            return "not a plane: give plane=N, N from 1 to 65533";
        d.level[0] = SBATCH_DIST_PLANE;
        v->job->plane_size = size;
    } else {
        size_t n = strcspn(p, ",");
        const char *flag = p[n] ? p + n + 1 : NULL;
        if (n == 0 || (!sbatch_find_word(p, n, pack_words, ARRAY_LEN(pack_words), &d.pack) &&
                       !levels(p, n, &d)))
            return form;
        if (flag && *flag &&
            (d.pack != SBATCH_UNSET ||
             !sbatch_find_word(flag, strlen(flag), pack_words, ARRAY_LEN(pack_words), &d.pack)))
            return form;
    }
    v->job->dist_node = d.level[0];
    v->job->dist_socket = d.level[1];
    v->job->dist_core = d.level[2];
    v->job->dist_pack = d.pack;
    return NULL;
}

/* ---- --cpu-freq ---- */

static bool frequency(const char *p, size_t n, int64_t *ret)
{
    static const struct sbatch_word names[] = {{"low", SBATCH_FREQ_LOW},
                                               {"medium", SBATCH_FREQ_MEDIUM},
                                               {"highm1", SBATCH_FREQ_HIGHM1},
                                               {"high", SBATCH_FREQ_HIGH}};
    const char *end = p;
    if (isdigit((unsigned char)*p))
        return sbatch_number(&end, INT32_MAX, ret) && end == p + n && *ret > 0;
    return sbatch_find_word(p, n, names, ARRAY_LEN(names), ret);
}

static bool governor(const char *p, size_t n, int64_t *ret)
{
    static const struct sbatch_word names[] = {
        {"conservative", SBATCH_GOV_CONSERVATIVE}, {"ondemand", SBATCH_GOV_ONDEMAND},
        {"performance", SBATCH_GOV_PERFORMANCE},   {"powersave", SBATCH_GOV_POWERSAVE},
        {"schedutil", SBATCH_GOV_SCHEDUTIL},       {"userspace", SBATCH_GOV_USERSPACE}};
    return sbatch_find_word(p, n, names, ARRAY_LEN(names), ret);
}

/* Slurm compares its own numbers for the names, which are above all frequencies: low, medium, high,
 * highm1. */
static int64_t rank(int64_t frequency)
{
    static const int64_t named[] = {SBATCH_FREQ_LOW, SBATCH_FREQ_MEDIUM, SBATCH_FREQ_HIGH,
                                    SBATCH_FREQ_HIGHM1};
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        if (named[i] == frequency)
            return INT64_C(1) << 32 | (int64_t)i;
    return frequency;
}

const char *sbatch_value_cpu_freq(const struct sbatch_value *v)
{
    static const char form[] =
        "not a frequency: give kHz or low, medium, high, highm1; MIN-MAX[:GOVERNOR]; or a governor: "
        "conservative, ondemand, performance, powersave, schedutil, userspace";
    int64_t min = SBATCH_UNSET, max = SBATCH_UNSET, gov = SBATCH_UNSET;
    const char *p = v->text, *colon = strchrnul(p, ':'), *dash = strchrnul(p, '-');
    if (dash > colon)
        dash = colon;
    if (dash == colon && *colon)
        return "a governor behind a colon goes with MIN-MAX alone";
    if (dash == colon) {
        if (!governor(p, strlen(p), &gov) && !frequency(p, strlen(p), &max))
            return form;
    } else {
        if (!frequency(p, (size_t)(dash - p), &min) ||
            !frequency(dash + 1, (size_t)(colon - dash - 1), &max) ||
            (*colon && !governor(colon + 1, strlen(colon + 1), &gov)))
            return form;
        if (rank(max) < rank(min))
            return "the largest frequency is below the smallest";
    }
    v->job->cpu_freq_min = min;
    v->job->cpu_freq_max = max;
    v->job->cpu_freq_gov = gov;
    return NULL;
}

/* ---- --mem-bind ---- */

/* Is what is behind the comma another number of the list?  Hexadecimal ones need no 0x. */
static bool goes_on(const char *comma)
{
    const char *p = comma + 1;
    if (isdigit((unsigned char)*p))
        return true;
    while (isxdigit((unsigned char)*p))
        p++;
    return *p == ',' || *p == '\0';
}

static size_t one_binding(const char *p)
{
    size_t n = strcspn(p, ",;");
    while (p[n] == ',' && goes_on(p + n))
        n += 1 + strcspn(p + n + 1, ",;");
    return n;
}

/* N*COUNT is N that often; 0x goes. */
static const char *expand(const char *p, size_t n, struct arena *arena)
{
    enum { MOST = 65536 };
    const char *end = p + n;
    size_t room = n + 1;
    for (int pass = 0;; pass++) {
        char *out = pass ? arena_alloc(arena, room) : NULL, *to = out;
        size_t used = 0;
        if (pass && !out)
            return NULL;
        for (const char *q = p; q < end;) {
            size_t len = strcspn(q, ","), digits;
            if (len > (size_t)(end - q))
                len = (size_t)(end - q);
            if (len > 2 && q[0] == '0' && (q[1] | 0x20) == 'x') {
                q += 2;
                len -= 2;
            }
            int64_t times = 1;
            digits = strcspn(q, "*");
            if (digits < len) {
                const char *count = q + digits + 1;
                if (!sbatch_number(&count, MOST, &times) || count != q + len)
                    return NULL;
            } else {
                digits = len;
            }
            for (int64_t i = 0; i < times; i++) {
                used += digits + 1;
                if (used > MOST)
                    return NULL;
                if (to) {
                    if (to != out)
                        *to++ = ',';
                    to = mempcpy(to, q, digits);
                }
            }
            q += len + (q + len < end);
        }
        if (pass) {
            *to = '\0';
            return out;
        }
        room = used + 1;
    }
}

static bool is_list(const char *p, size_t n, bool hex)
{
    for (size_t i = 0; i < n; i++)
        if (!(hex ? isxdigit((unsigned char)p[i]) : isdigit((unsigned char)p[i])) &&
            !strchr(hex ? ",*xX" : ",*", p[i]))
            return false;
    return n > 0;
}

static const char *bind_list(const struct sbatch_value *v, const char *p, size_t n, bool *ret_is)
{
    static const struct {
        const char *name;
        int64_t bit;
    } lists[] = {{"map_mem", SBATCH_MEM_MAP},
                 {"mapmem", SBATCH_MEM_MAP},
                 {"mask_mem", SBATCH_MEM_MASK},
                 {"maskmem", SBATCH_MEM_MASK}};
    *ret_is = false;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        size_t len = strlen(lists[i].name);
        if (n < len || strncasecmp(p, lists[i].name, len) != 0)
            continue;
        *ret_is = true;
        if (n <= len + 1 || (p[len] != ':' && p[len] != '='))
            return "a list of numbers is missing: map_mem:0,1 or mask_mem:0x1,0x2";
        if (!is_list(p + len + 1, n - len - 1, lists[i].bit == SBATCH_MEM_MASK))
            return "not a list of numbers: give map_mem:0,1 or mask_mem:0x1,0x2, with *N for N times";
        v->job->mem_bind = expand(p + len + 1, n - len - 1, v->arena);
        if (!v->job->mem_bind)
            return "not a list of numbers: give map_mem:0,1 or mask_mem:0x1,0x2, with *N for N times";
        v->job->mem_bind_type =
            lists[i].bit |
            (v->job->mem_bind_type & (SBATCH_MEM_VERBOSE | SBATCH_MEM_SORT | SBATCH_MEM_PREFER));
        return NULL;
    }
    return NULL;
}

const char *sbatch_value_mem_bind(const struct sbatch_value *v)
{
    enum { TURN_OFF = 1 << 20, KIND = 1 << 21 };
    static const struct sbatch_word words[] = {{"p", SBATCH_MEM_PREFER},
                                               {"prefer", SBATCH_MEM_PREFER},
                                               {"sort", SBATCH_MEM_SORT},
                                               {"nosort", SBATCH_MEM_SORT | TURN_OFF},
                                               {"v", SBATCH_MEM_VERBOSE},
                                               {"verbose", SBATCH_MEM_VERBOSE},
                                               {"q", SBATCH_MEM_VERBOSE | TURN_OFF},
                                               {"quiet", SBATCH_MEM_VERBOSE | TURN_OFF},
                                               {"no", SBATCH_MEM_NONE | KIND},
                                               {"none", SBATCH_MEM_NONE | KIND},
                                               {"rank", SBATCH_MEM_RANK | KIND},
                                               {"local", SBATCH_MEM_LOCAL | KIND}};
    int64_t *type = v->target, word;
    v->job->mem_bind = NULL;
    if (*type == SBATCH_UNSET)
        *type = 0;
    for (const char *p = v->text;; p++) {
        size_t n = one_binding(p);
        bool list;
        const char *wrong = bind_list(v, p, n, &list);
        if (wrong)
            return wrong;
        if (!list) {
            if (!sbatch_find_word(p, n, words, ARRAY_LEN(words), &word))
                return "not a binding: give none, rank, local, map_mem:LIST or mask_mem:LIST, with "
                       "verbose, quiet, prefer, sort, nosort";
            int64_t bit = word & ~(int64_t)(TURN_OFF | KIND);
            if (word & KIND) {
                *type &= SBATCH_MEM_VERBOSE | SBATCH_MEM_SORT | SBATCH_MEM_PREFER;
                v->job->mem_bind = NULL;
            }
            *type = word & TURN_OFF ? *type & ~bit : *type | bit;
        }
        p += n;
        if (!*p)
            return NULL;
    }
}

/* ---- --gpu-bind, --gpu-freq ---- */

static bool starts(const char *p, const char *word, const char **ret_rest)
{
    size_t n = strlen(word);
    if (strncasecmp(p, word, n) != 0)
        return false;
    *ret_rest = p + n;
    return true;
}

static bool is_number(const char *p)
{
    int64_t n;
    return sbatch_number(&p, INT32_MAX, &n) && !*p;
}

const char *sbatch_value_gpu_bind(const struct sbatch_value *v)
{
    static const char form[] = "give closest, none, single:N, per_task:N, map_gpu:LIST, "
                               "mask_gpu:LIST, with verbose, in front";
    const char *p = v->text, *rest;
    starts(p, "verbose,", &p);
    if (starts(p, "map_gpu:", &rest)    ? !is_list(rest, strlen(rest), false)
        : starts(p, "mask_gpu:", &rest) ? !is_list(rest, strlen(rest), true)
        : starts(p, "single:", &rest) || starts(p, "per_task:", &rest)
            ? !is_number(rest)
            : !starts(p, "closest", &rest) && !starts(p, "none", &rest))
        return form;
    char *bind = arena_printf(v->arena, "gpu:%s", v->text);
    if (!bind)
        return SBATCH_NO_MEMORY;
    v->job->tres_bind = bind;
    return NULL;
}

static bool gpu_speed(const char *p, size_t n)
{
    static const struct sbatch_word words[] = {
        {"low", 0}, {"medium", 0}, {"high", 0}, {"highm1", 0}};
    const char *end = p;
    int64_t unused;
    if (isdigit((unsigned char)*p))
        return sbatch_number(&end, INT64_MAX / 2, &unused) && end == p + n;
    return sbatch_find_word(p, n, words, ARRAY_LEN(words), &unused);
}

const char *sbatch_value_gpu_freq(const struct sbatch_value *v)
{
    static const char form[] =
        "give low, medium, high, highm1 or MHz, memory=the same, and verbose, with commas";
    if (!*v->text)
        return form;
    for (const char *p = v->text; *p;) {
        size_t n = strcspn(p, ",");
        const char *value = strncmp(p, "memory=", 7) == 0 ? p + 7 : p;
        bool verbose = n == 7 && strncmp(p, "verbose", n) == 0;
        if (n && !verbose && !gpu_speed(value, n - (size_t)(value - p)))
            return form;
        p += n + (p[n] == ',');
    }
    char *freq = arena_printf(v->arena, "gpu:%s", v->text);
    if (!freq)
        return SBATCH_NO_MEMORY;
    v->job->gpu_freq = v->text;
    v->job->tres_freq = freq;
    return NULL;
}
