/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_cluster.c: ping, whoami and info */
#include <jansson.h>
#include <stdlib.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_server, sagent_server_free)
CLEANUP_FN(struct sagent_identity, sagent_identity_free)
CLEANUP_FN(struct sagent_cluster, sagent_cluster_free)
CLEANUP_FN(struct cli_table, cli_table_free)

/* ---- ping ---- */

static void ping_json(const struct sagent_server *p)
{
    json_t *j = json_object();
    cli_json_set(j, "address", p->address);
    cli_json_set(j, "version", p->version);
    cli_json_set_number(j, "protocol", p->protocol);
    cli_json_set(j, "cluster", p->cluster);
    cli_json_set_number(j, "server_time", p->server_time);
    cli_json_set(j, "slurm_version", p->slurm_version);
    cli_json_set(j, "slurmctld", p->slurmctld);
    cli_json_set(j, "slurmctld_error", p->slurmctld_error);
    cli_json_set_number(j, "as_of", p->as_of);
    json_object_set_new(j, "stale", json_boolean(p->stale));
    json_object_set_new(j, "jobs", json_integer(p->jobs));
    json_object_set_new(j, "private_jobs", json_boolean(p->private_jobs));
    json_object_set_new(j, "hidden_jobs", json_boolean(p->hidden_jobs));
    cli_json_set(j, "journal", p->journal);
    json_object_set_new(j, "draining", json_boolean(p->draining));
    json_object_set_new(j, "in_doubt", json_integer(p->in_doubt));
    json_object_set_new(j, "server_uid", json_integer(p->server_uid));
    json_object_set_new(j, "session_s", json_integer(p->session_s));
    cli_json_print(j);
}

static void ping_verbose(const struct sagent_server *p)
{
    char text[CLI_TEXT];
    printf("address    %s\n", p->address);
    printf("munge      ok in both directions, the server is uid %lld\n", (long long)p->server_uid);
    printf("session    of %s, protocol %lld\n", cli_duration(p->session_s, text),
           (long long)p->protocol);
    printf("server     slurm-agentd %s, this is slurm-agent %s\n", str_or(p->version, "?"),
           sagent_version());
    printf("cluster    %s\n", str_or(p->cluster, "(not known yet: slurmctld has not answered)"));
    printf("slurm      %s (the server's libslurm)\n", str_or(p->slurm_version, "?"));
    printf("slurmctld  %s%s%s\n", str_or(p->slurmctld, "unknown"), p->slurmctld_error ? ": " : "",
           str_or(p->slurmctld_error, ""));
    if (p->as_of)
        printf("job table  %lld jobs, %s old%s\n", (long long)p->jobs,
               cli_duration(p->server_time - p->as_of, text), p->stale ? " (stale)" : "");
    else
        printf("job table  not loaded yet\n");
    printf("submits    %s\n", p->draining  ? "refused: the server is draining"
                              : p->journal ? "refused: it could not keep what became of them"
                                           : "are taken");
    if (p->in_doubt)
        printf(
            "           %lld of yours in doubt: slurm-agent get --request-id ID says of one why\n",
            (long long)p->in_doubt);
    printf("history    %s%s\n", p->journal ? "none is kept: " : "ok", str_or(p->journal, ""));
    if (p->private_jobs)
        printf(
            "privacy    PrivateData=jobs: others' jobs are for those whom Slurm lets see them\n");
    if (p->hidden_jobs)
        printf("           and hides jobs from the server: no events and no history of them, until "
               "its user is an Operator in Slurm's accounting (or watch_user in agentd.conf is)\n");
}

static void ping_line(const struct sagent_server *p)
{
    printf("slurm-agentd %s at %s: cluster %s, slurmctld %s%s%s%s", str_or(p->version, "?"),
           p->address, str_or(p->cluster, "not known yet"), str_or(p->slurmctld, "unknown"),
           p->stale ? ", the job table is stale" : "",
           p->draining ? ", it is draining: no new submits are taken" : "",
           p->journal ? ", no submits are taken and no history is kept" : "");
    if (p->in_doubt)
        printf(", %lld of your submits in doubt", (long long)p->in_doubt);
    putchar('\n');
}

