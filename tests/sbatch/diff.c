/* SPDX-License-Identifier: GPL-3.0-or-later */
/* diff.c: is what the agent makes of sbatch's command lines what sbatch makes of them?
 *
 *   diff cases FILE DOCUMENTED       each case held, by both: are all facts about the two jobs the
 * same? diff refusals FILE DOCUMENTED    does the agent refuse what sbatch refuses, and say what is
 * wrong?
 *
 * As root, in a sandbox (tests/sbatch/run.sh makes it).  NAME in $ONLY: that case alone, with all
 * that was said.
 */
#include <err.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "common/str.h"
#include "tests/sbatch/job.h"
#include "tests/sbatch/submit.h"

enum { MAX_CASES = 2000, MAX_DOCUMENTED = 200, THREADS = 4, LEEWAY_S = 45, SHOWN = 160 };

struct documented {
    char *key, *name, *reason;
};

struct pair {
    struct test_case *c;
    struct result sbatch, agent;
    char *dir;
    bool left_out;
};

static struct test_case cases[MAX_CASES];
static struct pair pairs[MAX_CASES];
static size_t case_count;
static struct documented documented[MAX_DOCUMENTED];
static size_t documented_count;
static struct place place;
static const char *sandbox;
static atomic_size_t next_case;

/* ---- documented differences ---- */

/* KEY CASE REASON...; both are patterns. */
static void read_documented(const char *path)
{
    char *line = NULL;
    size_t size = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        err(2, "%s", path);
    while (getline(&line, &size, f) >= 0) {
        char key[200], name[200], reason[400];
        if (line[0] == '#' || sscanf(line, "%199s %199s %399[^\n]", key, name, reason) != 3)
            continue;
        if (documented_count == MAX_DOCUMENTED)
            errx(2, "%s is too long", path);
        documented[documented_count++] =
            (struct documented){strdup(key), strdup(name), strdup(reason)};
    }
    free(line);
    fclose(f);
}

static const struct documented *find_documented(const char *key, const char *name)
{
    for (size_t i = 0; i < documented_count; i++)
        if (fnmatch(documented[i].key, key, FNM_EXTMATCH) == 0 &&
            fnmatch(documented[i].name, name, FNM_EXTMATCH) == 0)
            return &documented[i];
    return NULL;
}

/* ---- running ---- */

static bool is_for_this_version(const struct test_case *c)
{
    for (size_t i = 0; i < c->n; i++) {
        int major = 0, minor = 0;
        const char *since = case_directive(c->words[i], "since"),
                   *before = case_directive(c->words[i], "before");
        if (sscanf(since ? since : before ? before : "", "%d.%d", &major, &minor) != 2)
            continue;
        if ((SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(major, minor, 0)) == (since != NULL))
            return false;
    }
    return true;
}

static void *run_some(void *arg)
{
    char *dir = arg;
    for (;;) {
        size_t i = atomic_fetch_add(&next_case, 1);
        if (i >= case_count)
            return NULL;
        struct pair *p = &pairs[i];
        p->c = &cases[i];
        p->dir = dir;
        p->left_out = !is_for_this_version(p->c) ||
                      (getenv("ONLY") && fnmatch(getenv("ONLY"), p->c->name, 0) != 0);
        if (p->left_out)
            continue;
        submit_case(&place, p->c, dir, false, &p->sbatch);
        submit_case(&place, p->c, dir, true, &p->agent);
    }
}

