/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_wire.c: wire_skip() and the typed reads take any bytes
 *
 * Each read must stay inside, succeed whole or fail for good, and the same bytes that were passed
 * over must be passed over again.  The first byte chooses the order of typed reads.
 */
#include <assert.h>
#include <stdint.h>

#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void skip_all(const uint8_t *data, size_t size)
{
    struct wire_in in, again;
    struct bytes raw;
    wire_in_init(&in, data, size);
    while (wire_get_raw(&in, &raw)) {
        assert(raw.n > 0 && raw.p >= data && raw.p + raw.n <= data + size);
        wire_in_init(&again, raw.p, raw.n);
        assert(wire_skip(&again) && wire_end(&again));
    }
    assert(in.error);
    assert(!wire_skip(&in) && !wire_end(&in));
}

/* One read of the kind that turn says; false when it was not that kind. */
static bool read_one(struct wire_in *in, unsigned turn, const uint8_t *data, size_t size)
{
    uint32_t n = 0;
    struct bytes b = {data, 0};
    int64_t v;
    bool flag, ok;
    switch (turn % 7) {
    case 0:
        ok = wire_get_map(in, &n);
        assert(!ok || (uint64_t)n * 2 <= (uint64_t)(in->end - in->p));
        return ok;
    case 1:
        ok = wire_get_array(in, &n);
        assert(!ok || n <= (uint64_t)(in->end - in->p));
        return ok;
    case 2:
        ok = wire_get_str(in, &b);
        for (size_t i = 0; ok && i < b.n; i++)
            assert(b.p[i]);
        break;
    case 3:
        ok = wire_get_bin(in, &b);
        break;
    case 4:
        return wire_get_i64(in, &v);
    case 5:
        return wire_get_bool(in, &flag);
    default:
        ok = wire_get_raw(in, &b);
    }
    assert(!ok || (b.p >= data && b.p + b.n <= data + size));
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned turn = data[0];
    data++;
    size--;
    skip_all(data, size);
    struct wire_in in;
    wire_in_init(&in, data, size);
    /* What is not of one kind is tried as the next, from the same place. */
    for (unsigned misses = 0; misses < 7; turn++) {
        struct wire_in before = in;
        if (read_one(&in, turn, data, size)) {
            misses = 0;
            assert(in.p > before.p);
        } else {
            assert(in.error);
            in = before;
            misses++;
        }
    }
    return 0;
}
