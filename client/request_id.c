/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/request_id.h"

#include <string.h>

#include "common/seal.h"
#include "common/str.h"

enum { ID_MAX_BYTES = 255 };

static int digit_of(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static int parse(const char *text, uint8_t id[REQUEST_ID], struct err *err)
{
    size_t n = strlen(text), digits = 0;
    uint8_t hash[SEAL_HASH];
    if (n == 0 || n > ID_MAX_BYTES)
        return err_set(err, ERR_INVALID, "a request id has 1 to %d bytes, not %zu", ID_MAX_BYTES,
                       n);
    while (digits < n && digit_of(text[digits]) >= 0)
        digits++;
    if (n == 2 * REQUEST_ID && digits == n) {
        for (int i = 0; i < REQUEST_ID; i++)
            id[i] = (uint8_t)(digit_of(text[2 * i]) << 4 | digit_of(text[2 * i + 1]));
        return 0;
    }
    seal_hash(text, n, hash);
    memcpy(id, hash, REQUEST_ID);
    return 0;
}

int request_id_take(const char *text, uint8_t id[REQUEST_ID], struct err *err)
{
    if (seal_setup(err) < 0)
        return -1;
    if (text)
        return parse(text, id, err);
    seal_random(id, REQUEST_ID);
    return 0;
}
