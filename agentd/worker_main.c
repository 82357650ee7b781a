/* SPDX-License-Identifier: GPL-3.0-or-later */
/* agent-worker: one user, one role, no listening socket; the broker is at the other end of fd 3 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "agentd/check.h"
#include "agentd/cluster.h"
#include "agentd/watcher.h"
#include "agentd/worker_ops.h"
#include "common/log.h"
#include "common/str.h"

/* What the monitor gave is what is used; SLURM_JWT, SLURM_CONF and their like would change what
 * libslurm does, whoever set them. */
static int clean_environment(void)
{
    return clearenv() != 0 || setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1) < 0 ||
                   setenv("LANG", "C.UTF-8", 1) < 0
               ? -1
               : 0;
}

static int usage(void)
{
    fputs("usage: agent-worker [--config FILE] --role control|file|watch|acct [--check]\n"
          "Started by slurm-agentd, with a socket as file descriptor 3.\n",
          stderr);
    return 2;
}

static int parse_role(const char *word, enum worker_role *ret)
{
    static const struct {
        const char *word;
        enum worker_role role;
    } roles[] = {
        {"control", ROLE_CONTROL}, {"file", ROLE_FILE}, {"watch", ROLE_WATCH}, {"acct", ROLE_ACCT}};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (str_eq(word, roles[i].word)) {
            *ret = roles[i].role;
            return 0;
        }
    }
    return -1;
}

static int parse_args(int argc, char **argv, const char **ret_config, enum worker_role *ret_role,
                      bool *ret_check)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"settings-on-stdin", no_argument, NULL, 'i'},
        {"role", required_argument, NULL, 'r'},
        {"check", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    bool have_role = false;
    int c;
    *ret_config = NULL;
    *ret_check = false;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'c')
            *ret_config = optarg;
        else if (c == 'i')
            *ret_config = AGENTD_CONF_STDIN;
        else if (c == 'k')
            *ret_check = true;
        else if (c == 'r' && parse_role(optarg, ret_role) == 0)
            have_role = true;
        else
            return -1;
    }
    return optind == argc && have_role ? 0 : -1;
}

/* slurm.conf as it was when libslurm read it: an answer of this process is by that one. */
struct slurm_state {
    bool opened;
    struct stat conf;
};

static bool conf_changed(const struct slurm_state *s, const char *path)
{
    struct stat now;
    if (!s->opened || stat(path, &now) < 0)
        return false;
    return now.st_mtim.tv_sec != s->conf.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != s->conf.st_mtim.tv_nsec || now.st_ino != s->conf.st_ino ||
           now.st_size != s->conf.st_size;
}

static int open_slurm(struct slurm_state *s, const char *path, struct err *err)
{
    if (s->opened)
        return 0;
    if (stat(path, &s->conf) < 0)
        memset(&s->conf, 0, sizeof s->conf);
    if (cluster_open(path, err) < 0)
        return -1;
    s->opened = true;
    return 0;
}

static int answer(const struct agentd_conf *conf, enum worker_role role, struct slurm_state *slurm,
                  const struct chan_head *head, struct bytes body, struct wire_out *out)
{
    struct err err = {0};
    struct chan_head reply;
    if (role != ROLE_FILE && open_slurm(slurm, conf->slurm_conf, &err) < 0) {
        wire_out_clear(out);
        msg_pack_error(&err, out);
        reply = (struct chan_head){.serial = head->serial, .op = head->op, .code = err.code};
    } else {
        worker_serve(conf, role, head, body, out, &reply);
    }
    err = (struct err){0};
    struct bytes b = wire_out_bytes(out);
    if (b.p && chan_write(MONITOR_FD, &reply, b, &err) == 0)
        return 0;
    log_err("cannot answer: %s", b.p ? err.text : "no memory");
    return -1;
}

/* Until the broker has gone. */
static int serve(const struct agentd_conf *conf, enum worker_role role)
{
    struct slurm_state slurm = {0};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return 1;
    for (;;) {
        struct err err = {0};
        struct chan_head head;
        AUTO(free) uint8_t *body = NULL;
        int rc = chan_read(MONITOR_FD, &head, &body, &err);
        if (rc == 0)
            return 0;
        if (rc < 0) {
            log_err("%s", err.text);
            return 1;
        }
        struct bytes b = {body, head.size};
        if (answer(conf, role, &slurm, &head, b, out) < 0)
            return 1;
        /* The next request gets a process that reads the new one. */
        if (conf_changed(&slurm, conf->slurm_conf))
            return 0;
    }
}

int main(int argc, char **argv)
{
    static const struct watcher_source source = {cluster_open, cluster_about, cluster_name_in,
                                                 cluster_load_jobs, cluster_load_job};
    AUTO(arena_done) struct arena arena = {0};
    struct agentd_conf conf;
    struct err err = {0};
    const char *config;
    bool check;
    enum worker_role role = ROLE_FILE;
    prctl(PR_SET_NAME, "agent-worker"); /* older kernels name it after a descriptor, see spawn.c */
#ifndef __SANITIZE_ADDRESS__            /* whose look for leaks traces its own process */
    /* It is its user, who must all the same not trace it, nor take its descriptors: they lead to
     * the broker, and what is traced and killed goes only when its tracer wants.  `make install`
     * makes the program unreadable, so that it is so from the exec on. */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    if (clean_environment() < 0)
        return 1;
    if (parse_args(argc, argv, &config, &role, &check) < 0)
        return usage();
    umask(077);
    log_setup("agent-worker", LOG_LEVEL_INFO);
    if (agentd_conf_load(config, &arena, &conf, &err) < 0) {
        log_err("%s", err.text);
        return 1;
    }
    log_setup("agent-worker", agentd_conf_log_level(&conf));
    if (check) {
        worker_check(&conf);
        return 0;
    }
    return role == ROLE_WATCH ? watcher_run(&conf, &source, MONITOR_FD) : serve(&conf, role);
}
