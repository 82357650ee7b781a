/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/lease.h"

static struct leases *make(int64_t only_uid)
{
    struct leases *t =
        leases_new(&(struct lease_policy){.min_uid = 1000, .longest_s = 900, .only_uid = only_uid});
    cr_assert_not_null(t);
    return t;
}

static struct lease_request request(uint32_t uid, uint32_t hello)
{
    struct lease_request r = {.uid = uid, .gid = uid, .lifetime_s = 900, .ngroups = 1};
    r.groups[0] = uid;
    memcpy(r.hello_hash, &hello, sizeof hello);
    return r;
}

static enum err_code grant(struct leases *t, struct lease_request r, int64_t now)
{
    struct err err = {0};
    int rc = leases_grant(t, &r, now, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    return err.code;
}

Test(lease, lasts_as_long_as_it_was_given)
{
    struct leases *t = make(-1);
    cr_expect_null(leases_find(t, 1001, 100));
    cr_expect_eq(grant(t, request(1001, 1), 100), ERR_NONE);
    const struct lease *l = leases_find(t, 1001, 999);
    cr_assert_not_null(l);
    cr_expect_eq(l->gid, 1001);
    cr_expect_eq(l->ngroups, 1);
    cr_expect_eq(l->groups[0], 1001);
    cr_expect_null(leases_find(t, 1001, 1000));
    cr_expect_null(leases_find(t, 1002, 100), "nobody else has one");
    leases_free(t);
}

/* An administrator who is no user of the cluster. */
Test(lease, a_hello_alone_is_taken_once_and_grants_nothing)
{
    struct leases *t = make(-1);
    struct lease_request root = request(0, 1), user = request(1001, 2);
    root.hello_alone = user.hello_alone = 1;
    cr_expect_eq(grant(t, root, 100), ERR_NONE);
    cr_expect_eq(grant(t, root, 100), ERR_AUTH);
    cr_expect_null(leases_find(t, 0, 100));
    cr_expect_eq(grant(t, user, 100), ERR_NONE);
    cr_expect_null(leases_find(t, 1001, 100));
    cr_expect_eq(grant(t, request(1001, 2), 100), ERR_AUTH, "nor is it good for a lease then");
    leases_free(t);
}

Test(lease, root_and_low_uids_get_none)
{
    struct leases *t = make(-1);
    cr_expect_eq(grant(t, request(0, 1), 100), ERR_DENIED);
    cr_expect_eq(grant(t, request(999, 2), 100), ERR_DENIED);
    cr_expect_eq(grant(t, request(UINT32_MAX, 3), 100), ERR_DENIED, "setresuid's \"leave it\"");
    cr_expect_null(leases_find(t, 0, 100));
    leases_free(t);
}

Test(lease, a_single_user_is_the_only_one)
{
    struct leases *t = make(500);
    cr_expect_eq(grant(t, request(500, 1), 100), ERR_NONE);
    cr_expect_eq(grant(t, request(1001, 2), 100), ERR_DENIED);
    leases_free(t);
}

Test(lease, a_hello_counts_once_for_longer_than_it_can_be_good)
{
    struct leases *t = make(-1);
    cr_expect_eq(grant(t, request(1001, 1), 100), ERR_NONE);
    cr_expect_eq(grant(t, request(1001, 1), 101), ERR_AUTH);
    leases_drop(t);
    cr_expect_null(leases_find(t, 1001, 101), "a new broker begins with nobody");
    cr_expect_eq(grant(t, request(1001, 1), 100 + LEASE_HELLO_S), ERR_AUTH, "not with no HELLOs");
    cr_expect_eq(grant(t, request(1001, 1), 101 + LEASE_HELLO_S), ERR_NONE);
    leases_free(t);
}

Test(lease, what_is_too_much_is_refused)
{
    struct leases *t = make(-1);
    struct lease_request r = request(1001, 1);
    r.ngroups = LEASE_MAX_GROUPS + 1;
    cr_expect_eq(grant(t, r, 100), ERR_DENIED);
    r = request(1001, 1);
    r.lifetime_s = 901;
    cr_expect_eq(grant(t, r, 100), ERR_DENIED);
    r.lifetime_s = -1;
    cr_expect_eq(grant(t, r, 100), ERR_DENIED);
    cr_expect_null(leases_find(t, 1001, 100));
    leases_free(t);
}

Test(lease, a_renewal_does_not_fill_the_bucket)
{
    struct leases *t = make(-1);
    grant(t, request(1001, 1), 100);
    cr_expect(bucket_take(&leases_find(t, 1001, 100)->spawns, 1, 5000));
    grant(t, request(1001, 2), 100);
    cr_expect(!bucket_take(&leases_find(t, 1001, 100)->spawns, 1, 5000));
    cr_expect(bucket_take(&leases_find(t, 1001, 100)->spawns, 1, 6000));
    leases_free(t);
}

Test(lease, hellos_are_forgotten_in_the_order_they_came)
{
    struct leases *t = make(-1);
    for (uint32_t i = 0; i < 2000; i++)
        cr_assert_eq(grant(t, request(1001, i + 1), 100 + i / 100), ERR_NONE);
    cr_expect_eq(grant(t, request(1001, 1), 130), ERR_AUTH);
    cr_expect_eq(grant(t, request(1001, 1), 105 + LEASE_HELLO_S), ERR_NONE);
    cr_expect_eq(grant(t, request(1001, 2000), 105 + LEASE_HELLO_S), ERR_AUTH);
    leases_free(t);
}

Test(lease, one_user_cannot_use_up_the_hellos_of_all)
{
    struct leases *t = make(-1);
    for (uint32_t i = 0; i < LEASE_HELLOS_PER_USER; i++)
        cr_assert_eq(grant(t, request(1001, i + 1), 100), ERR_NONE);
    cr_expect_eq(grant(t, request(1001, 0xffffff), 101), ERR_BUSY);
    cr_expect_eq(grant(t, request(1002, 0xffffff), 101), ERR_NONE, "bob is not in the way");
    cr_expect_eq(grant(t, request(1001, 0xfffffe), 101 + LEASE_HELLO_S), ERR_NONE);
    leases_free(t);
}

Test(lease, a_full_table_takes_the_place_of_an_ended_lease)
{
    struct leases *t = make(-1);
    for (uint32_t i = 0; i < LEASE_MAX; i++)
        cr_assert_eq(grant(t, request(1000 + i, i + 1), 100), ERR_NONE);
    struct lease_request late = request(1000 + LEASE_MAX, LEASE_MAX + 1);
    cr_expect_eq(grant(t, late, 200), ERR_BUSY);
    cr_expect_eq(grant(t, late, 1000), ERR_NONE, "what was refused did not count as taken");
    cr_expect_null(leases_find(t, 1000, INT64_MIN));
    cr_expect_not_null(leases_find(t, 1001, INT64_MIN));
    cr_expect_not_null(leases_find(t, 1000 + LEASE_MAX, 1000));
    leases_free(t);
}
