/* SPDX-License-Identifier: GPL-3.0-or-later */
/* wire.h: msgpack, bounded: the reader checks every count against the bytes left before it believes
 * it
 *
 * msgpack-c 4.0's own unpacker reserves what a header announces before it has seen the body, so
 * outside bytes are read here and msgpack-c only writes.  A read error is sticky: a decoder may go
 * on and check once at the end.
 */
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"

enum {
    WIRE_MAX_DEPTH = 16,
    WIRE_MAX_FRAME = 6 << 20, /* Slurm's scripts are 4 MiB by default, environments come on top */
    WIRE_MAX_JOBS = 5 << 20,  /* bytes of jobs in one reply: it has other fields, too */
};

struct bytes {
    const uint8_t *p;
    size_t n;
};

struct wire_in {
    const uint8_t *p, *end;
    const char *error; /* the first thing that was wrong, NULL so far so good */
};

/* Borrows data until the reading is over. */
void wire_in_init(struct wire_in *in, const void *data, size_t size);
/* Puts the reader into its error state; the first text wins.  Returns false. */
bool wire_fail(struct wire_in *in, const char *what);
/* Each reads one object and is false, with in->error set, when there is another or none. */
bool wire_get_map(struct wire_in *in, uint32_t *ret_n);
bool wire_get_array(struct wire_in *in, uint32_t *ret_n);
/* Borrowed from the frame.  Not NUL-terminated; a string with a NUL inside is refused. */
bool wire_get_str(struct wire_in *in, struct bytes *ret);
bool wire_get_bin(struct wire_in *in, struct bytes *ret);
bool wire_get_i64(struct wire_in *in, int64_t *ret);
bool wire_get_bool(struct wire_in *in, bool *ret);
/* Passes over one object of any kind, at most WIRE_MAX_DEPTH deep. */
bool wire_skip(struct wire_in *in);
/* Passes over one object and gives its bytes, borrowed. */
bool wire_get_raw(struct wire_in *in, struct bytes *ret);
/* True when nothing has failed and no byte is left. */
bool wire_end(struct wire_in *in);

struct wire_out;
/* NULL without memory. */
struct wire_out *wire_out_new(void);
void wire_out_free(struct wire_out *out);
CLEANUP_FN(struct wire_out, wire_out_free)
/* Empties it and keeps the memory. */
void wire_out_clear(struct wire_out *out);
void wire_put_map(struct wire_out *out, size_t n);
void wire_put_array(struct wire_out *out, size_t n);
void wire_put_str(struct wire_out *out, const char *s);
void wire_put_bin(struct wire_out *out, struct bytes b);
void wire_put_i64(struct wire_out *out, int64_t v);
void wire_put_bool(struct wire_out *out, bool v);
/* One object that is packed already. */
void wire_put_raw(struct wire_out *out, struct bytes b);
/* Borrowed until the next put.  p is NULL when memory ran out on the way. */
struct bytes wire_out_bytes(const struct wire_out *out);

#endif
