/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_op.h: the numbers of stage_ops.def */
#ifndef AGENTD_STAGE_OP_H
#define AGENTD_STAGE_OP_H

enum stage_op {
#define SOP(name, number, moves, help) STAGE_OP_##name = (number),
#include "agentd/stage_ops.def"
#undef SOP
};

#endif
