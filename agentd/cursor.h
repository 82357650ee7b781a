/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cursor.h: how far a client has got with the events, as the text it keeps and gives back */
#ifndef AGENTD_CURSOR_H
#define AGENTD_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/seal.h"

enum { CURSOR_TEXT = 128 };

/* What comes next for the client. */
enum cursor_mode {
    CURSOR_EVENTS = 'e', /* events after seq; ends up to number `end` are known to it */
    CURSOR_ENDS = 'h',   /* ends that it missed: those of the journal after number `end` */
    CURSOR_LIVE = 'l', /* then the present state of jobs after job_id `after` that have not ended */
    CURSOR_PRESENT = 'p', /* the same for all jobs, for one that begins with a snapshot */
};

struct cursor {
    uint64_t epoch; /* of the broker whose seq it is */
    enum cursor_mode mode;
    uint64_t seq;
    int64_t end;
    uint32_t after;
};

/* This broker's epoch. */
uint64_t cursor_epoch(const uint8_t instance[SEAL_ID]);
void cursor_format(const struct cursor *c, char out[CURSOR_TEXT]);
/* ERR_INVALID for what this program never gave out. */
int cursor_parse(const char *text, struct cursor *out, struct err *err);

#endif
