/* SPDX-License-Identifier: GPL-3.0-or-later */
/* msg.h: messages.def as C structs, and the one pair of functions that packs and unpacks them all
 *
 *     struct get_request req;
 *     if (msg_unpack(&get_request_type, body, &arena, MSG_STRICT, &req, err) < 0) ...
 */
#ifndef COMMON_MSG_H
#define COMMON_MSG_H

#include "common/arena.h"
#include "common/err.h"
#include "common/wire.h"

struct strs {
    const char *const *v;
    size_t n;
};

struct ints {
    const int64_t *v;
    size_t n;
};

struct pair {
    const char *name, *value;
};

struct pairs {
    const struct pair *v;
    size_t n;
};

/* Bodies that are packed already, each a whole msgpack map. */
struct raws {
    const struct bytes *v;
    size_t n;
};

enum msg_kind {
    MSG_STR,
    MSG_BIN,
    MSG_I64,
    MSG_BOOL,
    MSG_STRS,
    MSG_INTS,
    MSG_PAIRS,
    MSG_RAWS,
};

struct msg_field {
    const char *name;
    enum msg_kind kind;
    size_t offset;
    size_t max_bytes;
    size_t max_count;
    int64_t min, max;
    const char *of; /* MSG_RAWS: name of the body */
    const char *help;
};

struct msg_type {
    const char *name;
    size_t size;
    const struct msg_field *(*fields)(size_t *ret_n); /* in the order of messages.def */
};

/* struct submit_request and so on. */
#define BODY(name) struct name {
#define END(name)                                                                                  \
    char end_; /* C has no empty structs */                                                        \
    }                                                                                              \
    ;                                                                                              \
    extern const struct msg_type name##_type;
#define STR(name, max, help) const char *name;
#define BIN(name, max, help) struct bytes name;
#define I64(name, min, max, help) int64_t name;
#define BOOL(name, help) bool name;
#define STRS(name, count, max, help) struct strs name;
#define INTS(name, count, help) struct ints name;
#define PAIRS(name, count, max, help) struct pairs name;
#define RAWS(name, body, count, help) struct raws name;
#include "common/messages.def"
#undef BODY
#undef END
#undef STR
#undef BIN
#undef I64
#undef BOOL
#undef STRS
#undef INTS
#undef PAIRS
#undef RAWS

/* Every body, in the order of messages.def; ends with NULL.  For tests, fuzzers and documents. */
extern const struct msg_type *const msg_types[];

enum msg_mode {
    MSG_STRICT,  /* a request: unknown fields are refused by name */
    MSG_LENIENT, /* a reply: unknown fields are passed over */
};

/* Appends the body to out. */
void msg_pack(const struct msg_type *type, const void *body, struct wire_out *out);
/* Packs into an arena: for RAWS.  p is NULL without memory. */
struct bytes msg_pack_arena(const struct msg_type *type, const void *body, struct arena *arena);

/* Reads a whole frame into *body, a struct of that type: strings are copied into the arena, BIN and
 * RAWS borrow from data.  On failure *body is not to be used; the error is ERR_PROTOCOL for what is
 * not such a body, ERR_LIMIT past a field's limit, and names the field. */
int msg_unpack(const struct msg_type *type, struct bytes data, struct arena *arena,
               enum msg_mode mode, void *body, struct err *err);

/* A struct err as an `error` body, and back.  What cannot be read becomes ERR_PROTOCOL. */
void msg_pack_error(const struct err *err, struct wire_out *out);
void msg_unpack_error(struct bytes data, struct err *out);

#endif
