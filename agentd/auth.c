/* SPDX-License-Identifier: GPL-3.0-or-later */
/* auth.c: the program agent-auth: HELLO to user and lease, WELCOME
 *
 * Runs as uid 0 without capabilities (as the own uid with --single-user), one request at a time;
 * blocks on munged and on name services, and is killed when that takes too long.  Descriptor 3 is
 * the monitor's socket, 4 the broker's.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "agentd/check.h"
#include "agentd/monitor_proto.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/ops.h"
#include "common/str.h"

enum { MONITOR_PATIENCE_MS = 5000, NSS_BUFFER = 1 << 20 };

struct auth {
    struct agentd_conf conf;
    bool single_user;
    bool monitor_lost; /* a late answer would be taken for that to the next question: we end */
    char *nss_buffer;
};

/* One user, as name services say. */
struct account {
    struct passwd pw;
    gid_t groups[LEASE_MAX_GROUPS];
    int ngroups;
};

/* ---- who it is, and whether they may ---- */

static int look_up(struct auth *a, uid_t uid, struct account *out, struct err *err)
{
    struct passwd *found = NULL;
    int rc = getpwuid_r(uid, &out->pw, a->nss_buffer, NSS_BUFFER, &found);
    if (rc != 0 && rc != ENOENT)
        return err_set(err, ERR_BUSY, "the server cannot look up uid %u: %s", uid, strerror(rc));
    if (!found)
        return err_set(err, ERR_DENIED, "uid %u is not known on the server", uid);
    out->ngroups = LEASE_MAX_GROUPS;
    if (getgrouplist(out->pw.pw_name, out->pw.pw_gid, out->groups, &out->ngroups) < 0)
        return err_set(err, ERR_DENIED, "user %s is in more than %d groups on the server",
                       out->pw.pw_name, LEASE_MAX_GROUPS);
    return 0;
}

/* Spaces around it do not count; those inside do: some directories have such groups. */
static char *trim(char *word)
{
    word += strspn(word, " \t");
    for (size_t n = strlen(word); n && strchr(" \t", word[n - 1]); n--)
        word[n - 1] = '\0';
    return word;
}

/* Group names of the list are looked up each time: groups change. */
static bool in_allowed_group(const struct account *u, const char *list)
{
    AUTO(free) char *names = strdup(list);
    char *save = NULL;
    if (!names)
        return false;
    for (char *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        const struct group *g = getgrnam(trim(name));
        for (int i = 0; g && i < u->ngroups; i++)
            if (u->groups[i] == g->gr_gid)
                return true;
    }
    return false;
}

static bool no_login(const char *shell)
{
    const char *name = strrchr(shell, '/');
    name = name ? name + 1 : shell;
    return strcmp(name, "nologin") == 0 || strcmp(name, "false") == 0;
}

static int check_policy(const struct auth *a, const struct account *u, struct err *err)
{
    const struct passwd *pw = &u->pw;
    if (a->single_user) {
        if (pw->pw_uid != getuid())
            return err_set(err, ERR_DENIED,
                           "this server serves uid %u alone (--single-user), not user %s", getuid(),
                           pw->pw_name);
        return 0;
    }
    if (pw->pw_uid == 0)
        return err_set(err, ERR_DENIED, "root is not served: use your own account");
    if (pw->pw_uid < a->conf.min_uid)
        return err_set(err, ERR_DENIED, "user %s has uid %u: uids below %lld are not served",
                       pw->pw_name, pw->pw_uid, (long long)a->conf.min_uid);
    if (str_in_list(a->conf.deny_users, pw->pw_name))
        return err_set(err, ERR_DENIED, "user %s may not use slurm-agent here (deny_users)",
                       pw->pw_name);
    if (*a->conf.allow_groups && !in_allowed_group(u, a->conf.allow_groups))
        return err_set(err, ERR_DENIED,
                       "user %s is in none of the groups that may use slurm-agent here "
                       "(allow_groups)",
                       pw->pw_name);
    if (no_login(pw->pw_shell))
        return err_set(err, ERR_DENIED, "user %s may not log in on the server (shell %s)",
                       pw->pw_name, pw->pw_shell);
    return 0;
}

/* ---- the steps of a HELLO ---- */

