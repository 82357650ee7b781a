/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the client makes of a server's answers, wrong ones among them */
#include <criterion/criterion.h>
#include <string.h>

#include "client/decode.h"
#include "client/reply.h"
#include "client/result.h"
#include "common/msg.h"
#include "common/ops.h"

static struct bytes bytes_of(const void *p, size_t n)
{
    return (struct bytes){p, n};
}

#define BYTES(s) bytes_of(s, sizeof(s) - 1)

static struct bytes pack(const struct msg_type *type, const void *body, struct arena *arena)
{
    return msg_pack_arena(type, body, arena);
}

/* ---- replies ---- */

Test(client_reply, a_good_one)
{
    struct bytes body;
    struct err err = {0};
    cr_expect_eq(reply_open(BYTES("\0\0\0\0\x80"), &body, &err), 0);
    cr_expect_eq(body.n, 1);
}

Test(client_reply, what_is_no_reply)
{
    struct bytes body;
    struct err cut = {0}, bits = {0}, garbage = {0};
    cr_expect_eq(reply_open(BYTES("\0\0\0"), &body, &cut), -1);
    cr_expect_eq(cut.code, ERR_PROTOCOL);
    cr_expect_eq(reply_open(BYTES("\0\0\1\0\x80"), &body, &bits), -1);
    cr_expect_eq(bits.code, ERR_PROTOCOL);
    cr_expect_eq(reply_open(BYTES("\0\3\0\0\xc1"), &body, &garbage), -1);
    cr_expect_eq(garbage.code, ERR_PROTOCOL);
}

Test(client_reply, errors_of_the_server)
{
    AUTO(arena_done) struct arena arena = {0};
    struct error e = {.code = ERR_DENIED, .text = "job 12 is not yours", .slurm_errno = 2010};
    struct bytes packed = pack(&error_type, &e, &arena), body;
    uint8_t plain[200] = {0, ERR_DENIED};
    memcpy(plain + 4, packed.p, packed.n);
    struct err sealed = {0}, refused = {0};
    cr_expect_eq(reply_open(bytes_of(plain, packed.n + 4), &body, &sealed), -1);
    cr_expect_eq(sealed.code, ERR_DENIED);
    cr_expect_eq(sealed.slurm_errno, 2010);
    cr_expect_str_eq(sealed.text, "job 12 is not yours");
    cr_expect_eq(reply_refused(packed, &refused), -1);
    cr_expect_str_eq(refused.text, "server: job 12 is not yours", "what is not authenticated");
}

Test(client_reply, an_error_without_words_is_explained)
{
    struct err err = {0};
    reply_refused(BYTES("\x81\xa4"
                        "code\x07"),
                  &err);
    cr_expect_eq(err.code, ERR_BUSY);
    cr_expect_str_eq(err.text, "server: the server has too much to do right now");
}

/* ---- WELCOME ---- */

static const uint8_t hash[SEAL_HASH] = {1}, other_hash[SEAL_HASH] = {2};
static const uint8_t session[SEAL_ID] = {3}, other_session[SEAL_ID] = {4};

static struct welcome good_welcome(void)
{
    struct welcome w = {.version = PROTOCOL_VERSION, .lifetime_s = 900, .cluster = "sandbox"};
    memcpy(w.hello_hash, hash, sizeof hash);
    memcpy(w.session, session, sizeof session);
    return w;
}

/* "" when it is accepted. */
static const char *judged(const struct welcome *w, uid_t uid, const char *cluster,
                          int64_t server_uid, enum err_code *ret_code)
{
    static struct err err;
    struct cred_origin from = {.uid = uid};
    struct reply_expected x = {.address = "tcp://head:6821",
                               .cluster = cluster,
                               .server_uid = server_uid,
                               .hello_hash = hash,
                               .session = session};
    err = (struct err){0};
    cr_expect_eq(reply_check_welcome(w, &from, &x, &err), err.code == ERR_NONE ? 0 : -1);
    *ret_code = err.code;
    return err.text;
}