/* What is in the way, in the same form, and what to do about it. */
static int ping_fails(const struct sagent *s, const struct sagent_error *err)
{
    static const struct {
        int code;
        const char *what, *advice;
    } broken[] = {
        {SAGENT_ERR_UNREACHABLE, "connection",
         "on the server: systemctl status slurm-agentd, and listen_tcp and allow_from in "
         "agentd.conf; from here: is its port open (nc -vz HOST 6821)?"},
        {SAGENT_ERR_TIMEOUT, "connection",
         "a firewall in between, or a server that hangs: nc -vz HOST 6821; slurm-agentd --check "
         "there"},
        {SAGENT_ERR_MUNGE, "munge", "on that host: systemctl status munge; munge -n | unmunge"},
        {SAGENT_ERR_AUTH, "munge",
         "munge -n | ssh HOST unmunge says whether keys and clocks agree; only a server of root's "
         "is believed (server_uid in client.conf)"},
        {SAGENT_ERR_DENIED, "user",
         "on the server: getent passwd; min_uid, allow_groups and deny_users in agentd.conf"},
        {SAGENT_ERR_PROTOCOL, "protocol",
         "does slurm-agentd listen at that address, and of what version?"},
    };
    size_t i = 0;
    while (i < ARRAY_LEN(broken) && broken[i].code != err->code)
        i++;
    printf("address    %s\n", sagent_address(s));
    if (i < ARRAY_LEN(broken))
        printf("%-10s FAIL: %s\n           %s\n", broken[i].what, err->text, broken[i].advice);
    else
        printf("server     FAIL: %s\n           on the server: slurm-agentd --check, "
               "journalctl -eu slurm-agentd\n",
               err->text);
    return cli_end_output(err->exit_status);
}

int cmd_ping(struct cli *cli, int argc, char **argv)
{
    bool verbose = false, json = false;
    const struct cli_option options[] = {
        {"verbose", 'v', &verbose, NULL, NULL, "say all that is known"},
        {"json", 0, &json, NULL, NULL, "as JSON"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_server_free) struct sagent_server *p = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 0, 0, argc, argv, &args, &status))
        return status;
    free(args.positional);
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_ping(s, &p, &err) < 0)
        return verbose && !json ? ping_fails(s, &err) : cli_fail(&err);
    if (json)
        ping_json(p);
    else if (verbose)
        ping_verbose(p);
    else
        ping_line(p);
    return cli_end_output(0);
}

/* ---- whoami ---- */

static void whoami_json(const struct sagent_identity *p)
{
    json_t *j = json_object();
    cli_json_set(j, "user", p->user);
    json_object_set_new(j, "uid", json_integer(p->uid));
    json_object_set_new(j, "gid", json_integer(p->gid));
    cli_json_set(j, "cluster", p->cluster);
    cli_json_set(j, "origin", p->origin);
    cli_json_set(j, "munge_host", p->munge_host);
    cli_json_set_number(j, "session_ends", p->session_ends);
    json_object_set_new(j, "single_user", json_boolean(p->single_user));
    cli_json_print(j);
}

int cmd_whoami(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", 0, &json, NULL, NULL, "as JSON"}};
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_identity_free) struct sagent_identity *p = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 0, 0, argc, argv, &args, &status))
        return status;
    free(args.positional);
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_whoami(s, &p, &err) < 0)
        return cli_fail(&err);
    if (json)
        whoami_json(p);
    else
        printf("%s (uid %lld, gid %lld) on cluster %s, from %s\n", str_or(p->user, "?"),
               (long long)p->uid, (long long)p->gid, str_or(p->cluster, "(not known yet)"),
               str_or(p->origin, "an unknown address"));
    return cli_end_output(0);
}

/* ---- info ---- */

