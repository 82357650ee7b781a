/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Each fault at each request: once, where another try helps, and always, where nothing does
 *
 * What may come of it: done (and checked against the store, past the proxy), or refused with an
 * error. Never: said to be done and not so, or a file or an object that is not whole.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <string.h>

#include "common/clock.h"
#include "common/str.h"
#include "tests/store/proxy.h"
#include "tests/store/store_kit.h"

enum { SMALL = 50 * 1000, LARGE = 100 * 1000, PART = 64 * 1024, LISTED = 5, CELLS_AT_ONCE = 14 };

TestSuite(faults, .init = kit_set_up, .fini = kit_tear_down, .timeout = 300);

enum op {
    OP_PUT,
    OP_GET,
    OP_HEAD,
    OP_LIST,
    OP_COPY,
    OP_DELETE,
    OP_CREATE,
    OP_PART,
    OP_JOIN,
    OP_RANGE
};

/* Which of an operation's requests it is that suffers. */
static const struct {
    const char *name, *what;
} ops[] = {
    [OP_PUT] = {"put", "PUT /"},
    [OP_GET] = {"get", "GET /"},
    [OP_HEAD] = {"head", "HEAD /"},
    [OP_LIST] = {"list", "max-keys="},
    [OP_COPY] = {"copy", "x-amz-copy-source:"},
    [OP_DELETE] = {"delete", "DELETE /"},
    [OP_CREATE] = {"parts: create", "?uploads="},
    [OP_PART] = {"parts: a part", "?partNumber=2&"},
    [OP_JOIN] = {"parts: join", "?uploadId="},
    [OP_RANGE] = {"ranges: a later", "bytes=65536-"},
};

static const struct {
    const char *name;
    enum fault fault;
} faults[] = {
    {"reset", FAULT_RESET},
    {"cut request", FAULT_CUT_REQUEST},
    {"spoilt request", FAULT_SPOIL_SENT},
    {"stall", FAULT_STALL},
    {"500", FAULT_STATUS_500},
    {"503 SlowDown", FAULT_STATUS_503},
    {"301", FAULT_STATUS_301},
    {"307", FAULT_STATUS_307},
    {"answer lost", FAULT_LOST},
    {"answer cut", FAULT_CUT_ANSWER},
    {"answer stalls", FAULT_STALL_ANSWER},
    {"truncated", FAULT_TRUNCATE},
    {"no length", FAULT_NO_LENGTH},
    {"spoilt answer", FAULT_SPOIL_ANSWER},
};

enum outcome { NOT_RUN, DONE, RETRIED, REFUSED, WRONG };

struct cell {
    enum op op;
    enum fault fault;
    bool always;
    enum outcome outcome;
    char text[600]; /* of what is wrong */
};

/* Of one cell: a proxy and an object of its own. */
struct run {
    struct cell *cell;
    struct proxy *proxy;
    struct stage *through, *past;
    struct stage_url u, copy;
    char file[40], out[40];
    int dirfd;
    struct err err;
};

static int wrong(struct run *r, const char *what)
{
    snprintf(r->cell->text, sizeof r->cell->text, "%s (%s)", what, r->err.text);
    r->cell->outcome = WRONG;
    return -1;
}

static bool is_large(enum op op)
{
    return op == OP_CREATE || op == OP_PART || op == OP_JOIN || op == OP_RANGE;
}

static bool is_put(enum op op)
{
    return op == OP_PUT || op == OP_CREATE || op == OP_PART || op == OP_JOIN;
}

/* The object past the proxy: 1 as it should be, 0 not there, -1 something else. */
static int look(struct run *r, const struct stage_url *u)
{
    struct err err = {0};
    struct stage_info info;
    if (stage_fetch(r->past, u, r->dirfd, "look", 0600, NULL, &info, &err) < 0)
        return err.code == ERR_NOT_FOUND ? 0 : -1;
    int same = -1;
    AUTO(close) int a = openat(r->dirfd, "in", O_RDONLY | O_CLOEXEC);
    AUTO(close) int b = openat(r->dirfd, "look", O_RDONLY | O_CLOEXEC);
    static _Thread_local char x[LARGE + 1], y[LARGE + 1];
    ssize_t n = read(a, x, sizeof x), m = read(b, y, sizeof y);
    if (n == m && memcmp(x, y, (size_t)n) == 0)
        same = 1;
    unlinkat(r->dirfd, "look", 0);
    return same;
}

