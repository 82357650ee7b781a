/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Packed bytes do not change: clients and servers of other versions read them.
 *
 * tests/data/frames.hex has a line "name hex" for each.  A line changes only together with the
 * protocol's version; a new field adds a sample and leaves the others.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "common/cred.h"
#include "common/msg.h"
#include "common/seal.h"
#include "common/str.h"

#define STRS(...)                                                                                  \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *) \
    }

/* What the file says about name, as hex; NULL when nothing. */
static char *golden(const char *name)
{
    AUTO(fclose) FILE *f = fopen("tests/data/frames.hex", "re");
    AUTO(free) char *line = NULL;
    size_t size = 0, n = strlen(name);
    cr_assert_not_null(f, "run it in the source tree");
    while (getline(&line, &size, f) > 0)
        if (strncmp(line, name, n) == 0 && line[n] == ' ') {
            line[strcspn(line, "\n")] = '\0';
            return strdup(line + n + 1);
        }
    return NULL;
}

static void expect_bytes(const char *name, struct bytes b)
{
    AUTO(free) char *want = golden(name), *hex = malloc(2 * b.n + 1);
    str_hex(b.p, b.n, hex);
    cr_expect_not_null(want, "no line for: %s %s", name, hex);
    if (want)
        cr_expect_str_eq(hex, want, "%s", name);
}

static void expect_body(const char *name, const struct msg_type *type, const void *body)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(type, body, out);
    expect_bytes(name, wire_out_bytes(out));
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

Test(client_golden, requests)
{
    static const struct pair options[] = {{"mem", "2G"}, {"hold", ""}};
    static const struct pair environment[] = {{"A", "1"}, {"B", ""}};
    struct submit_request submit = {
        .request_id = text("0123456789abcdef"),
        .script = text("#!/bin/sh\ntrue\n"),
        .script_name = "job.sh",
        .arguments = STRS("one", "two words", ""),
        .options = {options, 2},
        .environment = {environment, 2},
        .login_environment = true,
        .submit_line = "slurm-agent submit job.sh",
    };
    expect_body("submit_request", &submit_request_type, &submit);
    struct get_request get = {.ids = STRS("12", "12_3") };
    expect_body("get_request", &get_request_type, &get);
    struct list_request list = {
        .user = "alice",
        .states = STRS("RUNNING"),
        .after = 70000,
        .limit = 10
    };
    expect_body("list_request", &list_request_type, &list);
    struct control_request control = {
        .verb = "cancel",
        .ids = STRS("12"),
        .submit_times = {(const int64_t[]){1700000000}, 1},
        .signal = "USR1",
        .full = true
    };
    expect_body("control_request", &control_request_type, &control);
    expect_body("empty", &empty_type, &(struct empty){0});
}

Test(client_golden, replies)
{
    AUTO(arena_done) struct arena arena = {0};
    struct job job = {
        .id = "12_3",
        .job_id = 15,
        .array_job_id = 12,
        .array_task = "3",
        .name = "name",
        .user = "alice",
        .uid = 1001,
        .state = "COMPLETED",
        .flags = STRS("COMPLETING"),
        .exit_code = 1,
        .submit_time = 1700000000,
        .time_limit = -1,
        .priority = UINT32_MAX,
        .requeue = true,
    };
    struct bytes packed = msg_pack_arena(&job_type, &job, &arena);
    struct jobs_reply jobs = {
        .as_of = 1700000001,
        .stale = true,
        .source = "table",
        .jobs = {&packed, 1},
        .missing = STRS("99"),
        .next = 15,
    };
    expect_body("jobs_reply", &jobs_reply_type, &jobs);
    struct submit_reply submit = {.id = "12", .job_id = 12, .message = "hello"};
    expect_body("submit_reply", &submit_reply_type, &submit);
    struct error error = {
        .code = 7, .name = "BUSY", .text = "later", .retry = true, .retry_after_ms = 1000};
    expect_body("error", &error_type, &error);
}

Test(client_golden, handshake)
{
    uint8_t out[CRED_WELCOME_SIZE], head[SEAL_HEADER];
    struct hello h = {.version_min = 1, .version_max = 2, .cluster = "sandbox"};
    struct welcome w = {.version = 1, .lifetime_s = 900, .cluster = "sandbox"};
    struct seal_header header = {.kind = SEAL_SEALED, .counter = 0x0102030405060708};
    memset(h.key, 0xaa, sizeof h.key);
    memset(w.session, 0x11, sizeof w.session);
    memset(w.key, 0x22, sizeof w.key);
    memset(w.hello_hash, 0x33, sizeof w.hello_hash);
    memset(w.instance, 0x44, sizeof w.instance);
    memset(header.session, 0x55, sizeof header.session);
    cred_pack_hello(&h, out);
    expect_bytes("hello_payload", (struct bytes){out, CRED_HELLO_SIZE});
    cred_pack_welcome(&w, out);
    expect_bytes("welcome_payload", (struct bytes){out, CRED_WELCOME_SIZE});
    seal_put_header(head, &header);
    expect_bytes("header", (struct bytes){head, sizeof head});
}
