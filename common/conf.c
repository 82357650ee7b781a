/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/str.h"

enum {
    CONF_MAX_KEYS = 128,
    CONF_MAX_FILE = 1 << 20,
    CONF_MAX_LINE = 190, /* inih cuts lines at 200 bytes without a word */
};

struct loading {
    const char *name, *section;
    const struct conf_key *keys;
    size_t n;
    struct arena *arena;
    void *out;
    struct err *err;
    bool seen[CONF_MAX_KEYS];
    int line;
};

void conf_defaults(const struct conf_key *keys, size_t n, void *out)
{
    for (size_t i = 0; i < n; i++) {
        void *at = (char *)out + keys[i].offset;
        switch (keys[i].kind) {
        case CONF_KIND_STR:
            *(const char **)at = keys[i].str_default;
            break;
        case CONF_KIND_INT:
            *(int64_t *)at = keys[i].int_default;
            break;
        case CONF_KIND_BOOL:
            *(bool *)at = keys[i].int_default != 0;
            break;
        }
    }
}

static bool parse_bool(const char *s, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcasecmp(s, yes[i]) == 0)
            return *ret = true;
        if (strcasecmp(s, no[i]) == 0) {
            *ret = false;
            return true;
        }
    }
    return false;
}

static int set(struct loading *l, const struct conf_key *k, const char *value)
{
    void *at = (char *)l->out + k->offset;
    switch (k->kind) {
    case CONF_KIND_STR: {
        const char *copy = arena_strdup(l->arena, value);
        if (!copy)
            return err_set(l->err, ERR_INTERNAL, "%s: no memory", l->name);
        *(const char **)at = copy;
        return 0;
    }
    case CONF_KIND_INT:
        if (!str_to_i64(value, k->min, k->max, at))
            return err_set(l->err, ERR_INVALID,
                           "%s:%d: %s = %s: give a whole number from %lld to %lld%s%s", l->name,
                           l->line, k->name, value, k->min, k->max, *k->unit ? " " : "", k->unit);
        return 0;
    case CONF_KIND_BOOL:
        if (!parse_bool(value, at))
            return err_set(l->err, ERR_INVALID, "%s:%d: %s = %s: give yes or no", l->name, l->line,
                           k->name, value);
        return 0;
    }
    return -1;
}

/* inih calls this for each line; 0 stops it. */
static int on_key(void *arg, const char *section, const char *name, const char *value)
{
    struct loading *l = arg;
    if (strcmp(section, l->section) != 0) {
        err_set(l->err, ERR_INVALID, "%s:%d: section [%s]: settings belong in [%s]", l->name,
                l->line, section, l->section);
        return 0;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->keys[i].name, name) != 0)
            continue;
        if (l->seen[i]) {
            err_set(l->err, ERR_INVALID, "%s:%d: %s is set twice", l->name, l->line, name);
            return 0;
        }
        l->seen[i] = true;
        return set(l, &l->keys[i], value) == 0;
    }
    err_set(l->err, ERR_INVALID, "%s:%d: there is no setting '%s'", l->name, l->line, name);
    return 0;
}

struct text {
    const char *p;
    struct loading *l;
};

/* fgets() over memory; counts the lines, which inih tells its handler only when built so. */
static char *next_line(char *out, int size, void *arg)
{
    struct text *t = arg;
    if (!*t->p)
        return NULL;
    size_t n = strcspn(t->p, "\n");
    t->l->line++;
    if (n > CONF_MAX_LINE || n + 2 > (size_t)size) {
        err_set(t->l->err, ERR_INVALID, "%s:%d: the line is longer than %d bytes", t->l->name,
                t->l->line, CONF_MAX_LINE);
        return NULL;
    }
    memcpy(out, t->p, n);
    out[n] = '\n';
    out[n + 1] = '\0';
    t->p += n + (t->p[n] == '\n');
    return out;
}

int conf_parse(const char *text, const char *name, const char *section, const struct conf_key *keys,
               size_t n, struct arena *arena, void *out, struct err *err)
{
    struct loading l = {
        .name = name,
        .section = section,
        .keys = keys,
        .n = n < CONF_MAX_KEYS ? n : CONF_MAX_KEYS,
        .arena = arena,
        .out = out,
        .err = err,
    };
    struct text t = {text, &l};
    int bad = ini_parse_stream(next_line, &t, on_key, &l);
    if (err->code != ERR_NONE)
        return -1;
    if (bad > 0)
        return err_set(err, ERR_INVALID, "%s:%d: neither [section] nor name = value", name, bad);
    if (bad < 0)
        return err_set(err, ERR_INTERNAL, "%s: no memory", name);
    return 0;
}

int conf_load_fd(int fd, const char *name, const char *section, const struct conf_key *keys,
                 size_t n, struct arena *arena, void *out, struct err *err)
{
    struct stat st;
    size_t got = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CONF_MAX_FILE)
        return err_set(err, ERR_INVALID, "%s: not a regular file of at most %d bytes", name,
                       CONF_MAX_FILE);
    char *text = arena_alloc(arena, (size_t)st.st_size + 1);
    if (!text)
        return err_set(err, ERR_INTERNAL, "%s: no memory", name);
    while (got < (size_t)st.st_size) {
        ssize_t more = pread(fd, text + got, (size_t)st.st_size - got, (off_t)got);
        if (more < 0)
            return err_errno(err, ERR_INVALID, "cannot read %s", name);
        if (more == 0)
            break;
        got += (size_t)more;
    }
    if (memchr(text, 0, got))
        return err_set(err, ERR_INVALID, "%s: there is a NUL byte in it", name);
    text[got] = '\0';
    return conf_parse(text, name, section, keys, n, arena, out, err);
}

int conf_load(const char *path, const char *section, const struct conf_key *keys, size_t n,
              struct arena *arena, void *out, struct err *err)
{
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND, "cannot read %s", path);
    return conf_load_fd(fd, path, section, keys, n, arena, out, err);
}

const char *conf_value(const struct conf_key *k, const void *conf, char buf[32])
{
    const void *at = (const char *)conf + k->offset;
    switch (k->kind) {
    case CONF_KIND_STR:
        return *(const char *const *)at;
    case CONF_KIND_INT:
        snprintf(buf, 32, "%lld", (long long)*(const int64_t *)at);
        return buf;
    case CONF_KIND_BOOL:
        return *(const bool *)at ? "yes" : "no";
    }
    return "";
}

void conf_print(FILE *to, const char *section, const struct conf_key *keys, size_t n,
                const void *conf)
{
    char value[32];
    fprintf(to, "[%s]\n", section);
    for (size_t i = 0; i < n; i++) {
        const struct conf_key *k = &keys[i];
        fprintf(to, "# %s%s%s%s\n", k->help, *k->unit ? " (" : "", k->unit, *k->unit ? ")" : "");
        fprintf(to, "%s = %s\n", k->name, conf_value(k, conf, value));
    }
}
