/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prom.h: Prometheus' text format, read strictly */
#ifndef TESTS_KIT_PROM_H
#define TESTS_KIT_PROM_H

#include <stdbool.h>

/* Is it well formed: each family once, with HELP and TYPE before its samples, no series twice,
 * histograms cumulative with +Inf as their count?  why says what is not. */
bool prom_good(const char *text, char why[300]);
/* The value of a series as it is written: name{a="b"}; false when it is not there. */
bool prom_value(const char *text, const char *series, double *ret);

#endif
