/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_ops.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/worker_file.h"
#include "common/clock.h"
#include "common/str.h"

/* ---- common to several ---- */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "no memory left for the request");
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *home_dir(struct arena *arena, struct err *err)
{
    struct passwd pw, *found = NULL;
    size_t size = 65536;
    char *buf = arena_alloc(arena, size);
    if (!buf) {
        no_memory(err);
        return NULL;
    }
    if (getpwuid_r(getuid(), &pw, buf, size, &found) == 0 && found && found->pw_dir[0] == '/')
        return found->pw_dir;
    err_set(err, ERR_NOT_FOUND, "user id %u has no home directory on %s", getuid(), worker_host());
    return NULL;
}

/* Paths are absolute or start at the user's home, wherever this process is. */
static const char *full_path(const char *path, struct arena *arena, struct err *err)
{
    if (path[0] == '/')
        return path;
    const char *home = home_dir(arena, err);
    if (!home)
        return NULL;
    const char *full = *path ? arena_printf(arena, "%s/%s", home, path) : home;
    if (!full)
        no_memory(err);
    return full;
}

/* ---- prepare ---- */

static int read_whole(int fd, const char *path, size_t max, struct arena *arena, struct bytes *ret,
                      struct err *err)
{
    size_t n = 0;
    uint8_t *p = arena_alloc(arena, max + 1);
    if (!p)
        return no_memory(err);
    while (n <= max) {
        ssize_t r = read(fd, p + n, max + 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_errno(err, ERR_INVALID, "script %s on %s", path, worker_host());
        if (r == 0)
            break;
        n += (size_t)r;
    }
    if (n > max) /* it has grown since its size was looked at */
        return err_set(err, ERR_LIMIT, "script %s on %s is larger than the %zu bytes allowed", path,
                       worker_host(), max);
    *ret = (struct bytes){p, n};
    return 0;
}

static int read_script(const char *path, size_t max, struct arena *arena, struct bytes *ret,
                       struct err *err)
{
    struct stat st;
    AUTO(close) int fd = worker_open_file("script", path, &st, err);
    if (fd < 0)
        return -1;
    if ((uintmax_t)st.st_size > max)
        return err_set(err, ERR_LIMIT, "script %s on %s is %jd bytes, at most %zu are allowed",
                       path, worker_host(), (intmax_t)st.st_size, max);
    return read_whole(fd, path, max, arena, ret, err);
}

/* Slurm itself would say nothing and run the job in /tmp. */
static int check_work_dir(const char *dir, struct err *err)
{
    struct stat st;
    if (strlen(dir) > 4095)
        return err_set(err, ERR_INVALID, "the working directory's name is longer than 4095 bytes");
    errno = 0;
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (errno == 0 && access(dir, X_OK) == 0)
        return 0;
    enum err_code code = errno == ENOTDIR ? ERR_INVALID : worker_path_error(errno);
    return err_set(err, code,
                   "working directory %s: %s on %s (Slurm would run the job in /tmp): give --chdir",
                   dir, strerror(errno), worker_host());
}

static int get_script(struct worker_call *c, const struct submit_request *in,
                      struct submit_request *out, struct err *err)
{
    if (in->script.n && in->script_path)
        return err_set(err, ERR_INVALID, "script and script_path are both given: give one");
    if (!in->script.n && !in->script_path)
        return err_set(err, ERR_INVALID, "the script is empty");
    out->script_name = in->script_name;
    if (!in->script_path) {
        out->script = in->script;
        return 0;
    }
    const char *path = full_path(in->script_path, c->arena, err);
    if (!path || read_script(path, (size_t)c->conf->max_script, c->arena, &out->script, err) < 0)
        return -1;
    if (!out->script_name)
        out->script_name = base_name(path);
    return 0;
}

int wop_prepare(struct worker_call *c, const struct submit_request *in, struct submit_request *out,
                struct err *err)
{
    struct sbatch job;
    if (get_script(c, in, out, err) < 0 ||
        sbatch_parse(out->script, &in->options, (size_t)c->conf->max_script, clock_now(), c->arena,
                     &job, err) < 0)
        return -1;
    out->work_dir = full_path(str_or(job.chdir, ""), c->arena, err);
    return out->work_dir ? check_work_dir(out->work_dir, err) : -1;
}

/* ---- submit ---- */

/* As sbatch: the script's path or name in front, and nothing at all for a script without one. */
static int script_arguments(const struct submit_request *in, struct arena *arena, struct strs *out,
                            struct err *err)
{
    const char *name = in->script_name;
    if (in->script_path && !(name = full_path(in->script_path, arena, err)))
        return -1;
    size_t n = in->arguments.n, first = n || name ? 1 : 0;
    const char **v = arena_array(arena, n + 1, sizeof *v);
    if (!v)
        return no_memory(err);
    v[0] = str_or(name, "sbatch");
    for (size_t i = 0; i < n; i++)
        v[i + 1] = in->arguments.v[i];
    *out = (struct strs){v, n + first};
    return 0;
}

int wop_submit(struct worker_call *c, const struct submit_request *in, struct submit_reply *out,
               struct err *err)
{
    struct sbatch job;
    struct strs arguments, environment;
    if (!in->work_dir || in->work_dir[0] != '/')
        return err_set(err, ERR_PROTOCOL, "submit without a checked working directory");
    if (sbatch_parse(in->script, &in->options, (size_t)c->conf->max_script, clock_now(), c->arena,
                     &job, err) < 0)
        return -1;
    if (!job.job_name)
        job.job_name = base_name(str_or(in->script_name, "sbatch"));
    if (script_arguments(in, c->arena, &arguments, err) < 0 ||
        sbatch_environment(&job, &in->environment, in->login_environment, in->work_dir,
                           worker_host(), c->arena, &environment, err) < 0)
        return -1;
    struct cluster_tag tag = {(uint32_t)in->tag, in->request_id, in->attempt};
    return cluster_submit(&job, in->script, &arguments, &environment, in->work_dir, in->submit_line,
                          &tag, c->arena, out, err);
}

/* ---- cancel ---- */

/* The job may have gone and its id come back: the caller knew it by its submit time too. */
struct same_job {
    const struct jobid *id;
    int64_t submit_time, found;
};

static int see_submit_time(void *arg, const struct job *j)
{
    struct same_job *s = arg;
    if (!worker_job_matches(j, s->id))
        return 0;
    s->found = j->submit_time;
    return s->found == s->submit_time ? -1 : 0;
}

static int check_submit_time(const char *text, int64_t submit_time, struct err *err)
{
    struct jobid id;
    struct same_job s = {.id = &id, .submit_time = submit_time};
    if (jobid_parse(text, &id, err) < 0 || cluster_load_job(id.id, see_submit_time, &s, err) < 0)
        return -1;
    if (!s.found)
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %s", text);
    if (s.found != submit_time)
        return err_set(err, ERR_CONFLICT,
                       "job %s was submitted at %lld, not at %lld: the id is another job's now",
                       text, (long long)s.found, (long long)submit_time);
    return 0;
}

static void cancel_one(const char *text, const struct cancel_request *in,
                       const struct cluster_signal *how, struct cancel_result *out, struct err *err)
{
    struct jobid id;
    *out = (struct cancel_result){.id = text};
    if (jobid_parse(text, &id, err) < 0)
        return;
    if (in->submit_time && check_submit_time(text, in->submit_time, err) < 0)
        return;
    cluster_cancel(text, how, &out->text, err);
}

/* With slurmctld away each further id would wait for its own timeout. */
static bool is_hopeless(enum err_code code)
{
    return code == ERR_SLURM_DOWN || code == ERR_TIMEOUT || code == ERR_MUNGE;
}

int wop_cancel(struct worker_call *c, const struct cancel_request *in, struct cancel_reply *out,
               struct err *err)
{
    struct cluster_signal how = {.batch = in->batch, .full = in->full};
    struct bytes *v = arena_array(c->arena, in->ids.n + 1, sizeof *v);
    struct err last = {0};
    bool skipping = false;
    if (in->signal && cluster_parse_signal(in->signal, &how.number, err) < 0)
        return -1;
    if (in->submit_time && in->ids.n != 1)
        return err_set(err, ERR_INVALID, "submit_time goes with one job id");
    for (size_t i = 0; v && i < in->ids.n; i++) {
        struct cancel_result r = {.id = in->ids.v[i]};
        if (!is_hopeless(last.code)) {
            last = (struct err){0};
            cancel_one(in->ids.v[i], in, &how, &r, &last);
        } else if (!skipping) {
            skipping = true;
            err_while(&last, "not asked");
        }
        r.code = last.code;
        if (last.code != ERR_NONE)
            r.text = last.text;
        r.slurm_errno = last.slurm_errno;
        v[i] = msg_pack_arena(&cancel_result_type, &r, c->arena);
        if (!v[i].p)
            v = NULL;
    }
    if (!v)
        return no_memory(err);
    out->results = (struct raws){v, in->ids.n};
    return 0;
}

/* ---- script ---- */

struct record_id {
    const struct jobid *id;
    uint32_t found;
};

static int see_record(void *arg, const struct job *j)
{
    struct record_id *r = arg;
    if (!worker_job_matches(j, r->id))
        return 0;
    r->found = (uint32_t)j->job_id;
    return -1;
}

int wop_script(struct worker_call *c, const struct script_request *in, struct script_reply *out,
               struct err *err)
{
    struct jobid id;
    AUTO(free) char *text = NULL;
    if (jobid_parse(str_or(in->id, ""), &id, err) < 0)
        return -1;
    if (id.kind == JOBID_TASKS)
        return err_set(err, ERR_INVALID, "%s: give one job, such as %u or %u_1", in->id, id.id,
                       id.id);
    struct record_id r = {.id = &id, .found = id.kind == JOBID_PLAIN ? id.id : 0};
    if (!r.found && cluster_load_job(id.id, see_record, &r, err) < 0)
        return -1;
    if (!r.found)
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %s", in->id);
    if (cluster_script(r.found, &text, err) < 0)
        return -1;
    size_t n = strlen(text);
    if (n > WIRE_MAX_FRAME - 4096) /* room for the frame's own bytes */
        return err_set(err, ERR_LIMIT, "the script of job %s is %zu bytes: too large to send",
                       in->id, n);
    uint8_t *copy = (uint8_t *)arena_strndup(c->arena, text, n);
    out->script = (struct bytes){copy, n};
    return copy ? 0 : no_memory(err);
}

/* ---- info ---- */

int wop_info(struct worker_call *c, const struct empty *in, struct info_reply *out, struct err *err)
{
    (void)in;
    return cluster_info(c->arena, out, err);
}

/* ---- one request ---- */

#define WOP(id, number, role, request, reply, help)                                                \
    static int run_##id(struct worker_call *c, const void *in, void *out, struct err *err)         \
    {                                                                                              \
        return wop_##id(c, in, out, err);                                                          \
    }
#include "agentd/worker_ops.def"
#undef WOP

static const struct row {
    uint32_t number;
    enum worker_role role;
    const char *name;
    const struct msg_type *request, *reply;
    int (*run)(struct worker_call *c, const void *in, void *out, struct err *err);
} rows[] = {
#define WOP(id, number, role, request, reply, help)                                                \
    {number, ROLE_##role, #id, &request##_type, &reply##_type, run_##id},
#include "agentd/worker_ops.def"
#undef WOP
};

static const struct row *find_row(enum worker_role role, uint32_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].number == number && rows[i].role == role)
            return &rows[i];
    return NULL;
}

