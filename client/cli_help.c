/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_help.c: the table of commands, and help from it */
#include <stdlib.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

static const struct cli_command commands[] = {
#define CMD(name, handler, synopsis, help) {#name, handler, synopsis, help},
#include "client/cli_commands.def"
#undef CMD
};

const struct cli_command *cli_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_eq(commands[i].name, name))
            return &commands[i];
    return NULL;
}

void cli_overview(FILE *to)
{
    fprintf(to, "usage: slurm-agent [--server ADDRESS] [--cluster NAME] [--conf FILE] "
                "[--timeout SECONDS] COMMAND ...\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-11s %s\n", commands[i].name, commands[i].help);
    fprintf(
        to,
        "\n  --server ADDRESS   tcp://HOST:PORT, HOST, or ipc:///PATH\n"
        "  --cluster NAME     refuse a server of another cluster\n"
        "  --conf FILE        instead of ~/.config/slurm-agent/client.conf and the system's\n"
        "  --timeout SECONDS  longest wait for an answer\n"
        "  --version, --help\n"
        "\nslurm-agent help COMMAND says more.  The server is set in client.conf or by "
        "SLURM_AGENT_SERVER, too.\n"
        "Exit status: 0, 2 for a mistake in what was asked, 1 for output that cannot be "
        "written,\nand 3 to 25 as `slurm-agent help errors` lists; wait and run exit as the job did.\n");
}

static int print_errors(void)
{
    for (int code = SAGENT_ERR_INVALID; code < 256; code++)
        if (!str_eq(sagent_code_name(code), "UNKNOWN"))
            printf("%3d  %-14s %s\n", sagent_code_exit_status(code), sagent_code_name(code),
                   sagent_code_help(code));
    return cli_end_output(0);
}

void cli_option_lines(const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct cli_option *o = &options[i];
        char letter[] = {'-', o->letter, ',', '\0'}, form[64];
        snprintf(form, sizeof form, "--%s%s%s", o->name, o->metavar ? "=" : "",
                 o->metavar ? o->metavar : "");
        printf("  %3s %-20s %s\n", o->letter ? letter : "", form, o->help);
    }
}

void cli_usage(const char *name, const struct cli_option *options, size_t n)
{
    const struct cli_command *c = cli_find(name);
    printf("usage: slurm-agent %s%s%s\n\n%s\n%s", c->name, *c->synopsis ? " " : "", c->synopsis,
           c->help, n ? "\n" : "");
    cli_option_lines(options, n);
}

int cli_unknown(const char *name)
{
    const char *names[ARRAY_LEN(commands)];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    const char *near = cli_nearest(name, names, ARRAY_LEN(names));
    if (near)
        cli_say("there is no command '%s': did you mean %s?", name, near);
    else
        cli_say("there is no command '%s': see slurm-agent help", name);
    return CLI_USAGE;
}

int cmd_help(struct cli *cli, int argc, char **argv)
{
    if (argc < 2) {
        cli_overview(stdout);
        return cli_end_output(0);
    }
    if (str_eq(argv[1], "errors"))
        return print_errors();
    const struct cli_command *c = cli_find(argv[1]);
    if (!c)
        return cli_unknown(argv[1]);
    if (c->run == cmd_help) {
        cli_usage(c->name, NULL, 0);
        return cli_end_output(0);
    }
    char help[] = "--help";
    char *args[] = {argv[1], help, NULL};
    return c->run(cli, 2, args);
}
