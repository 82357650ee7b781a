/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_conf.c: conf_parse() takes any text; what it accepts can be printed and read again */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sample {
    const char *name, *other;
    int64_t number;
    bool on;
};

static const struct conf_key keys[] = {
    {.name = "name",
     .kind = CONF_KIND_STR,
     .offset = offsetof(struct sample, name),
     .str_default = "",
     .unit = "",
     .help = "a name"},
    {.name = "other",
     .kind = CONF_KIND_STR,
     .offset = offsetof(struct sample, other),
     .str_default = "x",
     .unit = "",
     .help = "another"},
    {.name = "number",
     .kind = CONF_KIND_INT,
     .offset = offsetof(struct sample, number),
     .min = -10,
     .max = 1000000,
     .unit = "s",
     .help = "a number"},
    {.name = "on",
     .kind = CONF_KIND_BOOL,
     .offset = offsetof(struct sample, on),
     .unit = "",
     .help = "a switch"},
};

static int parse(const char *text, struct arena *arena, struct sample *out, struct err *err)
{
    conf_defaults(keys, ARRAY_LEN(keys), out);
    return conf_parse(text, "fuzz", "main", keys, ARRAY_LEN(keys), arena, out, err);
}

/* Only what inih reads as it was written: it drops spaces at the ends and comments behind. */
static bool plain(const char *s)
{
    size_t n = strlen(s);
    return n < 100 && !strpbrk(s, ";#\r\t\v\f") && (n == 0 || (*s != ' ' && s[n - 1] != ' '));
}

static void check_again(const struct sample *s)
{
    char text[4096] = "";
    struct arena arena;
    struct sample again;
    struct err err = {0};
    arena_init(&arena, 0);
    FILE *f = fmemopen(text, sizeof text, "w");
    assert(f);
    conf_print(f, "main", keys, ARRAY_LEN(keys), s);
    fclose(f);
    assert(parse(text, &arena, &again, &err) == 0);
    assert(strcmp(s->name, again.name) == 0 && strcmp(s->other, again.other) == 0);
    assert(s->number == again.number && s->on == again.on);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct sample s;
    struct err err = {0};
    char *text = malloc(size + 1);
    assert(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    arena_init(&arena, 1 << 20);
    if (parse(text, &arena, &s, &err) < 0)
        assert(err.code != ERR_NONE && *err.text);
    else {
        assert(s.number >= -10 && s.number <= 1000000);
        if (plain(s.name) && plain(s.other))
            check_again(&s);
    }
    arena_done(&arena);
    free(text);
    return 0;
}
