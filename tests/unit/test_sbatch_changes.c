/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/sbatch_changes.h"
#include "common/cleanup.h"

enum { NOW = 1700000000 };

static int parse(const char *name, const char *value, struct arena *arena, struct sbatch *out,
                 struct err *err)
{
    const struct pair one = {name, value};
    *err = (struct err){0};
    return sbatch_changes(&(struct pairs){&one, 1}, NOW, arena, out, err);
}

Test(sbatch_changes, nothing_said_changes_nothing)
{
    AUTO(arena_done) struct arena arena = {0};
    struct sbatch c;
    struct err err = {0};
    cr_assert_eq(sbatch_changes(&(struct pairs){NULL, 0}, NOW, &arena, &c, &err), 0);
    cr_expect_null(c.name);
    cr_expect_null(c.nodelist);
    cr_expect_eq(c.time_limit, SBATCH_UNSET);
    cr_expect_eq(c.nice, SBATCH_UNSET);
    cr_expect_eq(c.req_switch, SBATCH_UNSET);
    cr_expect_eq(c.mail_type, SBATCH_UNSET);
}

Test(sbatch_changes, values_are_read_as_submit_reads_them)
{
    AUTO(arena_done) struct arena arena = {0};
    struct sbatch c;
    struct err err = {0};
    cr_expect_eq(parse("time", "1-02:00", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.time_limit, 26 * 60);
    cr_expect_eq(parse("nodes", "2-4", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.min_nodes, 2);
    cr_expect_eq(c.max_nodes, 4);
    cr_expect_eq(parse("deadline", "now+1hour", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.deadline, NOW + 3600);
    cr_expect_eq(parse("nice", "-7", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.nice, -7);
    cr_expect_eq(parse("array", "%5", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.array_inx, "5");
    cr_expect_eq(parse("switches", "2@1:00:00", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.req_switch, 2);
    cr_expect_eq(c.wait4switch, 3600);
    cr_expect_eq(parse("no-requeue", "", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.requeue, 0);
    cr_expect_eq(parse("cpus", "2-6", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.change_min_cpus, 2);
    cr_expect_eq(c.change_max_cpus, 6);
    cr_expect_eq(parse("cpus", "3", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.change_min_cpus, 3);
    cr_expect_eq(c.change_max_cpus, SBATCH_UNSET);
    cr_expect_eq(parse("time", "+1:30:00", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.change_time, 90);
    cr_expect_eq(c.time_limit, SBATCH_UNSET);
    cr_expect_eq(parse("time", "-5", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.change_time, -5);
    cr_expect_eq(parse("oversubscribe", "No", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.shared, SBATCH_SHARED_NONE);
    cr_expect_eq(parse("contiguous", "no", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.contiguous, 0);
    cr_expect_eq(parse("delay-boot", "2", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.delay_boot, 120);
    cr_expect_eq(parse("gpu-bind", "closest", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.tres_bind, "gpu:closest");
    cr_expect_eq(parse("gpu-freq", "", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.tres_freq, "");
    cr_expect_eq(parse("reset-accrue-time", "", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_eq(c.change_accrue, 1);
    cr_expect_eq(parse("dependency", "", &arena, &c, &err), 0, "%s", err.text);
    cr_expect_str_eq(c.dependency, "", "none, not as it is");
}

Test(sbatch_changes, what_is_wrong_is_named)
{
    static const struct {
        const char *name, *value;
        enum err_code code;
    } wrong[] = {
        {"time", "soon", ERR_INVALID},      {"time", "", ERR_INVALID},
        {"nice", "", ERR_INVALID},          {"nice", "--1", ERR_INVALID},
        {"nice", "1x", ERR_INVALID},        {"nice", "99999999999", ERR_INVALID},
        {"priority", "0", ERR_INVALID},     {"priority", "-1", ERR_INVALID},
        {"array", "1-3", ERR_INVALID},      {"array", "%", ERR_INVALID},
        {"chdir", "here", ERR_INVALID},     {"switches", "x", ERR_INVALID},
        {"switches", "1@x", ERR_INVALID},   {"requeue", "yes", ERR_INVALID},
        {"time", "+", ERR_INVALID},         {"time", "+UNLIMITED", ERR_INVALID},
        {"time", "--5", ERR_INVALID},       {"time", "-0", ERR_INVALID},
        {"time", "+ 5", ERR_INVALID},       {"cpus", "0", ERR_INVALID},
        {"cpus", "4-2", ERR_INVALID},       {"cpus", "2-", ERR_INVALID},
        {"cpus", "2x", ERR_INVALID},        {"oversubscribe", "maybe", ERR_INVALID},
        {"oversubscribe", "", ERR_INVALID}, {"contiguous", "1", ERR_INVALID},
        {"gpu-bind", "far", ERR_INVALID},   {"tmp", "much", ERR_INVALID},
        {"core-spec", "-1", ERR_INVALID},   {"sockets-per-node", "x", ERR_INVALID},
        {"export", "ALL", ERR_UNSUPPORTED}, {"tim", "5", ERR_UNSUPPORTED},
        {"", "5", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        AUTO(arena_done) struct arena arena = {0};
        struct sbatch c;
        struct err err;
        cr_expect_eq(parse(wrong[i].name, wrong[i].value, &arena, &c, &err), -1, "--%s=%s",
                     wrong[i].name, wrong[i].value);
        cr_expect_eq(err.code, wrong[i].code, "--%s=%s: %s", wrong[i].name, wrong[i].value,
                     err.text);
        cr_expect_not_null(strstr(err.text, wrong[i].name), "%s", err.text);
    }
}

Test(sbatch_changes, two_kinds_of_memory_exclude_each_other)
{
    AUTO(arena_done) struct arena arena = {0};
    const struct pair both[] = {{"mem", "100"}, {"mem-per-cpu", "50"}};
    struct sbatch c;
    struct err err = {0};
    cr_expect_eq(sbatch_changes(&(struct pairs){both, 2}, NOW, &arena, &c, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
}
