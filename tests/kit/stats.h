/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stats.h: what an administrator is told of the sandbox's server */
#ifndef TESTS_KIT_STATS_H
#define TESTS_KIT_STATS_H

#include <jansson.h>

/* admin VERB [ARG] as user, NULL: root, over the server's own socket; json_decref() it.  Fails the
 * test when it fails. */
json_t *stats_admin(const char *user, const char *verb, const char *arg);
/* The value of a series (a histogram's count); labels as "op=job.get,result=OK"; -1 when it has
 * never counted. */
double stats_series(const char *user, const char *name, const char *labels);

#endif
