/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/msg.h"

static struct arena arena;

static void tear_down(void)
{
    arena_done(&arena);
}

TestSuite(msg, .fini = tear_down);

static struct bytes copy_of(struct wire_out *out)
{
    struct bytes b = wire_out_bytes(out);
    cr_assert_not_null(b.p);
    uint8_t *p = arena_alloc(&arena, b.n + 1);
    memcpy(p, b.p, b.n);
    wire_out_clear(out);
    return (struct bytes){p, b.n};
}

static struct bytes pack(const struct msg_type *type, const void *body)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(type, body, out);
    return copy_of(out);
}

/* ---- every body, with something in every field ---- */

static const char *some_string(const struct msg_field *f, size_t n)
{
    char *s = arena_alloc(&arena, n + 1);
    if (n > f->max_bytes)
        n = f->max_bytes;
    for (size_t i = 0; i < n; i++)
        s[i] = (char)('a' + (i + f->offset) % 26);
    return s;
}

static void fill_field(const struct msg_field *f, size_t round, void *at)
{
    size_t n = round % 3 + 1;
    if (f->max_count && n > f->max_count)
        n = f->max_count;
    const char **strings = arena_array(&arena, n, sizeof *strings);
    for (size_t i = 0; i < n; i++)
        strings[i] = some_string(f, i * 20 + round + 1);
    switch (f->kind) {
    case MSG_STR:
        *(const char **)at = strings[0];
        break;
    case MSG_BIN:
        *(struct bytes *)at = (struct bytes){(const uint8_t *)"\0\1\2\3", round % 4 + 1};
        break;
    case MSG_I64:
        *(int64_t *)at = round % 2 ? f->max : f->min ? f->min : 1;
        break;
    case MSG_BOOL:
        *(bool *)at = true;
        break;
    case MSG_STRS:
        *(struct strs *)at = (struct strs){strings, n};
        break;
    case MSG_INTS: {
        int64_t *v = arena_array(&arena, n, sizeof *v);
        for (size_t i = 0; i < n; i++)
            v[i] = (int64_t)(i * 1000000) - 5;
        *(struct ints *)at = (struct ints){v, n};
        break;
    }
    case MSG_PAIRS: {
        struct pair *v = arena_array(&arena, n, sizeof *v);
        for (size_t i = 0; i < n; i++)
            v[i] = (struct pair){strings[i], i ? strings[0] : ""};
        *(struct pairs *)at = (struct pairs){v, n};
        break;
    }
    case MSG_RAWS: {
        struct bytes *v = arena_array(&arena, n, sizeof *v);
        for (size_t i = 0; i < n; i++)
            v[i] = (struct bytes){(const uint8_t *)"\x81\xa1x\x01", 4};
        *(struct raws *)at = (struct raws){v, n};
        break;
    }
    }
}

static void *filled(const struct msg_type *type, size_t round)
{
    size_t n;
    const struct msg_field *fields = type->fields(&n);
    char *body = arena_alloc(&arena, type->size);
    for (size_t i = 0; i < n; i++)
        fill_field(&fields[i], round, body + fields[i].offset);
    return body;
}

Test(msg, every_body_comes_back_as_it_was)
{
    for (size_t t = 0; msg_types[t]; t++)
        for (size_t round = 0; round < 6; round++) {
            const struct msg_type *type = msg_types[t];
            struct bytes first = pack(type, filled(type, round));
            void *back = arena_alloc(&arena, type->size);
            struct err err = {0};
            cr_assert_eq(msg_unpack(type, first, &arena, MSG_STRICT, back, &err), 0, "%s: %s",
                         type->name, err.text);
            struct bytes second = pack(type, back);
            cr_expect_eq(first.n, second.n, "%s", type->name);
            cr_expect_eq(memcmp(first.p, second.p, first.n), 0, "%s", type->name);
        }
}

Test(msg, every_body_cut_anywhere_is_refused)
{
    for (size_t t = 0; msg_types[t]; t++) {
        const struct msg_type *type = msg_types[t];
        struct bytes whole = pack(type, filled(type, 1));
        void *back = arena_alloc(&arena, type->size);
        for (size_t n = 0; n < whole.n; n++) {
            AUTO(arena_done) struct arena mine = {0};
            AUTO(free) uint8_t *cut = malloc(n ? n : 1); /* exactly so large, for ASan */
            memcpy(cut, whole.p, n);
            struct err err = {0};
            cr_expect_eq(msg_unpack(type, (struct bytes){cut, n}, &mine, MSG_LENIENT, back, &err),
                         -1, "%s at %zu", type->name, n);
            cr_expect_eq(err.code, ERR_PROTOCOL);
        }
    }
}

Test(msg, an_empty_body_is_an_empty_map)
{
    for (size_t t = 0; msg_types[t]; t++) {
        void *zero = arena_alloc(&arena, msg_types[t]->size);
        struct bytes b = pack(msg_types[t], zero);
        cr_expect_eq(b.n, 1, "%s", msg_types[t]->name);
        cr_expect_eq(b.p[0], 0x80);
    }
}

/* ---- what is refused ---- */

static enum err_code unpack(const struct msg_type *type, const char *bytes, size_t n,
                            enum msg_mode mode, void *body, char text[500])
{
    struct err err = {0};
    int rc = msg_unpack(type, (struct bytes){(const uint8_t *)bytes, n}, &arena, mode, body, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    memcpy(text, err.text, sizeof err.text);
    return err.code;
}

#define UNPACK(type, bytes, mode, body, text)                                                      \
    unpack(&type##_type, bytes, sizeof(bytes) - 1, mode, body, text)

Test(msg, an_unknown_field)
{
    struct script_request r;
    char text[500];
    cr_expect_eq(UNPACK(script_request,
                        "\x82\xa3new\x93\x01\x02\x03\xa2id\xa1"
                        "7",
                        MSG_STRICT, &r, text),
                 ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(text, "'new'"), "%s", text);
    cr_expect_eq(UNPACK(script_request,
                        "\x82\xa3new\x93\x01\x02\x03\xa2id\xa1"
                        "7",
                        MSG_LENIENT, &r, text),
                 ERR_NONE);
    cr_expect_str_eq(r.id, "7");
}

Test(msg, a_field_that_is_there_twice)
{
    struct script_request r;
    struct submit_request s;
    char text[500];
    cr_expect_eq(UNPACK(script_request,
                        "\x82\xa2id\xa1"
                        "7\xa2id\xa1"
                        "8",
                        MSG_LENIENT, &r, text),
                 ERR_PROTOCOL);
    cr_expect_not_null(strstr(text, "twice"), "%s", text);
    cr_expect_eq(UNPACK(submit_request,
                        "\x81\xa7options\x82\xa3mem\xa1"
                        "1\xa3mem\xa1"
                        "2",
                        MSG_STRICT, &s, text),
                 ERR_PROTOCOL);
    cr_expect_not_null(strstr(text, "'mem'"), "%s", text);
}

Test(msg, another_kind_than_the_fields)
{
    struct script_request r;
    char text[500];
    cr_expect_eq(UNPACK(script_request, "\x81\xa2id\x07", MSG_STRICT, &r, text), ERR_PROTOCOL);
    cr_expect_not_null(strstr(text, "script_request.id"), "%s", text);
    cr_expect_eq(UNPACK(script_request, "\x91\x01", MSG_STRICT, &r, text), ERR_PROTOCOL);
    cr_expect_eq(UNPACK(script_request, "\x81\x07\x07", MSG_STRICT, &r, text), ERR_PROTOCOL);
}

Test(msg, a_nul_in_a_string_and_bytes_behind)
{
    struct script_request r;
    char text[500];
    cr_expect_eq(UNPACK(script_request,
                        "\x81\xa2id\xa3"
                        "1\0"
                        "2",
                        MSG_STRICT, &r, text),
                 ERR_PROTOCOL);
    cr_expect_not_null(strstr(text, "NUL"), "%s", text);
    cr_expect_eq(UNPACK(script_request, "\x80\x80", MSG_STRICT, &r, text), ERR_PROTOCOL);
    cr_expect_not_null(strstr(text, "left over"), "%s", text);
}

/* Packs a body with one string more, or one byte more, than the field allows. */
static void expect_limit(const struct msg_type *type, const void *body, const char *field)
{
    AUTO(free) void *back = calloc(1, type->size);
    struct err err = {0};
    struct bytes b = pack(type, body);
    cr_expect_eq(msg_unpack(type, b, &arena, MSG_STRICT, back, &err), -1, "%s", field);
    cr_expect_eq(err.code, ERR_LIMIT, "%s", err.text);
    cr_expect_eq(strncmp(err.text, field, strlen(field)), 0, "%s", err.text);
}

Test(msg, limits_of_fields)
{
    AUTO(free) char *text = malloc(70000);
    memset(text, 'x', 69999);
    text[69999] = '\0';
    text[257] = '\0';
    expect_limit(&script_request_type, &(struct script_request){.id = text}, "id");
    text[257] = 'x';
    expect_limit(&submit_request_type, &(struct submit_request){.submit_line = text},
                 "submit_line");
    expect_limit(&submit_request_type,
                 &(struct submit_request){.request_id = {(const uint8_t *)text, 17}}, "request_id");
    expect_limit(&submit_reply_type, &(struct submit_reply){.id = "1", .job_id = -1}, "job_id");
    expect_limit(&error_type, &(struct error){.code = 70000}, "code");
    const char *states[65];
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        states[i] = "RUNNING";
    expect_limit(&list_request_type, &(struct list_request){.states = {states, 65}}, "states");
}

Test(msg, an_arena_that_is_full_is_an_error)
{
    AUTO(arena_done) struct arena small;
    struct get_request r;
    struct err err = {0};
    const char *ids[100];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = "12345";
    arena_init(&small, 1000);
    struct bytes b = pack(&get_request_type, &(struct get_request){.ids = {ids, 100}});
    cr_expect_eq(msg_unpack(&get_request_type, b, &small, MSG_STRICT, &r, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
}

/* ---- errors ---- */

Test(msg, errors_cross_the_wire)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err sent = {.slurm_errno = 2010, .retry_after_ms = 1500}, got = {0};
    err_set(&sent, ERR_BUSY, "come back later");
    msg_pack_error(&sent, out);
    msg_unpack_error(wire_out_bytes(out), &got);
    cr_expect_eq(got.code, ERR_BUSY);
    cr_expect_eq(got.slurm_errno, 2010);
    cr_expect_eq(got.retry_after_ms, 1500);
    cr_expect_str_eq(got.text, "come back later");
}

Test(msg, errors_that_are_none)
{
    struct err garbage = {0}, unknown = {0}, none = {0};
    msg_unpack_error((struct bytes){(const uint8_t *)"\xc1", 1}, &garbage);
    cr_expect_eq(garbage.code, ERR_PROTOCOL);
    msg_unpack_error((struct bytes){(const uint8_t *)"\x81\xa4"
                                                     "code\xcd\x03\xe7",
                                    9},
                     &unknown);
    cr_expect_eq(unknown.code, ERR_INTERNAL, "a newer server's code");
    msg_unpack_error((struct bytes){(const uint8_t *)"\x80", 1}, &none);
    cr_expect_eq(none.code, ERR_INTERNAL, "an error is never OK");
}
