/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/wire.h"

#include <msgpack.h>
#include <string.h>

void wire_in_init(struct wire_in *in, const void *data, size_t size)
{
    *in = (struct wire_in){.p = data, .end = size ? (const uint8_t *)data + size : data};
}

bool wire_fail(struct wire_in *in, const char *what)
{
    if (!in->error)
        in->error = what;
    return false;
}

static size_t left(const struct wire_in *in)
{
    return (size_t)(in->end - in->p);
}

static bool get_be(struct wire_in *in, unsigned bytes, uint64_t *ret)
{
    if (left(in) < bytes)
        return wire_fail(in, "cut short");
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | *in->p++;
    *ret = v;
    return true;
}

static bool get_tag(struct wire_in *in, uint8_t *ret)
{
    if (in->error)
        return false;
    if (left(in) == 0)
        return wire_fail(in, "cut short");
    *ret = *in->p++;
    return true;
}

/* A length or count behind its tag; each element takes at least unit bytes of what is left. */
static bool get_count(struct wire_in *in, unsigned bytes, unsigned unit, uint32_t *ret)
{
    uint64_t v = 0;
    if (!get_be(in, bytes, &v))
        return false;
    if (v > left(in) / unit)
        return wire_fail(in, "announces more than it holds");
    *ret = (uint32_t)v;
    return true;
}

static bool fixed_count(struct wire_in *in, uint32_t v, unsigned unit, uint32_t *ret)
{
    if (v > left(in) / unit)
        return wire_fail(in, "announces more than it holds");
    *ret = v;
    return true;
}

bool wire_get_map(struct wire_in *in, uint32_t *ret_n)
{
    uint8_t tag = 0;
    if (!get_tag(in, &tag))
        return false;
    if ((tag & 0xf0) == 0x80)
        return fixed_count(in, tag & 0x0f, 2, ret_n);
    if (tag == 0xde)
        return get_count(in, 2, 2, ret_n);
    if (tag == 0xdf)
        return get_count(in, 4, 2, ret_n);
    return wire_fail(in, "a map was expected");
}

bool wire_get_array(struct wire_in *in, uint32_t *ret_n)
{
    uint8_t tag = 0;
    if (!get_tag(in, &tag))
        return false;
    if ((tag & 0xf0) == 0x90)
        return fixed_count(in, tag & 0x0f, 1, ret_n);
    if (tag == 0xdc)
        return get_count(in, 2, 1, ret_n);
    if (tag == 0xdd)
        return get_count(in, 4, 1, ret_n);
    return wire_fail(in, "a list was expected");
}

static bool take(struct wire_in *in, uint32_t n, struct bytes *ret)
{
    *ret = (struct bytes){in->p, n};
    in->p += n;
    return true;
}

bool wire_get_str(struct wire_in *in, struct bytes *ret)
{
    uint8_t tag = 0;
    uint32_t n = 0;
    bool ok;
    if (!get_tag(in, &tag))
        return false;
    if ((tag & 0xe0) == 0xa0)
        ok = fixed_count(in, tag & 0x1f, 1, &n);
    else if (tag >= 0xd9 && tag <= 0xdb)
        ok = get_count(in, 1U << (tag - 0xd9), 1, &n);
    else
        return wire_fail(in, "a string was expected");
    if (!ok)
        return false;
    if (n && memchr(in->p, 0, n))
        return wire_fail(in, "a NUL in a string");
    return take(in, n, ret);
}

bool wire_get_bin(struct wire_in *in, struct bytes *ret)
{
    uint8_t tag = 0;
    uint32_t n = 0;
    if (!get_tag(in, &tag))
        return false;
    if (tag < 0xc4 || tag > 0xc6)
        return wire_fail(in, "binary data was expected");
    return get_count(in, 1U << (tag - 0xc4), 1, &n) && take(in, n, ret);
}

bool wire_get_i64(struct wire_in *in, int64_t *ret)
{
    uint8_t tag = 0;
    uint64_t v = 0;
    if (!get_tag(in, &tag))
        return false;
    if (tag <= 0x7f) {
        *ret = tag;
        return true;
    }
    if (tag >= 0xe0) {
        *ret = (int8_t)tag;
        return true;
    }
    if (tag >= 0xcc && tag <= 0xcf) {
        if (!get_be(in, 1U << (tag - 0xcc), &v))
            return false;
        if (v > INT64_MAX)
            return wire_fail(in, "a number beyond 63 bits");
        *ret = (int64_t)v;
        return true;
    }
    if (tag >= 0xd0 && tag <= 0xd3) {
        unsigned bytes = 1U << (tag - 0xd0);
        if (!get_be(in, bytes, &v))
            return false;
        unsigned up = 64 - 8 * bytes;
        *ret = (int64_t)(v << up) >> up;
        return true;
    }
    return wire_fail(in, "a whole number was expected");
}

bool wire_get_bool(struct wire_in *in, bool *ret)
{
    uint8_t tag = 0;
    if (!get_tag(in, &tag))
        return false;
    if (tag != 0xc2 && tag != 0xc3)
        return wire_fail(in, "true or false was expected");
    *ret = tag == 0xc3;
    return true;
}

static bool skip_bytes(struct wire_in *in, size_t n)
{
    if (left(in) < n)
        return wire_fail(in, "cut short");
    in->p += n;
    return true;
}