static void run_all(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        char *dir = NULL;
        if (asprintf(&dir, "%s/cases/%d", sandbox, i) < 0)
            errx(2, "no memory");
        pthread_create(&threads[i], NULL, run_some, dir);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* A job that waits for ever, for dependencies. */
static void make_waiting_job(void)
{
    static char id[16], wait_dir[4096];
    static char name[] = "waiting", wrap[] = "--wrap=true", none[] = "@none";
    struct test_case c = {.name = name, .words = {none, wrap}, .n = 2};
    struct result r;
    snprintf(wait_dir, sizeof wait_dir, "%s/cases/0", sandbox);
    submit_case(&place, &c, wait_dir, false, &r);
    if (!r.job_id)
        errx(2, "sbatch does not work here: %s", r.err);
    snprintf(id, sizeof id, "%u", r.job_id);
    place.job_id = id;
    result_done(&r);
}

/* ---- comparing ---- */

struct verdict {
    size_t differing, documented;
};

static void say(struct verdict *v, const struct pair *p, const char *key, const char *theirs,
                const char *ours)
{
    const struct documented *d = find_documented(key, p->c->name);
    if (d) {
        v->documented += strcmp(d->name, "*") != 0 && d->name[0] != '!';
        return;
    }
    if (v->differing++ == 0)
        printf("DIFFERS %s\n", p->c->line);
    printf("  %s: sbatch %.*s, agent %.*s\n", key, SHOWN, theirs ? theirs : "-", SHOWN,
           ours ? ours : "-");
}

/* A time that the case has in full is the same at any time of the run. */
static bool is_absolute(const struct pair *p, const char *key)
{
    return fnmatch("*.@(begin_time|deadline|eligible_time)", key, FNM_EXTMATCH) == 0 &&
           fnmatch("*--@(begin|deadline)=20[0-9][0-9]-*", p->c->line, FNM_EXTMATCH) == 0;
}

static bool same_value(const struct pair *p, const char *key, const char *a, const char *b)
{
    if (a[0] == '@' && b[0] == '@' && a[1] != '0' && b[1] != '0' && !is_absolute(p, key))
        return llabs(atoll(a + 1) - atoll(b + 1)) <= LEEWAY_S;
    return strcmp(a, b) == 0;
}

/* Our mark at the end of the line that was typed. */
static void without_tail(char *value)
{
    char *tail = strstr(value, " #slurm-agent=");
    if (tail)
        strcpy(tail, "\"");
}

static void compare_facts(struct verdict *v, const struct pair *p, struct facts *theirs,
                          struct facts *ours)
{
    for (size_t i = 0, k = 0; i < theirs->n || k < ours->n;) {
        char *a = i < theirs->n ? theirs->line[i] : NULL, *b = k < ours->n ? ours->line[k] : NULL;
        size_t na = a ? strcspn(a, "=") : 0, nb = b ? strcspn(b, "=") : 0;
        int d = !a ? 1 : !b ? -1 : strncmp(a, b, na > nb ? na : nb);
        if (a && b && na == nb && strncmp(a, b, na) == 0)
            d = 0;
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)(d > 0 ? nb : na), str_or(d > 0 ? b : a, ""));
        if (d == 0) {
            if (fnmatch("*.submit_line", key, 0) == 0)
                without_tail(b);
            if (!same_value(p, key, a + na + 1, b + nb + 1))
                say(v, p, key, a + na + 1, b + nb + 1);
        } else {
            say(v, p, key, d < 0 ? a + na + 1 : NULL, d > 0 ? b + nb + 1 : NULL);
        }
        i += d <= 0;
        k += d >= 0;
    }
}

/* Job ids and times are what they are. */
static char *normal(const char *s)
{
    char *out = strdup(s), *to = out;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') {
            *to++ = *s;
            continue;
        }
        size_t n = strspn(s, "0123456789:T-");
        *to++ = '#';
        s += n - 1;
    }
    *to = '\0';
    return out;
}

static void compare_text(struct verdict *v, const struct pair *p, const char *key, const char *a,
                         const char *b)
{
    char *x = normal(a), *y = normal(b);
    if (strcmp(x, y) != 0)
        say(v, p, key, a, b);
    free(x);
    free(y);
}

/* Nothing would differ from nothing. */
static bool has_job(const struct facts *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (strncmp(f->line[i], "job.0.", 6) == 0)
            return true;
    return false;
}

static void compare(struct verdict *v, const struct pair *p, const char *spy, const char *state)
{
    char a[16], b[16];
    snprintf(a, sizeof a, "%d", p->sbatch.status);
    snprintf(b, sizeof b, "%d", p->agent.status);
    if (p->sbatch.status != p->agent.status || !p->sbatch.job_id != !p->agent.job_id) {
        say(v, p, "status", a, b);
        printf("  sbatch said: %s  agent said: %s", p->sbatch.err, p->agent.err);
        return;
    }
    compare_text(v, p, "stdout", p->sbatch.out, p->agent.out);
    if (case_has(p->c, "stderr") || p->sbatch.status == 0)
        compare_text(v, p, "stderr", p->sbatch.err, p->agent.err);
    if (!p->sbatch.job_id)
        return;
    struct facts theirs, ours;
    job_facts(p->sbatch.job_id, spy, state, &theirs);
    job_facts(p->agent.job_id, spy, state, &ours);
    if (!has_job(&theirs) || !has_job(&ours))
        say(v, p, "job", has_job(&theirs) ? "is loaded" : "is not in the table",
            has_job(&ours) ? "is loaded" : "is not in the table");
    compare_facts(v, p, &theirs, &ours);
    facts_done(&theirs);
    facts_done(&ours);
}

