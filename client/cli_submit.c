/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_submit.c: submit */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_sbatch.h"
#include "common/cleanup.h"
#include "common/str.h"

extern char **environ;

enum { SCRIPT_MAX = 5 << 20 };

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_submit_reply, sagent_submit_reply_free)

static void cleanup_sbatch(struct cli_sbatch *s)
{
    cli_sbatch_done(s);
}

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

/* ---- what is printed ---- */

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

static void print_json(const struct sagent_submit_reply *r)
{
    json_t *j = json_object();
    cli_json_set(j, "id", r->id);
    cli_json_set_number(j, "job_id", r->job_id);
    cli_json_set(j, "message", r->message);
    cli_json_set(j, "warning", r->warning);
    cli_json_print(j);
}

static int report(const struct cli_sbatch *args, const struct sagent_submit_reply *r)
{
    if (args->json)
        print_json(r);
    else if (args->parsable)
        printf("%s\n", r->id);
    else if (!args->quiet)
        printf("Submitted batch job %s\n", r->id);
    if (r->message)
        say_lines(r->message);
    if (r->warning)
        cli_say("warning: %s", r->warning);
    return cli_end_output(0);
}

static int print_help(void)
{
    static const struct cli_option own[] = {
        {"wrap", 0, NULL, NULL, "COMMAND", "submit a script that runs this command"},
        {"remote-script", 0, NULL, NULL, "PATH", "submit a script that is on the cluster"},
        {"parsable", 0, NULL, NULL, NULL, "print the job's id alone"},
        {"json", 0, NULL, NULL, NULL, "print the answer as JSON"},
        {"quiet", 'Q', NULL, NULL, NULL, "print no id"},
        {"help", 'h', NULL, NULL, NULL, "show this"},
    };
    cli_usage("submit", own, ARRAY_LEN(own));
    printf(
        "\nThe script comes from stdin when none is named, or -.  The job starts with your login\n"
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
    return cli_end_output(0);
}

/* ---- submit ---- */

static int fail(const struct err *err)
{
    cli_say("submit: %s", err->text);
    return err_exit_status(err->code);
}

static int send_request(struct cli *cli, const struct cli_sbatch *args,
                        struct sagent_submit_request *request)
{
    int status;
    struct sagent_error err;
    AUTO(sagent_submit_reply_free) struct sagent_submit_reply *reply = NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_submit(s, request, &reply, &err) < 0)
        return cli_fail(&err);
    return report(args, reply);
}

int cmd_submit(struct cli *cli, int argc, char **argv)
{
    struct err err = {0};
    struct sagent_submit_request request = {0};
    struct cli_sbatch args __attribute__((cleanup(cleanup_sbatch)));
    AUTO(free) char *script = NULL;
    if (cli_sbatch_parse(argc, argv, &args, &err) < 0)
        return fail(&err);
    if (args.help)
        return print_help();
    if (args.version) {
        printf("slurm-agent %s\n", sagent_version());
        return cli_end_output(0);
    }
    if (take_script(&args, &request, &script, &err) < 0)
        return fail(&err);
    AUTO(free) char *line = command_line(cli);
    AUTO(free)
    const char **variables = cli_sbatch_environment(
        args.export_list, environ, &request.environment_count, &request.login_environment);
    if (!variables)
        cli_no_memory();
    request.environment = variables;
    request.submit_line = line;
    request.arguments = args.arguments;
    request.argument_count = args.argument_count;
    request.options = args.options;
    request.option_count = args.option_count;
    return send_request(cli, &args, &request);
}