static int check_hello(const struct hello *h, const struct auth_request *req, struct err *err)
{
    if (h->version_min > PROTOCOL_VERSION || h->version_max < PROTOCOL_VERSION)
        return err_set(err, ERR_PROTOCOL,
                       "the client speaks protocol %u to %u, this server %d: update the older one",
                       h->version_min, h->version_max, PROTOCOL_VERSION);
    if (*h->cluster && !*req->cluster)
        return err_set(err, ERR_BUSY,
                       "slurmctld has not answered since slurm-agentd started, so its cluster's "
                       "name is not known yet (or set cluster in agentd.conf)");
    if (*h->cluster && strcmp(h->cluster, req->cluster) != 0)
        return err_set(err, ERR_AUTH, "this server is of cluster '%s', not of '%s'", req->cluster,
                       h->cluster);
    return 0;
}

/* What makes a HELLO one of its kind: not its text, in which munge passes over white space, and so
 * takes many texts for the same credential. */
static void hash_content(const struct hello *h, const struct cred_origin *from,
                         uint8_t out[SEAL_HASH])
{
    struct {
        int64_t encoded_at;
        uint64_t uid;
        uint8_t payload[CRED_HELLO_SIZE];
    } content = {.encoded_at = from->encoded_at, .uid = from->uid};
    cred_pack_hello(h, content.payload);
    seal_hash(&content, offsetof(__typeof__(content), payload) + CRED_HELLO_SIZE, out);
}

/* What the user may ask for; 0 with err when it is nothing.  Administrators need not be users of
 * the cluster: then there is no lease, and no worker.  deny_users goes before all. */
static unsigned find_rights(const struct auth *a, const struct account *u, struct err *no_jobs)
{
    const struct passwd *pw = &u->pw;
    bool denied = str_in_list(a->conf.deny_users, pw->pw_name);
    unsigned rights = check_policy(a, u, no_jobs) == 0 ? RIGHT_JOBS : 0;
    if (a->single_user)
        return rights ? RIGHT_JOBS | RIGHT_STATS | RIGHT_ADMIN : 0;
    if (!denied && (pw->pw_uid == 0 || str_in_list(a->conf.admins, pw->pw_name)))
        rights |= RIGHT_ADMIN | RIGHT_STATS;
    if (!denied && str_in_list(a->conf.stats_users, pw->pw_name))
        rights |= RIGHT_STATS;
    return rights;
}

static int get_lease(struct auth *a, const struct account *u, bool hello_alone, uint32_t lifetime_s,
                     const uint8_t hash[SEAL_HASH], struct err *err)
{
    struct lease_request lease = {
        .hello_alone = hello_alone,
        .uid = u->pw.pw_uid,
        .gid = u->pw.pw_gid,
        .lifetime_s = lifetime_s,
        .ngroups = (uint32_t)u->ngroups,
    };
    struct lease_reply reply;
    struct pollfd p = {.fd = MONITOR_FD, .events = POLLIN};
    memcpy(lease.hello_hash, hash, SEAL_HASH);
    for (int i = 0; i < u->ngroups; i++)
        lease.groups[i] = u->groups[i];
    if (send(MONITOR_FD, &lease, sizeof lease, MSG_NOSIGNAL) != sizeof lease ||
        poll(&p, 1, MONITOR_PATIENCE_MS) != 1 ||
        recv(MONITOR_FD, &reply, sizeof reply, 0) != sizeof reply) {
        a->monitor_lost = true;
        return err_set(err, ERR_BUSY, "the monitor does not answer");
    }
    reply.text[sizeof reply.text - 1] = '\0';
    if (reply.code)
        return err_set(err, err_from_wire(reply.code), "%s", reply.text);
    return 0;
}

static int make_welcome(const struct auth *a, const struct auth_request *req, struct bytes cred,
                        struct auth_reply *reply, struct err *err)
{
    struct welcome w = {.version = PROTOCOL_VERSION, .lifetime_s = req->lifetime_s};
    AUTO(free) char *text = NULL;
    str_copy(w.cluster, sizeof w.cluster, req->cluster);
    memcpy(w.session, req->session, SEAL_ID);
    memcpy(w.key, req->server_key, SEAL_KEY);
    memcpy(w.instance, req->instance, SEAL_ID);
    seal_hash(cred.p, cred.n, w.hello_hash);
    if (cred_encode_welcome(a->conf.munge_socket, &w, reply->uid, &text, err) < 0)
        return -1;
    reply->welcome_size = (uint32_t)strlen(text);
    memcpy(reply->welcome, text, reply->welcome_size);
    return 0;
}

