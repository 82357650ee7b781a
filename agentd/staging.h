/* SPDX-License-Identifier: GPL-3.0-or-later */
/* staging.h: jobs whose data is moved: inputs before they start, outputs before they count as done
 *
 * A job with inputs is submitted held, seen to be held, released when its inputs are whole; after
 * an end its outputs are stored, and until then it has not ended for anybody who asks the agent.
 * Each step is in the journal before the next is taken, so that another broker goes on with it.
 * Data is moved, and the job released or cancelled, by stage workers (stagers.h) under the job's
 * grant.
 *
 * Belongs to the loop.  All functions take NULL for a struct that is not there.
 */
#ifndef AGENTD_STAGING_H
#define AGENTD_STAGING_H

#include "agentd/agentd.h"
#include "agentd/jobrec.h"
#include "agentd/journal_staging.h"
#include "agentd/monitor_proto.h"
#include "agentd/staged_ask.h"
#include "common/jobverb.h"

enum staging_state {
#define STAGING(name, number, help) STAGING_##name = (number),
#include "agentd/staging.def"
#undef STAGING
};
/* NULL for a number that is none. */
const char *staging_word(int64_t state);

struct staging;

/* Takes what the journal has. */
struct staging *staging_new(struct agentd *a, struct err *err);
void staging_free(struct staging *s);

/* ---- from op_submit.c ---- */

/* A submit with a manifest (as the file worker has completed it): fn is called once, when it is
 * granted and on disk, or with why not; then nothing is kept of it. */
typedef void (*staging_begun_fn)(void *arg, const struct err *err);
void staging_begin(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt,
                   struct bytes manifest, staging_begun_fn fn, void *arg);
/* Must the job be submitted held? */
bool staging_holds_back(struct bytes manifest);
/* It is that job; 0: there is none now, but of an earlier attempt there may be.  Of one in doubt
 * requests.c is asked. */
void staging_submitted(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID],
                       int64_t job_id);

/* ---- from watch.c and live.c ---- */

/* A record as the watcher gives it, before it is told. */
void staging_saw(struct staging *s, const struct jobrec *rec);
/* The record as it is to be told: phase, outcome and how far its data is.  Takes the reference and
 * gives one.  Records that slurmdbd gives have no tag: then job id and submit time must be those of
 * a job of ours. */
struct jobrec *staging_tell(struct staging *s, struct jobrec *rec);
/* What was told, as Slurm had it; the caller's to unref, NULL without memory. */
struct jobrec *staging_raw(struct jobrec *rec);
/* Nobody has seen how it ended, which is to be found out if its outputs may be due. */
void staging_missed(struct staging *s, const struct jobrec *rec);
/* slurmctld has forgotten it: true when its outputs are still being stored.  Then it is kept, and
 * put back into the table by staging_put_back(). */
bool staging_gone(struct staging *s, struct jobrec *rec);
void staging_put_back(struct staging *s);
/* At the end of a load; whole: of all that slurmctld has, with nothing hidden. */
void staging_loaded(struct staging *s, bool whole);

/* ---- others ---- */

/* How many jobs are in each state that is not OVER, by its number; and the most that one user has,
 * and who. */
void staging_states(const struct staging *s, int64_t by_number[STAGING_OVER + 1]);
size_t staging_most(const struct staging *s, uint32_t *ret_uid);

/* The user is about to change that job, one of submit_time when that is not 0: what is to be said
 * of it instead, or STAGED_NOT.  A hold and a release are kept until its inputs are there. */
enum staged_ask staging_ask(struct staging *s, uint32_t uid, enum job_verb verb, const char *id,
                            int64_t submit_time);
/* The user has cancelled that: outputs of theirs that are being stored are not stored. */
void staging_cancel(struct staging *s, uint32_t uid, const char *id);
/* A worker that was stopped while it fetched has ended; clean: and has taken back what was half
 * done. */
void staging_undone(struct staging *s, uint32_t uid, const uint8_t request[REQUEST_ID], bool clean);
void staging_granted(struct staging *s, const struct monitor_event *ev);

#endif
