/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/cancels.h"

#include <string.h>

#include "agentd/outcome.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    KEPT = 4096,
    KEPT_S = 600, /* from a cancel to the end: KillWait and an epilog, at most */
};

struct cancel {
    int64_t time; /* Unix seconds; 0: none */
    struct jobid id;
    char text[80]; /* what id is of; a longer list of tasks is not remembered */
    char user[64];
    uint64_t asked; /* not answered yet: as cancels_ask() gave it, else 0 */
    uint32_t uid;   /* asked: user's */
};

/* A ring. */
struct cancels {
    size_t next;
    uint64_t asks; /* so far */
    struct cancel v[KEPT];
};

struct cancels *cancels_new(void)
{
    return calloc(1, sizeof(struct cancels));
}

void cancels_free(struct cancels *c)
{
    free(c);
}

static struct cancel *add(struct cancels *c, const char *id, const char *user)
{
    struct cancel *at = &c->v[c->next];
    struct err ignored = {0};
    if (strlen(id) >= sizeof at->text || strlen(user) >= sizeof at->user)
        return NULL;
    *at = (struct cancel){0};
    str_copy(at->text, sizeof at->text, id);
    str_copy(at->user, sizeof at->user, user);
    if (jobid_parse(at->text, &at->id, &ignored) < 0)
        return NULL;
    at->time = clock_now();
    c->next = (c->next + 1) % KEPT;
    return at;
}

uint64_t cancels_ask(struct cancels *c, const char *id, const char *user, uint32_t uid)
{
    struct cancel *at = add(c, id, user);
    if (!at)
        return 0;
    at->uid = uid;
    at->asked = ++c->asks * KEPT + (uint64_t)(at - c->v);
    return at->asked;
}

void cancels_answered(struct cancels *c, uint64_t asked, bool taken)
{
    struct cancel *at = &c->v[asked % KEPT];
    size_t last = (c->next + KEPT - 1) % KEPT;
    if (!asked || at->asked != asked)
        return;
    at->asked = 0;
    if (taken)
        return;
    at->time = 0;
    /* so that who is refused over and over does not drive out what others did */
    if (at == &c->v[last])
        c->next = last;
}

void cancels_note(struct cancels *c, const char *id, const char *user)
{
    add(c, id, user);
}

/* The first that named it: later ones found it ended. */
static const char *who(const struct cancels *c, const struct jobrec *rec)
{
    int64_t now = clock_now();
    for (size_t i = 0; i < KEPT; i++) {
        const struct cancel *at = &c->v[(c->next + i) % KEPT];
        if (at->time && now - at->time < KEPT_S && at->time >= rec->submit_time &&
            (!at->asked || at->uid == rec->keys.uid) && jobrec_named(rec, &at->id))
            return at->user;
    }
    return NULL;
}

struct jobrec *cancels_tell(const struct cancels *c, struct jobrec *rec)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    /* it may have the state and still be dying, see outcome.c */
    bool cancelled = rec->phase == PHASE_CANCELLED || str_eq(rec->keys.state, "CANCELLED");
    const char *user = cancelled ? who(c, rec) : NULL;
    if (!user || msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &j, &err) < 0 ||
        j.cancelled_by)
        return rec;
    j.cancelled_by = user;
    outcome_explain(&j, &arena);
    struct jobrec *told = jobrec_of(&j, &err);
    if (!told)
        return rec;
    jobrec_unref(rec);
    return told;
}
