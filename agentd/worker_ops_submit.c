/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker_ops_submit.c: prepare, submit, will_run and manner */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agentd/cluster.h"
#include "agentd/worker_file.h"
#include "agentd/worker_ops.h"
#include "common/clock.h"
#include "common/manifest.h"
#include "common/str.h"

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

/* Paths are absolute or start where the client is; without that at the user's home.  Where this
 * process is counts for nothing. */
static const char *full_path(const struct submit_request *in, const char *path, struct arena *arena,
                             struct err *err)
{
    if (path[0] == '/')
        return path;
    const char *from = in->submit_dir ? in->submit_dir : home_dir(arena, err);
    if (!from)
        return NULL;
    const char *full = *path ? arena_printf(arena, "%s/%s", from, path) : from;
    if (!full)
        no_memory(err);
    return full;
}

/* ---- the request's options ---- */

/* slurm.conf says it; NULL when it does not, as it may be in an Include. */
static const char *cluster_in_conf(const void *arg)
{
    static char name[64];
    const struct agentd_conf *conf = arg;
    if (!*name)
        cluster_name_in(conf->slurm_conf, name);
    return *name ? name : NULL;
}

/* Then slurmctld does, whom not every worker may ask. */
static const char *cluster_asked(const void *arg)
{
    static char name[64];
    struct cluster_about about;
    struct err ignored = {0};
    if (!*name && !cluster_in_conf(arg) && cluster_about(&about, &ignored) == 0)
        str_copy(name, sizeof name, about.name);
    return *name ? name : cluster_in_conf(arg);
}

static int source_of(const struct worker_call *c, const struct submit_request *in,
                     struct bytes script, struct sbatch_source *out, struct err *err)
{
    size_t n = in->components.n + 1;
    struct pairs *options = arena_array(c->arena, n, sizeof *options);
    if (!options)
        return no_memory(err);
    options[0] = in->options;
    for (size_t i = 1; i < n; i++) {
        struct component part;
        if (msg_unpack(&component_type, in->components.v[i - 1], c->arena, MSG_STRICT, &part, err) <
            0)
            return -1;
        options[i] = part.options;
    }
    *out = (struct sbatch_source){.script = script,
                                  .defaults = &in->defaults,
                                  .options = options,
                                  .n_options = n,
                                  .max_script = (size_t)c->conf->max_script,
                                  .now = clock_now(),
                                  .cluster = cluster_in_conf,
                                  .conf = c->conf};
    return 0;
}

