/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_impl.h"

#include <string.h>
#include <strings.h>

#include "common/str.h"

bool sbatch_number(const char **p, int64_t max, int64_t *ret)
{
    const char *s = *p;
    int64_t n = 0;
    while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        s++;
    if (*s == '+')
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        int digit = *s - '0';
        if (n > max / 10 || n * 10 > max - digit)
            return false;
        n = n * 10 + digit;
    }
    *p = s;
    *ret = n;
    return true;
}

const char *sbatch_value_text(const struct sbatch_value *v)
{
    *(const char **)v->target = v->text;
    return NULL;
}

/* The one that is served, be it named twice; as in slurmdbd, case does not count.  Whoever cannot
 * know it leaves it to who asks Slurm. */
const char *sbatch_value_cluster(const struct sbatch_value *v)
{
    const struct sbatch_source *source = v->source;
    const char *served = source && source->cluster ? source->cluster(source->conf) : NULL;
    *(const char **)v->target = v->text;
    if (!served)
        return NULL;
    for (const char *p = v->text;; p++) {
        size_t n = strcspn(p, ",");
        if (n != strlen(served) || strncasecmp(p, served, n) != 0)
            break;
        p += n;
        if (!*p)
            return NULL;
    }
    return str_or(
        arena_printf(v->arena,
                     "an agent serves one cluster, here %s: talk to the other one's agent", served),
        "no memory");
}

/* sbatch writes the file "none" as what it means. */
const char *sbatch_value_file(const struct sbatch_value *v)
{
    *(const char **)v->target = strcasecmp(v->text, "none") == 0 ? "/dev/null" : v->text;
    return NULL;
}

const char *sbatch_value_gres(const struct sbatch_value *v)
{
    if (strcasecmp(v->text, "help") == 0 || strcasecmp(v->text, "list") == 0)
        return "this server has no list of resources to show";
    if (!v->text[strspn(v->text, ",")])
        return "no resources: give NAME[:TYPE][:COUNT] with commas, or none";
    *(const char **)v->target = strcasecmp(v->text, "none") == 0 ? NULL : v->text;
    return NULL;
}

/* ---- flags ---- */

const char *sbatch_value_flag(const struct sbatch_value *v)
{
    *(int64_t *)v->target = v->off ? SBATCH_UNSET : 1;
    return NULL;
}

const char *sbatch_value_no_flag(const struct sbatch_value *v)
{
    *(int64_t *)v->target = v->off ? SBATCH_UNSET : 0;
    return NULL;
}

const char *sbatch_value_oversubscribe(const struct sbatch_value *v)
{
    *(int64_t *)v->target = v->off ? SBATCH_UNSET : SBATCH_SHARED_OK;
    return NULL;
}

static const char *bit(const struct sbatch_value *v, int64_t mask)
{
    int64_t *target = v->target, had = *target == SBATCH_UNSET ? 0 : *target;
    *target = v->off ? had & ~mask : had | mask;
    return NULL;
}

const char *sbatch_value_spread_job(const struct sbatch_value *v)
{
    return bit(v, SBATCH_SPREAD_JOB);
}

const char *sbatch_value_use_min_nodes(const struct sbatch_value *v)
{
    return bit(v, SBATCH_USE_MIN_NODES);
}

const char *sbatch_value_command_line(const struct sbatch_value *v)
{
    (void)v;
    return "for a command line, which has no job";
}

/* ---- numbers ---- */

static const char *whole_number(const struct sbatch_value *v, int64_t min, int64_t max,
                                const char *otherwise)
{
    const char *p = v->text;
    int64_t n;
    if (!sbatch_number(&p, max, &n) || *p || n < min)
        return otherwise;
    *(int64_t *)v->target = n;
    return NULL;
}

const char *sbatch_value_count(const struct sbatch_value *v)
{
    return whole_number(v, 1, INT32_MAX, "not a number: give a whole number from 1 on");
}

/* Slurm keeps it in 16 bits, with the two largest numbers taken for other meanings; sbatch lets a
 * larger one wrap around. */
const char *sbatch_value_count16(const struct sbatch_value *v)
{
    return whole_number(v, 1, UINT16_MAX - 2, "not a number: give a whole number from 1 to 65533");
}

/* One number to Slurm, the later counts; the highest bit tells them apart. */
const char *sbatch_value_core_spec(const struct sbatch_value *v)
{
    v->job->thread_spec = SBATCH_UNSET;
    return whole_number(v, 0, INT16_MAX, "not a number of cores: give a whole number to 32767");
}

const char *sbatch_value_thread_spec(const struct sbatch_value *v)
{
    v->job->core_spec = SBATCH_UNSET;
    return whole_number(v, 1, INT16_MAX - 1,
                        "not a number of threads: give a whole number from 1 to 32766");
}

const char *sbatch_value_wait_all_nodes(const struct sbatch_value *v)
{
    return whole_number(v, 0, 1, "give 0 or 1");
}

/* With a sign; strtoll() for sbatch, which does not look at what follows the digits. */
static bool signed_number(const char *p, int64_t max, int64_t *ret)
{
    p += strspn(p, " \t\n\v\f\r");
    bool minus = *p == '-';
    p += minus;
    if ((minus && *p == '+') || !sbatch_number(&p, max, ret) || *p)
        return false;
    if (minus)
        *ret = -*ret;
    return true;
}

