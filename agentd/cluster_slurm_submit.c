/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A job's options as sbatch hands them to libslurm. */
#include "agentd/cluster_slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/str.h"

/* libslurm's descriptions have char * where it only reads. */
static char *unconst(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {s};
    return u.out;
}

static const struct {
    int64_t ours;
    uint16_t slurms;
} mail_bits[] = {
    {SBATCH_MAIL_BEGIN, MAIL_JOB_BEGIN},
    {SBATCH_MAIL_END, MAIL_JOB_END},
    {SBATCH_MAIL_FAIL, MAIL_JOB_FAIL},
    {SBATCH_MAIL_REQUEUE, MAIL_JOB_REQUEUE},
    {SBATCH_MAIL_TIME100, MAIL_JOB_TIME100},
    {SBATCH_MAIL_TIME90, MAIL_JOB_TIME90},
    {SBATCH_MAIL_TIME80, MAIL_JOB_TIME80},
    {SBATCH_MAIL_TIME50, MAIL_JOB_TIME50},
    {SBATCH_MAIL_STAGE_OUT, MAIL_JOB_STAGE_OUT},
    {SBATCH_MAIL_ARRAY_TASKS, MAIL_ARRAY_TASKS},
    {SBATCH_MAIL_INVALID_DEPEND, MAIL_INVALID_DEPEND},
};

static uint16_t mail_type(int64_t ours)
{
    uint16_t out = 0;
    for (size_t i = 0; ours != SBATCH_UNSET && i < ARRAY_LEN(mail_bits); i++)
        if (ours & mail_bits[i].ours)
            out |= mail_bits[i].slurms;
    return out;
}

/* foo:1,bar as gres:foo:1,gres:bar */
static char *gres_list(const char *list, struct arena *arena)
{
    const char *prefix = cluster_slurm_gres_prefix();
    size_t n = 1, prefix_len = strlen(prefix);
    for (const char *p = list; *p; p++)
        n += *p == ',';
    char *out = arena_alloc(arena, strlen(list) + n * prefix_len + 1), *to = out;
    if (!out)
        return NULL;
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (len) {
            if (to != out)
                *to++ = ',';
            if (strncmp(p, "gres:", 5) != 0 && strncmp(p, "gres/", 5) != 0)
                to = (char *)mempcpy(to, prefix, prefix_len);
            to = (char *)mempcpy(to, p, len);
        }
        p += len + (p[len] == ',');
    }
    return out;
}

/* A job's files are relative to its directory; slurmctld would take them as they are. */
static char *file_name(const char *name, const char *work_dir, struct arena *arena)
{
    if (!name || *name == '/')
        return unconst(name);
    return arena_printf(arena, "%s/%s", work_dir, name);
}

static int set_texts(const struct sbatch *in, const char *work_dir, struct arena *arena,
                     job_desc_msg_t *d, struct err *err)
{
    d->name = unconst(in->job_name);
    d->partition = unconst(in->partition);
    d->account = unconst(in->account);
    d->qos = unconst(in->qos);
    d->features = unconst(in->constraint);
    d->array_inx = unconst(in->array);
    d->dependency = unconst(in->dependency);
    d->comment = unconst(in->comment);
    d->mail_user = unconst(in->mail_user);
    d->work_dir = unconst(work_dir);
    d->std_in = file_name(str_or(in->std_in, "/dev/null"), work_dir, arena);
    d->std_out = file_name(in->std_out, work_dir, arena);
    d->std_err = file_name(in->std_err, work_dir, arena);
    if (in->gres)
        d->tres_per_node = gres_list(in->gres, arena);
    if (!d->std_in || !d->std_out != !in->std_out || !d->std_err != !in->std_err ||
        !d->tres_per_node != !in->gres)
        return err_set(err, ERR_LIMIT, "no memory for the job's options");
    return 0;
}