Test(client_welcome, a_good_one)
{
    enum err_code code;
    struct welcome w = good_welcome();
    cr_expect_str_eq(judged(&w, 0, "sandbox", 0, &code), "");
    cr_expect_str_eq(judged(&w, 0, "", 0, &code), "");
    cr_expect_str_eq(judged(&w, 0, NULL, 0, &code), "");
    cr_expect_str_eq(judged(&w, 1001, NULL, 1001, &code), "");
}

Test(client_welcome, by_another_user)
{
    enum err_code code;
    struct welcome w = good_welcome();
    const char *text = judged(&w, 1001, "", 0, &code);
    cr_expect_eq(code, ERR_AUTH);
    cr_expect_not_null(strstr(text, "runs as uid 1001, not as 0"), "%s", text);
    judged(&w, 0, "", 4242, &code);
    cr_expect_eq(code, ERR_AUTH);
}

Test(client_welcome, to_another_hello_or_of_another_session)
{
    enum err_code code;
    struct welcome w = good_welcome();
    memcpy(w.hello_hash, other_hash, sizeof other_hash);
    judged(&w, 0, "", 0, &code);
    cr_expect_eq(code, ERR_AUTH);
    w = good_welcome();
    memcpy(w.session, other_session, sizeof other_session);
    judged(&w, 0, "", 0, &code);
    cr_expect_eq(code, ERR_AUTH);
}

Test(client_welcome, of_another_cluster_version_or_time)
{
    enum err_code code;
    struct welcome w = good_welcome();
    const char *text = judged(&w, 0, "b", 0, &code);
    cr_expect_eq(code, ERR_AUTH);
    cr_expect_not_null(strstr(text, "of cluster 'sandbox', not 'b'"), "%s", text);
    w.cluster[0] = '\0';
    judged(&w, 0, "sandbox", 0, &code);
    cr_expect_eq(code, ERR_AUTH, "a server that does not know its cluster is not the named one");
    w = good_welcome();
    w.version = PROTOCOL_VERSION + 1;
    judged(&w, 0, "", 0, &code);
    cr_expect_eq(code, ERR_PROTOCOL);
    w = good_welcome();
    w.lifetime_s = 0;
    judged(&w, 0, "", 0, &code);
    cr_expect_eq(code, ERR_PROTOCOL);
}

/* ---- bodies ---- */

Test(client_decode, a_job_with_every_field)
{
    AUTO(arena_done) struct arena arena = {0};
    struct job in = {.id = "12", .state = "RUNNING"};
    size_t n;
    const struct sagent_field *fields = sagent_job_fields(&n);
    in.flags = (struct strs){(const char *const[]){"COMPLETING", "REQUEUED"}, 2};
    in.requeue = true;
    in.exit_code = 3;
    in.time_limit = -1;
    in.name = "a name";
    in.tag = 7;
    struct bytes packed = pack(&job_type, &in, &arena);
    struct jobs_reply r = {.jobs = {&packed, 1}, .as_of = 5, .stale = true, .note = "why"};
    struct bytes body = pack(&jobs_reply_type, &r, &arena);
    struct sagent_jobs *j = result_new(sizeof *j);
    struct err err = {0};
    struct decode_next next;
    cr_assert_eq(decode_jobs(body, j, &next, &err), 0, "%s", err.text);
    const struct sagent_job *job = sagent_jobs_at(j, 0);
    cr_assert_not_null(job);
    cr_expect_null(sagent_jobs_at(j, 1));
    cr_expect_str_eq(job->name, "a name");
    cr_expect_eq(job->flags.n, 2);
    cr_expect_str_eq(job->flags.v[1], "REQUEUED");
    cr_expect(job->requeue);
    cr_expect_eq(job->exit_code, 3);
    cr_expect_eq(job->time_limit, -1);
    cr_expect_eq(job->tag, 7);
    cr_expect_null(job->account);
    cr_expect(sagent_jobs_stale(j));
    cr_expect_str_eq(sagent_jobs_note(j), "why");
    cr_expect_str_eq(fields[0].name, "id");
    cr_expect_str_eq(fields[n - 1].name, "tag");
    cr_expect_str_eq(*(const char *const *)((const char *)job + fields[0].offset), "12");
    sagent_jobs_free(j);
}