struct listed {
    int n;
    bool bad;
};

static int on_key(void *arg, const char *key, const struct stage_info *info)
{
    struct listed *l = arg;
    int number = -1;
    l->bad = l->bad || sscanf(strrchr(key, '/'), "/%d", &number) != 1 || number != l->n ||
             info->size_bytes != SMALL;
    l->n++;
    return 0;
}

/* The file of a cell, and the object that it is to delete. */
static int fill(struct run *r)
{
    const char *from = is_large(r->cell->op) ? "../large" : "../small";
    if (linkat(r->dirfd, from, r->dirfd, "in", 0) < 0)
        return -1;
    if (is_put(r->cell->op))
        return 0;
    if (r->cell->op != OP_DELETE) {
        r->u = kit_url(is_large(r->cell->op) ? "large" : r->cell->op == OP_LIST ? "list" : "small");
        return 0;
    }
    AUTO(close) int fd = openat(r->dirfd, "in", O_RDONLY | O_CLOEXEC);
    return stage_put(r->past, &r->u, fd, NULL, NULL, &r->err);
}

/* What all cells read. */
static void fill_shared(void)
{
    struct stage_conf conf = kit.conf;
    kit.conf.part_bytes = PART;
    kit_reopen();
    kit_put("small", "small", SMALL);
    kit_put("large", "large", LARGE);
    for (int i = 0; i < LISTED; i++) {
        char name[24];
        snprintf(name, sizeof name, "list/%d", i);
        struct stage_url from = kit_url("small"), to = kit_url(name);
        cr_assert_eq(stage_copy(kit.s, &from, &to, NULL, NULL, &kit.err), 0, "%s", kit.err.text);
    }
    kit.conf = conf;
}

static int act(struct run *r, struct listed *listed, struct stage_info *info)
{
    struct stage_url prefix = r->u;
    switch (r->cell->op) {
    case OP_PUT:
    case OP_CREATE:
    case OP_PART:
    case OP_JOIN: {
        AUTO(close) int fd = openat(r->dirfd, "in", O_RDONLY | O_CLOEXEC);
        return stage_put(r->through, &r->u, fd, NULL, info, &r->err);
    }
    case OP_GET:
    case OP_RANGE:
        return stage_fetch(r->through, &r->u, r->dirfd, "out", 0600, NULL, info, &r->err);
    case OP_HEAD:
        return stage_head(r->through, &r->u, NULL, info, &r->err);
    case OP_LIST:
        str_copy(prefix.key + strlen(prefix.key), 2, "/");
        return stage_list(r->through, &prefix, 100, on_key, listed, NULL, &r->err);
    case OP_COPY:
        return stage_copy(r->through, &r->u, &r->copy, NULL, info, &r->err);
    case OP_DELETE:
        return stage_delete(r->through, &r->u, NULL, &r->err);
    }
    return -1;
}

