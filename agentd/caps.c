/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/caps.h"

#include <string.h>

#include "agentd/gate.h"
#include "agentd/held.h"
#include "agentd/listen.h"
#include "agentd/requests.h"
#include "agentd/stagers.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "agentd/worker.h"
#include "common/str.h"

static size_t connections(const struct agentd *a)
{
    struct listen_use use;
    listen_use(a->listen, &use);
    return use.connections;
}

static size_t staged_most(const struct agentd *a, char who[CAPS_WHO])
{
    uint32_t uid = 0;
    size_t most = staging_most(a->staging, &uid);
    if (most)
        snprintf(who, CAPS_WHO, "uid %u", uid);
    return most;
}

/* What one user has of it. */
static size_t of_user(const struct agentd *a, enum cap_index cap, const struct user *u)
{
    switch (cap) {
#define CAP(name, used)
#define CAP_MOST(name, used)
#define CAP_EACH(name, used)                                                                       \
    case CAP_##name:                                                                               \
        return used;
#include "agentd/caps.def"
#undef CAP
#undef CAP_EACH
#undef CAP_MOST
    default:
        return 0;
    }
}

struct looking {
    const struct agentd *a;
    enum cap_index cap;
    struct cap_use *out;
};

static void look_at_user(void *arg, const struct user *u)
{
    const struct looking *l = arg;
    int64_t used = (int64_t)of_user(l->a, l->cap, u);
    if (used <= l->out->used)
        return;
    l->out->used = used;
    str_copy(l->out->who, sizeof l->out->who, u->name);
}

void caps_look(const struct agentd *a, enum cap_index cap, struct cap_use *out)
{
    struct looking l = {a, cap, out};
    char *who = out->who;
    *out = (struct cap_use){0};
    switch (cap) {
#define CAP(name, amount)                                                                          \
    case CAP_##name:                                                                               \
        *out = (struct cap_use){.used = (int64_t)(amount), .max = a->conf.name};                   \
        break;
#define CAP_MOST(name, amount)                                                                     \
    case CAP_##name:                                                                               \
        out->used = (int64_t)(amount);                                                             \
        out->max = a->conf.name;                                                                   \
        break;
#define CAP_EACH(name, amount)                                                                     \
    case CAP_##name:                                                                               \
        sessions_each_user(a->sessions, look_at_user, &l);                                         \
        out->max = a->conf.name;                                                                   \
        break;
#include "agentd/caps.def"
#undef CAP
#undef CAP_EACH
#undef CAP_MOST
    default:
        break;
    }
}

struct cap_name caps_name(enum cap_index cap)
{
    static const struct cap_name settings[] = {
#define CONF_STR(name, def, help)
#define CONF_BOOL(name, def, help)
#define CONF_INT(name, def, min, max, unit, help) {#name, unit, help},
#include "agentd/conf.def"
#undef CONF_STR
#undef CONF_BOOL
#undef CONF_INT
    };
    const char *name = metrics_cap_word(cap);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return settings[i];
    return (struct cap_name){name, "", ""};
}