static void set_size(const struct sbatch *in, job_desc_msg_t *d)
{
    /* With a fixed number of nodes and nothing else said, sbatch asks for one task on each. */
    int64_t tasks = 1, cpus = 1;
    if (in->min_nodes != SBATCH_UNSET) {
        d->min_nodes = (uint32_t)in->min_nodes;
        if (in->min_nodes == 0 || in->min_nodes == in->max_nodes)
            tasks = in->min_nodes;
    }
    if (in->max_nodes != SBATCH_UNSET)
        d->max_nodes = (uint32_t)in->max_nodes;
    if (in->ntasks != SBATCH_UNSET) {
        tasks = in->ntasks;
        d->num_tasks = (uint32_t)in->ntasks;
        d->bitflags |= JOB_NTASKS_SET;
    }
    if (in->cpus_per_task != SBATCH_UNSET) {
        cpus = in->cpus_per_task;
        d->cpus_per_task = d->pn_min_cpus = (uint16_t)in->cpus_per_task;
        d->bitflags |= JOB_CPUS_SET;
    }
    int64_t all = tasks * cpus; /* 31 and 16 bits: no overflow */
    d->min_cpus = all < NO_VAL ? (uint32_t)all : NO_VAL - 1;
    if (in->mem_per_node_mb != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)in->mem_per_node_mb;
    if (in->mem_per_cpu_mb != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)in->mem_per_cpu_mb | MEM_PER_CPU;
}

static void set_rules(const struct sbatch *in, job_desc_msg_t *d)
{
    static const uint16_t shared[] = {
        [SBATCH_EXCLUSIVE_NODE] = JOB_SHARED_NONE,
        [SBATCH_EXCLUSIVE_USER] = JOB_SHARED_USER,
        [SBATCH_EXCLUSIVE_MCS] = JOB_SHARED_MCS,
    };
    if (in->exclusive != SBATCH_EXCLUSIVE_UNSET)
        d->shared = shared[in->exclusive];
    if (in->time_limit_min == SBATCH_INFINITE)
        d->time_limit = INFINITE;
    else if (in->time_limit_min != SBATCH_UNSET)
        d->time_limit = (uint32_t)in->time_limit_min;
    if (in->begin != SBATCH_UNSET)
        d->begin_time = (time_t)in->begin;
    if (in->requeue != SBATCH_UNSET)
        d->requeue = (uint16_t)in->requeue;
    if (in->hold)
        d->priority = 0;
    d->mail_type = mail_type(in->mail_type);
    /* sbatch's own defaults, where they are not slurm_init_job_desc_msg()'s */
    d->contiguous = 0;
    d->mem_bind_type = 0;
    d->task_dist = SLURM_DIST_UNKNOWN;
}

static char **string_list(const struct strs *list, struct arena *arena)
{
    char **v = arena_array(arena, list->n + 1, sizeof *v);
    for (size_t i = 0; v && i < list->n; i++)
        v[i] = unconst(list->v[i]);
    return v;
}

static int submitted(const submit_response_msg_t *msg, struct arena *arena,
                     struct submit_reply *out, struct err *err)
{
    uint32_t id = cluster_slurm_submitted(msg);
    *out = (struct submit_reply){.job_id = id, .id = arena_printf(arena, "%u", id)};
    const char *said = msg->job_submit_user_msg;
    if (said && *said)
        out->message = arena_strndup(arena, said, strnlen(said, 65535));
    /* A held job is reported as an error with the id of the job that there is. */
    if (msg->error_code && msg->error_code != ESLURM_JOB_HELD)
        out->warning =
            arena_printf(arena, "Slurm: %.480s", cluster_slurm_text((int)msg->error_code));
    if (!out->id)
        return err_set(err, ERR_IN_DOUBT, "job %u was submitted, but there is no memory to say so",
                       id);
    return 0;
}

/* ---- what libslurm writes to stderr ----
 *
 * slurmctld's reason for a refusal, and what a job_submit plugin has to say with it, are not in the
 * answer that libslurm gives: it logs them.  They are the user's, so stderr is a file meanwhile. */

struct overheard {
    int file, real;
};

static void listen_in(struct overheard *o)
{
    o->file = memfd_create("stderr", MFD_CLOEXEC);
    o->real = o->file < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (o->real >= 0)
        dup2(o->file, STDERR_FILENO);
}

/* "agent-worker: error: text" is worth its text. */
static const char *without_prefix(const char *line)
{
    const char *error = strstr(line, "error: ");
    return error && error - line < 40 ? error + strlen("error: ") : line;
}

