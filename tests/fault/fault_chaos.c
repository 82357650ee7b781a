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

enum {
    NODES = 4,
    PIDS = 128,
    STOPPED = 32,
    REPAIR_MS = 300,
    TEND_MS = 10000,
    ARMED = 16,
    ARMED_MS = 5000
};

/* ---- who there is ---- */

enum who {
    BROKER,
    CONTROL,
    FILE_WORKER,
    STAGE_WORKER,
    WATCHER,
    AUTH,
    MONITOR,
    SLURMCTLD,
    MUNGED,
    CLIENT,
    WHOS
};

static const struct target {
    const char *name, *part; /* part: of the sandbox; else a child of the monitor */
    const char *program, *role;
    unsigned kill, stop; /* weights */
    int stop_ms;         /* at most */
} targets[WHOS] = {
    [BROKER] = {"broker", NULL, "agent-broker", NULL, 5, 2, 2000},
    [CONTROL] = {"control worker", NULL, "agent-worker", "control", 11, 3, 3000},
    [FILE_WORKER] = {"file worker", NULL, "agent-worker", "file", 4, 1, 2000},
    [STAGE_WORKER] = {"stage worker", NULL, "agent-stage", NULL, 5, 1, 2000},
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

pid_t fault_part_pid(const char *part)
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

/* There are hundreds of processes on a host, and few are the monitor's: those that are not are
 * looked at once a second. */
static bool is_foreign(pid_t pid, pid_t monitor, bool now_it_is)
{
    enum { PIDS_MAX = 1 << 22 };
    static uint8_t foreign[PIDS_MAX];
    static int64_t since_ms;
    static pid_t whose;
    if (whose != monitor || fault_ms() - since_ms > 1000) {
        memset(foreign, 0, sizeof foreign);
        since_ms = fault_ms();
        whose = monitor;
    }
    if (pid >= PIDS_MAX)
        return false;
    foreign[pid] |= now_it_is;
    return foreign[pid];
}

static size_t find_pids(enum who who, const pid_t clients[FAULT_CLIENTS], pid_t out[PIDS])
{
    const struct target *t = &targets[who];
    pid_t monitor = fault_part_pid("agentd"), parent;
    size_t n = 0;
    if (who == CLIENT) {
        for (int i = 0; i < FAULT_CLIENTS; i++)
            if (clients[i] > 0)
                out[n++] = clients[i];
        return n;
    }
    if (t->part) {
        out[0] = fault_part_pid(t->part);
        return out[0] ? 1 : 0;
    }
    DIR *d = opendir("/proc");
    for (const struct dirent *e; d && monitor && n < PIDS && (e = readdir(d));) {
        pid_t pid = atoi(e->d_name);
        if (pid <= 0 || is_foreign(pid, monitor, false) || !state_of(pid, &parent))
            continue;
        if (parent != monitor)
            is_foreign(pid, monitor, true);
        else if (is_target(pid, t))
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
    bool kill;   /* then it is killed, else it goes on */
    bool spared; /* until then nothing else happens to it */
} stopped[STOPPED];

static uint64_t dice;
static int64_t next_ms, mean_ms;
static uint32_t by_target[WHOS][2];

static uint32_t roll(uint32_t below)
{
    return fault_chance(&dice, below);
}

static void stop_for(pid_t pid, int64_t ms, bool then_kill, bool spared)
{
    for (size_t i = 0; i < STOPPED; i++)
        if (!stopped[i].pid) {
            stopped[i].pid = pid;
            stopped[i].until_ms = fault_ms() + ms;
            stopped[i].kill = then_kill;
            stopped[i].spared = spared;
            return;
        }
    kill(pid, SIGCONT);
}

void fault_stop_for(pid_t pid, int64_t ms)
{
    stop_for(pid, ms, false, true);
}

static bool is_spared(pid_t pid)
{
    for (size_t i = 0; i < STOPPED; i++)
        if (stopped[i].pid == pid)
            return stopped[i].spared;
    return false;
}

bool fault_stands(pid_t pid)
{
    return state_of(pid, NULL) == 'T';
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
            stop_for(pid, 300 + roll(3000), roll(2) == 0, false);
    }
    fault->kills += killed - counted;
    counted = killed;
}

static void kill_it(enum who who, pid_t pid)
{
    if (kill(pid, SIGKILL) < 0)
        return;
    fault->kills++;
    if (who != SLURMCTLD)
        return;
    uint32_t n = fault->slurmctld_kills;
    if (n < FAULT_KILLS)
        fault->slurmctld_kills_s[n] = fault_s();
    fault->slurmctld_kills = n + 1;
}

void fault_kill_slurmctld(void)
{
    pid_t pid = fault_part_pid("slurmctld");
    if (pid)
        kill_it(SLURMCTLD, pid);
}

static bool hit(enum who who, bool kills, const pid_t clients[FAULT_CLIENTS])
{
    pid_t pids[PIDS];
    size_t n = find_pids(who, clients, pids);
    if (!n)
        return false;
    pid_t pid = pids[roll((uint32_t)n)];
    if (is_spared(pid))
        return true;
    by_target[who][!kills]++;
    if (kills) {
        kill_it(who, pid);
    } else if (kill(pid, SIGSTOP) == 0) {
        fault->stops++;
        stop_for(pid, 200 + roll((uint32_t)targets[who].stop_ms), false, false);
    }
    return true;
}

/* What is there for a moment only is waited for, and then hit at some step of its life. */
static struct {
    enum who who;
    bool kills;
    uint32_t steps;
    int64_t until_ms; /* 0: free */
} armed[ARMED];

static void arm(enum who who, bool kills)
{
    for (size_t i = 0; i < ARMED; i++)
        if (!armed[i].until_ms) {
            armed[i].who = who;
            armed[i].kills = kills;
            armed[i].steps = roll(4);
            armed[i].until_ms = fault_ms() + ARMED_MS;
            return;
        }
}

static void hit_armed(const pid_t clients[FAULT_CLIENTS])
{
    pid_t pids[PIDS];
    for (size_t i = 0; i < ARMED; i++) {
        if (!armed[i].until_ms)
            continue;
        if (fault_ms() > armed[i].until_ms)
            armed[i].until_ms = 0;
        else if (!find_pids(armed[i].who, clients, pids))
            continue;
        else if (armed[i].steps)
            armed[i].steps--;
        else if (hit(armed[i].who, armed[i].kills, clients))
            armed[i].until_ms = 0;
    }
}

static bool may_be_killed(enum who who)
{
    if (who == SLURMCTLD)
        return !getenv("FAULT_SPARE_SLURMCTLD") && !fault_late_now();
    if (who == BROKER && fault_rare_stands())
        return false;
    return (who != BROKER && who != MONITOR) || !fault_late_in_peace();
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
                bool kills = k == 0 && may_be_killed(i);
                if (!hit(i, kills, clients))
                    arm(i, kills);
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
        if (fault_part_pid(repairs[i].part)) {
            repairs[i].dead_ms = 0;
            continue;
        }
        if (!repairs[i].dead_ms)
            repairs[i].dead_ms = fault_ms();
        if (!repairs[i].script && fault_ms() - repairs[i].dead_ms >= REPAIR_MS)
            repairs[i].script = start_part(repairs[i].part);
    }
}

