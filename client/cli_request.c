/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

/* Fills what the request says about the script; *ret_text is the caller's to free. */
static int take_script(const struct cli_sbatch *args, struct sagent_submit_request *request,
                       char **ret_text, struct err *err)
{
    size_t n = 0;
    if (args->remote_script) {
        request->script_path = args->remote_script;
        return 0;
    }
    if (args->wrap) {
        int rc = asprintf(ret_text, "#!/bin/sh\n# made by slurm-agent submit --wrap\n\n%s\n",
                          args->wrap);
        if (rc < 0)
            cli_no_memory();
        n = (size_t)rc;
        request->script_name = "wrap";
    } else if (args->script) {
        if (read_script(args->script, ret_text, &n, err) < 0)
            return -1;
        request->script_name = base_name(args->script);
    } else {
        if (read_all(STDIN_FILENO, "stdin", ret_text, &n, err) < 0)
            return -1;
        request->script_name = "sbatch";
    }
    request->script = *ret_text;
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
    fputs("slurm-agent", f);
    for (int i = 1; i < cli->argc; i++)
        fprintf(f, " %s", cli->argv[i]);
    if (fclose(f) != 0)
        cli_no_memory();
    return line;
}

/* ---- the whole ---- */

int cli_request_make(const struct cli *cli, int argc, char **argv, struct cli_request *out,
                     struct err *err)
{
    struct sagent_submit_request *r = &out->submit;
    *out = (struct cli_request){0};
    struct cli_sbatch *args = &out->args;
    if (cli_sbatch_parse(argc, argv, args, err) < 0)
        return -1;
    if (args->help || args->version)
        return 0;
    if (take_script(args, r, &out->script, err) < 0)
        return -1;
    if (args->retry && !str_to_i64(args->retry, 1, 86400 * 365, &r->retry_s))
        return err_set(err, ERR_INVALID, "--retry %.100s: give a number of seconds", args->retry);
    r->request_id = args->request_id;
    out->line = command_line(cli);
    out->variables = cli_sbatch_environment(args->export_list, environ, &r->environment_count,
                                            &r->login_environment);
    if (!out->variables)
        cli_no_memory();
    r->environment = out->variables;
    r->submit_line = out->line;
    r->arguments = args->arguments;
    r->argument_count = args->argument_count;
    r->options = args->options;
    r->option_count = args->option_count;
    return 0;
}

void cli_request_done(struct cli_request *r)
{
    cli_sbatch_done(&r->args);
    free(r->script);
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

void cli_request_say(const struct sagent_submit_reply *r)
{
    if (r->message)
        say_lines(r->message);
    if (r->warning)
        cli_say("warning: %s", r->warning);
}

int cli_request_fail(const char *command, const struct err *err)
{
    cli_say("%s: %s", command, err->text);
    return err_exit_status(err->code);
}

void cli_request_help(const char *command, const struct cli_option *own, size_t n, const char *more)
{
    cli_usage(command, own, n);
    printf("\n%s", more);
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
