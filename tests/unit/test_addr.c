/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/addr.h"

Test(addr, an_empty_list_holds_every_address)
{
    cr_expect(addr_in_list("", "192.0.2.1"));
    cr_expect(addr_in_list(" , ", "2001:db8::1"));
}

Test(addr, networks_and_addresses)
{
    const char *list = "192.0.2.0/24, 198.51.100.7 2001:db8::/33,203.0.113.128/25";
    cr_expect(addr_in_list(list, "192.0.2.255"));
    cr_expect_not(addr_in_list(list, "192.0.3.0"));
    cr_expect(addr_in_list(list, "198.51.100.7"));
    cr_expect_not(addr_in_list(list, "198.51.100.8"));
    cr_expect(addr_in_list(list, "2001:db8:7fff::1"));
    cr_expect_not(addr_in_list(list, "2001:db8:8000::1"));
    cr_expect(addr_in_list(list, "203.0.113.128"));
    cr_expect_not(addr_in_list(list, "203.0.113.127"));
    cr_expect(addr_in_list(list, "::ffff:192.0.2.9"), "an IPv4 client of an IPv6 socket");
    cr_expect(addr_in_list("0.0.0.0/0", "203.0.113.1"));
    cr_expect_not(addr_in_list("0.0.0.0/0", "2001:db8::1"));
    cr_expect_not(addr_in_list(list, "gone"));
}

Test(addr, ipv4_addresses_are_found_in_those_that_lead_to_them)
{
    const char *list = "169.254.0.0/16, 0.0.0.0/8, ::";
    static const char *const in[] = {"169.254.169.254",
                                     "::ffff:169.254.169.254",
                                     "64:ff9b::a9fe:a9fe",
                                     "2002:a9fe:a9fe::1",
                                     "::169.254.169.254",
                                     "0.0.0.0",
                                     "::"};
    static const char *const out[] = {"192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1",
                                      "::1",       "::192.0.2.1",        "2001:db8::a9fe:a9fe",
                                      "gone"};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        cr_expect(addr_leads_into(list, in[i]), "%s", in[i]);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        cr_expect_not(addr_leads_into(list, out[i]), "%s", out[i]);
}

static const char *key(const char *address)
{
    static char out[64];
    addr_key(address, out, sizeof out);
    return out;
}

Test(addr, a_host_is_counted_once_whatever_addresses_it_has)
{
    cr_expect_str_eq(key("192.0.2.9"), "192.0.2.9");
    cr_expect_str_eq(key("::ffff:192.0.2.9"), "192.0.2.9");
    cr_expect_str_eq(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    cr_expect_str_eq(key("2001:db8:1:2::ffff"), "2001:db8:1:2::");
    cr_expect_str_eq(key("2001:db8:1:3::ffff"), "2001:db8:1:3::");
    cr_expect_str_eq(key("local:1002"), "local:1002");
}

Test(addr, a_bad_word_is_named)
{
    static const char *const bad[] = {"192.0.2.0/33", "example", "192.0.2",
                                      "10.0.0.0/",    "::1/129", "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        cr_expect_eq(addr_check_list("allow_from", bad[i], &err), -1, "%s", bad[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not_null(strstr(err.text, bad[i]), "%s", err.text);
    }
    struct err err = {0};
    cr_expect_eq(addr_check_list("allow_from", "10.0.0.0/8, ::1", &err), 0);
}
