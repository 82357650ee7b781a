/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_staging.h: jobs whose data is moved, on disk
 *
 * Beside the final records in the same file, see journal.h; the same thread, the same rules.  A job
 * has a row with its manifest, and one more for each of its ends whose outputs are stored: of an
 * array one for each task.
 */
#ifndef AGENTD_JOURNAL_STAGING_H
#define AGENTD_JOURNAL_STAGING_H

#include "agentd/journal.h"
#include "agentd/request_tag.h"

enum { STAGING_TEXT = 500, STAGING_JOB = -1 /* task of the job's own row */ };

struct staging_row {
    uint32_t uid;
    uint8_t id[REQUEST_ID];
    int64_t task;
    int64_t state; /* staging.def */
    int64_t attempt;
    int64_t job_id;      /* of a task's row the array's */
    int64_t submit_time; /* of a task's row that of the run */
    int64_t begun, changed, code, files, bytes;
    char text[STAGING_TEXT];
    struct bytes manifest; /* n 0: as it was */
};

/* rows are borrowed; of a note they are what was to be kept, whatever became of it (none without
 * memory).  Called once, from the loop; before the function it was given to returns only
 * without memory. */
typedef void (*journal_staging_fn)(void *arg, const struct staging_row *rows, size_t n,
                                   const struct err *err);

/* Keeps rows as they are now; fn may be NULL. */
void journal_staging_note(struct journal *j, const struct staging_row *rows, size_t n,
                          journal_staging_fn fn, void *arg);
/* What is open, or was not long before jobs were last watched, with all of its ends; and what has
 * gone wrong (without manifests): jobs' rows first.  A slurmctld that was killed then may have
 * forgotten that it ended. */
void journal_staging_open(struct journal *j, journal_staging_fn fn, void *arg);
/* All rows of a job of uid, the latest with that id first. */
void journal_staging_get(struct journal *j, uint32_t uid, int64_t job_id, journal_staging_fn fn,
                         void *arg);
/* As journal_staging_open() when the journal was opened, at once and once; or why it could not be:
 * no job must be taken for one that has ended before it is known that its outputs are to be stored.
 */
void journal_staging_first(struct journal *j, journal_staging_fn fn, void *arg);

#endif
