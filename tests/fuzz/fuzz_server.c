/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the server's processes read from outside: frames, HELLO payloads, frames of workers and of
 * the watcher, job records, job ids, networks.  The first byte chooses which. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/addr.h"
#include "agentd/chan.h"
#include "agentd/cursor.h"
#include "agentd/jobid.h"
#include "agentd/table.h"
#include "common/cleanup.h"
#include "common/cred.h"
#include "common/fdio.h"
#include "common/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frame(struct bytes b)
{
    static struct seal server;
    static const uint8_t id[SEAL_ID] = {'0', '1', '2', '3', '4', '5', '6', '7',
                                        '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
    static const uint8_t zero[SEAL_HASH];
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    uint64_t counter;
    if (!server.owner) {
        uint8_t pub[SEAL_KEY], sec[SEAL_KEY], peer[SEAL_KEY], unused[SEAL_KEY];
        seal_keypair(pub, sec);
        seal_keypair(peer, unused);
        if (seal_init(&server, SEAL_SERVER, id, pub, sec, peer, zero, zero, &err) < 0)
            abort();
    }
    AUTO(free) uint8_t *out = malloc(b.n + 1);
    if (seal_get_header(b, &h, &payload, &err) == 0)
        assert(payload.n == b.n - SEAL_HEADER);
    err = (struct err){0};
    /* nobody has the keys, so nothing may be taken */
    int rc = seal_open_request(&server, b, out, &counter, &err);
    assert(rc < 0 && err.code != ERR_NONE);
}

static void payload(struct bytes b)
{
    struct err err = {0};
    struct hello h;
    struct welcome w;
    if (cred_unpack_hello(b, &h, &err) == 0) {
        uint8_t again[CRED_HELLO_SIZE];
        struct hello same;
        cred_pack_hello(&h, again);
        assert(cred_unpack_hello((struct bytes){again, sizeof again}, &same, &err) == 0);
        assert(strcmp(same.cluster, h.cluster) == 0);
    }
    err = (struct err){0};
    if (cred_unpack_welcome(b, &w, &err) == 0)
        assert(strlen(w.cluster) < sizeof w.cluster);
}

/* As a worker or the watcher would be read, from a socket that closes. */
static void channel(struct bytes b)
{
    struct err err = {0};
    struct chan_head head;
    int fds[2];
    if (b.n > 65536 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return;
    if (fdio_send_full(fds[0], b.p, b.n) == 0) {
        close(fds[0]);
        for (int frames = 0; frames < 100; frames++) {
            AUTO(free) uint8_t *body = NULL;
            if (chan_read(fds[1], &head, &body, &err) != 1)
                break;
        }
    }
    close(fds[1]);
}

static int count(void *arg, struct jobrec *rec)
{
    size_t *n = arg;
    *n +=
        strlen(rec->keys.state) + strlen(rec->keys.name) + strlen(rec->array_task) + rec->packed.n;
    return 0;
}

static void job(struct bytes b)
{
    struct err err = {0};
    size_t n = 0;
    AUTO(table_free) struct table *t = table_new(4);
    struct jobrec *rec = jobrec_new(b, &err), *old;
    if (!rec || table_put(t, rec, &old, &err) < 0)
        return;
    table_each(t, 0, count, &n);
    assert(table_count(t) == 1 && n > 0);
}

static void words(struct bytes b)
{
    struct err err = {0};
    struct jobid id;
    char *text = strndup((const char *)b.p, b.n);
    if (jobid_parse(text, &id, &err) == 0)
        assert(id.id != 0);
    err = (struct err){0};
    if (addr_check_list("allow_from", text, &err) == 0)
        addr_in_list(text, "192.0.2.1");
    jobid_tasks_contain(text, 7);
    struct cursor cursor;
    char again[CURSOR_TEXT];
    err = (struct err){0};
    if (cursor_parse(text, &cursor, &err) == 0) {
        cursor_format(&cursor, again);
        assert(strcmp(again, text) == 0);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const modes[])(struct bytes b) = {frame, payload, channel, job, words};
    struct err err = {0};
    if (size == 0 || seal_setup(&err) < 0)
        return 0;
    modes[data[0] % ARRAY_LEN(modes)]((struct bytes){data + 1, size - 1});
    return 0;
}