/* A job whose node could not begin it, as when munged is killed just then, is held for good, or
 * begins again two minutes later. */
static const char tend[] =
    "exec >/dev/null 2>&1; timeout 5 scontrol update nodename=ALL state=resume\n"
    "for job in $(timeout 5 squeue -h -t PD -o '%i %r' | sed -n 's/ launch failed .*//p'); do\n"
    "timeout 5 scontrol release $job; done\n"
    "for job in $(timeout 5 squeue -h -t PD -O JobID:12,RestartCnt:12,Reason:30 |\n"
    "awk '$2 > 0 && $3 == \"BeginTime\" { print $1 }'); do\n"
    "timeout 5 scontrol update jobid=$job starttime=now; done";

/* What a job leaves behind when slurmctld and its step are at odds drains its node; and a slurmctld
 * that was killed takes jobs for running whose end it had not saved, until their nodes register
 * again, which they do when they read their settings anew: soon nothing would run any more. */
static void tend_nodes(void)
{
    static int64_t next;
    static pid_t pid;
    char part[20];
    if (pid && waitpid(pid, NULL, WNOHANG) == pid)
        pid = 0;
    if (pid || fault_ms() < next)
        return;
    next = fault_ms() + TEND_MS;
    for (int i = 1; i <= NODES; i++) {
        snprintf(part, sizeof part, "slurmd-node%d", i);
        pid_t slurmd = fault_part_pid(part);
        if (slurmd)
            kill(slurmd, SIGHUP);
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execlp("sh", "sh", "-c", tend, NULL);
        _exit(127);
    }
}

