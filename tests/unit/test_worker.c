/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_ops.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agentd/jobid.h"
#include "common/cleanup.h"

#define SCRIPT "#!/bin/sh\ntrue\n"

/* A scratch directory, and one call of prepare with its answer. */
static struct {
    char dir[64];
    struct agentd_conf conf;
    struct arena arena;
    struct submit_request in, out;
    struct err err;
} t;

static void set_up(void)
{
    struct err err = {0};
    strcpy(t.dir, "/tmp/test_worker.XXXXXX");
    cr_assert_not_null(mkdtemp(t.dir));
    cr_assert_eq(agentd_conf_load(NULL, &t.arena, &t.conf, &err), 0);
    t.conf.max_script = 4096;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void tear_down(void)
{
    chmod(t.dir, 0700);
    nftw(t.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    arena_done(&t.arena);
}

TestSuite(worker, .init = set_up, .fini = tear_down);

static const char *in_dir(const char *name)
{
    return arena_printf(&t.arena, "%s/%s", t.dir, name);
}

static const char *write_file(const char *name, const void *p, size_t n, mode_t mode)
{
    const char *path = in_dir(name);
    AUTO(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, p, n), (ssize_t)n);
    cr_assert_eq(fchmod(fd, mode), 0);
    return path;
}

static void set_chdir(const char *dir)
{
    struct pair *p = arena_alloc(&t.arena, sizeof *p);
    *p = (struct pair){"chdir", dir};
    t.in.options = (struct pairs){p, 1};
}

static int prepare(void)
{
    struct worker_call c = {.conf = &t.conf, .arena = &t.arena};
    return wop_prepare(&c, &t.in, &t.out, &t.err);
}

/* "wait parsable" */
static const char *manner(void)
{
    struct worker_call c = {.conf = &t.conf, .arena = &t.arena};
    struct submit_reply r = {0};
    static char text[32];
    cr_assert_eq(wop_manner(&c, &t.in, &r, &t.err), 0, "%s", t.err.text);
    snprintf(text, sizeof text, "%s %s", r.wait ? "wait" : "-", r.parsable ? "parsable" : "-");
    return text;
}

static void refused(enum err_code code, const char *with)
{
    cr_assert_eq(prepare(), -1);
    cr_expect_eq(t.err.code, code, "%s: %s", err_name(t.err.code), t.err.text);
    cr_expect_not_null(strstr(t.err.text, with), "'%s' has no '%s'", t.err.text, with);
}

static void host(char *buf, size_t size)
{
    cr_assert_eq(gethostname(buf, size), 0);
}

Test(worker, prepare_reads_the_script_and_echoes_nothing_else)
{
    struct pair variable = {"A", "1"};
    const char *argument = "x";
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    t.in.environment = (struct pairs){&variable, 1};
    t.in.arguments = (struct strs){&argument, 1};
    set_chdir(t.dir);
    cr_assert_eq(prepare(), 0, "%s", t.err.text);
    cr_assert_eq(t.out.script.n, strlen(SCRIPT));
    cr_expect_eq(memcmp(t.out.script.p, SCRIPT, strlen(SCRIPT)), 0);
    cr_expect_str_eq(t.out.script_name, "job.sh");
    cr_expect_str_eq(t.out.work_dir, t.dir);
    cr_expect_null(t.out.script_path);
    cr_expect_eq(t.out.options.n, 0u);
    cr_expect_eq(t.out.environment.n, 0u);
    cr_expect_eq(t.out.arguments.n, 0u);
}

/* What this process has open there is not the user's: once it was the settings of the server. */
Test(worker, prepare_reads_nothing_of_its_own_process)
{
    const char *own = write_file("own.sh", SCRIPT, strlen(SCRIPT), 0600), *link = in_dir("link");
    AUTO(close) int fd = open(own, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(dup2(fd, 0), 0);
    cr_assert_eq(symlink("/proc/self/fd/0", link), 0);
    const char *const names[] = {
        "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/proc/self/maps", "/proc/thread-self/fd/0",
        link};
    set_chdir(t.dir);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        t.err = (struct err){0};
        t.in.script_path = names[i];
        refused(ERR_INVALID, "leads into /proc");
    }
    cr_assert_eq(unlink(link), 0);
    cr_assert_eq(symlink(own, link), 0);
    t.err = (struct err){0};
    cr_expect_eq(prepare(), 0, "a link as any other: %s", t.err.text);
}

/* TZ may be the name of a file. */
Test(worker, prepare_takes_zones_and_no_files_for_them)
{
    static const char *const files[] = {"/etc/passwd", ":/etc/passwd", "../passwd", "a b", "x\n"};
    static const char *const zones[] = {"Europe/Berlin", "XYZ-3:30", ":UTC", "<+03>-3", ""};
    t.in.script = (struct bytes){(const uint8_t *)SCRIPT, strlen(SCRIPT)};
    set_chdir(t.dir);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        t.err = (struct err){0};
        t.in.time_zone = files[i];
        refused(ERR_INVALID, "TZ=");
    }
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        t.err = (struct err){0};
        t.in.time_zone = zones[i];
        cr_expect_eq(prepare(), 0, "%s: %s", zones[i], t.err.text);
        cr_expect_null(getenv("TZ"), "and nothing is left of it");
    }
}

