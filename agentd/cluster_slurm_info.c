/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Controllers, partitions and nodes. */
#include "agentd/cluster_slurm.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum { CONTROLLERS_MAX = 64, PARTITIONS_MAX = 10000, STATES_MAX = 64 };

/* Bodies being gathered, packed. */
struct list {
    struct bytes *v;
    size_t n, max;
};

static bool list_init(struct list *l, size_t max, struct arena *arena)
{
    *l = (struct list){.v = arena_array(arena, max ? max : 1, sizeof(struct bytes)), .max = max};
    return l->v;
}

static void list_add(struct list *l, const struct msg_type *type, const void *body,
                     struct arena *arena)
{
    if (l->n == l->max)
        return;
    struct bytes b = msg_pack_arena(type, body, arena);
    if (b.p)
        l->v[l->n++] = b;
}

static const char *cut(const char *s, size_t max, struct arena *arena)
{
    return s ? arena_strndup(arena, s, strnlen(s, max)) : NULL;
}

/* ---- controllers ---- */

static void add_controller(struct list *l, const char *host, bool up, struct arena *arena)
{
    struct controller c = {
        .host = cut(host, 256, arena),
        .role = l->n == 0 ? "primary" : "backup",
        .up = up,
    };
    list_add(l, &controller_type, &c, arena);
}

static void controllers(const slurm_conf_t *conf, struct arena *arena, struct info_reply *out)
{
    struct list l;
    uint32_t n = conf->control_cnt;
    if (!list_init(&l, n < CONTROLLERS_MAX ? n : CONTROLLERS_MAX, arena))
        return;
    for (uint32_t i = 0; i < n; i++) {
        /* One controller has just answered; which one of several takes asking. */
        bool up = n == 1 || slurm_ping((int)i) == 0;
        add_controller(&l, conf->control_machine[i], up, arena);
    }
    out->controllers = (struct raws){l.v, l.n};
}

/* Without slurmctld libslurm tells nobody the names it has read: they are in the file. */
static void controllers_from_file(struct arena *arena, struct info_reply *out)
{
    AUTO(free) char *line = NULL;
    size_t size = 0;
    struct list l;
    const char *path = getenv("SLURM_CONF");
    AUTO(fclose) FILE *f = path ? fopen(path, "re") : NULL;
    if (!f || !list_init(&l, CONTROLLERS_MAX, arena))
        return;
    while (getline(&line, &size, f) >= 0) {
        char host[256];
        if (cluster_slurm_conf_value(line, "SlurmctldHost", host, sizeof host))
            add_controller(&l, host, false, arena);
    }
    out->controllers = (struct raws){l.v, l.n};
}

/* ---- partitions ---- */

static const char *partition_state(uint16_t state)
{
    switch (state) {
    case PARTITION_UP:
        return "UP";
    case PARTITION_DOWN:
        return "DOWN";
    case PARTITION_DRAIN:
        return "DRAIN";
    default:
        return "INACTIVE";
    }
}

static int64_t minutes(uint32_t v)
{
    return v == INFINITE ? -1 : v == NO_VAL ? 0 : (int64_t)v * 60;
}

static int partitions(struct arena *arena, struct info_reply *out, struct err *err)
{
    partition_info_msg_t *msg = NULL;
    struct list l;
    cluster_slurm_begin();
    int rc = slurm_load_partitions(0, &msg, SHOW_LOCAL);
    if (rc || !msg)
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    uint32_t n = msg->record_count < PARTITIONS_MAX ? msg->record_count : PARTITIONS_MAX;
    if (!list_init(&l, n, arena))
        n = 0;
    for (uint32_t i = 0; i < n; i++) {
        const partition_info_t *in = &msg->partition_array[i];
        struct partition p = {
            .name = cut(in->name, 256, arena),
            .is_default = in->flags & PART_FLAG_DEFAULT,
            .state = partition_state(in->state_up),
            .max_time = minutes(in->max_time),
            .default_time = minutes(in->default_time),
            .nodes = in->total_nodes,
            .cpus = in->total_cpus,
            .node_list = cut(in->nodes, 65535, arena),
        };
        list_add(&l, &partition_type, &p, arena);
    }
    out->partitions = (struct raws){l.v, l.n};
    slurm_free_partition_info_msg(msg);
    return 0;
}

