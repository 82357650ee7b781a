/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fdio.h: whole reads and writes on blocking file descriptors */
#ifndef COMMON_FDIO_H
#define COMMON_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads exactly n bytes: 1; 0 at an end of file before the first byte; -1 with errno otherwise
 * (EPIPE for an end in the middle). */
int fdio_read_full(int fd, void *buf, size_t n);
/* Writes all of it: 0 or -1 with errno.  Sockets only: uses send() with MSG_NOSIGNAL. */
int fdio_send_full(int fd, const void *buf, size_t n);
/* Both, as one: the far end is woken once.  body may be NULL when it is empty. */
int fdio_send_both(int fd, const void *head, size_t n_head, const void *body, size_t n_body);

/* A non-blocking eventfd as a bell: it rings, however often it was rung, until it is hushed. */
void fdio_ring(int fd);
void fdio_hush(int fd);

/* Closes those of both that are not -1, and makes them so. */
void fdio_close_pair(int pair[2]);

#endif