Test(worker, prepare_keeps_the_name_that_was_given)
{
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    t.in.script_name = "other";
    set_chdir(t.dir);
    cr_assert_eq(prepare(), 0, "%s", t.err.text);
    cr_expect_str_eq(t.out.script_name, "other");
}

Test(worker, prepare_takes_the_scripts_text_too)
{
    t.in.script = (struct bytes){(const uint8_t *)SCRIPT, strlen(SCRIPT)};
    set_chdir(t.dir);
    cr_assert_eq(prepare(), 0, "%s", t.err.text);
    cr_expect_eq(t.out.script.n, strlen(SCRIPT));
}

Test(worker, manner_is_the_scripts_and_the_options)
{
    static const char script[] = "#!/bin/sh\n#SBATCH --wait\n#SBATCH -D /nowhere\n";
    struct pair parsable = {"parsable", ""};
    t.in.script = (struct bytes){(const uint8_t *)SCRIPT, strlen(SCRIPT)};
    cr_expect_str_eq(manner(), "- -");
    t.in.options = (struct pairs){&parsable, 1};
    cr_expect_str_eq(manner(), "- parsable");
    t.in.script = (struct bytes){NULL, 0};
    t.in.script_path = write_file("wait.sh", script, strlen(script), 0600);
    cr_expect_str_eq(manner(), "wait parsable");
}

Test(worker, prepare_wants_one_script)
{
    refused(ERR_INVALID, "the script is empty");
    t.err = (struct err){0};
    t.in.script = (struct bytes){(const uint8_t *)SCRIPT, strlen(SCRIPT)};
    t.in.script_path = "/x";
    refused(ERR_INVALID, "may be one alone");
}

Test(worker, prepare_names_file_and_host_of_a_missing_script)
{
    char name[256];
    host(name, sizeof name);
    t.in.script_path = in_dir("nosuch");
    refused(ERR_NOT_FOUND, t.in.script_path);
    cr_expect_not_null(strstr(t.err.text, "No such file or directory"));
    cr_expect_not_null(strstr(t.err.text, name));
}

Test(worker, prepare_looks_for_a_relative_script_at_home_and_says_so)
{
    t.in.script_path = "no/such/file.sh";
    refused(ERR_NOT_FOUND, "/no/such/file.sh: No such file");
    cr_expect_not_null(strstr(t.err.text, "script /"));
}

Test(worker, prepare_refuses_a_directory)
{
    t.in.script_path = t.dir;
    refused(ERR_INVALID, "is a directory, not a regular file");
}

Test(worker, prepare_does_not_wait_for_a_fifo, .timeout = 10)
{
    t.in.script_path = in_dir("fifo");
    cr_assert_eq(mkfifo(t.in.script_path, 0600), 0);
    refused(ERR_INVALID, "not a regular file");
}

Test(worker, prepare_refuses_a_device)
{
    t.in.script_path = "/dev/zero";
    refused(ERR_INVALID, "not a regular file");
}

