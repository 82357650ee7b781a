/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_requests.h: submits by their request ids, on disk
 *
 * Beside the final records in the same file, see journal.h; the same thread, the same rules.
 */
#ifndef AGENTD_JOURNAL_REQUESTS_H
#define AGENTD_JOURNAL_REQUESTS_H

#include "agentd/journal.h"
#include "agentd/request_tag.h"

enum { REQUEST_HASH = 32, REQUEST_TEXT = 300 };

struct request_row {
    uint32_t uid;
    uint8_t id[REQUEST_ID], hash[REQUEST_HASH];
    int64_t state; /* requests.def */
    int64_t attempt, tag;
    int64_t begun, changed; /* Unix seconds */
    int64_t job_id;
    int64_t submit_time; /* the job's; IN_DOUBT: until then no job of it was missed; REFUSED:
                            Slurm's own number of what it said */
    int64_t code;
    int64_t clock; /* what the clock said more than the one that cannot be set, when it was noted,
                      in seconds; 0: not known */
    char text[REQUEST_TEXT];
};

/* rows are borrowed.  begun: see below.  Called once, from the loop; before the function it was
 * given to returns only without memory. */
typedef void (*journal_requests_fn)(void *arg, const struct request_row *rows, size_t n, bool begun,
                                    const struct err *err);

/* Notes that want is about to be submitted, unless there is such a request already; want->attempt
 * is the lowest number the attempt may get.  The row is as it is on disk now.  begun: this is a new
 * attempt, of an id that is new or whose row has the same hash and may be submitted again.
 * ERR_LIMIT: it is new, and as many of the user's are kept as may be. */
void journal_request_begin(struct journal *j, const struct request_row *want,
                           journal_requests_fn fn, void *arg);
/* Keeps the row as it is now, with or without one before; n of them in one go.  fn: they are on
 * disk, or why not; NULL: nobody wants to know. */
void journal_request_note(struct journal *j, const struct request_row *rows, size_t n,
                          journal_requests_fn fn, void *arg);
/* One row, or none. */
void journal_request_get(struct journal *j, uint32_t uid, const uint8_t id[REQUEST_ID],
                         journal_requests_fn fn, void *arg);
/* All those that are open, and those since then that were tried more than once or have no job. */
void journal_requests_open(struct journal *j, int64_t since, journal_requests_fn fn, void *arg);

/* What this journal is: another one after it was lost, restored from a copy or begun anew, and then
 * it knows no request id from before.  All zero: it was never open. */
const uint8_t *journal_instance(const struct journal *j);
/* How often a file was opened, that requests must be read from. */
int64_t journal_openings(const struct journal *j);

#endif
