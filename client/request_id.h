/* SPDX-License-Identifier: GPL-3.0-or-later */
/* request_id.h: a submit's id: what a caller gives, and what goes over the wire */
#ifndef CLIENT_REQUEST_ID_H
#define CLIENT_REQUEST_ID_H

#include <stdint.h>

#include "common/err.h"

enum { REQUEST_ID = 16, REQUEST_ID_TEXT = 2 * REQUEST_ID + 1 };

/* 32 hexadecimal digits are the id, any other text of at most 255 bytes is hashed; NULL: a new one.
 */
int request_id_take(const char *text, uint8_t id[REQUEST_ID], struct err *err);

#endif
