/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/request_tag.h"

#include <string.h>

#include "common/seal.h"

uint32_t request_tag(uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt)
{
    uint8_t in[4 + REQUEST_ID + 8], out[SEAL_HASH];
    uint64_t n;
    memcpy(in, &uid, 4);
    memcpy(in + 4, id, REQUEST_ID);
    memcpy(in + 4 + REQUEST_ID, &attempt, 8);
    seal_hash(in, sizeof in, out);
    memcpy(&n, out, sizeof n);
    return REQUEST_TAGS + (uint32_t)(n % 0x7ffffff0); /* Slurm's NO_VAL is above */
}
