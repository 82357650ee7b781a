/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_main.c: slurm-agent: options in front of the command, and dispatch */
#include <locale.h>
#include <string.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

static int set_timeout(struct cli *cli, const char *value)
{
    int64_t seconds;
    if (!str_to_i64(value, 1, 86400, &seconds)) {
        cli_say("--timeout %s: give seconds, a whole number from 1 to 86400", value);
        return CLI_USAGE;
    }
    cli->options.timeout_ms = (int)seconds * 1000;
    return 0;
}

/* Reads argv up to the command; *ret_next is its index. */
static int read_options(struct cli *cli, bool *ret_help, bool *ret_version, int *ret_next)
{
    const char *timeout = NULL;
    const struct cli_option options[] = {
        {"server", 0, NULL, &cli->options.server, "ADDRESS", ""},
        {"cluster", 0, NULL, &cli->options.cluster, "NAME", ""},
        {"conf", 0, NULL, &cli->options.conf, "FILE", ""},
        {"timeout", 0, NULL, &timeout, "SECONDS", ""},
        {"help", 'h', ret_help, NULL, NULL, ""},
        {"version", 'V', ret_version, NULL, NULL, ""},
    };
    struct cli_args args;
    if (cli_parse(options, ARRAY_LEN(options), CLI_STOP, cli->argc, cli->argv, &args) < 0) {
        cli_say("%s", args.error);
        return CLI_USAGE;
    }
    *ret_next = args.next;
    return timeout ? set_timeout(cli, timeout) : 0;
}

/* By one of these names the whole command line is sbatch's. */
static bool is_sbatch(const char *path)
{
    static const char *const names[] = {"sbatch", "slurm-agent-sbatch"};
    const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(name, names[i]))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct cli cli = {.argc = argc, .argv = argv, .sbatch = is_sbatch(argv[0])};
    bool help = false, version = false;
    int next = 1;
    setlocale(LC_CTYPE, "");
    if (cli.sbatch)
        return cmd_submit(&cli, argc, argv);
    int rc = read_options(&cli, &help, &version, &next);
    if (rc)
        return rc;
    if (cli.options.server && !*cli.options.server) {
        cli_say("--server is empty: give tcp://HOST[:PORT] or a socket's path");
        return CLI_USAGE;
    }
    if (version) {
        printf("slurm-agent %s\n", sagent_version());
        return cli_end_output(0);
    }
    if (help) {
        cli_overview(stdout);
        return cli_end_output(0);
    }
    if (next >= argc) {
        cli_overview(stderr);
        return CLI_USAGE;
    }
    const struct cli_command *c = cli_find(argv[next]);
    if (!c)
        return cli_unknown(argv[next]);
    return c->run(&cli, argc - next, argv + next);
}
