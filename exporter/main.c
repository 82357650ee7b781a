/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c: the program slurm-agent-exporter: slurm-agentd's statistics for Prometheus
 *
 * An ordinary client, as a user whom stats_users of agentd.conf names.  Two threads work, one for
 * http and one that asks slurm-agentd; this one waits for the signal to end and looks after
 * deadlines.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/str.h"
#include "exporter/http.h"

#define LISTEN "127.0.0.1:9821"
#define SERVER "ipc:///run/slurm-agentd/agent.sock"

enum { EXIT_USAGE = 2, TIMEOUT_S = 5 };

struct settings {
    const char *listen;
    struct sagent_options options;
};

static const char usage[] =
    "usage: slurm-agent-exporter [OPTION...]\n\n"
    "serves the statistics of slurm-agentd over http: /metrics for Prometheus, /healthz, /readyz\n\n"
    "  --listen=ADDRESS:PORT  where; " LISTEN " unless given\n"
    "  --server=ADDRESS       slurm-agentd's, as for slurm-agent; " SERVER "\n"
    "                         unless given\n"
    "  --timeout=SECONDS      slurm-agentd must have answered by then, 1 to 60; 5 unless given\n"
    "  --conf=FILE            instead of " SYSCONFDIR "/slurm-agent/client.conf, for the rest\n"
    "  --version, --help\n";

/* -1 to go on, else the exit status. */
static int read_arguments(int argc, char **argv, struct settings *s)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"server", required_argument, NULL, 's'},
        {"timeout", required_argument, NULL, 't'},
        {"conf", required_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int64_t seconds = TIMEOUT_S;
    int c;
    while ((c = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            s->listen = optarg;
            break;
        case 's':
            s->options.server = optarg;
            break;
        case 'c':
            s->options.conf = optarg;
            break;
        case 't':
            if (!str_to_i64(optarg, 1, 60, &seconds)) {
                fprintf(stderr, "slurm-agent-exporter: --timeout=%s: give 1 to 60 seconds\n",
                        optarg);
                return EXIT_USAGE;
            }
            break;
        case 'V':
            printf("slurm-agent-exporter %s\n", sagent_version());
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        case 'h':
            fputs(usage, stdout);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "slurm-agent-exporter: '%s' is no option: see --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    s->options.timeout_ms = (int)seconds * 1000;
    return -1;
}

static void run(struct scrape *scrape, struct http *http, const sigset_t *ends)
{
    const struct timespec second = {.tv_sec = 1};
    while (sigtimedwait(ends, NULL, &second) < 0) {
        scrape_tick(scrape);
        http_tick(http);
    }
}

int main(int argc, char **argv)
{
    struct settings s = {.listen = LISTEN, .options = {.server = SERVER}};
    struct err err = {0};
    sigset_t ends;
    int rc = read_arguments(argc, argv, &s);
    if (rc >= 0)
        return rc;
    log_setup("slurm-agent-exporter", LOG_LEVEL_INFO);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* and so in all threads */
    struct scrape *scrape = scrape_new(&s.options);
    if (!scrape)
        return EXIT_USAGE;
    struct http *http = http_new(s.listen, scrape, &err);
    if (http) {
        log_notice("serves http://%s/metrics", s.listen);
        run(scrape, http, &ends);
    } else {
        log_err("%s", err.text);
    }
    scrape_stop(scrape);
    http_free(http);
    scrape_free(scrape);
    return http ? EXIT_SUCCESS : EXIT_USAGE;
}