/* What a tag is followed by: n bytes to pass over, or n objects. */
static bool skip_head(struct wire_in *in, uint64_t *ret_objects)
{
    uint8_t tag = 0;
    uint64_t n = 0;
    *ret_objects = 0;
    if (!get_tag(in, &tag))
        return false;
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return true;
    if ((tag & 0xe0) == 0xa0)
        return skip_bytes(in, tag & 0x1f);
    if ((tag & 0xf0) == 0x90 || (tag & 0xf0) == 0x80) {
        *ret_objects = (uint64_t)(tag & 0x0f) << ((tag & 0xf0) == 0x80);
        return true;
    }
    switch (tag) {
    case 0xc4:
    case 0xc5:
    case 0xc6: /* bin */
        return get_be(in, 1U << (tag - 0xc4), &n) && skip_bytes(in, n);
    case 0xc7:
    case 0xc8:
    case 0xc9: /* ext: its type is one byte more */
        return get_be(in, 1U << (tag - 0xc7), &n) && skip_bytes(in, n + 1);
    case 0xca: /* float */
        return skip_bytes(in, 4);
    case 0xcb:
        return skip_bytes(in, 8);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: /* unsigned */
        return skip_bytes(in, 1U << (tag - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: /* signed */
        return skip_bytes(in, 1U << (tag - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: /* fixext */
        return skip_bytes(in, (1U << (tag - 0xd4)) + 1);
    case 0xd9:
    case 0xda:
    case 0xdb: /* str */
        return get_be(in, 1U << (tag - 0xd9), &n) && skip_bytes(in, n);
    case 0xdc:
    case 0xdd: /* array */
        return get_be(in, tag == 0xdc ? 2 : 4, ret_objects);
    case 0xde:
    case 0xdf: /* map */
        if (!get_be(in, tag == 0xde ? 2 : 4, ret_objects))
            return false;
        *ret_objects *= 2;
        return true;
    default:
        return wire_fail(in, "not msgpack");
    }
}

bool wire_skip(struct wire_in *in)
{
    uint64_t todo[WIRE_MAX_DEPTH]; /* objects still to come, per level */
    unsigned depth = 0;
    todo[0] = 1;
    for (;;) {
        while (todo[depth] == 0) {
            if (depth == 0)
                return true;
            depth--;
        }
        todo[depth]--;
        uint64_t objects;
        if (!skip_head(in, &objects))
            return false;
        if (objects == 0)
            continue;
        if (objects > left(in))
            return wire_fail(in, "announces more than it holds");
        if (++depth == WIRE_MAX_DEPTH)
            return wire_fail(in, "nested too deep");
        todo[depth] = objects;
    }
}

bool wire_get_raw(struct wire_in *in, struct bytes *ret)
{
    const uint8_t *start = in->p;
    if (!wire_skip(in))
        return false;
    *ret = (struct bytes){start, (size_t)(in->p - start)};
    return true;
}

bool wire_end(struct wire_in *in)
{
    if (in->error)
        return false;
    return in->p == in->end || wire_fail(in, "bytes left over");
}

struct wire_out {
    msgpack_sbuffer buf;
    msgpack_packer pk;
    bool failed; /* no memory: everything after is void */
};

struct wire_out *wire_out_new(void)
{
    struct wire_out *out = calloc(1, sizeof *out);
    if (!out)
        return NULL;
    msgpack_sbuffer_init(&out->buf);
    msgpack_packer_init(&out->pk, &out->buf, msgpack_sbuffer_write);
    return out;
}

void wire_out_free(struct wire_out *out)
{
    if (!out)
        return;
    msgpack_sbuffer_destroy(&out->buf);
    free(out);
}

void wire_out_clear(struct wire_out *out)
{
    msgpack_sbuffer_clear(&out->buf);
    out->failed = false;
}

static void note(struct wire_out *out, int rc)
{
    if (rc)
        out->failed = true;
}

void wire_put_map(struct wire_out *out, size_t n)
{
    note(out, msgpack_pack_map(&out->pk, n));
}

void wire_put_array(struct wire_out *out, size_t n)
{
    note(out, msgpack_pack_array(&out->pk, n));
}

void wire_put_str(struct wire_out *out, const char *s)
{
    size_t n = strlen(s);
    note(out, msgpack_pack_str(&out->pk, n));
    note(out, msgpack_pack_str_body(&out->pk, s, n));
}

void wire_put_bin(struct wire_out *out, struct bytes b)
{
    note(out, msgpack_pack_bin(&out->pk, b.n));
    if (b.n)
        note(out, msgpack_pack_bin_body(&out->pk, b.p, b.n));
}

void wire_put_i64(struct wire_out *out, int64_t v)
{
    note(out, msgpack_pack_int64(&out->pk, v));
}

void wire_put_bool(struct wire_out *out, bool v)
{
    note(out, v ? msgpack_pack_true(&out->pk) : msgpack_pack_false(&out->pk));
}

void wire_put_raw(struct wire_out *out, struct bytes b)
{
    if (b.n)
        note(out, msgpack_sbuffer_write(&out->buf, (const char *)b.p, b.n));
}

struct bytes wire_out_bytes(const struct wire_out *out)
{
    if (out->failed)
        return (struct bytes){NULL, 0};
    return (struct bytes){(const uint8_t *)out->buf.data, out->buf.size};
}