/* TZ may name a file: only what stands for a zone is taken. */
static int set_zone(const char *zone, struct err *err)
{
    const char *name = zone ? zone + (*zone == ':') : "";
    if (*name == '/' || strstr(name, "..") ||
        name[strspn(name,
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/,.:<>")])
        return err_set(err, ERR_INVALID,
                       "TZ=%.80s: give a time zone by its name, such as Europe/Berlin", zone);
    if (zone ? setenv("TZ", zone, 1) < 0 : unsetenv("TZ") < 0)
        return no_memory(err);
    tzset();
    return 0;
}

/* Times of day are those of the client's zone, when it says one. */
static int parse(const struct submit_request *in, const struct sbatch_source *source,
                 struct arena *arena, struct sbatch_jobs *out, struct err *err)
{
    struct err none = {0};
    if (set_zone(in->time_zone, err) < 0)
        return -1;
    int rc = sbatch_parse(source, arena, out, err);
    set_zone(NULL, &none);
    return rc;
}

/* ---- files ---- */

/* What is a file's: its name in errors, and how large it may be. */
struct kind {
    const char *what;
    size_t max;
};

enum { LIST_MAX = 1 << 20 };

static int read_whole(int fd, const char *path, const struct kind *kind, struct arena *arena,
                      struct bytes *ret, struct err *err)
{
    size_t n = 0;
    uint8_t *p = arena_alloc(arena, kind->max + 1);
    if (!p)
        return no_memory(err);
    while (n <= kind->max) {
        ssize_t r = read(fd, p + n, kind->max + 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_errno(err, ERR_INVALID, "%s %s on %s", kind->what, path, worker_host());
        if (r == 0)
            break;
        n += (size_t)r;
    }
    if (n > kind->max) /* it has grown since its size was looked at */
        return err_set(err, ERR_LIMIT, "%s %s on %s is larger than the %zu bytes allowed",
                       kind->what, path, worker_host(), kind->max);
    *ret = (struct bytes){p, n};
    return 0;
}

static int read_file(const char *path, const struct kind *kind, struct arena *arena,
                     struct bytes *ret, struct err *err)
{
    struct stat st;
    AUTO(close) int fd = worker_open_file(kind->what, path, &st, err);
    if (fd < 0)
        return -1;
    if ((uintmax_t)st.st_size > kind->max)
        return err_set(err, ERR_LIMIT, "%s %s on %s is %jd bytes, at most %zu are allowed",
                       kind->what, path, worker_host(), (intmax_t)st.st_size, kind->max);
    return read_whole(fd, path, kind, arena, ret, err);
}

/* What options name: read once, whatever names it. */
struct files {
    const struct submit_request *in;
    struct arena *arena;
    struct pair *v;
    size_t n, room;
};

static const char *find_file(const struct pairs *files, const char *name)
{
    for (size_t i = 0; i < files->n; i++)
        if (str_eq(files->v[i].name, name))
            return str_or(files->v[i].value, "");
    return NULL;
}

static int take_node_file(struct files *f, const char *option, const char *name, struct err *err)
{
    const struct kind kind = {option, LIST_MAX};
    struct bytes text;
    if (!name || find_file(&(struct pairs){f->v, f->n}, name))
        return 0;
    const char *path = full_path(f->in, name, f->arena, err);
    const char *list = path && read_file(path, &kind, f->arena, &text, err) == 0
                           ? sbatch_node_list(text, f->arena, err)
                           : NULL;
    if (!list) {
        err->bad_option = str_eq(option, "--nodefile"); /* which sbatch reads at once */
        return err_while(err, "%s=%.200s", option, name);
    }
    if (f->n == f->room)
        return no_memory(err);
    f->v[f->n++] = (struct pair){name, list};
    return 0;
}

/* A list of nodes with a slash in it is a file's name. */
static const char *as_file(const char *list)
{
    return list && strchr(list, '/') ? list : NULL;
}

static int read_node_files(struct files *f, const struct sbatch_jobs *jobs, struct err *err)
{
    f->room = 3 * jobs->n;
    f->v = arena_array(f->arena, f->room, sizeof *f->v);
    if (!f->v)
        return no_memory(err);
    for (size_t i = 0; i < jobs->n; i++)
        if (take_node_file(f, "--nodefile", jobs->v[i].node_file, err) < 0 ||
            take_node_file(f, "--nodelist", as_file(jobs->v[i].nodelist), err) < 0 ||
            take_node_file(f, "--exclude", as_file(jobs->v[i].exc_nodes), err) < 0)
            return -1;
    return 0;
}

static int read_exported(const struct submit_request *in, const char *name, struct arena *arena,
                         struct pairs *out, struct err *err)
{
    static const struct kind kind = {"--export-file", LIST_MAX};
    struct bytes text;
    if (!name)
        return 0;
    const char *path = full_path(in, name, arena, err);
    if (!path || read_file(path, &kind, arena, &text, err) < 0)
        return -1;
    return sbatch_exported(text, arena, out, err);
}

static int add_burst_buffer(const struct worker_call *c, const struct submit_request *in,
                            const char *name, struct bytes *script, struct err *err)
{
    const struct kind kind = {"--bbf", (size_t)c->conf->max_script};
    struct bytes lines;
    if (!name)
        return 0;
    const char *path = full_path(in, name, c->arena, err);
    if (!path || read_file(path, &kind, c->arena, &lines, err) < 0)
        return -1;
    return sbatch_add_lines(*script, lines, c->arena, script, err);
}

/* ---- staging ---- */

static bool is_array(const struct sbatch *job)
{
    return job->array_inx && *job->array_inx;
}

/* As sbatch names a job that nobody named; NULL: "sbatch", and no name in its environment. */
static const char *default_name(const char *script_name, const struct sbatch *job)
{
    return script_name ? base_name(script_name) : job->wrap ? "wrap" : NULL;
}

/* The file of a log, as the stage worker will know it: what it cannot know is refused. */
static const char *log_pattern(const char *what, const char *pattern, const struct sbatch *job,
                               const char *work_dir, struct arena *arena, struct err *err)
{
    AUTO(free) char *text = NULL;
    struct passwd *pw = getpwuid(getuid());
    size_t size;
    if (!pattern || !*pattern)
        pattern = is_array(job) ? "slurm-%A_%a.out" : "slurm-%j.out";
    FILE *f = open_memstream(&text, &size);
    for (const char *at = pattern; f && *at && err->code == ERR_NONE; at++) {
        const char *named = *at == '%' && at[1] == 'x'   ? job->name
                            : *at == '%' && at[1] == 'u' ? (pw ? pw->pw_name : NULL)
                                                         : NULL;
        bool kept = *at == '%' && at[1] && strchr("jAa%", at[1]);
        if (*at == '\\' || (*at == '%' && !named && !kept))
            err_set(
                err, ERR_INVALID,
                "%s is to be stored, and its name %.200s is not known beforehand: give one with "
                "%%j, %%A, %%a, %%x, %%u at most",
                what, pattern);
        else if (named)
            for (const char *c = named; *c; c++)
                fprintf(f, *c == '%' ? "%%%%" : "%c", *c);
        else
            fwrite(at, 1, kept ? 2 : 1, f);
        at += named || kept;
    }
    if (!f || fclose(f) != 0)
        no_memory(err);
    if (err->code != ERR_NONE)
        return NULL;
    const char *dir = *text == '/' ? "" : work_dir, *slash = *text == '/' ? "" : "/";
    const char *whole = arena_printf(arena, "%s%s%s", dir, slash, text);
    if (!whole)
        no_memory(err);
    return whole;
}

/* The manifest with what only the job's own options say. */
static int complete_manifest(const struct worker_call *c, const struct submit_request *in,
                             const struct sbatch_jobs *jobs, struct submit_request *out,
                             struct err *err)
{
    struct manifest m;
    struct sbatch job = jobs->v[0];
    if (in->stage.n == 0)
        return 0;
    if (jobs->n > 1)
        return err_set(err, ERR_UNSUPPORTED,
                       "the data of a heterogeneous job is not moved: let a job before it and one "
                       "behind it do that");
    job.name = str_or(job.name, str_or(default_name(out->script_name, &job), "sbatch"));
    if (manifest_read(in->stage.v[0], c->arena, &m, err) < 0)
        return -1;
    m.body.work_dir = out->work_dir;
    m.body.array = is_array(&job);
    m.body.held = job.hold == 1;
    if (m.body.stdout_to &&
        !(m.body.std_out = log_pattern("stdout", job.std_out, &job, out->work_dir, c->arena, err)))
        return -1;
    if (m.body.stderr_to && !job.std_err)
        return err_set(err, ERR_INVALID,
                       "stderr is to be stored, and goes to the same file as stdout: give --error");
    if (m.body.stderr_to &&
        !(m.body.std_err = log_pattern("stderr", job.std_err, &job, out->work_dir, c->arena, err)))
        return -1;
    struct bytes *packed = arena_alloc(c->arena, sizeof *packed);
    if (packed)
        *packed = msg_pack_arena(&stage_manifest_type, &m.body, c->arena);
    if (!packed || !packed->p)
        return no_memory(err);
    out->stage = (struct raws){packed, 1};
    /* What an array may not have is known only now. */
    return manifest_read(*packed, c->arena, &m, err);
}

/* ---- prepare ---- */

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

/* Components may have directories of their own; work_dir is the first one's. */
static int component_dirs(const struct submit_request *in, const char *work_dir,
                          struct sbatch_jobs *jobs, struct arena *arena, struct err *err)
{
    jobs->v[0].chdir = work_dir;
    for (size_t i = 1; i < jobs->n; i++) {
        const char *own = jobs->v[i].chdir;
        if (!(jobs->v[i].chdir = own ? full_path(in, own, arena, err) : work_dir))
            return -1;
    }
    return 0;
}

static int check_dirs(const struct sbatch_jobs *jobs, struct err *err)
{
    for (size_t i = 0; i < jobs->n; i++)
        if (check_work_dir(jobs->v[i].chdir, err) < 0)
            return jobs->n > 1 ? err_while(err, "component %zu", i) : -1;
    return 0;
}

static int get_script(const struct worker_call *c, const struct submit_request *in,
                      struct submit_request *out, struct err *err)
{
    const struct kind kind = {"script", (size_t)c->conf->max_script};
    struct sbatch_source source;
    struct bytes wrapped;
    if (source_of(c, in, in->script, &source, err) < 0 ||
        sbatch_wrap(&source, c->arena, &wrapped, err) < 0)
        return -1;
    if (!!in->script.n + !!in->script_path + !!wrapped.n > 1)
        return err_set(err, ERR_INVALID,
                       "of script, script_path and the option wrap there may be one alone");
    out->script_name = in->script_name;
    if (wrapped.n) {
        out->script = wrapped;
        return 0;
    }
    if (!in->script_path) {
        out->script = in->script;
        return in->script.n ? 0 : err_set(err, ERR_INVALID, "the script is empty");
    }
    const char *path = full_path(in, in->script_path, c->arena, err);
    if (!path || read_file(path, &kind, c->arena, &out->script, err) < 0)
        return -1;
    if (!out->script_name)
        out->script_name = base_name(path);
    return 0;
}

int wop_prepare(struct worker_call *c, const struct submit_request *in, struct submit_request *out,
                struct err *err)
{
    struct sbatch_source source;
    struct sbatch_jobs jobs;
    struct files files = {.in = in, .arena = c->arena};
    if (in->submit_dir && in->submit_dir[0] != '/')
        return err_set(err, ERR_INVALID, "submit_dir %s does not begin with /", in->submit_dir);
    if (get_script(c, in, out, err) < 0 || source_of(c, in, out->script, &source, err) < 0 ||
        parse(in, &source, c->arena, &jobs, err) < 0)
        return -1;
    const struct sbatch *job = &jobs.v[0];
    if (read_node_files(&files, &jobs, err) < 0 ||
        read_exported(in, job->export_file, c->arena, &out->exported, err) < 0 ||
        add_burst_buffer(c, in, job->bb_file, &out->script, err) < 0)
        return -1;
    out->node_files = (struct pairs){files.v, files.n};
    out->test_only = jobs.v[jobs.n - 1].test_only == 1;
    out->work_dir = full_path(in, str_or(job->chdir, ""), c->arena, err);
    if (!out->work_dir || component_dirs(in, out->work_dir, &jobs, c->arena, err) < 0 ||
        check_dirs(&jobs, err) < 0)
        return -1;
    return complete_manifest(c, in, &jobs, out, err);
}

/* ---- submit ---- */

/* As sbatch: the script's path or name in front, and nothing at all for a script without one. */
static int script_arguments(const struct submit_request *in, struct arena *arena, struct strs *out,
                            struct err *err)
{
    const char *name = in->script_name;
    if (in->script_path && !(name = full_path(in, in->script_path, arena, err)))
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

/* Nodes that are named, be it by a file. */
static int settle(const struct submit_request *in, struct sbatch *job, struct arena *arena,
                  struct err *err)
{
    struct sbatch_nodes nodes, excluded;
    const char *list = job->nodelist, *exclude = as_file(job->exc_nodes),
               *file = str_or(job->node_file, as_file(list));
    if (file && !(list = find_file(&in->node_files, file)))
        return err_set(err, ERR_PROTOCOL, "submit without the nodes in %s", file);
    if (exclude && !(exclude = find_file(&in->node_files, exclude)))
        return err_set(err, ERR_PROTOCOL, "submit without the nodes in %s", job->exc_nodes);
    if (exclude) {
        if (cluster_nodes("--exclude", exclude, arena, &excluded, err) < 0)
            return -1;
        job->exc_nodes = excluded.distinct;
    }
    if (list && cluster_nodes("--nodelist", list, arena, &nodes, err) < 0)
        return -1;
    return sbatch_settle(job, list ? &nodes : NULL, err);
}

/* All that is to be said to slurmctld, and what the client is to know. */
static int complete(const struct worker_call *c, const struct submit_request *in,
                    struct sbatch_jobs *jobs, struct cluster_submission *out, struct err *err)
{
    struct sbatch_source source;
    if (!in->work_dir || in->work_dir[0] != '/')
        return err_set(err, ERR_PROTOCOL, "submit without a checked working directory");
    if (source_of(c, in, in->script, &source, err) < 0)
        return -1;
    source.cluster = cluster_asked;
    if (parse(in, &source, c->arena, jobs, err) < 0 ||
        component_dirs(in, in->work_dir, jobs, c->arena, err) < 0)
        return -1;
    const char *name = default_name(in->script_name, &jobs->v[0]);
    for (size_t i = 0; i < jobs->n; i++) {
        jobs->v[i].name = str_or(jobs->v[i].name, name);
        if (in->held)
            jobs->v[i].hold = 1;
        if (settle(in, &jobs->v[i], c->arena, err) < 0)
            return jobs->n > 1 ? err_while(err, "component %zu", i) : -1;
    }
    const struct sbatch_env_source env = {.offered = &in->environment,
                                          .exported = &in->exported,
                                          .login = in->login_environment,
                                          .export_none = in->export_none,
                                          .submit_dir = str_or(in->submit_dir, in->work_dir),
                                          .submit_host = worker_host()};
    *out = (struct cluster_submission){
        .jobs = jobs,
        .script = in->script,
        .submit_line = in->submit_line,
        .tag = {(uint32_t)in->tag, in->request_id, in->attempt},
    };
    if (script_arguments(in, c->arena, &out->arguments, err) < 0 ||
        sbatch_environment(jobs, &env, c->arena, &out->environment, err) < 0)
        return -1;
    /* a job without a name has one for slurmctld, but none in its environment */
    for (size_t i = 0; i < jobs->n; i++)
        jobs->v[i].name = str_or(jobs->v[i].name, "sbatch");
    return 0;
}

static void tell(const struct worker_call *c, const struct sbatch_jobs *jobs,
                 struct submit_reply *out)
{
    const struct sbatch *last = &jobs->v[jobs->n - 1];
    out->wait = last->wait == 1;
    out->parsable = last->parsable == 1;
    if (last->clusters)
        out->cluster = str_or(cluster_in_conf(c->conf), last->clusters);
}

int wop_submit(struct worker_call *c, const struct submit_request *in, struct submit_reply *out,
               struct err *err)
{
    struct sbatch_jobs jobs;
    struct cluster_submission whole;
    if (complete(c, in, &jobs, &whole, err) < 0 || cluster_submit(&whole, c->arena, out, err) < 0)
        return -1;
    tell(c, &jobs, out);
    return 0;
}

/* Of a request that has its job; its first answer may have got lost. */
int wop_manner(struct worker_call *c, const struct submit_request *in, struct submit_reply *out,
               struct err *err)
{
    struct submit_request read = {0};
    struct sbatch_source source;
    struct sbatch_jobs jobs;
    if (get_script(c, in, &read, err) < 0 || source_of(c, in, read.script, &source, err) < 0 ||
        parse(in, &source, c->arena, &jobs, err) < 0)
        return -1;
    tell(c, &jobs, out);
    return 0;
}

int wop_will_run(struct worker_call *c, const struct submit_request *in, struct submit_reply *out,
                 struct err *err)
{
    struct sbatch_jobs jobs;
    struct cluster_submission whole;
    if (complete(c, in, &jobs, &whole, err) < 0)
        return -1;
    return cluster_will_run(&whole, c->arena, out, err);
}
