/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"

extern char **environ;

enum { SCRIPT_MAX = 5 << 20 };

/* ---- the script ---- */

/* Reads to the end, at most SCRIPT_MAX; gives the text. */
static int read_all(int fd, const char *name, char **ret, size_t *ret_n, struct err *err)
{
    AUTO(free) char *text = malloc(SCRIPT_MAX + 1);
    size_t n = 0;
    if (!text)
        cli_no_memory();
    for (;;) {
        ssize_t got = read(fd, text + n, SCRIPT_MAX + 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, ERR_INVALID, "cannot read %s", name);
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > SCRIPT_MAX)
            return err_set(err, ERR_LIMIT, "%s is larger than %d bytes", name, SCRIPT_MAX);
    }
    *ret = TAKE(text);
    *ret_n = n;
    return 0;
}

static int read_script(const char *path, char **ret, size_t *ret_n, struct err *err)
{
    struct stat st;
    /* A fifo without a writer must not hang us before we have seen that it is one. */
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND, "cannot open %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    return read_all(fd, path, ret, ret_n, err);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The value of the last of that name; NULL when it is not there. */
static const char *option_value(const struct cli_sbatch *args, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < args->set_count; i++)
        for (size_t k = 0; k < args->sets[i].n; k++)
            if (str_eq(args->sets[i].v[k].name, name))
                value = args->sets[i].v[k].value;
    return value;
}

/* Where the script is: as sbatch, a name without a slash in front or a dot is looked for in the
 * job's directory, then in PATH.  Gives its path. */
static char *find_script(const struct cli *cli, const struct cli_sbatch *args, const char *name)
{
    const char *path = *name == '/' || *name == '.' ? NULL : getenv("PATH"),
               *chdir = cli->sbatch ? str_or(option_value(args, "chdir"), "") : "";
    AUTO(free) char *here = getcwd(NULL, 0);
    AUTO(free) char *dirs = NULL;
    struct stat st;
    bool absolute = *chdir == '/';
    if (!path || !here ||
        asprintf(&dirs, "%s%s%s:%s", absolute ? "" : here, absolute || !*chdir ? "" : "/", chdir,
                 path) < 0)
        return strdup(name);
    char *rest = dirs, *dir, *full = NULL;
    while ((dir = strsep(&rest, ":"))) {
        if (!*dir || asprintf(&full, "%s/%s", dir, name) < 0)
            continue;
        if (stat(full, &st) == 0 && !S_ISDIR(st.st_mode))
            return full;
        free(full);
    }
    return strdup(name);
}

/* Fills what the request says about the script. */
static int take_script(const struct cli *cli, const struct cli_sbatch *args,
                       struct cli_request *out, struct err *err)
{
    struct sagent_submit_request *request = &out->submit;
    size_t n = 0;
    if (args->remote_script) {
        request->script_path = args->remote_script;
        return 0;
    }
    if (args->wrap)
        return 0;
    /* sbatch takes - for a file's name */
    if (args->script && (cli->sbatch || !str_eq(args->script, "-"))) {
        out->path = find_script(cli, args, args->script);
        if (!out->path)
            cli_no_memory();
        if (read_script(out->path, &out->script, &n, err) < 0)
            return -1;
        /* the path where it comes from means something where the job runs, or does not */
        request->script_name = cli->sbatch ? out->path : base_name(out->path);
    } else if (read_all(STDIN_FILENO, "stdin", &out->script, &n, err) < 0) {
        return -1;
    }
    request->script = out->script;
    request->script_size = n;
    return 0;
}

/* ---- the command line as typed ---- */

static char *command_line(const struct cli *cli)
{
    char *line = NULL;
    size_t size;
    FILE *f = open_memstream(&line, &size);
    if (!f)
        cli_no_memory();
    fputs(cli->sbatch ? cli->argv[0] : "slurm-agent", f);
    for (int i = 1; i < cli->argc; i++)
        fprintf(f, " %s", cli->argv[i]);
    if (fclose(f) != 0)
        cli_no_memory();
    return line;
}

/* ---- the environment ---- */

