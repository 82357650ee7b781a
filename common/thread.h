/* SPDX-License-Identifier: GPL-3.0-or-later */
/* thread.h: threads beside a program's own */
#ifndef COMMON_THREAD_H
#define COMMON_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* With all signals blocked: they are the program's.  0 or an error number. */
int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg);

/* To be waited for until a time of clock_mono_ms(); as with any of them also without a signal. */
void thread_cond_init(pthread_cond_t *cond);
void thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif
