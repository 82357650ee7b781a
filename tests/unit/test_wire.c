/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/wire.h"

/* A reader of exactly these bytes; ASan sees one that goes beyond. */
struct input {
    uint8_t *p;
    struct wire_in in;
};

static void cleanup_input(struct input *i)
{
    free(i->p);
}

static struct input input_of(const void *data, size_t n)
{
    struct input i = {.p = malloc(n ? n : 1)};
    cr_assert_not_null(i.p);
    if (n)
        memcpy(i.p, data, n);
    wire_in_init(&i.in, i.p, n);
    return i;
}

#define INPUT(name, bytes)                                                                         \
    struct input name __attribute__((cleanup(cleanup_input))) = input_of(bytes, sizeof(bytes) - 1)

/* Every form of every type of msgpack, one whole object each. */
static const struct {
    const char *what;
    const char *bytes;
    size_t n;
} objects[] = {
#define OBJECT(what, bytes)                                                                        \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1                                                             \
    }
    OBJECT("positive fixint", "\x07"),
    OBJECT("negative fixint", "\xff"),
    OBJECT("nil", "\xc0"),
    OBJECT("false", "\xc2"),
    OBJECT("true", "\xc3"),
    OBJECT("uint 8", "\xcc\xff"),
    OBJECT("uint 16", "\xcd\xff\xff"),
    OBJECT("uint 32", "\xce\xff\xff\xff\xff"),
    OBJECT("uint 64", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
    OBJECT("int 8", "\xd0\x80"),
    OBJECT("int 16", "\xd1\x80\x01"),
    OBJECT("int 32", "\xd2\x80\x01\x01\x01"),
    OBJECT("int 64", "\xd3\x80\x01\x01\x01\x01\x01\x01\x01"),
    OBJECT("float 32", "\xca\x01\x01\x01\x01"),
    OBJECT("float 64", "\xcb\x01\x01\x01\x01\x01\x01\x01\x01"),
    OBJECT("fixstr", "\xa3"
                     "abc"),
    OBJECT("str 8", "\xd9\x03"
                    "abc"),
    OBJECT("str 16", "\xda\x00\x03"
                     "abc"),
    OBJECT("str 32", "\xdb\x00\x00\x00\x03"
                     "abc"),
    OBJECT("bin 8", "\xc4\x03"
                    "a\0c"),
    OBJECT("bin 16", "\xc5\x00\x03"
                     "abc"),
    OBJECT("bin 32", "\xc6\x00\x00\x00\x03"
                     "abc"),
    OBJECT("fixarray", "\x92\x01\x02"),
    OBJECT("array 16", "\xdc\x00\x02\x01\x02"),
    OBJECT("array 32", "\xdd\x00\x00\x00\x02\x01\x02"),
    OBJECT("fixmap", "\x81\xa1"
                     "k\x01"),
    OBJECT("map 16", "\xde\x00\x01\xa1"
                     "k\x01"),
    OBJECT("map 32", "\xdf\x00\x00\x00\x01\xa1"
                     "k\x01"),
    OBJECT("fixext 1", "\xd4\x01"
                       "a"),
    OBJECT("fixext 2", "\xd5\x01"
                       "ab"),
    OBJECT("fixext 4", "\xd6\x01"
                       "abcd"),
    OBJECT("fixext 8", "\xd7\x01"
                       "abcdefgh"),
    OBJECT("fixext 16", "\xd8\x01"
                        "abcdefghabcdefgh"),
    OBJECT("ext 8", "\xc7\x02\x01"
                    "ab"),
    OBJECT("ext 16", "\xc8\x00\x02\x01"
                     "ab"),
    OBJECT("ext 32", "\xc9\x00\x00\x00\x02\x01"
                     "ab"),
    OBJECT("nested", "\x93\x81\xa1"
                     "k\x92\xc0\xc2\xa0\xc4\x00"),
#undef OBJECT
};

