/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/addr.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "common/str.h"

enum { ADDR_WORD = 80 };

struct network {
    int family;
    uint8_t bytes[16];
    int bits;
};

static bool parse_address(const char *text, struct network *out)
{
    out->bits = 32;
    out->family = AF_INET;
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        return true;
    out->bits = 128;
    out->family = AF_INET6;
    if (inet_pton(AF_INET6, text, out->bytes) != 1)
        return false;
    /* An IPv4 client of an IPv6 socket is still that IPv4 address. */
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(out->bytes, mapped, sizeof mapped) == 0) {
        memmove(out->bytes, out->bytes + 12, 4);
        out->family = AF_INET;
        out->bits = 32;
    }
    return true;
}

static bool parse_network(char *word, struct network *out)
{
    char *slash = strchr(word, '/');
    int64_t bits = -1;
    if (slash)
        *slash = '\0';
    if (!parse_address(word, out))
        return false;
    if (slash && !str_to_i64(slash + 1, 0, out->bits, &bits))
        return false;
    if (bits >= 0)
        out->bits = (int)bits;
    return true;
}

/* Copies the next word of the list and moves *p behind it; false at the end. */
static bool next_word(const char **p, char out[ADDR_WORD])
{
    *p += strspn(*p, ", \t");
    size_t n = strcspn(*p, ", \t");
    if (n == 0)
        return false;
    size_t copied = n < ADDR_WORD ? n : ADDR_WORD - 1;
    memcpy(out, *p, copied);
    out[copied] = '\0';
    *p += n;
    return true;
}

int addr_check_list(const char *setting, const char *list, struct err *err)
{
    char word[ADDR_WORD], shown[ADDR_WORD];
    while (next_word(&list, word)) {
        struct network n;
        memcpy(shown, word, sizeof shown);
        if (!parse_network(word, &n))
            return err_set(err, ERR_INVALID,
                           "%s: '%s' is neither an address nor a network: give 10.0.0.7, "
                           "10.0.0.0/8 or fd00::/8",
                           setting, shown);
    }
    return 0;
}

static bool contains(const struct network *net, const struct network *a)
{
    if (net->family != a->family)
        return false;
    int whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->bytes, a->bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((net->bytes[whole] ^ a->bytes[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

void addr_key(const char *address, char *out, size_t size)
{
    struct network a;
    char text[INET6_ADDRSTRLEN];
    str_copy(out, size, address);
    if (!parse_address(address, &a))
        return;
    if (a.family == AF_INET6)
        memset(a.bytes + 8, 0, 8);
    if (inet_ntop(a.family, a.bytes, text, sizeof text))
        str_copy(out, size, text);
}

bool addr_in_list(const char *list, const char *address)
{
    char word[ADDR_WORD];
    struct network a, net;
    const char *p = list;
    if (!next_word(&p, word))
        return true;
    if (!parse_address(address, &a))
        return false;
    do {
        if (parse_network(word, &net) && contains(&net, &a))
            return true;
    } while (next_word(&p, word));
    return false;
}

/* Where the IPv4 address is in it; NULL: there is none. */
static const uint8_t *embedded(const uint8_t a[16])
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, zeros[15] = {0};
    if (memcmp(a, nat64, sizeof nat64) == 0)
        return a + 12;
    if (a[0] == 0x20 && a[1] == 0x02)
        return a + 2;
    /* :: and ::1 are what they are. */
    return memcmp(a, zeros, 12) == 0 && memcmp(a, zeros, 15) != 0 ? a + 12 : NULL;
}

bool addr_leads_into(const char *list, const char *address)
{
    struct network a;
    char text[INET_ADDRSTRLEN];
    if (addr_in_list(list, address))
        return true;
    if (!parse_address(address, &a) || a.family != AF_INET6)
        return false;
    const uint8_t *v4 = embedded(a.bytes);
    return v4 && inet_ntop(AF_INET, v4, text, sizeof text) && addr_in_list(list, text);
}
