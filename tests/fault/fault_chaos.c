/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What breaks, and how it is repaired: parts of the sandbox by their own scripts, the agent's
 * processes by its monitor. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

enum { PIDS = 128, STOPPED = 32, REPAIR_MS = 300 };

/* ---- who there is ---- */

enum who { BROKER, CONTROL, FILE_WORKER, WATCHER, AUTH, MONITOR, SLURMCTLD, MUNGED, CLIENT, WHOS };

static const struct target {
    const char *name, *part; /* part: of the sandbox; else a child of the monitor */
    const char *program, *role;
    unsigned kill, stop; /* weights */
    int stop_ms;         /* at most */
} targets[WHOS] = {
    [BROKER] = {"broker", NULL, "agent-broker", NULL, 5, 2, 2000},
    [CONTROL] = {"control worker", NULL, "agent-worker", "control", 11, 3, 3000},
    [FILE_WORKER] = {"file worker", NULL, "agent-worker", "file", 4, 1, 2000},
    [WATCHER] = {"watcher", NULL, "agent-worker", "watch", 4, 1, 3000},
    [AUTH] = {"auth", NULL, "agent-auth", NULL, 2, 1, 2000},
    [MONITOR] = {"monitor", "agentd", NULL, NULL, 1, 1, 1000},
    [SLURMCTLD] = {"slurmctld", "slurmctld", NULL, NULL, 2, 3, 5000},
    [MUNGED] = {"munged", "munged", NULL, NULL, 2, 1, 2000},
    [CLIENT] = {"client", NULL, NULL, NULL, 8, 1, 2000},
};

static size_t read_file(pid_t pid, const char *what, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    if (f)
        fclose(f);
    out[n] = '\0';
    return n;
}

/* '\0' for one that is not there. */
static char state_of(pid_t pid, pid_t *ret_parent)
{
    char stat[512], state = '\0';
    int parent = 0;
    if (read_file(pid, "stat", stat, sizeof stat) && strrchr(stat, ')'))
        sscanf(strrchr(stat, ')') + 1, " %c %d", &state, &parent);
    if (ret_parent)
        *ret_parent = parent;
    return state == 'Z' || state == 'X' ? '\0' : state;
}

static pid_t part_pid(const char *part)
{
    char path[4096];
    int pid = 0;
    snprintf(path, sizeof path, "%s/run/%s.pid", fault->dir, part);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &pid) != 1)
        pid = 0;
    if (f)
        fclose(f);
    return pid > 0 && state_of(pid, NULL) ? pid : 0;
}

static bool is_target(pid_t pid, const struct target *t)
{
    char text[1024];
    size_t n = read_file(pid, "comm", text, sizeof text);
    if (!n || strncmp(text, t->program, strlen(t->program)) != 0)
        return false;
    n = read_file(pid, "cmdline", text, sizeof text);
    for (const char *p = text; t->role && p < text + n; p += strlen(p) + 1)
        if (strcmp(p, "--role") == 0 && p + 7 < text + n)
            return strcmp(p + 7, t->role) == 0;
    return !t->role;
}

static size_t find_pids(enum who who, const pid_t clients[FAULT_CLIENTS], pid_t out[PIDS])
{
    const struct target *t = &targets[who];
    pid_t monitor = part_pid("agentd"), parent;
    size_t n = 0;
    if (who == CLIENT) {
        for (int i = 0; i < FAULT_CLIENTS; i++)
            if (clients[i] > 0)
                out[n++] = clients[i];
        return n;
    }
    if (t->part) {
        out[0] = part_pid(t->part);
        return out[0] ? 1 : 0;
    }
    DIR *d = opendir("/proc");
    for (const struct dirent *e; d && monitor && n < PIDS && (e = readdir(d));) {
        pid_t pid = atoi(e->d_name);
        if (pid > 0 && state_of(pid, &parent) && parent == monitor && is_target(pid, t))
            out[n++] = pid;
    }
    if (d)
        closedir(d);
    return n;
}

/* ---- breaking ---- */

static struct {
    pid_t pid;
    int64_t until_ms;
    bool kill; /* then it is killed, else it goes on */
} stopped[STOPPED];

static uint64_t dice;
static int64_t next_ms, mean_ms;
static uint32_t by_target[WHOS][2];

static uint32_t roll(uint32_t below)
{
    return fault_chance(&dice, below);
}

static void stop_for(pid_t pid, int64_t ms, bool then_kill)
{
    for (size_t i = 0; i < STOPPED; i++)
        if (!stopped[i].pid) {
            stopped[i].pid = pid;
            stopped[i].until_ms = fault_ms() + ms;
            stopped[i].kill = then_kill;
            return;
        }
    kill(pid, SIGCONT);
}

static void end_stops(void)
{
    for (size_t i = 0; i < STOPPED; i++) {
        if (!stopped[i].pid || (fault_ms() < stopped[i].until_ms && !fault->calm))
            continue;
        kill(stopped[i].pid, stopped[i].kill ? SIGKILL : SIGCONT);
        fault->kills += stopped[i].kill;
        stopped[i].pid = 0;
    }
}

