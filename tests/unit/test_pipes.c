/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include "agentd/pipes.h"
#include "common/clock.h"

static struct agentd_conf conf;

static struct pipes *setup(void)
{
    static struct arena arena;
    struct err err = {0};
    cr_assert_eq(agentd_conf_load(NULL, &arena, &conf, &err), 0, "%s", err.text);
    struct pipes *p = pipes_new(&conf);
    cr_assert_not_null(p);
    return p;
}

static void welcome(struct pipes *p, uint32_t id, const char *key)
{
    cr_assert(pipes_add(p, id, key, key));
    pipes_welcome(p, id);
}

Test(pipes, strangers_of_one_address_leave_room_for_others)
{
    struct pipes *p = setup();
    uint32_t id = 1;
    while (id < 1000 && pipes_add(p, id, "192.0.2.1", "192.0.2.1"))
        id++;
    cr_expect_eq(id, 65, "64 are let in");
    cr_expect(pipes_add(p, 2000, "192.0.2.2", "192.0.2.2"));
    pipes_welcome(p, 7);
    cr_expect(pipes_add(p, 2001, "192.0.2.1", "192.0.2.1"), "one has said who it is");
    cr_expect_not(pipes_add(p, 2002, "192.0.2.1", "192.0.2.1"));
    pipes_remove(p, 8);
    cr_expect(pipes_add(p, 2003, "192.0.2.1", "192.0.2.1"), "one has gone");
    pipes_free(p);
}

static int64_t shed(struct pipes *p, enum shed_index why)
{
    int64_t sheds[DIM_shed_N];
    pipes_sheds(p, sheds);
    return sheds[why];
}

Test(pipes, each_that_is_ended_counts_once)
{
    struct pipes *p = setup();
    uint32_t id = 1, ids[100];
    while (pipes_add(p, id, "a", "a"))
        id++;
    cr_expect_eq(shed(p, SHED_crowd), 1);
    for (int i = 0; i < 16; i++)
        cr_assert(pipes_received(p, 1));
    cr_expect_not(pipes_received(p, 1));
    pipes_doom(p, 1);
    cr_expect_not(pipes_received(p, 1));
    cr_expect_eq(shed(p, SHED_greedy), 1);
    cr_expect_eq(shed(p, SHED_unread), 0);
    cr_expect_eq(pipes_idle(p, false, ids, 100), 1);
    conf.first_frame_s = -1; /* so that all are late */
    cr_expect_eq(pipes_idle(p, false, ids, 100), 64);
    cr_expect_eq(shed(p, SHED_silent), 63, "the first is counted already");
    pipes_free(p);
}

Test(pipes, who_does_not_read_is_ended_for_that)
{
    struct pipes *p = setup();
    cr_assert(pipes_add(p, 1, "a", "a"));
    cr_expect(pipes_sending(p, 1, 1000, 40 << 20), "one answer of any size");
    cr_expect_not(pipes_sending(p, 1, 1000, 1), "another behind it");
    cr_expect_eq(shed(p, SHED_unread), 1);
    pipes_answered(p, 1, 1000, 1);
    pipes_answered(p, 1, 1000, 40 << 20);
    pipes_free(p);
}

Test(pipes, strangers_from_everywhere_are_few)
{
    struct pipes *p = setup();
    uint32_t id = 1;
    char key[32];
    for (; id < 5000; id++) {
        snprintf(key, sizeof key, "192.0.2.%u", id / 50);
        if (!pipes_add(p, id, key, key))
            break;
    }
    cr_expect_eq(id, 513);
    pipes_free(p);
}

