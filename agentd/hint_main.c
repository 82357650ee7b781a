/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hint_main.c: slurm-agent-hint, slurmctld's PrologSlurmctld and EpilogSlurmctld: tells the broker
 * which job has just begun or ended
 *
 * slurmctld waits for it, and requeues the job or drains its nodes when it fails: so it never
 * blocks, its exit status is 0 whatever happens, and it is silent unless asked.  A hint that is
 * lost costs nothing but time: the broker polls all the same.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agentd/hint_proto.h"
#include "common/str.h"

static const char usage[] =
    "usage: slurm-agent-hint [--socket PATH] [--verbose]\n"
    "For EpilogSlurmctld and PrologSlurmctld in slurm.conf: tells slurm-agentd that the job in\n"
    "SLURM_JOB_ID has just begun or ended.  Always ends with status 0.\n"
    "  --socket PATH   hint_socket of agentd.conf (" HINT_SOCKET ")\n"
    "  --verbose       says what was done, on stderr\n";

/* 0 when it is not set or no number. */
static uint32_t number(const char *name)
{
    int64_t v = 0;
    const char *text = getenv(name);
    if (text)
        str_to_i64(text, 0, UINT32_MAX, &v);
    return (uint32_t)v;
}

/* NULL, or what went wrong. */
static const char *send_hint(const char *path, const struct hint_packet *p)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!str_copy(to.sun_path, sizeof to.sun_path, path))
        return "the path is too long";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return strerror(errno);
    ssize_t n = sendto(fd, p, sizeof *p, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to,
                       sizeof to);
    const char *why = n == (ssize_t)sizeof *p ? NULL : strerror(errno);
    close(fd);
    return why;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = HINT_SOCKET, *why = NULL;
    bool verbose = false, bad = false;
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        bad |= c == '?';
        verbose |= c == 'v';
        if (c == 's')
            path = optarg;
    }
    struct hint_packet p = {
        .magic = HINT_MAGIC,
        .version = HINT_VERSION,
        .job_id = number("SLURM_JOB_ID"),
        .array_job_id = number("SLURM_ARRAY_JOB_ID"),
        .array_task_id = number("SLURM_ARRAY_TASK_ID"),
    };
    if (bad || optind < argc)
        why = "an argument that it does not know: see --help";
    else if (!p.job_id && !p.array_job_id)
        why = "SLURM_JOB_ID is not set";
    else
        why = send_hint(path, &p);
    if (verbose && why)
        fprintf(stderr, "slurm-agent-hint: %s: %s\n", path, why);
    else if (verbose)
        fprintf(stderr, "slurm-agent-hint: %s: told about job %u\n", path, p.job_id);
    return 0;
}
