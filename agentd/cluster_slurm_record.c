/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What slurmctld's records and slurmdbd's have in common, as ours. */
#include "agentd/cluster_slurm.h"

#include <pwd.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/jobstate.h"
#include "common/str.h"

/* ---- user names ---- */

enum { NAME_SLOTS = 1024, NAME_KEEP_MS = 600000 };

/* One a slot, by the low bits of the uid; for the life of the process, which has one thread. */
static struct name {
    char text[256];
    uint32_t uid;
    int64_t until_ms;
} names[NAME_SLOTS];

const char *cluster_slurm_user(uint32_t uid)
{
    struct name *n = &names[uid % NAME_SLOTS];
    int64_t now = clock_mono_ms();
    if (n->uid == uid && n->until_ms > now)
        return n->text;
    struct passwd pw, *found = NULL;
    char buf[16384];
    if (getpwuid_r(uid, &pw, buf, sizeof buf, &found) != 0 || !found)
        snprintf(n->text, sizeof n->text, "%u", uid);
    else
        str_copy(n->text, sizeof n->text, found->pw_name);
    n->uid = uid;
    n->until_ms = now + NAME_KEEP_MS;
    return n->text;
}

/* ---- one record ---- */

const char *cluster_slurm_cut(struct cluster_slurm_record *r, const char *s, size_t max)
{
    if (!s || !*s)
        return NULL;
    return strnlen(s, max + 1) <= max ? s : arena_strndup(&r->arena, s, max);
}

int64_t cluster_slurm_number(uint32_t v)
{
    return v == NO_VAL || v == INFINITE ? 0 : v;
}

int64_t cluster_slurm_when(time_t t)
{
    return t > 0 && (uint64_t)t != NO_VAL && (uint64_t)t != INFINITE ? t : 0;
}

const char *cluster_slurm_state(struct cluster_slurm_record *r, uint32_t state)
{
    uint32_t base = state & JOB_STATE_BASE;
    const char *word = jobstate_word(base);
    if (word)
        return word;
    snprintf(r->state, sizeof r->state, "UNKNOWN_%u", base);
    return r->state;
}

struct strs cluster_slurm_flags(struct cluster_slurm_record *r, uint32_t state)
{
    size_t n = 0;
    for (unsigned bit = 8; bit < 32; bit++) {
        if (!(state & 1u << bit))
            continue;
        const char *word = cluster_slurm_state_flag(bit, r->unknown_flags[n]);
        if (word)
            r->flags[n++] = word;
    }
    return (struct strs){r->flags, n};
}

void cluster_slurm_set_id(struct cluster_slurm_record *r, const struct cluster_slurm_id *in,
                          struct job *out)
{
    out->job_id = in->job_id;
    if (in->het_job_id) {
        out->het_job_id = in->het_job_id;
        out->het_offset = cluster_slurm_number(in->het_offset);
        out->id = arena_printf(&r->arena, "%u+%u", in->het_job_id, (unsigned)out->het_offset);
    } else if (in->array_job_id && in->array_task_id != NO_VAL) {
        out->array_task = arena_printf(&r->arena, "%u", in->array_task_id);
        out->id = arena_printf(&r->arena, "%u_%u", in->array_job_id, in->array_task_id);
    } else if (in->array_job_id && in->waiting_tasks && *in->waiting_tasks) {
        bool whole = strnlen(in->waiting_tasks, 481) <= 480;
        out->array_task = cluster_slurm_cut(r, in->waiting_tasks, 65535);
        out->id = arena_printf(&r->arena, "%u_[%.480s%s]", in->array_job_id, in->waiting_tasks,
                               whole ? "" : "...");
    } else {
        out->id = arena_printf(&r->arena, "%u", in->job_id);
    }
    out->array_job_id = in->array_job_id;
}

void cluster_slurm_exit(uint32_t exit_code, uint32_t derived, struct job *out)
{
    int status = (int)cluster_slurm_number(exit_code), highest = (int)cluster_slurm_number(derived);
    out->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    out->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out->derived_exit_code = WIFEXITED(highest) ? WEXITSTATUS(highest) : 0;
}

void cluster_slurm_memory(uint64_t mem, struct job *out)
{
    uint64_t mb = mem & ~MEM_PER_CPU;
    if (mem != NO_VAL64 && mem != INFINITE64 && mb <= INT64_MAX >> 20)
        *(mem & MEM_PER_CPU ? &out->mem_per_cpu : &out->mem_per_node) = (int64_t)(mb << 20);
}
