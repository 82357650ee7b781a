/* SPDX-License-Identifier: GPL-3.0-or-later */
/* staged_ask.h: the numbers of staged_asks.def, which the broker and the user's worker share */
#ifndef AGENTD_STAGED_ASK_H
#define AGENTD_STAGED_ASK_H

enum staged_ask {
    STAGED_NOT = 0,
#define ASKED(name, number, code, text) STAGED_##name = (number),
#include "agentd/staged_asks.def"
#undef ASKED
};

#endif