/* Is what was said the truth? */
static int judge(struct run *r, int rc, const struct listed *listed, const struct stage_info *info)
{
    int there;
    bool is_there = faccessat(r->dirfd, "out", F_OK, 0) == 0;
    switch (r->cell->op) {
    case OP_PUT:
    case OP_CREATE:
    case OP_PART:
    case OP_JOIN:
        there = look(r, &r->u);
        if (there < 0)
            return wrong(r, "the object is not what was put");
        return rc == 0 && there == 0 ? wrong(r, "there is no object") : 0;
    case OP_GET:
    case OP_RANGE:
        if (is_there != (rc == 0))
            return wrong(r, is_there ? "there is a file" : "there is no file");
        if (is_there) {
            char cmp[600];
            AUTO(close) int a = openat(r->dirfd, "in", O_RDONLY | O_CLOEXEC);
            AUTO(close) int b = openat(r->dirfd, "out", O_RDONLY | O_CLOEXEC);
            for (;;) {
                char other[sizeof cmp];
                ssize_t n = read(a, cmp, sizeof cmp), m = read(b, other, sizeof other);
                if (n != m || memcmp(cmp, other, (size_t)n) != 0)
                    return wrong(r, "the file is not the object");
                if (n == 0)
                    break;
            }
        }
        return stage_sweep_parts(r->dirfd, (const char *[]){"out"}, 1)
                   ? wrong(r, "a part of a file stayed")
                   : 0;
    case OP_HEAD:
        return rc == 0 && info->size_bytes != SMALL ? wrong(r, "another size") : 0;
    case OP_LIST:
        return (rc == 0 && listed->n != LISTED) || listed->bad ? wrong(r, "another list") : 0;
    case OP_COPY:
        there = look(r, &r->copy);
        if (there < 0)
            return wrong(r, "the copy is not the object");
        return rc == 0 && there == 0 ? wrong(r, "there is no copy") : 0;
    case OP_DELETE:
        return rc == 0 && look(r, &r->u) != 0 ? wrong(r, "it is still there") : 0;
    }
    return -1;
}

/* No client can see over http that a tag or a name is another one: there is nothing to compare it
 * with. */
static bool is_beyond_us(const struct cell *c)
{
    return c->fault == FAULT_SPOIL_ANSWER && (c->op == OP_HEAD || c->op == OP_LIST);
}

/* Where nothing is sent, nothing of it can go wrong. */
static bool sends_nothing(const struct cell *c)
{
    return c->op != OP_PUT && c->op != OP_PART && c->op != OP_JOIN;
}

static bool is_left_out(const struct cell *c)
{
    bool is_of_sending = c->fault == FAULT_SPOIL_SENT || c->fault == FAULT_CUT_REQUEST;
    return is_beyond_us(c) || (is_of_sending && sends_nothing(c));
}

static int run_cell(void *arg, size_t i, struct err *err)
{
    (void)err;
    struct cell *cell = &((struct cell *)arg)[i];
    struct run r = {.cell = cell};
    char endpoint[64], name[40];
    struct stage_conf conf = kit.conf;
    struct listed listed = {0};
    struct stage_info info = {0};
    if (is_left_out(cell))
        return 0;
    r.proxy = proxy_start(atoi(strrchr(kit.http, ':') + 1));
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", proxy_port(r.proxy));
    conf.tries = 4;
    bool opened = stage_open(STAGE_S3, &conf, &r.past, &r.err) == 0;
    conf.endpoint = endpoint;
    conf.part_bytes = PART;
    /* A busy host makes stalls of its own. */
    bool stalls = cell->fault == FAULT_STALL || cell->fault == FAULT_STALL_ANSWER;
    conf.tries = cell->always ? 2 : 8;
    conf.stall_s = stalls ? 1 : 30;
    opened = opened && stage_open(STAGE_S3, &conf, &r.through, &r.err) == 0;
    snprintf(name, sizeof name, "cell%zu", i);
    bool ready = opened && mkdirat(kit.dirfd, name, 0700) == 0;
    r.dirfd = ready ? openat(kit.dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    r.u = kit_url(name);
    stage_url_join(&r.u, " copy", &r.copy, &r.err);
    if (!ready || r.dirfd < 0 || fill(&r) < 0) {
        wrong(&r, "cannot begin");
    } else {
        char what[100];
        if (cell->op == OP_JOIN)
            snprintf(what, sizeof what, "POST /data/%s%s?uploadId=", kit.prefix, name);
        else
            str_copy(what, sizeof what, ops[cell->op].what);
        proxy_fault(r.proxy, cell->fault, what, cell->always ? -1 : 1);
        int rc = act(&r, &listed, &info);
        int hits = proxy_done(r.proxy);
        proxy_fault(r.proxy, FAULT_NONE, "", 0);
        str_copy(cell->text, sizeof cell->text, r.err.text);
        cell->outcome = rc < 0 ? REFUSED : hits > 0 ? RETRIED : DONE;
        if (rc < 0 && r.err.code == ERR_NONE)
            wrong(&r, "refused without a word");
        else if (rc < 0 && !strstr(r.err.text, "s3://data/"))
            wrong(&r, "the error does not name the object");
        else if (hits == 0)
            wrong(&r, "the fault did not come about");
        else
            judge(&r, rc, &listed, &info);
    }
    stage_close(r.through);
    stage_close(r.past);
    if (r.dirfd >= 0)
        close(r.dirfd);
    proxy_stop(r.proxy);
    return 0;
}

static const char *word(const struct cell *c)
{
    static const char *const words[] = {[NOT_RUN] = "-",
                                        [DONE] = "done",
                                        [RETRIED] = "done",
                                        [REFUSED] = "refused",
                                        [WRONG] = "WRONG"};
    return words[c->outcome];
}

static void print_matrix(const struct cell *cells)
{
    printf("What comes of a fault that happens once / always:\n%-16s", "");
    for (size_t o = 0; o < ARRAY_LEN(ops); o++)
        printf(" %-16s", ops[o].name);
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        printf("\n%-16s", faults[f].name);
        for (size_t o = 0; o < ARRAY_LEN(ops); o++, cells += 2) {
            char both[32];
            snprintf(both, sizeof both, "%s / %s", word(&cells[0]), word(&cells[1]));
            printf(" %-16s", both);
        }
    }
    printf("\n(-: nothing is sent, or nothing comes over http that it could be compared with)\n");
    fflush(stdout);
}

