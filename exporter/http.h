/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http.h: /metrics, /healthz and /readyz (only http.c has microhttpd.h)
 *
 * Anybody may connect who reaches the address: connections, headers and time are capped, and there
 * is nothing to write to.
 */
#ifndef EXPORTER_HTTP_H
#define EXPORTER_HTTP_H

#include "common/err.h"
#include "exporter/scrape.h"

struct http;

/* ADDRESS:PORT, [ADDRESS]:PORT; numeric. */
struct http *http_new(const char *listen, struct scrape *scrape, struct err *err);
/* After scrape_stop(): nobody may wait any more. */
void http_free(struct http *h); /* NULL is fine */
/* Now and then: ends connections that have asked nothing for too long. */
void http_tick(struct http *h);

#endif
