/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/aws_conf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/str.h"
#include "tests/kit/scratch.h"

static struct {
    char home[SCRATCH_PATH], aws[SCRATCH_PATH];
    struct aws_options o;
    struct aws_conf *c;
    struct err err;
} t;

static void set_up(void)
{
    scratch_make(t.home);
    scratch_path(t.aws, t.home, ".aws");
    cr_assert_eq(mkdir(t.aws, 0700), 0);
    t.o.home = t.home;
    clearenv();
}

static void tear_down(void)
{
    aws_conf_free(t.c);
    scratch_remove(t.home);
}

TestSuite(aws_conf, .init = set_up, .fini = tear_down, .timeout = 30);

static void write_file(const char *name, const char *text)
{
    char path[SCRATCH_PATH];
    scratch_write(t.aws, name, text);
    scratch_path(path, t.aws, name);
    cr_assert_eq(chmod(path, 0600), 0);
}

static const struct stage_conf *load(void)
{
    aws_conf_free(t.c);
    t.c = NULL;
    t.err = (struct err){0};
    cr_assert_eq(aws_conf_load(&t.o, &t.c, &t.err), 0, "%s", t.err.text);
    return aws_conf_stage(t.c);
}

static const char *refusal(enum err_code code)
{
    t.err = (struct err){0};
    cr_assert_eq(aws_conf_load(&t.o, &t.c, &t.err), -1);
    cr_expect_eq(t.err.code, code, "%s", t.err.text);
    cr_expect_not(strstr(t.err.text, "SECRET"), "%s", t.err.text);
    return t.err.text;
}

Test(aws_conf, both_files_make_a_profile)
{
    write_file("config",
               "# comment\n[default]\nregion = eu-central-1\n\n[profile lab]\r\n"
               "region=lab-1\r\nendpoint_url = https://s3.lab.example:9000\r\n"
               "s3 =\r\n    addressing_style = path\r\n    max_concurrent_requests = 3\r\n"
               "output = json\r\n");
    write_file("credentials",
               "[default]\naws_access_key_id = AKD\naws_secret_access_key = SECRETD\n"
               "[lab]\naws_access_key_id=AKL\naws_secret_access_key=SECRET/+L==\n"
               "aws_session_token = TOKEN\n");
    const struct stage_conf *s = load();
    cr_expect_str_eq(s->access_key, "AKD");
    cr_expect_str_eq(s->secret_key, "SECRETD");
    cr_expect_null(s->session_token);
    cr_expect_str_eq(s->region, "eu-central-1");
    cr_expect_null(s->endpoint);
    cr_expect_eq(s->addressing, STAGE_ADDRESSING_AUTO);
    t.o.profile = "lab";
    s = load();
    cr_expect_str_eq(s->access_key, "AKL");
    cr_expect_str_eq(s->secret_key, "SECRET/+L==");
    cr_expect_str_eq(s->session_token, "TOKEN");
    cr_expect_str_eq(s->region, "lab-1");
    cr_expect_str_eq(s->endpoint, "https://s3.lab.example:9000");
    cr_expect_eq(s->addressing, STAGE_ADDRESSING_PATH);
}

Test(aws_conf, a_services_section_has_the_endpoint)
{
    write_file("config", "[services x]\ndynamodb =\n  endpoint_url = http://no\ns3 =\n"
                         "  endpoint_url = http://yes:1\n[default]\nservices = x\n"
                         "endpoint_url = http://less\naws_access_key_id = A\n"
                         "aws_secret_access_key = SECRET\n");
    cr_expect_str_eq(load()->endpoint, "http://yes:1");
    t.o.environment = true;
    setenv("AWS_ENDPOINT_URL", "http://variable", 1);
    cr_expect_str_eq(load()->endpoint, "http://variable");
    setenv("AWS_ENDPOINT_URL_S3", "http://s3", 1);
    cr_expect_str_eq(load()->endpoint, "http://s3");
    t.o.endpoint = "http://option";
    cr_expect_str_eq(load()->endpoint, "http://option");
}

/* Longer than inih's lines. */
Test(aws_conf, session_tokens_may_be_long)
{
    char token[4001], text[5000];
    for (size_t i = 0; i < sizeof token - 1; i++)
        token[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i * 7 % 64];
    memcpy(token + 3998, "==", 3);
    snprintf(text, sizeof text,
             "[default]\naws_access_key_id = A\naws_secret_access_key = SECRET\n"
             "aws_session_token = %s\nregion = after\nregion = last\n",
             token);
    write_file("credentials", text);
    const struct stage_conf *s = load();
    cr_expect_str_eq(s->session_token, token);
    cr_expect_str_eq(s->region, "last");
}