static int judge_cases(void)
{
    size_t identical = 0, with_documented = 0, differing = 0, n = 0, skipped = 0;
    char spy[4096], state[4096];
    snprintf(spy, sizeof spy, "%s/spy", sandbox);
    snprintf(state, sizeof state, "%s/state/slurmctld", sandbox);
    jobs_load();
    for (size_t i = 0; i < case_count; i++) {
        struct pair *p = &pairs[i];
        struct verdict v = {0};
        if (p->left_out)
            continue;
        if (p->sbatch.status && strstr(p->sbatch.err, "unrecognized option")) {
            printf("skipped: %s: this sbatch does not have the option\n", p->c->name);
            skipped++;
            continue;
        }
        n++;
        compare(&v, p, spy, state);
        if (p->sbatch.status && !p->sbatch.job_id && !case_has(p->c, "nojob") && !v.differing) {
            printf("DIFFERS %s\n  sbatch refuses it: %s", p->c->line, p->sbatch.err);
            v.differing++;
        }
        if (getenv("ONLY"))
            printf("%s: sbatch %u: %s%s  agent %u: %s%s", p->c->name, p->sbatch.job_id,
                   p->sbatch.out, p->sbatch.err, p->agent.job_id, p->agent.out, p->agent.err);
        differing += v.differing != 0;
        with_documented += !v.differing && v.documented;
        identical += !v.differing && !v.documented;
    }
    if (skipped)
        printf("skipped %zu\n", skipped);
    printf("cases %zu, identical %zu, documented %zu, differing %zu\n", n, identical,
           with_documented, differing);
    return differing || n == 0;
}

/* ---- refusals ---- */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c | 0x20) == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Are they there, and not as a part of a longer word? */
static bool says(const char *text, const char *words)
{
    size_t n = strlen(words);
    for (const char *at = text; n && (at = strstr(at, words)); at++)
        if (!(is_word(words[0]) && at > text && is_word(at[-1])) &&
            !(is_word(words[n - 1]) && is_word(at[n])))
            return true;
    return n == 0;
}

/* Does the message name the option and its value? */
static bool names_it(const struct test_case *c, const char *said, char *missing, size_t size)
{
    bool told = false;
    for (size_t i = 0; i < c->n; i++) {
        const char *must = case_directive(c->words[i], "says");
        if (!must)
            continue;
        told = true;
        if (!says(said, must)) {
            snprintf(missing, size, "%s", must);
            return false;
        }
    }
    for (size_t i = 0; i < c->n && !told; i++) {
        const char *word = c->words[i], *equals = strchr(word, '=');
        if (strncmp(word, "--", 2) != 0 || !equals)
            continue;
        snprintf(missing, size, "%.*s", (int)(equals - word), word);
        if (!says(said, missing))
            return false;
        snprintf(missing, size, "%.60s", equals + 1);
        if (!says(said, missing))
            return false;
    }
    return true;
}

static int judge_refusals(void)
{
    size_t refused = 0, with_documented = 0, accepted = 0, unnamed = 0, n = 0;
    for (size_t i = 0; i < case_count; i++) {
        struct pair *p = &pairs[i];
        char missing[200];
        if (p->left_out)
            continue;
        n++;
        if (p->sbatch.status == 0) {
            bool meant = find_documented("stricter", p->c->name) && p->agent.status &&
                         names_it(p->c, p->agent.err, missing, sizeof missing);
            with_documented += meant;
            accepted += !meant;
            if (!meant)
                printf("SBATCH TAKES %s\n  agent said: %s\n", p->c->line, p->agent.err);
        } else if (p->agent.status == 0 || p->agent.job_id) {
            const struct documented *d = find_documented("refusal", p->c->name);
            with_documented += d != NULL;
            accepted += !d;
            if (!d)
                printf("AGENT TAKES %s\n  sbatch said: %s", p->c->line, p->sbatch.err);
        } else if (p->agent.status != p->sbatch.status && !find_documented("status", p->c->name)) {
            printf("EXITS %s\n  sbatch %d: %s  agent %d: %s", p->c->line, p->sbatch.status,
                   p->sbatch.err, p->agent.status, p->agent.err);
            unnamed++;
        } else if (!names_it(p->c, p->agent.err, missing, sizeof missing)) {
            printf("NOT SAID %s\n  '%s' is not in: %s  sbatch said: %s", p->c->line, missing,
                   p->agent.err, p->sbatch.err);
            unnamed++;
        } else {
            refused++;
        }
        if (getenv("ONLY"))
            printf("%s: sbatch: %s  agent: %s", p->c->name, p->sbatch.err, p->agent.err);
    }
    printf("refusals %zu, refused %zu, documented %zu, accepted %zu, unnamed %zu\n", n, refused,
           with_documented, accepted, unnamed);
    return accepted || unnamed || n == 0;
}

static const char *need(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        errx(2, "%s is not set: tests/sbatch/run.sh runs this", name);
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "cases") != 0 && strcmp(argv[1], "refusals") != 0))
        errx(2, "usage: diff cases|refusals FILE DOCUMENTED");
    sandbox = need("SBATCH_SANDBOX");
    place = (struct place){
        .user = "alice",
        .slurm_conf = need("SLURM_CONF"),
        .agent_conf = need("SLURM_AGENT_CONF"),
        .sbatch_dir = need("SBATCH_REAL"),
        .agent_dir = need("SBATCH_AGENT"),
        .spy = need("SBATCH_SPY"),
    };
    case_count = cases_read(argv[2], cases, MAX_CASES);
    read_documented(argv[3]);
    make_waiting_job();
    run_all();
    return strcmp(argv[1], "cases") == 0 ? judge_cases() : judge_refusals();
}