static int answer(struct auth *a, const struct auth_request *req, struct auth_reply *reply,
                  struct err *err)
{
    struct hello h;
    struct cred_origin from = {0};
    struct account u = {0};
    uint8_t hash[SEAL_HASH];
    struct bytes cred = {(const uint8_t *)req->cred, req->cred_size};
    if (req->cred_size > CRED_MAX)
        return err_set(err, ERR_LIMIT, "a credential of %u bytes", req->cred_size);
    if (cred_decode_hello(a->conf.munge_socket, cred, &h, &from, err) < 0) {
        /* The text is for the client, for whom "this host" would be the wrong one. */
        return err->code == ERR_MUNGE ? err_while(err, "on the server") : -1;
    }
    struct err no_jobs = {0};
    if (check_hello(&h, req, err) < 0 || look_up(a, from.uid, &u, err) < 0)
        return -1;
    reply->rights = find_rights(a, &u, &no_jobs);
    if (!reply->rights) {
        *err = no_jobs;
        return -1;
    }
    str_copy(reply->text, sizeof reply->text, no_jobs.text);
    reply->uid = u.pw.pw_uid;
    reply->gid = u.pw.pw_gid;
    reply->version = PROTOCOL_VERSION;
    reply->until = clock_now() + req->lifetime_s;
    str_copy(reply->user, sizeof reply->user, u.pw.pw_name);
    str_copy(reply->address, sizeof reply->address, from.address);
    memcpy(reply->client_key, h.key, SEAL_KEY);
    hash_content(&h, &from, hash);
    if (get_lease(a, &u, !(reply->rights & RIGHT_JOBS), req->lifetime_s, hash, err) < 0)
        return -1;
    return make_welcome(a, req, cred, reply, err);
}

static void serve_one(struct auth *a, struct auth_request *req, struct auth_reply *reply)
{
    struct err err = {0};
    req->cluster[sizeof req->cluster - 1] = '\0';
    memset(reply, 0, sizeof *reply);
    if (answer(a, req, reply, &err) < 0) {
        log_notice("HELLO refused: %s", err.text);
        memset(reply, 0, sizeof *reply);
    }
    reply->serial = req->serial;
    reply->code = err.code;
    if (err.code != ERR_NONE)
        str_copy(reply->text, sizeof reply->text, err.text);
}

/* Waits for a request; false when the broker or the monitor has gone, or the monitor speaks
 * unasked. */
static bool wait_for_request(void)
{
    struct pollfd p[2] = {{.fd = AUTH_FD, .events = POLLIN}, {.fd = MONITOR_FD, .events = POLLIN}};
    while (poll(p, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    return p[1].revents == 0;
}

static int serve(struct auth *a)
{
    struct auth_request req;
    struct auth_reply reply;
    while (!a->monitor_lost && wait_for_request()) {
        ssize_t n = recv(AUTH_FD, &req, sizeof req, MSG_TRUNC);
        if (n == 0)
            return EXIT_SUCCESS;
        if (n != sizeof req) {
            log_err("the broker sent a packet of %zd bytes", n);
            return EXIT_FAILURE;
        }
        serve_one(a, &req, &reply);
        if (send(AUTH_FD, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply)
            return EXIT_SUCCESS;
    }
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"settings-on-stdin", no_argument, NULL, 'i'},
        {"single-user", no_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    struct auth a = {0};
    struct arena arena = {0};
    struct err err = {0};
    const char *path = NULL;
    bool check = false;
    int c, status = EXIT_SUCCESS;
    prctl(PR_SET_NAME, "agent-auth"); /* older kernels name it after a descriptor, see spawn.c */
    log_setup("agent-auth", LOG_LEVEL_INFO);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == '?')
            return 2;
        if (c == 'c')
            path = optarg;
        else if (c == 'i')
            path = AGENTD_CONF_STDIN;
        else if (c == 'k')
            check = true;
        else
            a.single_user = true;
    }
    a.nss_buffer = malloc(NSS_BUFFER);
    if (!a.nss_buffer || agentd_conf_load(path, &arena, &a.conf, &err) < 0 ||
        seal_setup(&err) < 0) {
        log_err("%s", err.text);
        return 2;
    }
    log_setup("agent-auth", agentd_conf_log_level(&a.conf));
    if (check)
        auth_check(&a.conf);
    else
        status = serve(&a);
    free(a.nss_buffer);
    arena_done(&arena);
    return status;
}
