/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/soak_look.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/str.h"

static const struct {
    const char *word, *unit, *help;
    double most;
} rows[] = {
#define FIGURE(word, unit, help, most) {#word, unit, help, most},
    SOAK_FIGURE_ROWS
#undef FIGURE
};

/* ---- looking ---- */

static int entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* Of one process, if it is the monitor or a child of its. */
static void add_process(const char *pid, int monitor, struct soak_sample *out)
{
    char path[300], line[256], name[64] = "";
    long kib = 0, threads = 0;
    int parent = 0, self = 0;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    AUTO(fclose) FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "Name: %63s", name);
        sscanf(line, "Pid: %d", &self);
        sscanf(line, "PPid: %d", &parent);
        sscanf(line, "VmRSS: %ld", &kib);
        sscanf(line, "Threads: %ld", &threads);
    }
    if (parent != monitor && self != monitor)
        return;
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    out->f[SOAK_fds] += entries(path);
    out->f[SOAK_all] += (double)kib;
    out->f[SOAK_threads] += (double)threads;
    out->f[SOAK_processes]++;
    if (strcmp(name, "agent-broker") == 0) {
        out->f[SOAK_broker] = (double)kib;
        out->broker_pid = self;
    }
}

static double kib_in(const char *dir)
{
    double kib = 0;
    struct stat st;
    char path[600];
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            kib += (double)st.st_size / 1024;
    }
    if (d)
        closedir(d);
    return kib;
}

void soak_look(int monitor, const char *state_dir, struct soak_sample *out)
{
    DIR *d = opendir("/proc");
    *out = (struct soak_sample){0};
    for (const struct dirent *e; d && (e = readdir(d));) {
        int64_t pid;
        if (str_to_i64(e->d_name, 1, INT32_MAX, &pid))
            add_process(e->d_name, monitor, out);
    }
    if (d)
        closedir(d);
    out->f[SOAK_journal] = kib_in(state_dir);
}

/* ---- telling ---- */

void soak_print(const struct soak_sample *s)
{
    if (!s)
        printf("%8s", "s");
    else
        printf("%8.0f", s->s);
    for (int i = 0; i < SOAK_FIGURES; i++)
        if (!s)
            printf(" %10s%s%s", rows[i].word, *rows[i].unit ? " " : "", rows[i].unit);
        else
            printf(" %*.*f", (int)(10 + (*rows[i].unit ? 1 + strlen(rows[i].unit) : 0)),
                   i == SOAK_p99 ? 2 : 0, s->f[i]);
    printf("\n");
    fflush(stdout);
}

/* How much the straight line nearest to the samples of the second half rises over it. */
static double growth(const struct soak_sample *v, int n, enum soak_figure f)
{
    int from = n / 2, m = n - from;
    double x = 0, y = 0, xy = 0, xx = 0;
    for (int i = from; i < n; i++) {
        x += v[i].s / m;
        y += v[i].f[f] / m;
    }
    for (int i = from; i < n; i++) {
        xy += (v[i].s - x) * (v[i].f[f] - y);
        xx += (v[i].s - x) * (v[i].s - x);
    }
    return xx > 0 ? xy / xx * (v[n - 1].s - v[from].s) : 0;
}

bool soak_tell(const struct soak_sample *v, int n, enum soak_figure f)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double least = v[0].f[f], most = least;
    for (int i = 1; i < n; i++) {
        least = v[i].f[f] < least ? v[i].f[f] : least;
        most = v[i].f[f] > most ? v[i].f[f] : most;
    }
    printf("%-9s ", rows[f].word);
    for (int i = 0; i < n; i++)
        printf("%s", bars[most > least ? (int)((v[i].f[f] - least) / (most - least) * 7.99) : 0]);
    double grown = growth(v, n, f);
    bool good = rows[f].most == 0 || grown <= rows[f].most;
    printf(" %.*f to %.*f %s, %+.1f", f == SOAK_p99 ? 2 : 0, least, f == SOAK_p99 ? 2 : 0, most,
           rows[f].unit, grown);
    if (rows[f].most != 0)
        printf(", at most %+.0f%s", rows[f].most, good ? "" : ": FAILED");
    printf("   (%s)\n", rows[f].help);
    return good;
}