/* Gives stderr back; text gets the lines, joined. */
static void listen_end(struct overheard *o, char *text, size_t size)
{
    char raw[1024], *rest = raw;
    ssize_t n = -1;
    if (o->real >= 0) {
        dup2(o->real, STDERR_FILENO);
        n = pread(o->file, raw, sizeof raw - 1, 0);
        close(o->real);
    }
    if (o->file >= 0)
        close(o->file);
    raw[n > 0 ? n : 0] = '\0';
    text[0] = '\0';
    for (char *line; (line = strsep(&rest, "\n"));) {
        size_t used = strlen(text);
        if (*line)
            snprintf(text + used, size - used, "%s%s", used ? "; " : "", without_prefix(line));
    }
}

/* slurmctld has looked at the request and said no: then what was overheard is its reason. */
static bool is_refusal(enum err_code code)
{
    return code == ERR_INVALID || code == ERR_DENIED || code == ERR_LIMIT || code == ERR_BUSY ||
           code == ERR_SLURM;
}

static int refused(int rc, const struct sbatch *in, const char *said, struct err *err)
{
    cluster_slurm_fail(SLURM_CALL_SUBMIT, rc, NULL, in, err);
    /* The same number stands for a request that munged did not sign, and so was not sent, and for
     * an answer that it could not check. */
    if (err->code == ERR_MUNGE && !strstr(said, "auth_g_create"))
        err->code = ERR_IN_DOUBT;
    size_t used = strlen(err->text);
    if (*said && is_refusal(err->code))
        snprintf(err->text + used, sizeof err->text - used, " (%s)", said);
    else if (*said)
        log_warning("libslurm: %s", said);
    if (err->code == ERR_IN_DOUBT)
        err_while(err, "the job may or may not have been submitted");
    return -1;
}

/* In all: slurmdbd of 22.05 cuts it at 65,535 bytes without a word, so ours is behind what has
 * room.
 */
enum { LINE_MAX_BYTES = 60000 };

const char *cluster_tagged_line(const char *submit_line, const struct cluster_tag *tag,
                                struct arena *arena)
{
    if (!tag->request.n)
        return submit_line;
    char hex[2 * 16 + 1] = "";
    for (size_t i = 0; i < tag->request.n && i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", tag->request.p[i]);
    char tail[96];
    int len = snprintf(tail, sizeof tail, " #slurm-agent=%s/%lld", hex, (long long)tag->attempt);
    const char *line = str_or(submit_line, "sbatch");
    size_t n = strnlen(line, LINE_MAX_BYTES - (size_t)len);
    while (n && (line[n] & 0xc0) == 0x80)
        n--;
    return arena_printf(arena, "%.*s%s", (int)n, line, tail);
}

int cluster_submit(const struct sbatch *in, struct bytes script, const struct strs *arguments,
                   const struct strs *environment, const char *work_dir, const char *submit_line,
                   const struct cluster_tag *tag, struct arena *arena, struct submit_reply *out,
                   struct err *err)
{
    job_desc_msg_t d;
    slurm_init_job_desc_msg(&d);
    d.user_id = getuid();
    d.group_id = getgid();
    set_size(in, &d);
    set_rules(in, &d);
    if (set_texts(in, work_dir, arena, &d, err) < 0)
        return -1;
    d.script = arena_strndup(arena, (const char *)script.p, script.n);
    d.argv = string_list(arguments, arena);
    d.argc = (uint32_t)arguments->n;
    d.environment = string_list(environment, arena);
    d.env_size = (uint32_t)environment->n;
    const char *line = cluster_tagged_line(submit_line, tag, arena);
    d.submit_line = unconst(line);
    if (tag->alloc_sid)
        d.alloc_sid = tag->alloc_sid;
    if (!d.script || !d.argv || !d.environment || (tag->request.n && !line))
        return err_set(err, ERR_LIMIT, "no memory for the job's script and environment");

    submit_response_msg_t *msg = NULL;
    struct overheard ears;
    char said[800];
    listen_in(&ears);
    cluster_slurm_begin();
    FAILPOINT(before_rpc);
    int rc = slurm_submit_batch_job(&d, &msg), saved = errno;
    FAILPOINT(after_rpc);
    listen_end(&ears, said, sizeof said);
    errno = saved;
    if (rc || !msg)
        return refused(rc, in, said, err);
    rc = submitted(msg, arena, out, err);
    slurm_free_submit_response_response_msg(msg);
    return rc;
}
