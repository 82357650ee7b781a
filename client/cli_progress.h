/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_progress.h: how far transfers are: a bar on a terminal, else a line for each file */
#ifndef CLIENT_CLI_PROGRESS_H
#define CLIENT_CLI_PROGRESS_H

#include "client/slurmagent_store.h"

/* What is shown of transfers, and how. */
struct cli_progress {
    bool json, quiet, bar;
    bool beside; /* lines go to stderr: stdout is for something else */
    int64_t begun_ms, drawn_ms;
    int64_t mark_ms, mark_bytes; /* where the rate is counted from */
    int64_t rate;                /* bytes a second */
    int64_t before_bytes;        /* of earlier outputs */
    int64_t done_bytes, files, failed, missing;
    const struct sagent_stored *optional; /* NULL, or what is moved and need not be there */
    int drawn;                            /* characters of the bar that is there now */
};

/* When json, quiet and beside are set. */
void cli_progress_begin(struct cli_progress *s);
/* Of struct sagent_transfer_options, with it as arg. */
int cli_progress_bytes(void *arg, int64_t done, int64_t all, int64_t files, int64_t all_files);
void cli_progress_file(void *arg, const struct sagent_transfer *t, const struct sagent_error *err);
void cli_progress_left_out(void *arg, const char *path);
/* Takes the bar away; in its place comes how much it was. */
void cli_progress_end(struct cli_progress *s);

#endif
