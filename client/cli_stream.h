/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_stream.h: a job's output copied to a descriptor, once or following it: what logs and run
 * share
 *
 * A struct cli_stream belongs to one thread, but for written.
 */
#ifndef CLIENT_CLI_STREAM_H
#define CLIENT_CLI_STREAM_H

#include <stdatomic.h>

#include "client/cli.h"

struct cli_stream {
    struct sagent *s;
    struct sagent_log_request request; /* of which file and what follows it are looked after here */
    int fd;
    bool follow; /* until the job and its output have ended; over outages */
    bool skip;   /* what there is so far is not wanted */
    bool beside; /* of two that are copied: say less, and leave what the other one copies */
    bool quiet;  /* say no notes */
    atomic_llong written;
    /* private */
    char *file, *note;
    bool answered;
};

/* The exit status, after having said what went wrong. */
int cli_stream_copy(struct cli_stream *st);

#endif
