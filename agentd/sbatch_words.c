/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values that are one word of a few, or a list of such */
#include "agentd/sbatch_impl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

bool sbatch_find_word(const char *p, size_t n, const struct sbatch_word *words, size_t count,
                      int64_t *ret)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i].word) == n && strncasecmp(words[i].word, p, n) == 0) {
            *ret = words[i].value;
            return true;
        }
    return false;
}

#define ONE_OF(v, words, otherwise) one_of(v, words, ARRAY_LEN(words), otherwise)

static const char *one_of(const struct sbatch_value *v, const struct sbatch_word *words, size_t n,
                          const char *otherwise)
{
    return sbatch_find_word(v->text, strlen(v->text), words, n, v->target) ? NULL : otherwise;
}

const char *sbatch_value_exclusive(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {
        {"", SBATCH_SHARED_NONE},
        {"exclusive", SBATCH_SHARED_NONE},
        {"user", SBATCH_SHARED_USER},
        {"mcs", SBATCH_SHARED_MCS},
        {"oversubscribe", SBATCH_SHARED_OK},
    };
    return ONE_OF(v, words, "give nothing, user or mcs");
}

const char *sbatch_value_no_kill(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {
        {"", 1}, {"set", 1}, {"off", SBATCH_UNSET}, {"no", SBATCH_UNSET}};
    return ONE_OF(v, words, "give nothing, or off");
}

const char *sbatch_value_invalid_dep(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {{"yes", 1}, {"no", 0}};
    return ONE_OF(v, words, "give yes or no");
}

const char *sbatch_value_gres_flags(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {{"disable-binding", SBATCH_GRES_DISABLE_BIND},
                                               {"enforce-binding", SBATCH_GRES_ENFORCE_BIND}};
    int64_t *target = v->target, flag;
    if (!sbatch_find_word(v->text, strlen(v->text), words, ARRAY_LEN(words), &flag))
        return "give disable-binding or enforce-binding";
    int64_t had = *target == SBATCH_UNSET ? 0 : *target;
    *target = (had & ~(SBATCH_GRES_DISABLE_BIND | SBATCH_GRES_ENFORCE_BIND)) | flag;
    return NULL;
}

/* Its first letter is enough. */
const char *sbatch_value_open_mode(const struct sbatch_value *v)
{
    char c = *v->text;
    if (c != 'a' && c != 'A' && c != 't' && c != 'T')
        return "give append or truncate";
    *(int64_t *)v->target = c == 'a' || c == 'A' ? SBATCH_APPEND : SBATCH_TRUNCATE;
    return NULL;
}

/* Slurm has but one such flag, and looks for it anywhere. */
const char *sbatch_value_power(const struct sbatch_value *v)
{
    if (!strcasestr(v->text, "level"))
        return "give level";
    *(int64_t *)v->target = 1;
    return NULL;
}

/* Looked for anywhere, as sbatch does; none and all beat the rest. */
const char *sbatch_value_profile(const struct sbatch_value *v)
{
    static const struct sbatch_word alone[] = {{"none", SBATCH_PROFILE_NONE},
                                               {"all", SBATCH_PROFILE_ALL}};
    static const struct sbatch_word words[] = {{"energy", SBATCH_PROFILE_ENERGY},
                                               {"task", SBATCH_PROFILE_TASK},
                                               {"lustre", SBATCH_PROFILE_LUSTRE},
                                               {"filesystem", SBATCH_PROFILE_LUSTRE},
                                               {"network", SBATCH_PROFILE_NETWORK}};
    int64_t bits = 0;
    for (size_t i = 0; !bits && i < ARRAY_LEN(alone); i++)
        if (strcasestr(v->text, alone[i].word))
            bits = alone[i].value;
    for (size_t i = 0;
         bits != SBATCH_PROFILE_NONE && bits != SBATCH_PROFILE_ALL && i < ARRAY_LEN(words); i++)
        if (strcasestr(v->text, words[i].word))
            bits |= words[i].value;
    if (!bits)
        return "give none, all, or energy, task, lustre, network with commas";
    *(int64_t *)v->target = bits;
    return NULL;
}

