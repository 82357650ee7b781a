/* SPDX-License-Identifier: GPL-3.0-or-later */
/* munge_swap.c: preloaded into one of Slurm's commands, gives slurmctld another credential than its
 * own
 *
 * munge_encode() makes the credential as ever, writes it to the file MUNGE_SWAP_TAKE, and hands out
 * the text of the file MUNGE_SWAP_GIVE instead: so a credential of Slurm's is to be had unused, and
 * one of ours comes before slurmctld.
 */
#include <dlfcn.h>
#include <munge.h>
#include <stdio.h>
#include <stdlib.h>

static char *give(void)
{
    const char *path = getenv("MUNGE_SWAP_GIVE");
    char *text = calloc(1, 8192);
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f || !text || fread(text, 1, 8191, f) == 0)
        abort();
    fclose(f);
    return text;
}

munge_err_t munge_encode(char **cred, munge_ctx_t ctx, const void *buf, int len)
{
    munge_err_t (*real)(char **, munge_ctx_t, const void *, int);
    /* By its name: Slurm's plugin has loaded it where RTLD_NEXT does not look. */
    *(void **)&real = dlsym(dlopen("libmunge.so.2", RTLD_LAZY), "munge_encode");
    munge_err_t rc = real(cred, ctx, buf, len);
    const char *path = getenv("MUNGE_SWAP_TAKE");
    FILE *f = rc == EMUNGE_SUCCESS && path ? fopen(path, "we") : NULL;
    if (!f || fputs(*cred, f) < 0 || fclose(f) != 0)
        abort();
    free(*cred);
    *cred = give();
    return EMUNGE_SUCCESS;
}