/* ---- nodes ---- */

/* What sinfo shows, without its marks: some flags hide the base state. */
static const char *node_word(uint32_t state, char buf[32])
{
    static const char *const words[] = {"unknown", "down",  "idle",  "allocated",
                                        "error",   "mixed", "future"};
    uint32_t base = state & NODE_STATE_BASE;
    bool busy = base == NODE_STATE_ALLOCATED || base == NODE_STATE_MIXED;
    if (state & NODE_STATE_INVALID_REG)
        return "inval";
    if (state & NODE_STATE_MAINT && !busy && base != NODE_STATE_DOWN && !(state & NODE_STATE_DRAIN))
        return "maint";
    if (state & (NODE_STATE_REBOOT_REQUESTED | NODE_STATE_REBOOT_ISSUED) && !busy)
        return "reboot";
    if (state & NODE_STATE_DRAIN)
        return busy || state & NODE_STATE_COMPLETING ? "draining" : "drained";
    if (state & NODE_STATE_FAIL)
        return base == NODE_STATE_ALLOCATED || state & NODE_STATE_COMPLETING ? "failing" : "fail";
    if (state & NODE_STATE_COMPLETING && base != NODE_STATE_ALLOCATED && base != NODE_STATE_DOWN)
        return "completing";
    if (base == NODE_STATE_IDLE && state & NODE_STATE_RES)
        return "reserved";
    if (base == NODE_STATE_IDLE && state & NODE_STATE_PLANNED)
        return "planned";
    if (base < ARRAY_LEN(words))
        return words[base];
    snprintf(buf, 32, "unknown_%u", base);
    return buf;
}

struct tally {
    char state[32];
    int64_t count;
};

static void count(struct tally *t, size_t *n, const char *state)
{
    size_t i = 0;
    while (i < *n && strcmp(t[i].state, state) != 0)
        i++;
    if (i == STATES_MAX)
        return;
    if (i == *n)
        str_copy(t[(*n)++].state, sizeof t[i].state, state);
    t[i].count++;
}

static int nodes(struct arena *arena, struct info_reply *out, struct err *err)
{
    node_info_msg_t *msg = NULL;
    struct tally t[STATES_MAX] = {0};
    struct list l;
    size_t n = 0;
    cluster_slurm_begin();
    int rc = slurm_load_node(0, &msg, SHOW_LOCAL | SHOW_MIXED);
    if (rc || !msg)
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    for (uint32_t i = 0; i < msg->record_count; i++) {
        const node_info_t *in = &msg->node_array[i];
        char buf[32];
        if (in->name && *in->name) /* one the user may not see has none */
            count(t, &n, node_word(in->node_state, buf));
    }
    slurm_free_node_info_msg(msg);
    if (!list_init(&l, n, arena))
        return err_set(err, ERR_LIMIT, "no memory");
    for (size_t i = 0; i < n; i++) {
        struct node_state s = {.state = t[i].state, .count = t[i].count};
        list_add(&l, &node_state_type, &s, arena);
    }
    out->nodes = (struct raws){l.v, l.n};
    return 0;
}

int cluster_info(struct arena *arena, struct info_reply *out, struct err *err)
{
    slurm_conf_t *conf = NULL;
    struct err why = {0};
    *out = (struct info_reply){.as_of = clock_now(), .slurm_version = cluster_version()};
    cluster_slurm_begin();
    int rc = slurm_load_ctl_conf(0, &conf);
    if (rc || !conf) {
        cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, &why);
        controllers_from_file(arena, out);
    } else {
        out->cluster = cut(conf->cluster_name, 64, arena);
        out->slurm_version = cut(conf->version, 64, arena);
        controllers(conf, arena, out);
        cluster_slurm_free_conf(conf);
        if (partitions(arena, out, &why) == 0)
            nodes(arena, out, &why);
    }
    if (why.code == ERR_NONE)
        return 0;
    out->error = arena_strdup(arena, why.text);
    return out->error ? 0 : err_set(err, ERR_LIMIT, "no memory");
}
