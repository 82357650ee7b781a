/* SPDX-License-Identifier: GPL-3.0-or-later */
/* agent-worker: one user, one role, no listening socket; the broker is at the other end of fd 3 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agentd/check.h"
#include "agentd/child_start.h"
#include "agentd/cluster.h"
#include "agentd/watcher.h"
#include "agentd/worker_ops.h"
#include "common/log.h"
#include "common/str.h"

static int usage(void)
{
    fputs("usage: agent-worker [--config FILE] --role control|file|watch|acct [--check]\n"
          "Started by slurm-agentd, with a socket as file descriptor 3.\n",
          stderr);
    return 2;
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

/* What a user has us do must not take the host's memory.  The watcher, which does nothing for a
 * user, has the whole table. */
static int bound_memory(const struct agentd_conf *conf, enum worker_role role)
{
#ifdef __SANITIZE_ADDRESS__ /* whose shadow of the memory is larger than it */
    (void)conf;
    (void)role;
    return 0;
#else
    rlim_t bytes = (rlim_t)conf->worker_memory_mib << 20;
    struct rlimit most = {bytes, bytes};
    return role == ROLE_WATCH ? 0 : setrlimit(RLIMIT_DATA, &most);
#endif
}

int main(int argc, char **argv)
{
    static const struct watcher_source source = {cluster_open, cluster_about, cluster_name_in,
                                                 cluster_load_jobs, cluster_load_job};
    AUTO(arena_done) struct arena arena = {0};
    struct agentd_conf conf;
    struct err err = {0};
    struct child_args args;
    if (child_start("agent-worker", argc, argv, &args) < 0 || args.grant || args.role == ROLE_STAGE)
        return usage();
    umask(077);
    log_setup("agent-worker", LOG_LEVEL_INFO);
    if (agentd_conf_load(args.config, &arena, &conf, &err) < 0) {
        log_err("%s", err.text);
        return 1;
    }
    log_setup("agent-worker", agentd_conf_log_level(&conf));
    if (bound_memory(&conf, args.role) < 0) {
        log_err("cannot bound the memory: %s", strerror(errno));
        return 1;
    }
    if (args.check) {
        worker_check(&conf);
        return 0;
    }
    return args.role == ROLE_WATCH ? watcher_run(&conf, &source, MONITOR_FD)
                                   : serve(&conf, args.role);
}
