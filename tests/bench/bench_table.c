/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench_table.c: what the job table takes in memory: the jobs of a sandbox, over and over, under
 * new ids
 *
 *     bench_table N      as a user, in a sandbox with jobs
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/table.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/kit/peer.h"

enum { FIRST_ID = 10000000 };

/* All jobs of the server's, as it has them. */
static struct raws load_sample(struct arena *arena)
{
    struct peer p;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct list_request req = {.all_users = true};
    struct jobs_reply reply;
    struct err err = {0};
    peer_connect(&p);
    peer_login(&p);
    msg_pack(&list_request_type, &req, out);
    struct bytes r = peer_call(&p, OP_job_list, wire_out_bytes(out));
    if (!r.p || r.n < 4)
        die("table", "no answer");
    if (msg_unpack(&jobs_reply_type, (struct bytes){r.p + 4, r.n - 4}, arena, 0, &reply, &err) < 0)
        die("table", err.text);
    peer_close(&p);
    return reply.jobs; /* in r, which stays */
}

int main(int argc, char **argv)
{
    AUTO(arena_done) struct arena arena = {0};
    int64_t n;
    if (argc != 2 || !str_to_i64(argv[1], 1, 10000000, &n))
        die("table", "usage: bench_table N");
    struct raws sample = load_sample(&arena);
    if (!sample.n)
        die("table", "there are no jobs in the sandbox");
    struct job *jobs = calloc(sample.n, sizeof *jobs);
    struct err err = {0};
    for (size_t i = 0; i < sample.n; i++)
        if (msg_unpack(&job_type, sample.v[i], &arena, 0, &jobs[i], &err) < 0)
            die("table", err.text);
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct table *table = table_new((size_t)n);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, packed = 0;
    double begin = now_ms(CLOCK_MONOTONIC);
    for (int64_t i = 0; i < n; i++) {
        struct job j = jobs[(size_t)i % sample.n];
        char id[24];
        j.job_id = FIRST_ID + i;
        j.array_job_id = j.het_job_id = 0;
        snprintf(id, sizeof id, "%lld", (long long)j.job_id);
        j.id = id;
        wire_out_clear(out);
        msg_pack(&job_type, &j, out);
        struct bytes b = wire_out_bytes(out);
        struct jobrec *old = NULL, *rec = jobrec_new(b, &err);
        if (!rec || table_put(table, rec, &old, &err) < 0)
            die("table", err.text);
        packed += b.n;
    }
    double took = now_ms(CLOCK_MONOTONIC) - begin;
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    printf(
        "%lld jobs in the table (%zu different bodies): %.1f MiB, %.0f bytes a job, of these %.0f "
        "its body; %.1f us to put one\n",
        (long long)n, sample.n, (double)bytes / (1 << 20), (double)bytes / (double)n,
        (double)packed / (double)n, took * 1000 / (double)n);
    table_free(table);
    free(jobs);
    return 0;
}
