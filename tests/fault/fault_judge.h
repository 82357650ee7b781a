/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fault_judge.h: how jobs are counted, apart from where the facts come from, so that it can be
 * tried with tables that are made up (tests/unit/test_fault_judge.c)
 *
 * The rule.  A request's jobs are all those that Slurm has, or has had, with its tag: in slurmctld
 * by alloc_sid, in slurmdbd by the request id and the attempt in submit_line, and those that left
 * their id when they ran.  Each counts once by its id: one that was requeued has it still.
 *  - The job is the one that the clients were told.  There must be one, and slurmctld must have it.
 *  - Forgotten is what slurmctld has not, though it keeps jobs for longer than the run, and was
 *    killed just after it was made.  That is Slurm's loss and no double; without a kill it is one.
 *  - A late twin is another one that the agent has reported as such.  Its request was under way
 *    while slurmctld kept requests back, for longer than all that the agent may count on; it was
 *    sent again meanwhile; and the twin was made as they were let go.  It was cancelled before it
 *    started; of one that had started already more than the report cannot be asked.
 *  - What Slurm is to refuse has no job.  A record that it keeps of what it refused has ended, and
 *    never began.
 *  - slurmctld may have been started without its state: what it had before is taken down then, and
 *    counts as what it has, but that the agent may say LOST of what had not ended.  One that waited
 *    then is no double of what was made after it.
 *  - All else beside the job is a double, also two jobs of one attempt.
 */
#ifndef TESTS_FAULT_FAULT_JUDGE_H
#define TESTS_FAULT_FAULT_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_job {
    uint32_t id;
    int64_t attempt; /* 0: not known */
    int64_t made_s;  /* submitted, Unix seconds */
    bool shown;      /* slurmctld has it now */
    bool started;
    bool cancelled;
    bool ended;     /* in slurmctld */
    bool reported;  /* as a late twin, by the agent */
    uint32_t wiped; /* slurmctld had it, and was started without its state after that: which time,
                       from 1; 0: no */
    bool wiped_cancelled; /* it was cancelled then; slurmdbd calls all of them so */
};

enum { FAULT_SENT = 40 };

/* What the clients and the agent say. */
struct fault_told {
    uint32_t job_id; /* 0: no answer */
    int64_t told_s;
    bool differs;               /* two answers named two jobs */
    bool refuses;               /* Slurm is to refuse it, */
    bool refused;               /* and its client was told so */
    int64_t sent_s[FAULT_SENT]; /* each time, the last ones: any of them may be another attempt */
    size_t n_sent;
    bool cancelled;    /* its client has, and the agent has said that it did */
    const char *state; /* of the request, in the end */
    uint32_t job_now;  /* and its job */
};

struct fault_span {
    int64_t from_s, to_s;
};

struct fault_world {
    const int64_t *kills_s; /* of slurmctld */
    size_t n_kills;
    const struct fault_span *late; /* from when requests were kept until they were let go */
    size_t n_late;
};

enum fault_fate {
    FAULT_ONE,           /* slurmctld has its job */
    FAULT_OVER,          /* it ended, and was forgotten after that */
    FAULT_SAID_LOST,     /* it was forgotten, and the agent says so */
    FAULT_NOT_SUBMITTED, /* it was forgotten before the agent had noted its answer */
    FAULT_NO,            /* it was refused */
    FAULT_LOST,
    FAULT_DOUBLED,
    FAULT_OPEN, /* no answer */
};

struct fault_verdict {
    enum fault_fate fate;
    const char *why; /* LOST, DOUBLED, OPEN */
    uint32_t twins, twins_started, forgotten;
};

void fault_judge(const struct fault_world *w, const struct fault_told *told,
                 const struct fault_job *jobs, size_t n, struct fault_verdict *out);
/* Was slurmctld killed so near to that time that it may have forgotten what it was told then? */
bool fault_killed_near(const struct fault_world *w, int64_t from_s, int64_t to_s);

#endif