static const struct {
    const char *name;
    __rlimit_resource_t what;
} limits[] = {
    {"CPU", RLIMIT_CPU},     {"FSIZE", RLIMIT_FSIZE},   {"DATA", RLIMIT_DATA},
    {"STACK", RLIMIT_STACK}, {"CORE", RLIMIT_CORE},     {"RSS", RLIMIT_RSS},
    {"NPROC", RLIMIT_NPROC}, {"NOFILE", RLIMIT_NOFILE}, {"MEMLOCK", RLIMIT_MEMLOCK},
    {"AS", RLIMIT_AS},
};
_Static_assert(ARRAY_LEN(limits) < CLI_REQUEST_MADE, "room for the limits and the umask");

static void make_variable(struct cli_request *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void make_variable(struct cli_request *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&r->made[r->made_count], fmt, ap) < 0)
        cli_no_memory();
    va_end(ap);
    r->variables[r->submit.environment_count++] = r->made[r->made_count++];
}

/* Does the script say --export, or an abbreviation of it?  Then the server picks. */
static bool script_picks(const struct cli_request *r)
{
    return r->script && memmem(r->script, r->submit.script_size, "--exp", 5);
}

static void take_environment(const struct cli *cli, const char *list, struct cli_request *out)
{
    struct sagent_submit_request *r = &out->submit;
    bool all = cli->sbatch || (!list && script_picks(out));
    out->variables = cli_sbatch_environment(all ? "ALL" : list, environ, CLI_REQUEST_MADE,
                                            &r->environment_count, &r->login_environment);
    if (!out->variables)
        cli_no_memory();
    /* only where it makes a difference: older servers do not know it */
    r->export_none = !cli->sbatch && !list && (all || r->script_path);
    if (r->export_none)
        r->login_environment = false; /* the server's to say */
    /* what a shell's child has beside its environment: sbatch sends it as variables */
    if ((all || cli_sbatch_is_all(list)) && !getenv("SLURM_UMASK")) {
        mode_t mask = umask(0);
        umask(mask);
        make_variable(out, "SLURM_UMASK=0%03o", (unsigned)mask & 0777);
    }
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        char name[32];
        struct rlimit limit;
        snprintf(name, sizeof name, "SLURM_RLIMIT_%s", limits[i].name);
        if (!getenv(name) && getrlimit(limits[i].what, &limit) == 0)
            make_variable(out, "%s=%lu", name, (unsigned long)limit.rlim_cur);
    }
    r->environment = out->variables;
}

/* ---- the whole ---- */

static void take_options(struct cli_request *out)
{
    const struct cli_sbatch *args = &out->args;
    struct sagent_submit_request *r = &out->submit;
    out->components = calloc(args->set_count, sizeof *out->components);
    if (!out->components)
        cli_no_memory();
    for (size_t i = 0; i < args->set_count; i++)
        out->components[i] = (struct sagent_options_set){args->sets[i].v, args->sets[i].n};
    r->options = out->components[0].options;
    r->option_count = out->components[0].option_count;
    r->components = out->components + 1;
    r->component_count = args->set_count - 1;
    out->default_set = (struct sagent_options_set){out->defaults.v, out->defaults.n};
    r->defaults = &out->default_set;
}