/* It goes to fwrite() and its like, which take no NULL. */
Test(client_decode, a_log_without_news_has_data_all_the_same)
{
    AUTO(arena_done) struct arena arena = {0};
    struct log_reply r = {.note = "the job waits"};
    struct sagent_log_chunk *chunk = result_new(sizeof *chunk);
    struct err err = {0};
    cr_assert_eq(decode_log(pack(&log_reply_type, &r, &arena), chunk, &err), 0, "%s", err.text);
    cr_expect_not_null(chunk->data);
    cr_expect_eq(chunk->size, 0u);
    result_free(chunk);
}

Test(client_decode, pages_add_up)
{
    AUTO(arena_done) struct arena arena = {0};
    struct sagent_jobs *j = result_new(sizeof *j);
    struct decode_next next;
    struct err err = {0};
    for (int page = 1; page <= 3; page++) {
        struct job in = {.id = page == 1 ? "1" : page == 2 ? "2" : "3", .state = "PENDING"};
        struct bytes packed = pack(&job_type, &in, &arena);
        struct jobs_reply r = {.jobs = {&packed, 1},
                               .as_of = 100 - page,
                               .stale = page == 2,
                               .next = page,
                               .next_ended = 2 * page};
        cr_assert_eq(decode_jobs(pack(&jobs_reply_type, &r, &arena), j, &next, &err), 0);
        cr_expect_eq(next.after, page);
        cr_expect_eq(next.after_ended, 2 * page);
    }
    cr_expect_eq(sagent_jobs_count(j), 3);
    cr_expect_str_eq(sagent_jobs_at(j, 0)->id, "1");
    cr_expect_str_eq(sagent_jobs_at(j, 2)->id, "3");
    cr_expect_eq(sagent_jobs_as_of(j), 97, "the oldest page's");
    cr_expect(sagent_jobs_stale(j));
    sagent_jobs_free(j);
}

Test(client_decode, bodies_that_lack_what_they_must_have)
{
    struct err no_id = {0}, no_job = {0}, count = {0}, limit = {0};
    struct sagent_submit_reply *s = result_new(sizeof *s);
    cr_expect_eq(decode_submit(BYTES("\x80"), s, &no_id), -1);
    cr_expect_eq(no_id.code, ERR_PROTOCOL);
    sagent_submit_reply_free(s);
    struct sagent_jobs *j = result_new(sizeof *j);
    struct decode_next next;
    cr_expect_eq(decode_jobs(BYTES("\x81\xa4jobs\x91\x80"), j, &next, &no_job), -1);
    cr_expect_eq(no_job.code, ERR_PROTOCOL);
    sagent_jobs_free(j);
    struct sagent_controlled *c = result_new(sizeof *c);
    cr_expect_eq(decode_controlled(BYTES("\x80"), 2, c, &(int64_t){0}, &count), -1);
    cr_expect_eq(count.code, ERR_PROTOCOL);
    sagent_controlled_free(c);
    struct sagent_server *p = result_new(sizeof *p);
    cr_expect_eq(decode_server(BYTES("\x81\xa8protocol\xff"), p, &limit), -1);
    cr_expect_eq(limit.code, ERR_PROTOCOL, "a server that breaks a limit");
    sagent_server_free(p);
}

Test(client_decode, what_a_newer_server_adds_is_passed_over)
{
    struct err err = {0};
    struct sagent_submit_reply *s = result_new(sizeof *s);
    cr_expect_eq(decode_submit(BYTES("\x83\xa2id\xa2"
                                     "12\xa6job_id\x0c\xa5newer\x81\xa1x\x01"),
                               s, &err),
                 0, "%s", err.text);
    cr_expect_str_eq(s->id, "12");
    sagent_submit_reply_free(s);
}
