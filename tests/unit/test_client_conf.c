/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/address.h"
#include "client/conf.h"
#include "client/slurmagent.h"

static char dir[] = "/tmp/sagent-cconf-XXXXXX";
static struct arena arena;

static void write_file(const char *below, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, below);
    for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f, "%s", path);
    fputs(text, f);
    fclose(f);
}

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(dir));
    write_file("etc/slurm-agent/client.conf", "[client]\nserver = tcp://etc\ncluster = etc\n");
    write_file("home/.config/slurm-agent/client.conf", "[client]\nserver = tcp://home\n");
    write_file("own", "[client]\ntimeout_s = 7\nserver_uid = 1001\n");
    unsetenv("SLURM_AGENT_CONF");
    unsetenv("SLURM_AGENT_SERVER");
}

static void remove_tree(void)
{
    static const char *const paths[] = {"etc/slurm-agent/client.conf",
                                        "etc/slurm-agent",
                                        "etc",
                                        "home/.config/slurm-agent/client.conf",
                                        "home/.config/slurm-agent",
                                        "home/.config",
                                        "home",
                                        "own",
                                        ""};
    char path[256];
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, paths[i]);
        remove(path);
    }
    arena_done(&arena);
}

TestSuite(client_conf, .init = set_up, .fini = remove_tree);

static const char *in(const char *below)
{
    return arena_printf(&arena, "%s/%s", dir, below);
}

Test(client_conf, without_files_the_defaults)
{
    struct client_conf c;
    struct err err = {0};
    struct client_conf_paths paths = {.system_dir = in("none"), .home = "/dev/null"};
    cr_assert_eq(client_conf_load(&paths, &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.server, "");
    cr_expect_eq(c.server_uid, 0);
    cr_expect_eq(c.timeout_s, 0);
}

Test(client_conf, home_wins_over_the_system_setting_by_setting)
{
    struct client_conf c;
    struct err err = {0};
    struct client_conf_paths paths = {.system_dir = in("etc"), .home = in("home")};
    cr_assert_eq(client_conf_load(&paths, &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.server, "tcp://home");
    cr_expect_str_eq(c.cluster, "etc");
}

Test(client_conf, the_environment_wins_over_files)
{
    struct client_conf c;
    struct err err = {0};
    struct client_conf_paths paths = {
        .system_dir = in("etc"), .home = in("home"), .server_env = "tcp://env"};
    cr_assert_eq(client_conf_load(&paths, &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.server, "tcp://env");
    paths.server_env = "";
    cr_assert_eq(client_conf_load(&paths, &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.server, "tcp://home");
}

Test(client_conf, a_named_file_is_the_only_one_and_must_be_there)
{
    struct client_conf c;
    struct err err = {0}, missing = {0};
    struct client_conf_paths paths = {
        .only = in("own"), .system_dir = in("etc"), .home = in("home")};
    cr_assert_eq(client_conf_load(&paths, &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.server, "");
    cr_expect_eq(c.timeout_s, 7);
    paths.only = in("none");
    cr_expect_eq(client_conf_load(&paths, &arena, &c, &missing), -1);
    cr_expect_eq(missing.code, ERR_NOT_FOUND);
}

Test(client_conf, a_mistake_is_named)
{
    struct client_conf c;
    struct err err = {0};
    write_file("home/.config/slurm-agent/client.conf", "[client]\nsever = tcp://home\n");
    struct client_conf_paths paths = {.system_dir = in("etc"), .home = in("home")};
    cr_expect_eq(client_conf_load(&paths, &arena, &c, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, "client.conf:2"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "sever"));
}

/* ---- what sagent_open() makes of it ---- */

static const char *address_with(const char *option, const char *env)
{
    static char out[ADDRESS_MAX];
    struct sagent_options o = {.server = option, .conf = in("etc/slurm-agent/client.conf")};
    struct sagent_error err;
    struct sagent *s;
    if (env)
        setenv("SLURM_AGENT_SERVER", env, 1);
    else
        unsetenv("SLURM_AGENT_SERVER");
    cr_assert_eq(sagent_open(&o, &s, &err), 0, "%s", err.text);
    snprintf(out, sizeof out, "%s", sagent_address(s));
    sagent_close(s);
    return out;
}

Test(client_conf, option_environment_file)
{
    cr_expect_str_eq(address_with("option", "env"), "tcp://option:6821");
    cr_expect_str_eq(address_with(NULL, "env:7"), "tcp://env:7");
    cr_expect_str_eq(address_with(NULL, NULL), "tcp://etc:6821");
    write_file("etc/slurm-agent/client.conf", "[client]\n");
    cr_expect_str_eq(address_with(NULL, NULL), ADDRESS_DEFAULT);
}

Test(client_conf, options_that_are_wrong)
{
    struct sagent *s = NULL;
    struct sagent_error err;
    const char *conf = in("own");
    struct sagent_options many[] = {
        {.conf = conf, .server = "http://x"},
        {.conf = conf, .server_uid = -2},
        {.conf = conf, .timeout_ms = -1},
        {.conf = conf, .reserved = {1}},
        {.conf = conf, .server_uid = UINT32_MAX},
        {.conf = conf,
         .cluster = "a-name-that-is-longer-than-any-cluster-may-have-0123456789-0123456789"},
    };
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        cr_expect_eq(sagent_open(&many[i], &s, &err), -1, "%zu", i);
        cr_expect_eq(err.code, SAGENT_ERR_INVALID, "%zu", i);
        cr_expect_eq(err.exit_status, 2);
        cr_expect_null(s);
    }
    cr_expect_eq(sagent_open(&(struct sagent_options){.conf = "/nonexistent"}, &s, NULL), -1);
    sagent_close(NULL);
}

/* ---- addresses ---- */

Test(client_address, forms)
{
    static const struct {
        const char *said, *url;
    } good[] = {
        {"head", "tcp://head:6821"},
        {"head:7000", "tcp://head:7000"},
        {"tcp://head", "tcp://head:6821"},
        {"tcp://head.example.org:1", "tcp://head.example.org:1"},
        {"127.0.0.1", "tcp://127.0.0.1:6821"},
        {"::1", "tcp://[::1]:6821"},
        {"[::1]:7", "tcp://[::1]:7"},
        {"tcp://[fe80::1%eth0]", "tcp://[fe80::1%eth0]:6821"},
        {"ipc:///run/x.sock", "ipc:///run/x.sock"},
        {"/run/x.sock", "ipc:///run/x.sock"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char out[ADDRESS_MAX];
        struct err err = {0};
        cr_expect_eq(address_parse(good[i].said, out, &err), 0, "%s: %s", good[i].said, err.text);
        cr_expect_str_eq(out, good[i].url);
    }
}

Test(client_address, mistakes)
{
    static const char *const bad[] = {
        "",         "tcp://",    "head:",           "head:0",      "head:65536", "head:x",
        "http://x", "ipc://x",   "ipc://",          "a b",         "[::1",       "[::1]7",
        "a/b",      "tcp://a/b", "tcp://a:1:2:x y", "ws://head:1", "head:-1",    "x\ny",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[ADDRESS_MAX] = "same";
        struct err err = {0};
        cr_expect_eq(address_parse(bad[i], out, &err), -1, "'%s' became %s", bad[i], out);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(out, "same");
    }
    char long_path[200] = "/", out[ADDRESS_MAX];
    struct err err = {0};
    memset(long_path + 1, 'x', 150);
    cr_expect_eq(address_parse(long_path, out, &err), -1);
}
