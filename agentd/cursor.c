/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t cursor_epoch(const uint8_t instance[SEAL_ID])
{
    uint64_t epoch;
    memcpy(&epoch, instance, sizeof epoch);
    return epoch;
}

void cursor_format(const struct cursor *c, char out[CURSOR_TEXT])
{
    snprintf(out, CURSOR_TEXT, "%016" PRIx64 "-%c-%" PRIu64 "-%" PRId64 "-%" PRIu32, c->epoch,
             (char)c->mode, c->seq, c->end, c->after);
}

int cursor_parse(const char *text, struct cursor *out, struct err *err)
{
    char mode, again[CURSOR_TEXT];
    int n = sscanf(text, "%16" SCNx64 "-%c-%20" SCNu64 "-%19" SCNd64 "-%10" SCNu32, &out->epoch,
                   &mode, &out->seq, &out->end, &out->after);
    if (n == 5 && mode && strchr("ehlp", mode) && out->end >= 0) {
        out->mode = (enum cursor_mode)mode;
        cursor_format(out, again);
        if (strcmp(again, text) == 0)
            return 0;
    }
    return err_set(err, ERR_INVALID, "cursor '%.60s' is none that this server gave", text);
}
