/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Amazon's own examples of Signature Version 4: its test suite, and those of the S3 documentation
 */
#include "common/s3_sign.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"

#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

TestSuite(s3_sign, .timeout = 30);

static void expect_signature(const struct s3_sign *r, const char *signature)
{
    char authorization[S3_SIGN_AUTHORIZATION_SIZE];
    struct err err = {0};
    cr_assert_eq(s3_sign(r, authorization, &err), 0, "%s", err.text);
    const char *at = strstr(authorization, "Signature=");
    cr_assert_not_null(at);
    cr_expect_str_eq(at + strlen("Signature="), signature, "%s %s: %s", r->method, r->path,
                     authorization);
}

/* Of the suite "aws-sig-v4-test-suite". */
static const struct s3_pair plain[] = {
    {"host", "example.amazonaws.com"},
    {"x-amz-date", "20150830T123600Z"},
};

static struct s3_sign suite(const char *method, const char *path)
{
    return (struct s3_sign){
        .method = method,
        .path = path,
        .headers = plain,
        .nheaders = ARRAY_LEN(plain),
        .payload_sha256 = NOTHING,
        .access_key = "AKIDEXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        .region = "us-east-1",
        .service = "service",
        .date = "20150830T123600Z",
    };
}

Test(s3_sign, suite_of_plain_requests)
{
    struct s3_sign r = suite("GET", "/");
    expect_signature(&r, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    r = suite("POST", "/");
    expect_signature(&r, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    r = suite("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    expect_signature(&r, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
    r = suite("GET", "/%E1%88%B4");
    expect_signature(&r, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
}

Test(s3_sign, suite_of_queries)
{
    static const struct s3_pair one[] = {{"Param1", "value1"}};
    static const struct s3_pair two[] = {{"Param2", "value2"}, {"Param1", "value1"}};
    static const struct s3_pair same[] = {{"Param1", "value2"}, {"Param1", "Value1"}};
    struct s3_sign r = suite("GET", "/");
    r.query = one;
    r.nquery = 1;
    expect_signature(&r, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
    r.query = two;
    r.nquery = 2;
    expect_signature(&r, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    r.query = same;
    expect_signature(&r, "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1");
}

Test(s3_sign, suite_of_headers)
{
    static const struct s3_pair doubled[] = {
        {"x-amz-date", "20150830T123600Z"},
        {"host", "example.amazonaws.com"},
        {"my-header1", "value2,value2,value1"},
    };
    static const struct s3_pair spaces[] = {
        {"host", "example.amazonaws.com"},
        {"my-header2", " \"a   b   c\""},
        {"my-header1", " value1 "},
        {"x-amz-date", "20150830T123600Z"},
    };
    struct s3_sign r = suite("GET", "/");
    r.headers = doubled;
    r.nheaders = ARRAY_LEN(doubled);
    expect_signature(&r, "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
    r.headers = spaces;
    r.nheaders = ARRAY_LEN(spaces);
    expect_signature(&r, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

/* "post-sts-header-before": the token of a session is signed, too. */
Test(s3_sign, suite_of_session_tokens)
{
    static const struct s3_pair sts[] = {
        {"host", "example.amazonaws.com"},
        {"x-amz-date", "20150830T123600Z"},
        {"x-amz-security-token",
         "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmx"
         "fpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0K"
         "PkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZb"
         "qBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="},
    };
    struct s3_sign r = suite("POST", "/");
    r.headers = sts;
    r.nheaders = ARRAY_LEN(sts);
    expect_signature(&r, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
}

/* Of "Authenticating Requests: Using the Authorization Header", with the bucket examplebucket. */
static struct s3_sign s3(const char *method, const char *path, const struct s3_pair *headers,
                         size_t n, const char *payload)
{
    struct s3_sign r = suite(method, path);
    r.headers = headers;
    r.nheaders = n;
    r.payload_sha256 = payload;
    r.access_key = "AKIAIOSFODNN7EXAMPLE";
    r.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    r.service = "s3";
    r.date = "20130524T000000Z";
    return r;
}

static const struct s3_pair s3_plain[] = {
    {"host", "examplebucket.s3.amazonaws.com"},
    {"x-amz-content-sha256", NOTHING},
    {"x-amz-date", "20130524T000000Z"},
};

Test(s3_sign, s3_get_object)
{
    static const struct s3_pair headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"range", "bytes=0-9"},
        {"x-amz-content-sha256", NOTHING},
        {"x-amz-date", "20130524T000000Z"},
    };
    struct s3_sign r = s3("GET", "/test.txt", headers, ARRAY_LEN(headers), NOTHING);
    expect_signature(&r, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

Test(s3_sign, s3_put_object)
{
    static const char hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    static const struct s3_pair headers[] = {
        {"date", "Fri, 24 May 2013 00:00:00 GMT"},
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", hash},
        {"x-amz-date", "20130524T000000Z"},
        {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
    };
    char path[64] = "/";
    s3_encode("test$file.text", true, path + 1);
    cr_expect_str_eq(path, "/test%24file.text");
    struct s3_sign r = s3("PUT", path, headers, ARRAY_LEN(headers), hash);
    expect_signature(&r, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

Test(s3_sign, s3_get_bucket_lifecycle)
{
    static const struct s3_pair query[] = {{"lifecycle", ""}};
    struct s3_sign r = s3("GET", "/", s3_plain, ARRAY_LEN(s3_plain), NOTHING);
    r.query = query;
    r.nquery = 1;
    expect_signature(&r, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

Test(s3_sign, s3_list_objects)
{
    static const struct s3_pair query[] = {{"prefix", "J"}, {"max-keys", "2"}};
    struct s3_sign r = s3("GET", "/", s3_plain, ARRAY_LEN(s3_plain), NOTHING);
    r.query = query;
    r.nquery = 2;
    expect_signature(&r, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

Test(s3_sign, encodes_every_byte_but_plain_ones)
{
    char in[256], out[3 * 255 + 1], back[256];
    for (int i = 1; i < 256; i++)
        in[i - 1] = (char)i;
    in[255] = '\0';
    size_t n = s3_encode(in, true, out), m = 0;
    cr_expect_eq(n, strlen(out));
    cr_expect_null(strpbrk(out, " +?#&=\\\"'()*!"));
    for (size_t i = 0; i < n; i++, m++) {
        unsigned c = (unsigned char)out[i];
        if (c == '%') {
            cr_assert_eq(sscanf(out + i + 1, "%2X", &c), 1);
            i += 2;
        }
        back[m] = (char)c;
    }
    back[m] = '\0';
    cr_expect_str_eq(back, in);
    s3_encode("a/b", false, out);
    cr_expect_str_eq(out, "a%2Fb");
}

Test(s3_sign, what_does_not_fit_is_an_error)
{
    char out[8], long_value[S3_SIGN_AUTHORIZATION_SIZE];
    struct err err = {0};
    static const struct s3_pair query[] = {{"abc", "defg"}};
    cr_expect_eq(s3_query(query, 1, out, sizeof out, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    memset(long_value, 'k', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = '\0';
    struct s3_sign r = suite("GET", "/");
    char authorization[S3_SIGN_AUTHORIZATION_SIZE];
    r.access_key = long_value;
    cr_expect_eq(s3_sign(&r, authorization, &(struct err){0}), -1);
    r = suite("GET", "/");
    r.nheaders = S3_SIGN_PAIRS_MAX + 1;
    cr_expect_eq(s3_sign(&r, authorization, &(struct err){0}), -1);
}
