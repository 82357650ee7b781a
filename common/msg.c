/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/msg.h"

#include <assert.h>
#include <string.h>

#include "common/cleanup.h"

/* A body's rows become a function, because only inside one can they call its struct `self`. */
#define BODY(body)                                                                                 \
    static const struct msg_field *body##_fields(size_t *ret_n)                                    \
    {                                                                                              \
        typedef struct body self;                                                                  \
        static const struct msg_field fields[] = {
#define END(body)                                                                                  \
    {                                                                                              \
        .name = NULL, .offset = offsetof(self, end_)                                               \
    }                                                                                              \
    }                                                                                              \
    ;                                                                                              \
    *ret_n = ARRAY_LEN(fields) - 1;                                                                \
    return fields;                                                                                 \
    }                                                                                              \
    const struct msg_type body##_type = {#body, sizeof(struct body), body##_fields};
#define FIELD(field, kind_, ...)                                                                   \
    {.name = #field, .kind = kind_, .offset = offsetof(self, field), __VA_ARGS__},
#define STR(field, bytes, help_) FIELD(field, MSG_STR, .max_bytes = (bytes), .help = help_)
#define BIN(field, bytes, help_) FIELD(field, MSG_BIN, .max_bytes = (bytes), .help = help_)
#define I64(field, lo, hi, help_) FIELD(field, MSG_I64, .min = (lo), .max = (hi), .help = help_)
#define BOOL(field, help_) FIELD(field, MSG_BOOL, .help = help_)
#define STRS(field, count, bytes, help_)                                                           \
    FIELD(field, MSG_STRS, .max_count = (count), .max_bytes = (bytes), .help = help_)
#define INTS(field, count, help_) FIELD(field, MSG_INTS, .max_count = (count), .help = help_)
#define PAIRS(field, count, bytes, help_)                                                          \
    FIELD(field, MSG_PAIRS, .max_count = (count), .max_bytes = (bytes), .help = help_)
#define RAWS(field, body, count, help_)                                                            \
    FIELD(field, MSG_RAWS, .max_count = (count), .of = #body, .help = help_)
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

const struct msg_type *const msg_types[] = {
#define BODY(name) &name##_type,
#define END(name)
#define STR(name, max, help)
#define BIN(name, max, help)
#define I64(name, min, max, help)
#define BOOL(name, help)
#define STRS(name, count, max, help)
#define INTS(name, count, help)
#define PAIRS(name, count, max, help)
#define RAWS(name, body, count, help)
#include "common/messages.def"
    NULL,
};

static bool is_empty(const struct msg_field *f, const void *at)
{
    switch (f->kind) {
    case MSG_STR:
        return *(const char *const *)at == NULL || **(const char *const *)at == '\0';
    case MSG_BIN:
        return ((const struct bytes *)at)->n == 0;
    case MSG_I64:
        return *(const int64_t *)at == 0;
    case MSG_BOOL:
        return !*(const bool *)at;
    case MSG_STRS:
        return ((const struct strs *)at)->n == 0;
    case MSG_INTS:
        return ((const struct ints *)at)->n == 0;
    case MSG_PAIRS:
        return ((const struct pairs *)at)->n == 0;
    case MSG_RAWS:
        return ((const struct raws *)at)->n == 0;
    }
    return true;
}

static void pack_field(const struct msg_field *f, const void *at, struct wire_out *out)
{
    wire_put_str(out, f->name);
    switch (f->kind) {
    case MSG_STR:
        wire_put_str(out, *(const char *const *)at);
        break;
    case MSG_BIN:
        wire_put_bin(out, *(const struct bytes *)at);
        break;
    case MSG_I64:
        wire_put_i64(out, *(const int64_t *)at);
        break;
    case MSG_BOOL:
        wire_put_bool(out, *(const bool *)at);
        break;
    case MSG_STRS: {
        const struct strs *l = at;
        wire_put_array(out, l->n);
        for (size_t i = 0; i < l->n; i++)
            wire_put_str(out, l->v[i]);
        break;
    }
    case MSG_INTS: {
        const struct ints *l = at;
        wire_put_array(out, l->n);
        for (size_t i = 0; i < l->n; i++)
            wire_put_i64(out, l->v[i]);
        break;
    }
    case MSG_PAIRS: {
        const struct pairs *l = at;
        wire_put_map(out, l->n);
        for (size_t i = 0; i < l->n; i++) {
            wire_put_str(out, l->v[i].name);
            wire_put_str(out, l->v[i].value);
        }
        break;
    }
    case MSG_RAWS: {
        const struct raws *l = at;
        wire_put_array(out, l->n);
        for (size_t i = 0; i < l->n; i++)
            wire_put_raw(out, l->v[i]);
        break;
    }
    }
}

void msg_pack(const struct msg_type *type, const void *body, struct wire_out *out)
{
    size_t n, present = 0;
    const struct msg_field *fields = type->fields(&n);
    for (size_t i = 0; i < n; i++)
        present += !is_empty(&fields[i], (const char *)body + fields[i].offset);
    wire_put_map(out, present);
    for (size_t i = 0; i < n; i++) {
        const void *at = (const char *)body + fields[i].offset;
        if (!is_empty(&fields[i], at))
            pack_field(&fields[i], at, out);
    }
}

struct bytes msg_pack_arena(const struct msg_type *type, const void *body, struct arena *arena)
{
    struct bytes none = {NULL, 0};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return none;
    msg_pack(type, body, out);
    struct bytes b = wire_out_bytes(out);
    if (!b.p)
        return none;
    uint8_t *copy = arena_alloc(arena, b.n);
    if (!copy)
        return none;
    memcpy(copy, b.p, b.n);
    return (struct bytes){copy, b.n};
}

/* One message being read. */
struct reading {
    const struct msg_type *type;
    struct wire_in in;
    struct arena *arena;
    struct err *err;
};

static int no_memory(struct reading *r, const char *field)
{
    return err_set(r->err, ERR_LIMIT, "%s.%s: no memory left for it", r->type->name, field);
}

static int malformed(struct reading *r, const char *field)
{
    return err_set(r->err, ERR_PROTOCOL, "%s.%s: %s", r->type->name, field, r->in.error);
}

static int read_string(struct reading *r, const struct msg_field *f, const char **ret)
{
    struct bytes b;
    if (!wire_get_str(&r->in, &b))
        return malformed(r, f->name);
    if (b.n > f->max_bytes)
        return err_set(r->err, ERR_LIMIT, "%s: %zu bytes, at most %zu are allowed", f->name, b.n,
                       f->max_bytes);
    *ret = arena_strndup(r->arena, (const char *)b.p, b.n);
    return *ret ? 0 : no_memory(r, f->name);
}

static int check_count(struct reading *r, const struct msg_field *f, uint32_t n)
{
    if (n > f->max_count)
        return err_set(r->err, ERR_LIMIT, "%s: %u of them, at most %zu are allowed", f->name, n,
                       f->max_count);
    return 0;
}

static int read_strs(struct reading *r, const struct msg_field *f, struct strs *ret)
{
    uint32_t n;
    if (!wire_get_array(&r->in, &n))
        return malformed(r, f->name);
    if (check_count(r, f, n) < 0)
        return -1;
    const char **v = arena_array(r->arena, n, sizeof *v);
    if (!v)
        return no_memory(r, f->name);
    for (uint32_t i = 0; i < n; i++)
        if (read_string(r, f, &v[i]) < 0)
            return -1;
    *ret = (struct strs){v, n};
    return 0;
}

static int read_ints(struct reading *r, const struct msg_field *f, struct ints *ret)
{
    uint32_t n;
    if (!wire_get_array(&r->in, &n))
        return malformed(r, f->name);
    if (check_count(r, f, n) < 0)
        return -1;
    int64_t *v = arena_array(r->arena, n, sizeof *v);
    if (!v)
        return no_memory(r, f->name);
    for (uint32_t i = 0; i < n; i++)
        if (!wire_get_i64(&r->in, &v[i]))
            return malformed(r, f->name);
    *ret = (struct ints){v, n};
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A key that comes twice would mean different things to different readers. */
static int check_unique(struct reading *r, const struct msg_field *f, const struct pairs *p)
{
    if (p->n < 2)
        return 0;
    const char **names = arena_array(r->arena, p->n, sizeof *names);
    if (!names)
        return no_memory(r, f->name);
    for (size_t i = 0; i < p->n; i++)
        names[i] = p->v[i].name;
    qsort(names, p->n, sizeof *names, compare_names);
    for (size_t i = 1; i < p->n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return err_set(r->err, ERR_PROTOCOL, "%s: '%.100s' is there twice", f->name, names[i]);
    return 0;
}

static int read_pairs(struct reading *r, const struct msg_field *f, struct pairs *ret)
{
    uint32_t n;
    if (!wire_get_map(&r->in, &n))
        return malformed(r, f->name);
    if (check_count(r, f, n) < 0)
        return -1;
    struct pair *v = arena_array(r->arena, n, sizeof *v);
    if (!v)
        return no_memory(r, f->name);
    for (uint32_t i = 0; i < n; i++)
        if (read_string(r, f, &v[i].name) < 0 || read_string(r, f, &v[i].value) < 0)
            return -1;
    *ret = (struct pairs){v, n};
    return check_unique(r, f, ret);
}

static int read_raws(struct reading *r, const struct msg_field *f, struct raws *ret)
{
    uint32_t n;
    if (!wire_get_array(&r->in, &n))
        return malformed(r, f->name);
    if (check_count(r, f, n) < 0)
        return -1;
    struct bytes *v = arena_array(r->arena, n, sizeof *v);
    if (!v)
        return no_memory(r, f->name);
    for (uint32_t i = 0; i < n; i++)
        if (!wire_get_raw(&r->in, &v[i]))
            return malformed(r, f->name);
    *ret = (struct raws){v, n};
    return 0;
}

static int read_field(struct reading *r, const struct msg_field *f, void *at)
{
    switch (f->kind) {
    case MSG_STR:
        return read_string(r, f, at);
    case MSG_BIN: {
        struct bytes *b = at;
        if (!wire_get_bin(&r->in, b))
            return malformed(r, f->name);
        if (b->n > f->max_bytes)
            return err_set(r->err, ERR_LIMIT, "%s: %zu bytes, at most %zu are allowed", f->name,
                           b->n, f->max_bytes);
        return 0;
    }
    case MSG_I64: {
        int64_t *v = at;
        if (!wire_get_i64(&r->in, v))
            return malformed(r, f->name);
        if (*v != 0 && (*v < f->min || *v > f->max))
            return err_set(r->err, ERR_LIMIT, "%s: %lld is not between %lld and %lld", f->name,
                           (long long)*v, (long long)f->min, (long long)f->max);
        return 0;
    }
    case MSG_BOOL:
        return wire_get_bool(&r->in, at) ? 0 : malformed(r, f->name);
    case MSG_STRS:
        return read_strs(r, f, at);
    case MSG_INTS:
        return read_ints(r, f, at);
    case MSG_PAIRS:
        return read_pairs(r, f, at);
    case MSG_RAWS:
        return read_raws(r, f, at);
    }
    return -1;
}

static const struct msg_field *find_field(const struct msg_field *fields, size_t n,
                                          struct bytes key, size_t hint)
{
    /* Writers keep the table's order, so the next field is nearly always at or behind the hint. */
    for (size_t k = 0; k < n; k++) {
        const struct msg_field *f = &fields[(hint + k) % n];
        if (strlen(f->name) == key.n && memcmp(f->name, key.p, key.n) == 0)
            return f;
    }
    return NULL;
}

int msg_unpack(const struct msg_type *type, struct bytes data, struct arena *arena,
               enum msg_mode mode, void *body, struct err *err)
{
    struct reading r = {.type = type, .arena = arena, .err = err};
    size_t nfields, hint = 0;
    const struct msg_field *fields = type->fields(&nfields);
    uint64_t seen = 0;
    uint32_t n;

    assert(nfields <= 64); /* one bit of seen for each */
    wire_in_init(&r.in, data.p, data.n);
    memset(body, 0, type->size);
    if (!wire_get_map(&r.in, &n))
        return err_set(err, ERR_PROTOCOL, "%s: %s", type->name, r.in.error);
    for (uint32_t i = 0; i < n; i++) {
        struct bytes key;
        if (!wire_get_str(&r.in, &key))
            return err_set(err, ERR_PROTOCOL, "%s: %s", type->name, r.in.error);
        const struct msg_field *f = nfields ? find_field(fields, nfields, key, hint) : NULL;
        if (!f) {
            if (mode == MSG_STRICT)
                return err_set(err, ERR_UNSUPPORTED, "%s has no field '%.*s' in this version",
                               type->name, key.n > 64 ? 64 : (int)key.n, (const char *)key.p);
            if (!wire_skip(&r.in))
                return err_set(err, ERR_PROTOCOL, "%s: %s", type->name, r.in.error);
            continue;
        }
        size_t index = (size_t)(f - fields);
        if (seen & 1ULL << index)
            return err_set(err, ERR_PROTOCOL, "%s.%s is there twice", type->name, f->name);
        seen |= 1ULL << index;
        hint = index + 1;
        if (read_field(&r, f, (char *)body + f->offset) < 0)
            return -1;
    }
    if (!wire_end(&r.in))
        return err_set(err, ERR_PROTOCOL, "%s: %s", type->name, r.in.error);
    return 0;
}

void msg_pack_error(const struct err *err, struct wire_out *out)
{
    struct error body = {
        .code = err->code,
        .name = err_name(err->code),
        .text = err->text,
        .retry = err_retry(err->code),
        .retry_after_ms = err->retry_after_ms,
        .slurm_errno = err->slurm_errno,
        .bad_option = err->bad_option,
    };
    msg_pack(&error_type, &body, out);
}

void msg_unpack_error(struct bytes data, struct err *out)
{
    AUTO(arena_done) struct arena arena = {0};
    struct error body;
    if (msg_unpack(&error_type, data, &arena, MSG_LENIENT, &body, out) < 0)
        return;
    enum err_code code = err_from_wire(body.code);
    err_set(out, code == ERR_NONE ? ERR_INTERNAL : code, "%s", body.text ? body.text : "");
    out->slurm_errno = (int)body.slurm_errno;
    out->retry_after_ms = (int)body.retry_after_ms;
    out->bad_option = body.bad_option;
}