Test(worker, prepare_refuses_what_the_user_may_not_read)
{
    if (geteuid() == 0)
        cr_skip_test("root may read everything");
    t.in.script_path = write_file("secret", SCRIPT, strlen(SCRIPT), 0);
    refused(ERR_DENIED, "Permission denied");
}

Test(worker, prepare_says_both_sizes_of_a_large_script)
{
    char big[5000];
    memset(big, '\n', sizeof big);
    memcpy(big, SCRIPT, strlen(SCRIPT));
    t.in.script_path = write_file("big", big, sizeof big, 0600);
    refused(ERR_LIMIT, "5000 bytes");
    cr_expect_not_null(strstr(t.err.text, "4096"));
}

Test(worker, prepare_takes_a_script_of_just_the_largest_size)
{
    char big[4096];
    memset(big, '\n', sizeof big);
    memcpy(big, SCRIPT, strlen(SCRIPT));
    t.in.script_path = write_file("big", big, sizeof big, 0600);
    set_chdir(t.dir);
    cr_assert_eq(prepare(), 0, "%s", t.err.text);
    cr_expect_eq(t.out.script.n, sizeof big);
}

Test(worker, prepare_refuses_a_script_with_a_nul_byte)
{
    static const char bad[] = "#!/bin/sh\na\0b\n";
    t.in.script_path = write_file("nul", bad, sizeof bad - 1, 0600);
    set_chdir(t.dir);
    refused(ERR_INVALID, "NUL");
}

Test(worker, prepare_refuses_options_before_anything_is_submitted)
{
    struct pair p[] = {{"chdir", t.dir}, {"time", "soon"}};
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    t.in.options = (struct pairs){p, 2};
    refused(ERR_INVALID, "--time=soon");
}

Test(worker, prepare_reads_the_directory_from_the_script)
{
    char script[200];
    snprintf(script, sizeof script, "#!/bin/sh\n#SBATCH --chdir=%s\n", t.dir);
    t.in.script_path = write_file("job.sh", script, strlen(script), 0600);
    cr_assert_eq(prepare(), 0, "%s", t.err.text);
    cr_expect_str_eq(t.out.work_dir, t.dir);
}

Test(worker, prepare_names_path_and_host_of_a_missing_directory)
{
    char name[256];
    host(name, sizeof name);
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    set_chdir(in_dir("nosuch"));
    refused(ERR_NOT_FOUND, t.in.options.v[0].value);
    cr_expect_not_null(strstr(t.err.text, name));
    cr_expect_not_null(strstr(t.err.text, "/tmp"));
}

Test(worker, prepare_refuses_a_directory_that_is_a_file)
{
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    set_chdir(t.in.script_path);
    refused(ERR_INVALID, "Not a directory");
}

Test(worker, prepare_refuses_a_directory_the_user_cannot_enter)
{
    if (geteuid() == 0)
        cr_skip_test("root may enter everything");
    const char *closed = in_dir("closed");
    cr_assert_eq(mkdir(closed, 0), 0);
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    set_chdir(closed);
    refused(ERR_DENIED, "Permission denied");
}

/* ---- the table of operations ---- */

static uint32_t serve(enum worker_role role, uint32_t op, struct bytes body, struct err *ret)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct chan_head head = {.serial = 5, .op = op}, reply;
    worker_serve(&t.conf, role, &head, body, out, &reply);
    cr_expect_eq(reply.serial, 5u);
    cr_expect_eq(reply.op, op);
    *ret = (struct err){0};
    if (reply.code)
        msg_unpack_error(wire_out_bytes(out), ret);
    cr_expect_eq(reply.code, (uint32_t)ret->code);
    return reply.code;
}

Test(worker, an_operation_of_another_role_is_refused)
{
    static const uint8_t empty[] = {0x80};
    struct err err;
    cr_expect_eq(serve(ROLE_CONTROL, 1, (struct bytes){empty, 1}, &err), (uint32_t)ERR_NOT_FOUND);
    cr_expect_eq(serve(ROLE_FILE, 2, (struct bytes){empty, 1}, &err), (uint32_t)ERR_NOT_FOUND);
    cr_expect_eq(serve(ROLE_FILE, 99, (struct bytes){empty, 1}, &err), (uint32_t)ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.text, "99"));
}