int cli_request_make(const struct cli *cli, int argc, char **argv, struct cli_request *out,
                     struct err *err)
{
    struct sagent_submit_request *r = &out->submit;
    const char *list;
    *out = (struct cli_request){0};
    struct cli_sbatch *args = &out->args;
    if (cli_sbatch_parse(argc, argv, args, err) < 0)
        return -1;
    if (args->help || args->usage || args->version)
        return 0;
    if (getenv("SLURM_HOSTFILE"))
        return err_set(err, ERR_UNSUPPORTED,
                       "SLURM_HOSTFILE is not read: unset it, and give --nodefile with "
                       "--distribution=arbitrary");
    if (take_script(cli, args, out, err) < 0)
        return -1;
    if (args->retry && !str_to_i64(args->retry, 1, 86400 * 365, &r->retry_s))
        return err_set(err, ERR_INVALID, "--retry %.100s: give a number of seconds", args->retry);
    if (cli_sbatch_defaults(environ, &out->defaults, &list) < 0)
        cli_no_memory();
    r->request_id = args->request_id;
    out->line = command_line(cli);
    take_options(out);
    take_environment(cli, str_or(args->export_list, list), out);
    if (cli->sbatch && !(r->submit_dir = out->dir = getcwd(NULL, 0)))
        return err_errno(err, ERR_INVALID, "the working directory");
    /* as sbatch on the head node: begin and deadline are of its zone but for this */
    if (getenv("TZ") && *getenv("TZ"))
        r->time_zone = getenv("TZ");
    r->submit_line = out->line;
    r->arguments = args->arguments;
    r->argument_count = args->argument_count;
    r->staging = args->stage.any ? &args->stage.staging : NULL;
    return 0;
}

void cli_request_done(struct cli_request *r)
{
    cli_sbatch_done(&r->args);
    cli_pairs_done(&r->defaults);
    for (size_t i = 0; i < r->made_count; i++)
        free(r->made[i]);
    free(r->components);
    free(r->script);
    free(r->path);
    free(r->dir);
    free(r->line);
    free(r->variables);
    *r = (struct cli_request){0};
}

/* ---- what is said ---- */

static void say_lines(const char *text)
{
    AUTO(free) char *copy = strdup(text);
    if (!copy)
        cli_no_memory();
    char *rest = copy, *line;
    while ((line = strsep(&rest, "\n")))
        if (*line)
            cli_say("%s", line);
}

void cli_request_say(const struct sagent_submit_reply *r, bool warn)
{
    if (r->message)
        say_lines(r->message);
    if (r->warning && warn)
        cli_say("warning: %s", r->warning);
}

void cli_request_advise(const struct cli_request *r, struct sagent_error *err)
{
    size_t used = strlen(err->text);
    if (err->code == SAGENT_ERR_FULL && !r->args.retry)
        str_copy(err->text + used, sizeof err->text - used,
                 "; --retry=SECONDS goes on trying for so long");
}

int cli_request_fail(const char *command, const struct err *err)
{
    cli_say("%s: %s", command, err->text);
    return err_exit_status(err->code);
}

void cli_staging_help(void)
{
    printf(
        "A job's data (URLs are s3://bucket/key or file:///path on the cluster, with / at the end all below):\n"
        "  --input URL[:PATH]          fetched to PATH before the job starts; several\n"
        "  --upload LOCAL[:PATH]       a file or directory of this host, stored first and then fetched to PATH; several\n"
        "  --upload-store URL          where --upload stores (upload_store of client.conf)\n"
        "  --output PATH=URL           stored before it counts as done; PATH: a file, a directory/, 'out/*.txt';\n"
        "                              the job has failed when there is none; %%j, %%A, %%a in both; several\n"
        "  --optional-output PATH=URL  the same, and it may be missing\n"
        "  --output-on WHEN            store them after success (the default), failure or always\n"
        "  --stdout-to, --stderr-to URL  where these are stored\n"
        "  --stage-timeout TIME, --stage-quota BYTES  of moving data, each way: 90, 5m, 2h; 10G\n\n");
}

void cli_request_help(const char *command, const struct cli_option *own, size_t n, const char *more)
{
    cli_usage(command, own, n);
    printf("\n%s", more);
    cli_staging_help();
    printf(
        "The script comes from stdin when none is named, or -.  The job starts with your login\n"
        "environment on the cluster: --export=NAME,NAME=value,... adds to it, --export=ALL gives "
        "the job\nthe environment of this command instead.\n"
        "\nsbatch's options, in sbatch's forms (the server says which it offers):\n");
    char letter;
    const char *name;
    int column = 0;
    for (size_t i = 0; (name = cli_sbatch_name(i, &letter)); i++) {
        if (column > 76 - (int)strlen(name)) {
            putchar('\n');
            column = 0;
        }
        column += letter ? printf("  --%s, -%c", name, letter) : printf("  --%s", name);
    }
    putchar('\n');
}
