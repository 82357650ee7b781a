/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/secret.h"

#include <string.h>
#include <sys/mman.h>

/* Whole pages of its own for each: the kernel's advice is for pages. */
struct secret {
    size_t size;
    char bytes[] __attribute__((aligned(16)));
};

void *secret_new(size_t size)
{
    size_t whole = sizeof(struct secret) + size;
    struct secret *s =
        mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    /* A kernel that does not know these is no reason to do without. */
    madvise(s, whole, MADV_DONTDUMP);
    madvise(s, whole, MADV_WIPEONFORK);
    s->size = whole;
    return s->bytes;
}

void secret_free(void *p)
{
    if (!p)
        return;
    struct secret *s = (struct secret *)((char *)p - offsetof(struct secret, bytes));
    size_t whole = s->size;
    explicit_bzero(s, whole);
    munmap(s, whole);
}

__attribute__((noinline)) void secret_wipe_stack(void)
{
    char below[16 * 1024];
    explicit_bzero(below, sizeof below);
}

char *secret_strdup(const char *s)
{
    size_t n = s ? strlen(s) + 1 : 0;
    char *copy = s ? secret_new(n) : NULL;
    if (copy)
        memcpy(copy, s, n);
    return copy;
}
