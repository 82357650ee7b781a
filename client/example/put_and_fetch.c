/* SPDX-License-Identifier: GPL-3.0-or-later */
/* put_and_fetch.c: a file into an object store and back, checked
 *
 *     cc put_and_fetch.c -o put_and_fetch $(pkg-config --cflags --libs slurmagent-store)
 *     ./put_and_fetch mesh.h5 s3://data/in/mesh.h5 /tmp/mesh.h5
 */
#include <slurmagent_store.h>
#include <stdio.h>

static int complain(const struct sagent_error *err)
{
    fprintf(stderr, "%s%s\n", err->text, err->retry ? " (may work later)" : "");
    return err->exit_status;
}

static void on_file(void *arg, const struct sagent_transfer *t, const struct sagent_error *err)
{
    (void)arg;
    if (!err)
        printf("%s -> %s: %lld bytes%s\n", t->from, t->to, (long long)t->size,
               t->checked ? ", checked" : "");
}

int main(int argc, char **argv)
{
    struct sagent_transfer_options options = {.on_file = on_file};
    struct sagent_error err;
    struct sagent_store *st;
    if (argc != 4) {
        fprintf(stderr, "usage: %s FILE URL COPY\n", argv[0]);
        return 2;
    }
    if (sagent_store_open(argv[2], NULL, &st, &err) < 0)
        return complain(&err);
    const char *paths[] = {argv[1]};
    int rc = sagent_put(st, paths, 1, argv[2], &options, &err);
    if (rc == 0)
        rc = sagent_fetch(st, argv[2], argv[3], &options, &err);
    sagent_store_close(st);
    return rc < 0 ? complain(&err) : 0;
}