Test(pipes, connections_of_one_address_are_capped)
{
    struct pipes *p = setup();
    uint32_t id = 1;
    for (; pipes_add(p, id, "a", "a"); id++)
        pipes_welcome(p, id);
    cr_expect_eq(id, (uint32_t)conf.max_pipes_per_address + 1);
    welcome(p, 100000, "b");
    for (uint32_t i = 1; i < id; i += 2)
        pipes_remove(p, i);
    char origin[PIPES_ORIGIN], key[PIPES_ORIGIN];
    for (uint32_t i = 1; i < id; i++) {
        pipes_origin(p, i, origin, key);
        cr_assert_str_eq(key, i % 2 ? "gone" : "a", "%u", i);
    }
    welcome(p, 100001, "a");
    pipes_free(p);
}

Test(pipes, a_stranger_has_few_frames_open_a_client_many)
{
    struct pipes *p = setup();
    cr_assert(pipes_add(p, 1, "a", "a"));
    int n = 0;
    while (n < 5000 && pipes_received(p, 1))
        n++;
    cr_expect_eq(n, 16);
    welcome(p, 2, "a");
    for (n = 0; n < 5000 && pipes_received(p, 2); n++)
        continue;
    cr_expect_eq(n, 1024);
    pipes_answered(p, 2, -1, 0);
    pipes_answered(p, 2, -1, 0);
    cr_expect(pipes_received(p, 2));
    pipes_free(p);
}

Test(pipes, answers_are_owed_until_something_follows_them)
{
    struct pipes *p = setup();
    welcome(p, 1, "a");
    cr_expect(pipes_sending(p, 1, 1000, 5 << 20));
    cr_expect_eq(pipes_owed(p, 1000), 5 << 20);
    pipes_answered(p, 1, 1000, 5 << 20);
    cr_expect_eq(pipes_owed(p, 1000), 5 << 20, "nng has it, the client perhaps not");
    cr_expect(pipes_sending(p, 1, 1000, 100));
    pipes_answered(p, 1, 1000, 100);
    cr_expect_eq(pipes_owed(p, 1000), 0);
    cr_expect_eq(pipes_owed_all(p), 0);
    cr_expect(pipes_sending(p, 1, 1000, 1 << 20));
    cr_expect(pipes_sending(p, 1, 1001, 2 << 20));
    pipes_answered(p, 1, 1000, 1 << 20);
    pipes_remove(p, 1);
    cr_expect_eq(pipes_owed(p, 1000), 0);
    cr_expect_eq(pipes_owed(p, 1001), 2 << 20);
    pipes_answered(p, 1, 1001, 2 << 20); /* nng tells of it after the connection has gone */
    cr_expect_eq(pipes_owed_all(p), 0);
    pipes_free(p);
}

Test(pipes, who_takes_nothing_is_closed_who_has_much_at_once_is_not)
{
    struct pipes *p = setup();
    welcome(p, 1, "a");
    int n = 0;
    while (n < 1000 && pipes_sending(p, 1, 1000, 200))
        n++;
    cr_expect_eq(n, 1000, "answers to held requests come all at once");
    for (int64_t end = clock_mono_ms() + 550; clock_mono_ms() < end;)
        continue;
    cr_expect_not(pipes_sending(p, 1, 1000, 200));
    pipes_answered(p, 1, 1000, 200);
    cr_expect(pipes_sending(p, 1, 1000, 200), "one has gone");
    cr_expect_not(pipes_sending(p, 1, 1000, 40 << 20), "too large with the others");
    welcome(p, 2, "a");
    cr_expect(pipes_sending(p, 2, 1000, 40 << 20), "alone it is not");
    pipes_free(p);
}

Test(pipes, what_takes_nothing_goes_when_it_is_crowded)
{
    struct pipes *p = setup();
    uint32_t ids[4];
    welcome(p, 1, "a");
    welcome(p, 2, "a");
    pipes_received(p, 1);
    pipes_sending(p, 1, 1000, 200);
    for (int64_t end = clock_mono_ms() + 1050; clock_mono_ms() < end;)
        continue;
    cr_expect_eq(pipes_idle(p, false, ids, 4), 0);
    cr_expect_eq(pipes_idle(p, true, ids, 4), 1);
    cr_expect_eq(ids[0], 1);
    pipes_free(p);
}
