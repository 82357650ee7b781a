/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_stage.h: submit's options about a job's data; no input and no output */
#ifndef CLIENT_CLI_STAGE_H
#define CLIENT_CLI_STAGE_H

#include "client/slurmagent_store.h"
#include "common/err.h"

struct cli_stage {
    struct sagent_staging staging;
    struct sagent_input *inputs;
    struct sagent_output *outputs;
    struct sagent_upload *uploads;
    size_t upload_count;
    const char *upload_store; /* NULL: as client.conf says */
    const char *output_on;
    bool any; /* something is to be moved */
};

/* Is it one of these: --input with a URL, --output and --optional-output with PATH=URL,
 * --upload,
 * --upload-store, --output-on, --stdout-to, --stderr-to, --stage-timeout, --stage-quota?  sbatch's
 * --input and --output name files.  1: taken; 0: it is not; -1 with *err.  The value is kept. */
int cli_stage_take(struct cli_stage *s, const char *name, const char *value, struct err *err);
/* When all of them are there. */
void cli_stage_end(struct cli_stage *s);
void cli_stage_done(struct cli_stage *s);

#endif
