/* SPDX-License-Identifier: GPL-3.0-or-later */
/* auth_check.c: what auth will need: munged */
#include <string.h>
#include <unistd.h>

#include "agentd/check.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/str.h"

static void check_munge(const struct agentd_conf *conf)
{
    const char *socket = *conf->munge_socket ? conf->munge_socket : NULL;
    struct hello in = {.version_min = 1, .version_max = 1}, out;
    struct cred_origin from = {0};
    struct err err = {0};
    AUTO(free) char *text = NULL;
    int64_t begun = clock_mono_ms();
    seal_random(in.key, sizeof in.key);
    if (cred_encode_hello(socket, &in, &text, &err) < 0 ||
        cred_decode_hello(socket, (struct bytes){(const uint8_t *)text, strlen(text)}, &out, &from,
                          &err) < 0)
        check_say(CHECK_FAIL, "munge", "%s (systemctl status munge; munge -n | unmunge)", err.text);
    else if (from.uid != geteuid())
        check_say(CHECK_FAIL, "munge", "munged takes uid %u for uid %u", geteuid(), from.uid);
    else
        check_say(CHECK_OK, "munge", "a credential was made and read in %lld ms",
                  (long long)(clock_mono_ms() - begun));
}

void auth_check(const struct agentd_conf *conf)
{
    check_munge(conf);
}
