/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store_kit.h: what the tests of object stores share: a sandbox's Swift, files and objects */
#ifndef TESTS_STORE_STORE_KIT_H
#define TESTS_STORE_STORE_KIT_H

#include "common/stage.h"
#include "tests/kit/scratch.h"

struct kit {
    char dir[SCRATCH_PATH];
    int dirfd;
    const char *http, *https, *ca;
    struct stage_conf conf; /* of the http store, as root's account */
    struct stage *s;        /* opened with it */
    struct err err;
    char prefix[40]; /* of this test's own keys in the bucket "data" */
};
extern struct kit kit;

/* Skips the test when no sandbox with store=swift is up. */
void kit_set_up(void);
void kit_tear_down(void);
/* Opens kit.s again, with kit.conf as it is now. */
void kit_reopen(void);

struct stage_url kit_url(const char *name);
/* A file of size bytes that are its own, open for reading.  The caller closes it. */
int kit_file(const char *name, size_t size);
/* The same bytes? */
bool kit_same(const char *a, const char *b);
/* Puts and expects it to work. */
void kit_put(const char *key, const char *file, size_t size);
/* Fetches into a file, and gives the error's code. */
enum err_code kit_fetch(const char *key, const char *file, struct stage_info *ret);

#endif