static void raise_clients(pid_t clients[FAULT_CLIENTS])
{
    for (int i = 0; i < FAULT_CLIENTS; i++) {
        int status;
        if (clients[i] <= 0 || waitpid(clients[i], &status, WNOHANG) != clients[i])
            continue;
        clients[i] = 0;
        fault->busy[i] = false;
        if (WIFSIGNALED(status) || WEXITSTATUS(status) == FAULT_ANEW)
            clients[i] = fault_client_start(i);
    }
}

/* ---- the whole ---- */

void fault_chaos_begin(void)
{
    const char *kills = getenv("KILLS");
    int64_t span = fault->last_ms - fault->begun_ms, usual = span * 6 / 10000;
    int64_t wanted = kills && *kills ? atoll(kills) : usual > 60 ? usual : 60;
    dice = fault->seed;
    mean_ms = span * 10 / (wanted * 19); /* about half of them stop something */
    if (mean_ms < 50)
        mean_ms = 50;
    next_ms = fault->begun_ms + 1000;
    fault_late_begin();
    fault_disk_begin();
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
    fault_rare_begin();
}

/* On a machine so busy that nothing is done between two kills nothing would be tried: the next one
 * waits for a step, though not for long. */
static bool is_too_fast(void)
{
    static uint32_t before;
    if (fault->steps == before && fault_ms() < next_ms + 4 * mean_ms)
        return true;
    before = fault->steps;
    return false;
}

void fault_chaos_step(pid_t clients[FAULT_CLIENTS])
{
    if (fault->calm)
        for (int i = 0; i < FAILPOINTS_COUNT; i++)
            fault_plan->at[i].every = 0;
    fault_rare_step(roll); /* before: what it stops is its own */
    end_points();
    end_stops();
    repair();
    tend_nodes();
    raise_clients(clients);
    fault_late_step(roll);
    fault_disk_step(roll);
    if (fault->calm)
        return;
    hit_armed(clients);
    if (fault_ms() < next_ms || is_too_fast())
        return;
    next_ms = fault_ms() + mean_ms / 2 + roll((uint32_t)mean_ms);
    break_something(clients);
}

bool fault_chaos_whole(void)
{
    bool whole = !fault_late_now() && !fault_disk_is_full();
    for (size_t i = 0; i < ARRAY_LEN(repairs); i++)
        whole = whole && fault_part_pid(repairs[i].part) && !repairs[i].script;
    return whole;
}

void fault_chaos_print(void)
{
    printf("%-16s %8s %8s\n", "process", "killed", "stopped");
    for (enum who i = 0; i < WHOS; i++)
        printf("%-16s %8u %8u\n", targets[i].name, by_target[i][0], by_target[i][1]);
    fault_late_print();
    fault_disk_print();
    fault_rare_print();
}