Test(wire, every_object_is_passed_over_whole)
{
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        struct input x __attribute__((cleanup(cleanup_input))) =
            input_of(objects[i].bytes, objects[i].n);
        struct bytes raw;
        cr_expect(wire_get_raw(&x.in, &raw), "%s: %s", objects[i].what, x.in.error);
        cr_expect_eq(raw.n, objects[i].n, "%s", objects[i].what);
        cr_expect(wire_end(&x.in), "%s", objects[i].what);
    }
}

Test(wire, every_object_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        for (size_t n = 0; n < objects[i].n; n++) {
            struct input x __attribute__((cleanup(cleanup_input))) = input_of(objects[i].bytes, n);
            cr_expect_not(wire_skip(&x.in), "%s at %zu", objects[i].what, n);
            cr_expect_not_null(x.in.error);
        }
}

/* Reads each object as each type: it succeeds whole or fails for good, and never reads beyond. */
Test(wire, typed_reads_of_every_object)
{
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        for (size_t n = 0; n <= objects[i].n; n++)
            for (int type = 0; type < 6; type++) {
                struct input x __attribute__((cleanup(cleanup_input))) =
                    input_of(objects[i].bytes, n);
                uint32_t count = 0;
                int64_t v;
                bool b, ok = false;
                struct bytes s;
                switch (type) {
                case 0:
                    ok = wire_get_map(&x.in, &count);
                    break;
                case 1:
                    ok = wire_get_array(&x.in, &count);
                    break;
                case 2:
                    ok = wire_get_str(&x.in, &s);
                    break;
                case 3:
                    ok = wire_get_bin(&x.in, &s);
                    break;
                case 4:
                    ok = wire_get_i64(&x.in, &v);
                    break;
                default:
                    ok = wire_get_bool(&x.in, &b);
                }
                cr_expect_eq(ok, x.in.error == NULL, "%s", objects[i].what);
                cr_expect_leq(count, n);
                if (!ok) {
                    cr_expect_not(wire_skip(&x.in), "errors stick");
                    cr_expect_not(wire_end(&x.in));
                }
            }
}

