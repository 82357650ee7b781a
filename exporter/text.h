/* SPDX-License-Identifier: GPL-3.0-or-later */
/* text.h: statistics in Prometheus' text format, version 0.0.4 */
#ifndef EXPORTER_TEXT_H
#define EXPORTER_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "client/slurmagent_admin.h"

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* stats NULL: the server did not answer, and that alone is told.  took_us: how long it was asked.
 * Gives a text to free(); NULL without memory. */
char *text_make(const struct sagent_stats *stats, int64_t took_us, size_t *ret_size);

#endif
