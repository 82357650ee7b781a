/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_msg.c: msg_unpack() takes any bytes as any body
 *
 * The first byte chooses the body, its highest bit the mode.  What is accepted must keep to its
 * limits, and packed again be the same again.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_MEMORY = 64 << 20 };

static void check_strings(const struct msg_field *f, const struct strs *l)
{
    assert(l->n <= f->max_count);
    for (size_t i = 0; i < l->n; i++)
        assert(strlen(l->v[i]) <= f->max_bytes);
}

static void check_field(const struct msg_field *f, const void *at)
{
    switch (f->kind) {
    case MSG_STR:
        assert(!*(const char *const *)at || strlen(*(const char *const *)at) <= f->max_bytes);
        break;
    case MSG_BIN:
        assert(((const struct bytes *)at)->n <= f->max_bytes);
        break;
    case MSG_I64: {
        int64_t v = *(const int64_t *)at;
        assert(v == 0 || (v >= f->min && v <= f->max));
        break;
    }
    case MSG_STRS:
        check_strings(f, at);
        break;
    case MSG_INTS:
        assert(((const struct ints *)at)->n <= f->max_count);
        break;
    case MSG_PAIRS:
        assert(((const struct pairs *)at)->n <= f->max_count);
        break;
    case MSG_RAWS:
        assert(((const struct raws *)at)->n <= f->max_count);
        break;
    case MSG_BOOL:
        break;
    }
}

static void check_again(const struct msg_type *type, const void *body)
{
    struct arena arena;
    struct err err = {0};
    struct wire_out *first = wire_out_new(), *second = wire_out_new();
    void *again = malloc(type->size);
    assert(first && second && again);
    arena_init(&arena, 0);
    msg_pack(type, body, first);
    struct bytes a = wire_out_bytes(first);
    assert(msg_unpack(type, a, &arena, MSG_STRICT, again, &err) == 0);
    msg_pack(type, again, second);
    struct bytes b = wire_out_bytes(second);
    assert(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    arena_done(&arena);
    free(again);
    wire_out_free(first);
    wire_out_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct err err = {0};
    size_t types = 0, nfields;
    while (msg_types[types])
        types++;
    if (size == 0)
        return 0;
    const struct msg_type *type = msg_types[(data[0] & 0x7f) % types];
    enum msg_mode mode = data[0] & 0x80 ? MSG_LENIENT : MSG_STRICT;
    void *body = malloc(type->size);
    assert(body);
    arena_init(&arena, MAX_MEMORY);
    if (msg_unpack(type, (struct bytes){data + 1, size - 1}, &arena, mode, body, &err) < 0) {
        assert(err.code == ERR_PROTOCOL || err.code == ERR_LIMIT || err.code == ERR_UNSUPPORTED);
        assert(*err.text && !strchr(err.text, '\n'));
    } else {
        const struct msg_field *fields = type->fields(&nfields);
        for (size_t i = 0; i < nfields; i++)
            check_field(&fields[i], (const char *)body + fields[i].offset);
        check_again(type, body);
    }
    arena_done(&arena);
    free(body);
    return 0;
}
