/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_follow.h: what wait, watch and run share: signals, outages, events, exit statuses */
#ifndef CLIENT_CLI_FOLLOW_H
#define CLIENT_CLI_FOLLOW_H

#include "client/cli.h"

/* ---- signals ---- */

/* From here on SIGINT and SIGTERM, unless they are ignored, are counted, and interrupt the handle
 * that cli_signals_to() names; after so many of them the next one ends the program. */
void cli_signals_catch(int patience);
/* From here on they end the program again. */
void cli_signals_release(void);
/* NULL: none.  The handle must live until the next of these calls. */
void cli_signals_to(struct sagent *s);
int cli_signals_count(void);
/* Ends the program as the last of these signals would have; the exit status if that is not to be.
 */
int cli_signals_end(void);

/* ---- outages ---- */

struct cli_outage {
    bool out;   /* the server does not answer, and that was said */
    bool stale; /* slurmctld does not answer, and that was said */
};

/* Handles opened from cli->options say once that the server is away, and that it is back. */
void cli_outage_watch(struct cli_outage *o, struct cli *cli);
/* The same for slurmctld, from what an answer says. */
void cli_outage_stale(struct cli_outage *o, bool stale, int64_t as_of, const char *note);

/* ---- how jobs ended ---- */

/* 0 when it succeeded; else its exit code, 128 + signal, 1 for what has neither (cancelled, out of
 * time), CLI_MISSING when nobody knows; 0 for a job that has not ended. */
int cli_job_status(const struct sagent_job *job);
/* The same for "has it started": 0 for one that has ended since. */
int cli_job_start_status(const struct sagent_job *job);
/* The highest of them; ids that are unknown count as CLI_MISSING. */
int cli_jobs_status(const struct sagent_jobs *jobs, enum sagent_until until);
/* "0", "3", "signal 9"; "" when it has none: it has not ended, or was cancelled, say. */
const char *cli_job_exit(const struct sagent_job *job, char out[CLI_TEXT]);
/* Why it waits, where it runs or how it ended; gives for free(). */
char *cli_job_remark(const struct sagent_job *job);

/* ---- events ---- */

struct cli_follow {
    struct sagent *s;
    struct sagent_events_request request; /* of which cursor is looked after here */
    bool until_end;                       /* return when all of request.ids have ended */
    /* Told each answer that has events, or lacks some.  before is the cursor it was asked with. */
    void (*tell)(void *arg, const struct sagent_events *e, const char *before);
    void *arg;
    struct cli_outage *outage;
    bool notes; /* say what the server remarks, once */
    /* private */
    char *cursor;
    bool look; /* they may all have ended */
    bool said_missing, said_note;
    bool missing; /* of one nobody knows, or how it ended */
};

/* Goes on until all jobs have ended, or for ever; -1 with *err: call again to go on, after
 * SAGENT_ERR_INTERRUPTED for instance. */
int cli_follow(struct cli_follow *f, struct sagent_error *err);
void cli_follow_done(struct cli_follow *f);
static inline void cleanup_cli_follow_done(struct cli_follow *f)
{
    cli_follow_done(f);
}
/* An event as a line for people, without a newline; gives for free(). */
char *cli_event_line(const struct sagent_event *e, const char *arrow);

#endif
