/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a slurmctld that was killed has forgotten: the next one has the state that was last saved.
 */
#include "agentd/stagers.h"
#include "agentd/staging_impl.h"
#include "agentd/watch.h"
#include "common/clock.h"

enum {
    SAVES_S = 30,   /* slurmctld saves its jobs each 5 s, unless it is slow */
    REBOOT_S = 600, /* a host is up again by then */
};

/* slurmctld was killed before it had saved that, and has it held again.  A hold of its user's in
 * these few seconds cannot be told from that; what it had for longer it has saved. */
bool staged_lost_release(const struct staged *e, const struct seen *v)
{
    const struct staging *s = e->s;
    int64_t alive = s->alive ? s->alive : s->boot_time;
    return e->has_inputs && !e->held && !e->by_hand && v->open && v->held == v->open &&
           s->boot_time >= e->changed && alive - e->changed <= SAVES_S;
}

/* A slurmctld that has started since shows it released: whoever holds it from now on is its user.
 */
void staged_kept_release(struct staged *e, const struct seen *v)
{
    int64_t boot = e->s->boot_time, now = clock_now();
    if (!e->has_inputs || v->held == v->open || boot < e->changed)
        return;
    e->changed = now > boot ? now : boot + 1;
    staged_note(e, NULL, NULL);
}

void staged_release_again(struct staged *e)
{
    staged_say(e, LOG_LEVEL_NOTICE,
               "slurmctld was killed, and has forgotten its release: once more");
    run_stop(&e->run); /* what it did before is no release */
    run_release(e);
}

/* The end that was seen of the run that the record is of. */
static bool is_of_run(const struct unit *u, const struct jobrec *rec)
{
    return u->state != STAGING_SOUGHT && u->submit_time == rec->submit_time;
}

/* It has not ended, under the submit time that it ended with: slurmctld came up with the state from
 * before that.  Whoever requeues a job gives it another submit time. */
void staged_lost_ends(struct staged *e, const struct jobrec *rec)
{
    bool many = rec->in_array && rec->task == JOBREC_NO_TASK;
    if (rec->ended)
        return;
    for (size_t i = e->n_units; many && i > 0; i--) {
        const struct jobid task = {
            .kind = JOBID_TASK, .id = rec->group, .second = e->units[i - 1]->task};
        if (is_of_run(e->units[i - 1], rec) && jobrec_named(rec, &task))
            unit_forget(e, e->units[i - 1]);
    }
    struct unit *u = many ? NULL : unit_of(e, rec);
    if (u && is_of_run(u, rec))
        unit_forget(e, u);
}

/* An end that was over, and its job runs again: somebody has requeued it. */
void staged_begin_again(struct staged *e, int64_t submit_time)
{
    if (e->code > 0)
        return;
    int64_t changed = e->submit_time == submit_time ? e->changed : 0;
    e->submit_time = submit_time;
    e->code = 0;
    e->grant_lost = true;
    staged_set_state(e, STAGING_RELEASED);
    if (changed) /* slurmctld has forgotten that it had ended; and its release, perhaps */
        e->changed = changed;
    e->look = true;
    staged_note(e, NULL, NULL);
}

/* Until when the one before lived, as a broker before saw it: killed together, as with their host.
 * In a longer time than that takes a user may have held a job, and nobody saw it. */
static int64_t alive_before(const struct staging *s, int64_t boot_time)
{
    int64_t gap = boot_time - s->alive_first;
    return gap > 0 && gap <= REBOOT_S ? s->alive_first : 0;
}

/* Another slurmctld than at the last load? */
bool staging_note_boot(struct staging *s)
{
    struct watch_status st;
    watch_status(s->a->watch, &st);
    bool is_new = st.boot_time && st.boot_time != s->boot_time;
    if (is_new) {
        s->alive = s->boot_time ? s->as_of : alive_before(s, st.boot_time);
        s->boot_time = st.boot_time;
    }
    s->as_of = st.as_of;
    return is_new;
}