Test(aws_conf, variables_count_for_a_client_alone)
{
    write_file("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = SECRETA\n"
                              "aws_session_token = T\n[p]\naws_access_key_id = P\n"
                              "aws_secret_access_key = SECRETP\n");
    setenv("AWS_ACCESS_KEY_ID", "E", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRETE", 1);
    setenv("AWS_DEFAULT_REGION", "r2", 1);
    setenv("AWS_CA_BUNDLE", "/ca.pem", 1);
    cr_expect_str_eq(load()->access_key, "A");
    t.o.environment = true;
    const struct stage_conf *s = load();
    cr_expect_str_eq(s->access_key, "E");
    cr_expect_str_eq(s->secret_key, "SECRETE");
    cr_expect_null(s->session_token);
    cr_expect_str_eq(s->region, "r2");
    cr_expect_str_eq(s->ca_file, "/ca.pem");
    setenv("AWS_REGION", "r1", 1);
    setenv("AWS_PROFILE", "p", 1);
    s = load();
    cr_expect_str_eq(s->region, "r1");
    cr_expect_str_eq(s->access_key, "E"); /* as Amazon's tools do */
    t.o.profile = "p";
    cr_expect_str_eq(load()->access_key, "P");
}

Test(aws_conf, files_may_be_elsewhere)
{
    char path[SCRATCH_PATH];
    write_file("mine", "[x]\naws_access_key_id = X\naws_secret_access_key = SECRET\n");
    scratch_path(path, t.aws, "mine");
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    setenv("AWS_PROFILE", "x", 1);
    t.o.environment = true;
    t.o.home = NULL;
    cr_expect_str_eq(load()->access_key, "X");
}

Test(aws_conf, what_is_missing_is_said)
{
    cr_expect(strstr(refusal(ERR_NOT_FOUND), "~/.aws/credentials"));
    write_file("config", "[default]\ncredential_process = /bin/keys\n[profile sso]\n"
                         "sso_session = s\n[profile half]\naws_access_key_id = A\n[profile odd]\n"
                         "aws_access_key_id = A\naws_secret_access_key = SECRET\ns3 =\n"
                         "  addressing_style = dns\n");
    cr_expect(strstr(refusal(ERR_NOT_FOUND), "credential_process, which is not done here"));
    t.o.profile = "sso";
    cr_expect(strstr(refusal(ERR_NOT_FOUND), "sso_session"));
    t.o.profile = "half";
    cr_expect(strstr(refusal(ERR_INVALID), "no aws_secret_access_key"));
    t.o.profile = "odd";
    cr_expect(strstr(refusal(ERR_INVALID), "auto, path or virtual"));
    t.o.profile = "none";
    cr_expect(strstr(refusal(ERR_NOT_FOUND), "no profile none"));
    t.o.profile = "a-profile-with-a-name-that-inih-would-cut-somewhere-in-it";
    cr_expect(strstr(refusal(ERR_INVALID), "longer than"));
    t.o.profile = NULL;
    t.o.anonymous = true;
    cr_expect_null(load()->access_key);
}

Test(aws_conf, a_line_that_is_none_is_told_by_its_number)
{
    write_file("credentials", "[default]\naws_access_key_id = A\nSECRETwithoutname\n");
    cr_expect(strstr(refusal(ERR_INVALID), "credentials:3:"), "%s", t.err.text);
    write_file("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = a b\n");
    cr_expect(strstr(refusal(ERR_INVALID), "aws_secret_access_key has a character"));
}

Test(aws_conf, keys_that_everybody_may_read_are_refused)
{
    char path[SCRATCH_PATH];
    write_file("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = SECRET\n");
    scratch_path(path, t.aws, "credentials");
    chmod(path, 0644);
    cr_expect(strstr(refusal(ERR_DENIED), "chmod 600"));
    chmod(path, 0640);
    load();
    if (geteuid() != 0)
        return;
    cr_assert_eq(chown(path, 12345, 12345), 0);
    cr_expect(strstr(refusal(ERR_DENIED), "uid 12345's"));
    t.o.environment = true;
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    load();
    write_file("config", "[default]\nregion = x\n");
    scratch_path(path, t.aws, "config");
    chmod(path, 0666); /* no keys in it */
    load();
}
