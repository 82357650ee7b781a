/* SPDX-License-Identifier: GPL-3.0-or-later */
/* way_command.c: a process for each call: Slurm's commands and ours, here and by ssh
 *
 * BENCH_SCRIPT is the script's file; BENCH_SSH ssh's configuration with the hosts master and fresh,
 * or BENCH_NO_SSH says why there is none.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/way.h"

extern char **environ;

enum { MAX_WORDS = 16 };

/* What stands in front, as ssh has it; the caller's. */
struct command {
    const char *before[5];
    char out[16384]; /* what the last one said */
};

static void run(struct command *c, const char *const *words)
{
    const char *argv[MAX_WORDS + 1] = {0};
    size_t n = 0, have = 0;
    int fds[2], status;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    for (size_t i = 0; c->before[i]; i++)
        argv[n++] = c->before[i];
    for (size_t i = 0; words[i] && n < MAX_WORDS; i++)
        argv[n++] = words[i];
    if (pipe2(fds, 0) < 0)
        die("pipe", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    posix_spawn_file_actions_addclose(&actions, fds[1]);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char **)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    if (rc != 0)
        die(argv[0], strerror(rc));
    for (ssize_t r; (r = read(fds[0], c->out + have, sizeof c->out - 1 - have)) > 0;)
        have += (size_t)r;
    c->out[have] = 0;
    close(fds[0]);
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        die(words[0], *c->out ? c->out : "has failed");
}

#define RUN(open, ...) run((open), (const char *const[]){__VA_ARGS__, NULL})

static void *open_here(void)
{
    return calloc(1, sizeof(struct command));
}

static void close_command(void *open)
{
    free(open);
}

static const char *digits(uint32_t id, char text[16])
{
    snprintf(text, 16, "%u", id);
    return text;
}

static uint32_t read_id(const struct command *c)
{
    uint32_t id = (uint32_t)strtoul(c->out, NULL, 10);
    if (id == 0)
        die("submit", c->out);
    return id;
}

/* ---- Slurm's ---- */

static void scontrol(void *open, uint32_t id)
{
    char text[16];
    RUN(open, "scontrol", "show", "job", digits(id, text));
}

static uint32_t sbatch(void *open)
{
    RUN(open, "sbatch", "--parsable", "--hold", "--chdir=/tmp", getenv("BENCH_SCRIPT"));
    return read_id(open);
}

static void scancel(void *open, uint32_t id)
{
    char text[16];
    RUN(open, "scancel", digits(id, text));
}

const struct way way_commands = {
    .name = "scontrol, sbatch, scancel",
    .status_from = "RPC",
    .open = open_here,
    .status = scontrol,
    .submit = sbatch,
    .cancel = scancel,
    .close = close_command,
};

/* ---- ours ---- */

static void agent_get(void *open, uint32_t id)
{
    char text[16];
    RUN(open, "slurm-agent", "get", digits(id, text));
}

static uint32_t agent_submit(void *open)
{
    RUN(open, "slurm-agent", "submit", "--parsable", "--hold", "--chdir=/tmp",
        getenv("BENCH_SCRIPT"));
    return read_id(open);
}

static void agent_cancel(void *open, uint32_t id)
{
    char text[16];
    RUN(open, "slurm-agent", "cancel", digits(id, text));
}

const struct way way_agent_command = {
    .name = "slurm-agent, a process each",
    .status_from = "memory",
    .server = WAY_AGENTD,
    .open = open_here,
    .status = agent_get,
    .submit = agent_submit,
    .cancel = agent_cancel,
    .close = close_command,
};

/* ---- by ssh ---- */

static const char *no_ssh(void)
{
    return getenv("BENCH_SSH") ? NULL : str_or(getenv("BENCH_NO_SSH"), "no sshd");
}

static void *open_ssh(const char *host)
{
    struct command *c = calloc(1, sizeof *c);
    if (!c)
        die("ssh", "no memory");
    const char *const before[] = {"ssh", "-F", getenv("BENCH_SSH"), host};
    memcpy(c->before, before, sizeof before);
    return c;
}

static void *open_master(void)
{
    return open_ssh("master");
}

static void *open_fresh(void)
{
    return open_ssh("fresh");
}

const struct way way_ssh_master = {
    .name = "the same by ssh, ControlMaster",
    .status_from = "RPC",
    .one_user = true,
    .missing = no_ssh,
    .open = open_master,
    .status = scontrol,
    .submit = sbatch,
    .cancel = scancel,
    .close = close_command,
};

const struct way way_ssh_fresh = {
    .name = "the same by a new ssh each",
    .status_from = "RPC",
    .one_user = true,
    .slow = true,
    .missing = no_ssh,
    .open = open_fresh,
    .status = scontrol,
    .submit = sbatch,
    .cancel = scancel,
    .close = close_command,
};
