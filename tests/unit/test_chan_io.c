/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/chan.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

struct ends {
    int ours, theirs;
};

static struct ends connect_ends(void)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return (struct ends){fds[0], fds[1]};
}

static void send_raw(int fd, const void *p, size_t n)
{
    cr_assert_eq(send(fd, p, n, 0), (ssize_t)n);
}

Test(chan_io, a_frame_arrives_as_it_was_sent)
{
    struct ends e = connect_ends();
    struct chan_head out = {.serial = 7, .op = 3, .code = 4}, in;
    struct err err = {0};
    AUTO(free) uint8_t *body = NULL;
    cr_assert_eq(chan_write(e.theirs, &out, (struct bytes){(const uint8_t *)"hello", 5}, &err), 0);
    cr_assert_eq(chan_read(e.ours, &in, &body, &err), 1);
    cr_expect_eq(in.serial, 7u);
    cr_expect_eq(in.op, 3u);
    cr_expect_eq(in.code, 4u);
    cr_assert_eq(in.size, 5u);
    cr_expect_eq(memcmp(body, "hello", 5), 0);
}

Test(chan_io, an_empty_body_is_no_null_pointer)
{
    struct ends e = connect_ends();
    struct chan_head out = {.serial = 1}, in;
    struct err err = {0};
    AUTO(free) uint8_t *body = NULL;
    cr_assert_eq(chan_write(e.theirs, &out, (struct bytes){NULL, 0}, &err), 0);
    cr_assert_eq(chan_read(e.ours, &in, &body, &err), 1);
    cr_expect_eq(in.size, 0u);
    cr_expect_not_null(body);
}

Test(chan_io, the_far_end_going_between_frames_is_an_end)
{
    struct ends e = connect_ends();
    struct chan_head in;
    struct err err = {0};
    uint8_t *body = NULL;
    close(e.theirs);
    cr_expect_eq(chan_read(e.ours, &in, &body, &err), 0);
    cr_expect_eq(err.code, ERR_NONE);
    cr_expect_null(body);
}

Test(chan_io, the_far_end_going_in_a_head_is_an_error)
{
    struct ends e = connect_ends();
    struct chan_head in;
    struct err err = {0};
    uint8_t *body = NULL;
    send_raw(e.theirs, "abc", 3);
    close(e.theirs);
    cr_expect_eq(chan_read(e.ours, &in, &body, &err), -1);
    cr_expect_eq(err.code, ERR_PROTOCOL);
    cr_expect_null(body);
}

Test(chan_io, the_far_end_going_before_or_in_a_body_is_an_error)
{
    for (size_t sent = 0; sent < 4; sent++) {
        struct ends e = connect_ends();
        struct chan_head out = {.size = 4}, in;
        struct err err = {0};
        uint8_t *body = NULL;
        send_raw(e.theirs, &out, sizeof out);
        send_raw(e.theirs, "abc", sent);
        close(e.theirs);
        cr_expect_eq(chan_read(e.ours, &in, &body, &err), -1);
        cr_expect_eq(err.code, ERR_PROTOCOL);
        cr_expect_null(body);
        close(e.ours);
    }
}

Test(chan_io, a_huge_size_is_refused_before_anything_is_allocated)
{
    static const uint32_t sizes[] = {CHAN_MAX_BODY + 1u, 0x7fffffffu, 0xffffffffu};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ends e = connect_ends();
        struct chan_head out = {.size = sizes[i]}, in;
        struct err err = {0};
        uint8_t *body = NULL;
        send_raw(e.theirs, &out, sizeof out);
        cr_expect_eq(chan_read(e.ours, &in, &body, &err), -1);
        cr_expect_eq(err.code, ERR_PROTOCOL);
        cr_expect_not_null(strstr(err.text, "at most"));
        cr_expect_null(body);
        close(e.ours);
        close(e.theirs);
    }
}

Test(chan_io, a_body_that_is_too_large_is_not_sent)
{
    struct ends e = connect_ends();
    struct err err = {0};
    struct chan_head head = {0};
    uint8_t byte = 0;
    char rest;
    cr_expect_eq(chan_write(e.theirs, &head, (struct bytes){&byte, CHAN_MAX_BODY + 1u}, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    cr_expect_lt(recv(e.ours, &rest, 1, MSG_DONTWAIT), 0);
}

static void *write_largest(void *arg)
{
    struct chan_head head = {.serial = 9};
    struct err err = {0};
    AUTO(free) uint8_t *body = calloc(1, CHAN_MAX_BODY);
    body[CHAN_MAX_BODY - 1] = 42;
    return chan_write(*(int *)arg, &head, (struct bytes){body, CHAN_MAX_BODY}, &err) < 0 ? arg
                                                                                         : NULL;
}

Test(chan_io, the_largest_body_comes_in_many_pieces)
{
    struct ends e = connect_ends();
    struct chan_head in;
    struct err err = {0};
    AUTO(free) uint8_t *body = NULL;
    pthread_t t;
    void *failed;
    cr_assert_eq(pthread_create(&t, NULL, write_largest, &e.theirs), 0);
    cr_assert_eq(chan_read(e.ours, &in, &body, &err), 1);
    pthread_join(t, &failed);
    cr_expect_null(failed);
    cr_assert_eq(in.size, (uint32_t)CHAN_MAX_BODY);
    cr_expect_eq(body[CHAN_MAX_BODY - 1], 42);
}

Test(chan_io, writing_to_nobody_is_an_error_and_no_signal)
{
    struct ends e = connect_ends();
    struct chan_head head = {0};
    struct err err = {0};
    close(e.ours);
    cr_expect_eq(chan_write(e.theirs, &head, (struct bytes){NULL, 0}, &err), -1);
    cr_expect_eq(err.code, ERR_PROTOCOL);
}