/* What a request may be unpacked to, and its reply: several times the largest frame. */
enum { CALL_MAX_BYTES = 64 << 20 };

static int serve(const struct agentd_conf *conf, const struct row *row, struct bytes body,
                 struct wire_out *out, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, CALL_MAX_BYTES);
    struct worker_call c = {.conf = conf, .arena = &arena};
    void *request = arena_alloc(&arena, row->request->size);
    void *reply = arena_alloc(&arena, row->reply->size);
    if (!request || !reply)
        return no_memory(err);
    if (msg_unpack(row->request, body, &arena, MSG_STRICT, request, err) < 0 ||
        row->run(&c, request, reply, err) < 0)
        return -1;
    msg_pack(row->reply, reply, out);
    struct bytes b = wire_out_bytes(out);
    if (!b.p)
        return no_memory(err);
    if (b.n > CHAN_MAX_BODY)
        return err_set(err, ERR_LIMIT, "the answer has %zu bytes, at most %d can be sent", b.n,
                       CHAN_MAX_BODY);
    return 0;
}

void worker_serve(const struct agentd_conf *conf, enum worker_role role,
                  const struct chan_head *head, struct bytes body, struct wire_out *out,
                  struct chan_head *ret_head)
{
    struct err err = {0};
    const struct row *row = find_row(role, head->op);
    wire_out_clear(out);
    if (!row)
        err_set(&err, ERR_NOT_FOUND, "a worker of this kind has no operation %u", head->op);
    else
        serve(conf, row, body, out, &err);
    if (err.code != ERR_NONE) {
        wire_out_clear(out);
        msg_pack_error(&err, out);
    }
    *ret_head = (struct chan_head){.serial = head->serial, .op = head->op, .code = err.code};
}
