/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.c: the broker's job table at sizes that no sandbox has: the sandbox's jobs, over and over,
 * under new ids, in this process
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/table.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/raw.h"
#include "tests/bench/sections.h"

enum { FIRST_ID = 10000000, SAMPLE = 40, FINDS = 100000 };

struct sample {
    struct raw raw;
    struct arena arena;
    struct job jobs[SAMPLE];
    size_t n;
};

static void load_sample(struct sample *s)
{
    struct wire_out *out = wire_out_new();
    struct list_request req = {.all_users = true, .limit = SAMPLE};
    struct jobs_reply reply;
    struct err err = {0};
    raw_open(&s->raw, getenv("SLURM_AGENT_SERVER"));
    msg_pack(&list_request_type, &req, out);
    struct bytes body = raw_call(&s->raw, OP_job_list, wire_out_bytes(out));
    if (msg_unpack(&jobs_reply_type, body, &s->arena, MSG_LENIENT, &reply, &err) < 0)
        die("table", err.text);
    for (; s->n < reply.jobs.n && s->n < SAMPLE; s->n++)
        if (msg_unpack(&job_type, reply.jobs.v[s->n], &s->arena, MSG_LENIENT, &s->jobs[s->n],
                       &err) < 0)
            die("table", err.text);
    if (s->n == 0)
        die("table", "there are no jobs in the sandbox");
    wire_out_free(out);
}

/* A reply with that job, as job.get makes it. */
static size_t answer(const struct table *t, uint32_t id, struct wire_out *out)
{
    const struct jobrec *rec = table_get(t, id);
    struct jobs_reply r = {.as_of = 1, .source = "table", .jobs = {&rec->packed, 1}};
    wire_out_clear(out);
    msg_pack(&jobs_reply_type, &r, out);
    return wire_out_bytes(out).n;
}

static json_t *fill_and_find(const struct sample *s, int64_t n)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    AUTO(table_free) struct table *table = table_new((size_t)n);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, answered = 0;
    struct err err = {0};
    double begun = now_ms(CLOCK_MONOTONIC);
    for (int64_t i = 0; i < n; i++) {
        struct job j = s->jobs[(size_t)i % s->n];
        char id[24];
        j.job_id = FIRST_ID + i;
        j.array_job_id = j.het_job_id = 0;
        snprintf(id, sizeof id, "%lld", (long long)j.job_id);
        j.id = id;
        wire_out_clear(out);
        msg_pack(&job_type, &j, out);
        struct jobrec *old = NULL, *rec = jobrec_new(wire_out_bytes(out), &err);
        if (!rec || table_put(table, rec, &old, &err) < 0)
            die("table", err.text);
    }
    double put_us = (now_ms(CLOCK_MONOTONIC) - begun) * 1e3 / (double)n;
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    begun = now_ms(CLOCK_MONOTONIC);
    for (size_t i = 0; i < FINDS; i++) /* all over the table: what is cached is not the table */
        answered += answer(table, (uint32_t)(FIRST_ID + i * 7919 % (size_t)n), out);
    double find_us = (now_ms(CLOCK_MONOTONIC) - begun) * 1e3 / FINDS;
    if (answered < FINDS * 100)
        die("table", "these are no jobs");
    return json_pack("{sI so so so so}", "jobs", (json_int_t)n, "mib",
                     figure((double)bytes / (1 << 20)), "bytes_a_job",
                     figure((double)bytes / (double)n), "put_us", figure(put_us), "find_us",
                     figure(find_us));
}

static json_t *sweep(const struct bench *b)
{
    static const int64_t sizes[] = {1000, 10000, 100000};
    struct sample *s = calloc(1, sizeof *s);
    json_t *rows = json_array();
    (void)b;
    if (!s)
        die("table", "no memory");
    load_sample(s);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        json_array_append_new(rows, fill_and_find(s, sizes[i]));
    return rows;
}

json_t *bench_table(const struct bench *b)
{
    json_t *rows = in_child(b->users[0], sweep, b), *r;
    size_t i;
    printf("\n== the job table by its size, in this process: no slurmctld, no client\n"
           "%8s %9s %12s %9s %24s\n",
           "jobs", "MiB", "bytes a job", "put, us", "find and pack a reply, us");
    json_array_foreach(rows, i, r)
        printf("%8.0f %9.1f %12.0f %9.2f %24.2f\n", number_of(r, "jobs"), number_of(r, "mib"),
               number_of(r, "bytes_a_job"), number_of(r, "put_us"), number_of(r, "find_us"));
    return rows;
}
