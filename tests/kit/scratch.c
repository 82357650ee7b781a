/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

void scratch_make(char out[SCRATCH_PATH])
{
    snprintf(out, SCRATCH_PATH, "/tmp/sagent-test-XXXXXX");
    cr_assert_not_null(mkdtemp(out), "%s: %s", out, strerror(errno));
    cr_assert_eq(chmod(out, 0755), 0);
}

enum { SCRATCH_DEPTH = 8 };

static void remove_in(const char *dir, int depth)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));) {
        char path[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (unlink(path) < 0 && errno == EISDIR && depth > 0)
            remove_in(path, depth - 1);
    }
    closedir(d);
    rmdir(dir);
}

void scratch_remove(const char *dir)
{
    remove_in(dir, SCRATCH_DEPTH);
}

void scratch_path(char out[SCRATCH_PATH], const char *dir, const char *name)
{
    int n = snprintf(out, SCRATCH_PATH, "%s/%s", dir, name);
    cr_assert(n > 0 && n < SCRATCH_PATH, "%s/%s is too long", dir, name);
}

void scratch_write(const char *dir, const char *name, const char *text)
{
    char path[SCRATCH_PATH];
    scratch_path(path, dir, name);
    AUTO(fclose) FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fchmod(fileno(f), 0644) == 0, "%s", path);
}

char *scratch_read(const char *path)
{
    AUTO(fclose) FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    /* No NUL in what is read here: to the end of the file. */
    if (!f || getdelim(&text, &size, '\0', f) < 0) {
        free(text);
        return strdup("");
    }
    return text;
}

void build_path(char out[BUILD_PATH], const char *rel)
{
    char self[BUILD_PATH];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    cr_assert_gt(n, 0);
    self[n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(self, '/');
        cr_assert_not_null(slash);
        *slash = '\0';
    }
    n = snprintf(out, BUILD_PATH, "%s/%s", self, rel);
    cr_assert(n > 0 && n < BUILD_PATH);
}
