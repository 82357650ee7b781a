/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/store/store_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/str.h"

struct kit kit;

void kit_set_up(void)
{
    static char access_key[64], secret_key[64];
    uint32_t random;
    char hex[9];
    kit.http = getenv("SLURM_AGENT_STORE");
    kit.https = getenv("SLURM_AGENT_STORE_TLS");
    kit.ca = getenv("SLURM_AGENT_STORE_CA");
    if (!kit.http || !kit.https || !kit.ca)
        cr_skip_test("needs a sandbox with store=swift: . DIR/env");
    const char *user = geteuid() == 0 ? "root" : getenv("USER");
    snprintf(access_key, sizeof access_key, "%s:%s", user, user);
    snprintf(secret_key, sizeof secret_key, "%s-secret", user);
    kit.conf = (struct stage_conf){
        .endpoint = kit.http,
        .access_key = access_key,
        .secret_key = secret_key,
    };
    scratch_make(kit.dir);
    kit.dirfd = open(kit.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(getrandom(&random, sizeof random, 0), sizeof random);
    str_hex(&random, sizeof random, hex);
    snprintf(kit.prefix, sizeof kit.prefix, "t-%s/", hex);
    kit_reopen();
}

void kit_tear_down(void)
{
    if (!*kit.dir)
        return;
    stage_close(kit.s);
    close(kit.dirfd);
    scratch_remove(kit.dir);
}

void kit_reopen(void)
{
    stage_close(kit.s);
    kit.s = NULL;
    cr_assert_eq(stage_open(STAGE_S3, &kit.conf, &kit.s, &kit.err), 0, "%s", kit.err.text);
}

struct stage_url kit_url(const char *name)
{
    struct stage_url u = {.scheme = STAGE_S3, .bucket = "data"};
    snprintf(u.key, sizeof u.key, "%s%s", kit.prefix, name);
    return u;
}

int kit_file(const char *name, size_t size)
{
    enum { BLOCK = 64 * 1024 };
    static uint64_t words[BLOCK / 8];
    static uint64_t state = 88172645463325252u;
    int fd = openat(kit.dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    for (size_t done = 0; done < size;) {
        size_t n = size - done < BLOCK ? size - done : BLOCK;
        for (size_t i = 0; i < BLOCK / 8; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words[i] = state;
        }
        cr_assert_eq(write(fd, words, n), (ssize_t)n);
        done += n;
    }
    return fd;
}

bool kit_same(const char *a, const char *b)
{
    char path[SCRATCH_PATH];
    AUTO(fclose) FILE *x = (scratch_path(path, kit.dir, a), fopen(path, "re"));
    AUTO(fclose) FILE *y = (scratch_path(path, kit.dir, b), fopen(path, "re"));
    if (!x || !y)
        return false;
    for (;;) {
        static char p[64 * 1024], q[sizeof p];
        size_t n = fread(p, 1, sizeof p, x), m = fread(q, 1, sizeof q, y);
        if (n != m || memcmp(p, q, n) != 0)
            return false;
        if (n == 0)
            return true;
    }
}

void kit_put(const char *key, const char *file, size_t size)
{
    struct stage_url u = kit_url(key);
    struct stage_info info;
    struct err err = {0};
    AUTO(close) int fd = kit_file(file, size);
    cr_assert_eq(stage_put(kit.s, &u, fd, NULL, &info, &err), 0, "%s", err.text);
    cr_expect_eq(info.size_bytes, size);
}

enum err_code kit_fetch(const char *key, const char *file, struct stage_info *ret)
{
    struct stage_url u = kit_url(key);
    kit.err = (struct err){0};
    stage_fetch(kit.s, &u, kit.dirfd, file, 0600, NULL, ret, &kit.err);
    return kit.err.code;
}
