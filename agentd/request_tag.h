/* SPDX-License-Identifier: GPL-3.0-or-later */
/* request_tag.h: how a request's jobs are known, to broker and stage worker */
#ifndef AGENTD_REQUEST_TAG_H
#define AGENTD_REQUEST_TAG_H

#include <stdint.h>

enum { REQUEST_ID = 16 };

/* Tags are above any session id of a real login. */
#define REQUEST_TAGS UINT32_C(0x80000000)

/* What the attempt's job carries as alloc_sid. */
uint32_t request_tag(uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt);

#endif