const char *sbatch_value_nice(const struct sbatch_value *v)
{
    enum { DEFAULT = 100 };
    static const int64_t max = INT64_C(0x80000000) - 3; /* NICE_OFFSET - 3 */
    if (!*v->text) {
        *(int64_t *)v->target = DEFAULT;
        return NULL;
    }
    return signed_number(v->text, max, v->target)
               ? NULL
               : "not a whole number between -2147483645 and 2147483645";
}

const char *sbatch_value_priority(const struct sbatch_value *v)
{
    static const int64_t top = INT64_C(0xfffffffe) - 1;
    if (strcasecmp(v->text, "TOP") == 0) {
        *(int64_t *)v->target = top;
        return NULL;
    }
    return whole_number(v, 0, top, "not a priority: give a whole number to 4294967293, or TOP");
}

static bool one_nodes(const char **p, int64_t *ret)
{
    int64_t n, unit = 1;
    if (!sbatch_number(p, INT32_MAX, &n))
        return false;
    if (**p == 'k' || **p == 'K')
        unit = 1 << 10;
    else if (**p == 'm' || **p == 'M')
        unit = 1 << 20;
    if (unit > 1)
        (*p)++;
    *ret = n * unit;
    return *ret <= INT32_MAX;
}

const char *sbatch_value_nodes(const struct sbatch_value *v)
{
    static const char form[] =
        "not a number of nodes: give N or FROM-TO, with k for 1024 or m for 1048576";
    const char *p = v->text;
    int64_t min = 1, max;
    if (*p != '-' && !one_nodes(&p, &min)) /* -N is 1-N */
        return form;
    max = min;
    if (*p == '-') {
        p++;
        if (!one_nodes(&p, &max))
            return form;
        if (max < min)
            return "the largest number of nodes is smaller than the smallest";
    }
    if (p[strspn(p, " \t")])
        return form;
    v->job->min_nodes = min;
    /* 0 nodes is what sbatch sends to leave the number open */
    v->job->max_nodes = max ? max : SBATCH_UNSET;
    return NULL;
}

const char *sbatch_value_memory(const struct sbatch_value *v)
{
    static const char form[] = "not a size: give megabytes, or a number with K, M, G or T";
    static const int64_t max_mb = (int64_t)1 << 50; /* far beyond any machine, far below overflow */
    const char *p = v->text;
    int64_t n;
    if (!sbatch_number(&p, INT64_MAX >> 20, &n))
        return form;
    switch (*p) {
    case '\0':
        break;
    case 'k':
    case 'K':
        n = (n + 1023) / 1024;
        p++;
        break;
    case 'm':
    case 'M':
        p++;
        break;
    case 'g':
    case 'G':
        n <<= 10;
        p++;
        break;
    case 't':
    case 'T':
        n <<= 20;
        p++;
        break;
    default:
        return form;
    }
    /* 1GB is 1G, but a plain B has no meaning */
    if (p > v->text && (p[0] == 'b' || p[0] == 'B') && (p[-1] < '0' || p[-1] > '9'))
        p++;
    if (*p)
        return form;
    if (n > max_mb)
        return "more memory than there can be";
    *(int64_t *)v->target = n;
    return NULL;
}

/* digits only: no sign and no blank inside a time */
static bool part(const char **p, int64_t *ret)
{
    return **p >= '0' && **p <= '9' && sbatch_number(p, UINT32_MAX, ret);
}

const char *sbatch_duration(const char *text, int64_t *ret)
{
    static const char form[] =
        "not a time: give minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s or UNLIMITED";
    int64_t field[3] = {0}, days = 0, seconds;
    const char *p = text;
    size_t n = 0;
    if (strcasecmp(p, "UNLIMITED") == 0 || strcasecmp(p, "INFINITE") == 0 || strcmp(p, "-1") == 0) {
        *ret = SBATCH_INFINITE;
        return NULL;
    }
    bool with_days = strchr(p, '-');
    if (with_days && (!part(&p, &days) || *p++ != '-'))
        return form;
    if (*p || !with_days) { /* "2-" is two days */
        do {
            if (n == 3 || !part(&p, &field[n++]))
                return form;
        } while (*p == ':' && p++);
    }
    if (*p)
        return form;
    if (with_days || n == 3)
        seconds = field[0] * 3600 + field[1] * 60 + field[2];
    else
        seconds = field[0] * 60 + field[1];
    seconds += days * 86400;
    if (seconds > INT32_MAX) /* Slurm's own arithmetic ends there */
        return "more than 68 years: say UNLIMITED";
    *ret = seconds;
    return NULL;
}

const char *sbatch_value_time_limit(const struct sbatch_value *v)
{
    int64_t seconds;
    const char *wrong = sbatch_duration(v->text, &seconds);
    if (wrong)
        return wrong;
    *(int64_t *)v->target =
        seconds == 0 || seconds == SBATCH_INFINITE ? SBATCH_INFINITE : (seconds + 59) / 60;
    return NULL;
}

const char *sbatch_value_seconds(const struct sbatch_value *v)
{
    return sbatch_duration(v->text, v->target);
}