Test(wire, numbers_of_every_width)
{
    static const struct {
        const char *bytes;
        size_t n;
        int64_t v;
    } numbers[] = {
        {"\x00", 1, 0},
        {"\x7f", 1, 127},
        {"\xe0", 1, -32},
        {"\xcc\x80", 2, 128},
        {"\xcd\x01\x00", 3, 256},
        {"\xce\xff\xff\xff\xff", 5, UINT32_MAX},
        {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX},
        {"\xd0\x80", 2, -128},
        {"\xd1\xff\x00", 3, -256},
        {"\xd2\x80\x00\x00\x00", 5, INT32_MIN},
        {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct input x __attribute__((cleanup(cleanup_input))) =
            input_of(numbers[i].bytes, numbers[i].n);
        int64_t v = 42;
        cr_expect(wire_get_i64(&x.in, &v) && wire_end(&x.in));
        cr_expect_eq(v, numbers[i].v, "%lld", (long long)v);
    }
    INPUT(huge, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00");
    int64_t v = 42;
    cr_expect_not(wire_get_i64(&huge.in, &v));
    cr_expect_eq(v, 42);
}

Test(wire, what_announces_more_than_there_is)
{
    static const struct {
        const char *bytes;
        size_t n;
    } liars[] = {
        {"\xdd\x10\x00\x00\x00", 5},
        {"\xdf\x10\x00\x00\x00", 5},
        {"\xdf\xff\xff\xff\xff", 5},
        {"\xdb\xff\xff\xff\xff", 5},
        {"\xc6\xff\xff\xff\xff", 5},
        {"\xc9\xff\xff\xff\xff\x01", 6},
        {"\xdc\x00\x05\x01", 4},
        {"\x8f\x01", 2},
        {"\x9f\x01", 2},
        {"\xbf"
         "a",
         2},
    };
    for (size_t i = 0; i < ARRAY_LEN(liars); i++) {
        uint32_t n;
        struct bytes s;
        struct input a __attribute__((cleanup(cleanup_input))) =
            input_of(liars[i].bytes, liars[i].n);
        struct wire_in b = a.in, c = a.in, d = a.in, e = a.in;
        cr_expect_not(wire_skip(&a.in), "%zu", i);
        cr_expect_not(wire_get_map(&b, &n), "%zu", i);
        cr_expect_not(wire_get_array(&c, &n), "%zu", i);
        cr_expect_not(wire_get_str(&d, &s), "%zu", i);
        cr_expect_not(wire_get_bin(&e, &s), "%zu", i);
    }
}

Test(wire, depth_is_bounded)
{
    char deep[WIRE_MAX_DEPTH + 1];
    memset(deep, '\x91', sizeof deep);
    deep[WIRE_MAX_DEPTH - 1] = '\x01';
    struct input fine __attribute__((cleanup(cleanup_input))) = input_of(deep, WIRE_MAX_DEPTH);
    cr_expect(wire_skip(&fine.in), "%s", fine.in.error);
    deep[WIRE_MAX_DEPTH - 1] = '\x91';
    deep[WIRE_MAX_DEPTH] = '\x01';
    struct input more __attribute__((cleanup(cleanup_input))) = input_of(deep, WIRE_MAX_DEPTH + 1);
    cr_expect_not(wire_skip(&more.in));
    cr_expect_str_eq(more.in.error, "nested too deep");
}

Test(wire, strings_have_no_nul_and_binary_may)
{
    struct bytes s;
    INPUT(str, "\xa3"
               "a\0b");
    cr_expect_not(wire_get_str(&str.in, &s));
    INPUT(bin, "\xc4\x03"
               "a\0b");
    cr_expect(wire_get_bin(&bin.in, &s));
    cr_expect_eq(s.n, 3);
}

Test(wire, the_unused_tag_is_refused)
{
    INPUT(x, "\xc1");
    cr_expect_not(wire_skip(&x.in));
    cr_expect_str_eq(x.in.error, "not msgpack");
}

Test(wire, bytes_left_over_are_seen)
{
    int64_t v;
    INPUT(x, "\x01\x02");
    cr_expect(wire_get_i64(&x.in, &v));
    cr_expect_not(wire_end(&x.in));
    cr_expect_str_eq(x.in.error, "bytes left over");
}

Test(wire, what_is_written_is_read_back)
{
    static const int64_t numbers[] = {0,      1,         127,        128,       -1,       -32,
                                      -33,    255,       256,        65535,     65536,    -129,
                                      -32769, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    cr_assert_not_null(out);
    wire_put_array(out, ARRAY_LEN(numbers) + 4);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        wire_put_i64(out, numbers[i]);
    wire_put_bool(out, true);
    wire_put_str(out, "a string of more than thirty-one bytes, so that it has another form");
    wire_put_bin(out, (struct bytes){(const uint8_t *)"\0\1", 2});
    wire_put_raw(out, (struct bytes){(const uint8_t *)"\x80", 1});

    struct wire_in in;
    struct bytes b = wire_out_bytes(out), s;
    uint32_t n;
    bool flag = false;
    wire_in_init(&in, b.p, b.n);
    cr_assert(wire_get_array(&in, &n));
    cr_expect_eq(n, ARRAY_LEN(numbers) + 4);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        int64_t v = 0;
        cr_expect(wire_get_i64(&in, &v));
        cr_expect_eq(v, numbers[i]);
    }
    cr_expect(wire_get_bool(&in, &flag) && flag);
    cr_expect(wire_get_str(&in, &s));
    cr_expect_eq(s.n, 67);
    cr_expect(wire_get_bin(&in, &s));
    cr_expect(wire_get_map(&in, &n));
    cr_expect(wire_end(&in));
}