Test(worker, a_body_that_is_none_is_an_error_reply)
{
    static const uint8_t huge[] = {0xdd, 0x10, 0, 0, 0};
    struct err err;
    cr_expect_eq(serve(ROLE_FILE, 1, (struct bytes){huge, sizeof huge}, &err),
                 (uint32_t)ERR_PROTOCOL);
    cr_expect_eq(serve(ROLE_FILE, 1, (struct bytes){huge, 0}, &err), (uint32_t)ERR_PROTOCOL);
}

Test(worker, a_whole_prepare_goes_through_the_table)
{
    AUTO(wire_out_free) struct wire_out *in = wire_out_new(), *out = wire_out_new();
    struct chan_head head = {.serial = 1, .op = 1}, reply;
    struct submit_request answer;
    struct err err = {0};
    t.in.script_path = write_file("job.sh", SCRIPT, strlen(SCRIPT), 0600);
    set_chdir(t.dir);
    msg_pack(&submit_request_type, &t.in, in);
    worker_serve(&t.conf, ROLE_FILE, &head, wire_out_bytes(in), out, &reply);
    cr_assert_eq(reply.code, 0u);
    cr_assert_eq(
        msg_unpack(&submit_request_type, wire_out_bytes(out), &t.arena, MSG_STRICT, &answer, &err),
        0);
    cr_expect_str_eq(answer.work_dir, t.dir);
    cr_expect_eq(answer.script.n, strlen(SCRIPT));
}

/* ---- which records an id names ---- */

static bool matches(const char *id, const struct job *j)
{
    struct jobid parsed;
    struct err err = {0};
    cr_assert_eq(jobid_parse(id, &parsed, &err), 0);
    return worker_job_matches(j, &parsed);
}

Test(worker, a_task_is_found_in_the_record_of_those_that_wait)
{
    struct job waiting = {.job_id = 12, .array_job_id = 12, .array_task = "1-3,7-11:2%4"};
    struct job task = {.job_id = 14, .array_job_id = 12, .array_task = "4"};
    struct job part = {.job_id = 21, .het_job_id = 20, .het_offset = 1};
    cr_expect(matches("12_2", &waiting));
    cr_expect(matches("12_9", &waiting));
    cr_expect_not(matches("12_8", &waiting));
    cr_expect_not(matches("12_4", &waiting));
    cr_expect(matches("12_4", &task));
    cr_expect_not(matches("13_4", &task));
    cr_expect(matches("12_[1-9]", &task));
    cr_expect(matches("20+1", &part));
    cr_expect_not(matches("20+0", &part));
}

/* Half of the deadline is over before the first; that one is dealt with all the same. */
Test(worker, control_tells_which_jobs_it_has_not_come_to)
{
    static const char *const ids[] = {"nonsense", "12", "13_4"};
    static const struct {
        enum err_code code;
        const char *text;
    } want[] = {{ERR_INVALID, "nonsense"}, {ERR_BUSY, "not asked"}, {ERR_BUSY, "not asked"}};
    struct worker_call c = {.conf = &t.conf, .arena = &t.arena};
    struct control_request in = {.verb = "cancel", .ids = {(const char **)ids, ARRAY_LEN(ids)}};
    struct control_reply out = {0};
    t.conf.call_deadline_s = -2;
    cr_assert_eq(wop_control(&c, &in, &out, &t.err), 0, "%s", t.err.text);
    cr_assert_eq(out.results.n, ARRAY_LEN(ids));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct control_result r;
        cr_assert_eq(
            msg_unpack(&control_result_type, out.results.v[i], &t.arena, MSG_STRICT, &r, &t.err), 0,
            "%s", t.err.text);
        cr_expect_str_eq(r.id, ids[i]);
        cr_expect_eq(r.code, want[i].code, "%s: %s", r.id, r.text);
        cr_expect_not_null(strstr(r.text, want[i].text), "%s", r.text);
    }
}