/* [SECONDS][S|L]: what is said of how to get it is obsolete, and not looked at. */
const char *sbatch_value_get_user_env(const struct sbatch_value *v)
{
    char *end;
    long n = strtol(v->text, &end, 10);
    if (n < 0 || (*end && !strchr("sSlL", *end)))
        return "give nothing, or seconds with S or L behind";
    *(int64_t *)v->target = 1;
    return NULL;
}

const char *sbatch_value_propagate(const struct sbatch_value *v)
{
    enum { ALONE = 2 }; /* the first ones are no parts of lists */
    static const struct sbatch_word words[] = {
        {"ALL", 0},   {"NONE", 0},    {"AS", 0},     {"CORE", 0},  {"CPU", 0}, {"DATA", 0},
        {"FSIZE", 0}, {"MEMLOCK", 0}, {"NOFILE", 0}, {"NPROC", 0}, {"RSS", 0}, {"STACK", 0}};
    int64_t unused;
    for (const char *p = v->text; *p;) {
        size_t n = strcspn(p, ", \t");
        bool prefixed = strncmp(p, "RLIMIT_", 7) == 0 && n > 7;
        bool whole = n == strlen(v->text);
        if (n && !sbatch_find_word(prefixed ? p + 7 : p, prefixed ? n - 7 : n,
                                   whole ? words : words + ALONE,
                                   whole ? ARRAY_LEN(words) : ARRAY_LEN(words) - ALONE, &unused))
            return "not limits: give ALL, NONE, or AS, CORE, CPU, DATA, FSIZE, MEMLOCK, NOFILE, "
                   "NPROC, RSS, STACK with commas";
        p += n + (p[n] != '\0');
    }
    *(const char **)v->target = *v->text ? v->text : "ALL";
    return NULL;
}

/* ---- --acctg-freq ---- */

const char *sbatch_value_acctg_freq(const struct sbatch_value *v)
{
    static const char *const kinds[] = {"task=", "energy=", "network=", "filesystem="};
    for (const char *p = v->text; *p;) {
        const char *number = p;
        size_t n = strcspn(p, ",");
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
            if (strncasecmp(p, kinds[i], strlen(kinds[i])) == 0)
                number = p + strlen(kinds[i]);
        if (n && (*number < '0' || *number > '9'))
            return "not samples: give seconds, or task=N, energy=N, network=N, filesystem=N with "
                   "commas";
        p += n + (p[n] == ',');
    }
    *(const char **)v->target = v->text;
    return NULL;
}

/* ---- --signal ---- */

static bool signal_number(const char *p, size_t n, int64_t *ret)
{
    static const struct sbatch_word names[] = {
        {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ABRT", SIGABRT},
        {"KILL", SIGKILL}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
        {"USR2", SIGUSR2}, {"URG", SIGURG},   {"CONT", SIGCONT}, {"STOP", SIGSTOP},
        {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"XCPU", SIGXCPU}};
    const char *end = p;
    if (sbatch_number(&end, UINT16_MAX, ret))
        return end == p + n && *ret > 0;
    if (n > 3 && strncasecmp(p, "SIG", 3) == 0) {
        p += 3;
        n -= 3;
    }
    return sbatch_find_word(p, n, names, ARRAY_LEN(names), ret);
}

/* R and B in either order, once each: B signals the batch shell alone, R lets others' reservations
 * run on. */
const char *sbatch_value_signal(const struct sbatch_value *v)
{
    static const char form[] = "not a signal: give [R][B][:]NUMBER or NAME, with @SECONDS";
    enum { DEFAULT_S = 60 };
    int64_t flags = v->job->warn_flags == SBATCH_UNSET ? 0 : v->job->warn_flags, number,
            seconds = DEFAULT_S;
    const char *p = v->text;
    for (int i = 0; i < 3; i++) {
        /* as sbatch reads them: R, B, R */
        char letter = i == 1 ? 'b' : 'r';
        if ((*p | 0x20) != letter)
            continue;
        flags |= letter == 'b' ? SBATCH_WARN_BATCH : SBATCH_WARN_RESERVATION;
        p++;
    }
    if (*p == ':')
        p++;
    const char *at = strchrnul(p, '@');
    if (!signal_number(p, (size_t)(at - p), &number))
        return form;
    if (*at) {
        at++;
        if (!sbatch_number(&at, UINT16_MAX, &seconds) || *at)
            return form;
    }
    v->job->warn_flags = flags;
    v->job->warn_signal = number;
    v->job->warn_time = seconds;
    return NULL;
}
