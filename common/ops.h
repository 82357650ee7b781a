/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ops.h: the numbers of ops.def, and the protocol version that both sides speak */
#ifndef COMMON_OPS_H
#define COMMON_OPS_H

enum { PROTOCOL_VERSION = 1, DEFAULT_PORT = 6821 };

/* What a session is for; one bit each. */
enum op_right { RIGHT_ANY = 0, RIGHT_JOBS = 1, RIGHT_STATS = 2, RIGHT_ADMIN = 4 };

enum op_number {
#define OP(id, name, number, who, body_max, request, reply, help) OP_##id = (number),
#include "common/ops.def"
#undef OP
};

#endif