static json_t *controllers_json(const struct sagent_cluster *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->controller_count; i++) {
        json_t *j = json_object();
        cli_json_set(j, "host", c->controllers[i].host);
        cli_json_set(j, "role", c->controllers[i].role);
        json_object_set_new(j, "up", json_boolean(c->controllers[i].up));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *partitions_json(const struct sagent_cluster *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->partition_count; i++) {
        const struct sagent_partition *p = &c->partitions[i];
        json_t *j = json_object();
        cli_json_set(j, "name", p->name);
        json_object_set_new(j, "is_default", json_boolean(p->is_default));
        cli_json_set(j, "state", p->state);
        cli_json_set_number(j, "max_time", p->max_time);
        cli_json_set_number(j, "default_time", p->default_time);
        json_object_set_new(j, "nodes", json_integer(p->nodes));
        json_object_set_new(j, "cpus", json_integer(p->cpus));
        cli_json_set(j, "node_list", p->node_list);
        json_array_append_new(list, j);
    }
    return list;
}

static void info_json(const struct sagent_cluster *c)
{
    json_t *j = json_object(), *nodes = json_object();
    cli_json_set(j, "cluster", c->cluster);
    cli_json_set(j, "slurm_version", c->slurm_version);
    cli_json_set_number(j, "as_of", c->as_of);
    cli_json_set(j, "error", c->error);
    json_object_set_new(j, "controllers", controllers_json(c));
    json_object_set_new(j, "partitions", partitions_json(c));
    for (size_t i = 0; i < c->node_count; i++)
        if (c->nodes[i].state)
            cli_json_set_number(nodes, c->nodes[i].state, c->nodes[i].count);
    json_object_set_new(j, "nodes", nodes);
    cli_json_print(j);
}

static void print_partitions(const struct sagent_cluster *c)
{
    static const struct cli_column columns[] = {
        {"PARTITION", false, 2, 9}, {"STATE", false, 0, 0}, {"TIMELIMIT", true, 0, 0},
        {"NODES", true, 0, 0},      {"CPUS", true, 0, 0},   {"NODELIST", false, 1, 8},
    };
    char text[CLI_TEXT];
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < c->partition_count; i++) {
        const struct sagent_partition *p = &c->partitions[i];
        AUTO(free) char *name = NULL;
        if (asprintf(&name, "%s%s", str_or(p->name, "?"), p->is_default ? "*" : "") < 0)
            cli_no_memory();
        cli_table_add(t, name);
        cli_table_add(t, p->state);
        cli_table_add(t, p->max_time < 0 ? "infinite" : cli_duration(p->max_time, text));
        cli_table_add(t, cli_number(p->nodes, text));
        cli_table_add(t, cli_number(p->cpus, text));
        cli_table_add(t, p->node_list);
    }
    putchar('\n');
    cli_table_print(t);
}

static void print_info(const struct sagent_cluster *c)
{
    printf("cluster %s, Slurm %s\n", str_or(c->cluster, "(not known yet)"),
           str_or(c->slurm_version, "?"));
    for (size_t i = 0; i < c->controller_count; i++)
        printf("slurmctld on %s (%s): %s\n", str_or(c->controllers[i].host, "?"),
               str_or(c->controllers[i].role, "?"), c->controllers[i].up ? "up" : "down");
    if (c->partition_count)
        print_partitions(c);
    if (c->node_count)
        printf("\nnodes:");
    for (size_t i = 0; i < c->node_count; i++)
        printf("%s %lld %s", i ? "," : "", (long long)c->nodes[i].count,
               str_or(c->nodes[i].state, "?"));
    if (c->node_count)
        putchar('\n');
}

int cmd_info(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {{"json", 0, &json, NULL, NULL, "as JSON"}};
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_cluster_free) struct sagent_cluster *c = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 0, 0, argc, argv, &args, &status))
        return status;
    free(args.positional);
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_info(s, &c, &err) < 0)
        return cli_fail(&err);
    if (json)
        info_json(c);
    else
        print_info(c);
    if (c->error)
        cli_say("note: partitions and nodes are missing: %s", c->error);
    return cli_end_output(0);
}