/* Those that stopped themselves at a fail point. */
static void end_points(void)
{
    static uint32_t counted;
    uint32_t killed = 0;
    for (int i = 0; i < FAILPOINTS_COUNT; i++) {
        struct failpoint_state *s = &fault_plan->at[i];
        pid_t pid = s->pid;
        killed += s->killed;
        if (!pid)
            continue;
        bool known = false;
        for (size_t k = 0; k < STOPPED; k++)
            known = known || stopped[k].pid == pid;
        if (!state_of(pid, NULL))
            s->pid = 0;
        else if (!known && state_of(pid, NULL) == 'T')
            stop_for(pid, 300 + roll(3000), roll(2) == 0);
    }
    fault->kills += killed - counted;
    counted = killed;
}

static void hit(enum who who, bool kills, const pid_t clients[FAULT_CLIENTS])
{
    pid_t pids[PIDS];
    size_t n = find_pids(who, clients, pids);
    if (!n)
        return;
    pid_t pid = pids[roll((uint32_t)n)];
    by_target[who][!kills]++;
    if (kills) {
        kill(pid, SIGKILL);
        fault->kills++;
        fault->slurmctld_kills += who == SLURMCTLD;
    } else if (kill(pid, SIGSTOP) == 0) {
        fault->stops++;
        stop_for(pid, 200 + roll((uint32_t)targets[who].stop_ms), false);
    }
}

static bool may_hit(enum who who)
{
    return who != SLURMCTLD || !getenv("FAULT_SPARE_SLURMCTLD");
}

static void break_something(const pid_t clients[FAULT_CLIENTS])
{
    uint32_t all = 0;
    for (int i = 0; i < WHOS; i++)
        all += targets[i].kill + targets[i].stop;
    uint32_t at = roll(all);
    for (enum who i = 0; i < WHOS; i++) {
        const uint32_t weights[] = {targets[i].kill, targets[i].stop};
        for (int k = 0; k < 2; k++) {
            if (at < weights[k]) {
                bool spared = k == 0 && !may_hit(i); /* stopped is not killed */
                hit(i, k == 0 && !spared, clients);
                return;
            }
            at -= weights[k];
        }
    }
}

/* ---- repairing ---- */

static struct {
    const char *part;
    pid_t script;
    int64_t dead_ms;
} repairs[] = {{.part = "munged"}, {.part = "slurmctld"}, {.part = "agentd"}};

static pid_t start_part(const char *part)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("bash", "bash", "tests/sandbox/sandbox.sh", "start", fault->dir, part, NULL);
        _exit(127);
    }
    return pid;
}

static void repair(void)
{
    for (size_t i = 0; i < ARRAY_LEN(repairs); i++) {
        if (repairs[i].script && waitpid(repairs[i].script, NULL, WNOHANG) == repairs[i].script)
            repairs[i].script = 0;
        if (part_pid(repairs[i].part)) {
            repairs[i].dead_ms = 0;
            continue;
        }
        if (!repairs[i].dead_ms)
            repairs[i].dead_ms = fault_ms();
        if (!repairs[i].script && fault_ms() - repairs[i].dead_ms >= REPAIR_MS)
            repairs[i].script = start_part(repairs[i].part);
    }
}

static void raise_clients(pid_t clients[FAULT_CLIENTS])
{
    for (int i = 0; i < FAULT_CLIENTS; i++) {
        int status;
        if (clients[i] <= 0 || waitpid(clients[i], &status, WNOHANG) != clients[i])
            continue;
        clients[i] = 0;
        if (WIFSIGNALED(status))
            clients[i] = fault_client_start(i);
    }
}

/* ---- the whole ---- */

void fault_chaos_begin(void)
{
    const char *kills = getenv("KILLS");
    int64_t wanted = kills && *kills ? atoll(kills) : 60, span = fault->last_ms - fault->begun_ms;
    dice = fault->seed;
    mean_ms = span * 10 / (wanted * 19); /* about half of them stop something */
    if (mean_ms < 50)
        mean_ms = 50;
    next_ms = fault->begun_ms + 1000;
    /* Each is passed some hundred times at least: so often that each has a turn. */
    static const uint32_t share[] = {130, 110, 110, 110, 110, 70, 70, 110, 110, 110};
    _Static_assert(ARRAY_LEN(share) == FAILPOINTS_COUNT, "one for each fail point");
    uint32_t scale = fault->requests / 1000 ? fault->requests / 1000 : 1;
    if (scale > 4)
        scale = 4;
    for (int i = 0; i < FAILPOINTS_COUNT; i++) {
        fault_plan->at[i].act = FAILPOINT_BOTH;
        fault_plan->at[i].every = (share[i] + roll(60)) * scale;
    }
}

void fault_chaos_step(pid_t clients[FAULT_CLIENTS])
{
    if (fault->calm)
        for (int i = 0; i < FAILPOINTS_COUNT; i++)
            fault_plan->at[i].every = 0;
    end_points();
    end_stops();
    repair();
    raise_clients(clients);
    if (fault->calm || fault_ms() < next_ms)
        return;
    next_ms = fault_ms() + mean_ms / 2 + roll((uint32_t)mean_ms);
    break_something(clients);
}

bool fault_chaos_whole(void)
{
    bool whole = true;
    for (size_t i = 0; i < ARRAY_LEN(repairs); i++)
        whole = whole && part_pid(repairs[i].part) && !repairs[i].script;
    return whole;
}

void fault_chaos_print(void)
{
    printf("%-16s %8s %8s\n", "process", "killed", "stopped");
    for (enum who i = 0; i < WHOS; i++)
        printf("%-16s %8u %8u\n", targets[i].name, by_target[i][0], by_target[i][1]);
}