/* A store that fails once is asked again, one that sends us elsewhere is not followed. */
static bool must_be_done(const struct cell *c)
{
    return !c->always && c->fault != FAULT_STATUS_301 && c->fault != FAULT_STATUS_307;
}

/* Where what was spoilt does not matter, or nothing was sent that could be. */
static bool must_be_refused(const struct cell *c)
{
    bool harmless = c->fault == FAULT_SPOIL_ANSWER || c->fault == FAULT_SPOIL_SENT ||
                    c->fault == FAULT_TRUNCATE || c->fault == FAULT_NO_LENGTH;
    return !harmless && (c->always || !must_be_done(c));
}

Test(faults, are_got_over_or_refused_and_never_make_something_wrong)
{
    static struct cell cells[ARRAY_LEN(faults) * ARRAY_LEN(ops) * 2];
    size_t n = 0;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++)
        for (size_t o = 0; o < ARRAY_LEN(ops); o++)
            for (int always = 0; always < 2; always++)
                cells[n++] = (struct cell){
                    .op = (enum op)o, .fault = faults[f].fault, .always = always == 1};
    int64_t begun_ms = clock_mono_ms();
    fill_shared();
    cr_assert_eq(stage_each(n, CELLS_AT_ONCE, run_cell, cells, &kit.err), 0);
    print_matrix(cells);
    printf("%zu cells in %.1f s\n", n, (double)(clock_mono_ms() - begun_ms) / 1000);
    for (size_t i = 0; i < n; i++) {
        const struct cell *c = &cells[i];
        const char *fault = "";
        for (size_t f = 0; f < ARRAY_LEN(faults); f++)
            if (faults[f].fault == c->fault)
                fault = faults[f].name;
        const char *when = c->always ? "always" : "once";
        cr_expect_neq(c->outcome, WRONG, "%s, %s, %s: %s", ops[c->op].name, fault, when, c->text);
        if (must_be_done(c))
            cr_expect_neq(c->outcome, REFUSED, "%s, %s, %s: %s", ops[c->op].name, fault, when,
                          c->text);
        if (must_be_refused(c) && !is_left_out(c))
            cr_expect_eq(c->outcome, REFUSED, "%s, %s, %s: done", ops[c->op].name, fault, when);
    }
}
