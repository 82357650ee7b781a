/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_progress.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_follow.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    BAR_EVERY_MS = 100,
    RATE_OVER_MS = 5000, /* so long a memory has the rate that is shown */
    WIDTH = 80,
};

/* "12.3 MiB" */
static const char *size_text(int64_t bytes, char out[CLI_TEXT])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 999.5 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1024;
    snprintf(out, CLI_TEXT, u == 0 ? "%.0f %s" : v < 9.95 ? "%.2f %s" : "%.1f %s", v, units[u]);
    return out;
}

static void clear_bar(struct cli_progress *s)
{
    if (s->drawn)
        fprintf(stderr, "\r%*s\r", s->drawn, "");
    s->drawn = 0;
}

static int terminal_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : WIDTH;
}

static void measure(struct cli_progress *s, int64_t done, int64_t now_ms)
{
    int64_t ms = now_ms - s->mark_ms;
    if (ms >= BAR_EVERY_MS)
        s->rate = (done - s->mark_bytes) * 1000 / ms;
    if (ms >= RATE_OVER_MS) { /* forget half of it */
        s->mark_bytes += (done - s->mark_bytes) / 2;
        s->mark_ms += ms / 2;
    }
    if (s->rate < 0)
        s->rate = 0;
}

/* [=====>     ]  45%  12.3 MiB of 27.0 MiB  4.50 MiB/s  0:03 left  3/20 files */
static void draw(struct cli_progress *s, int64_t done, int64_t all, int64_t files,
                 int64_t all_files)
{
    char a[CLI_TEXT], b[CLI_TEXT], c[CLI_TEXT], left[CLI_TEXT + 8] = "", text[400], bar[64];
    int width = terminal_width() - 1, room, percent = all ? (int)(done * 100 / all) : 0;
    if (s->rate > 0 && all > done) {
        cli_duration((all - done) / s->rate, left);
        str_copy(left + strlen(left), sizeof left - strlen(left), " left");
    }
    int n = snprintf(text, sizeof text, " %3d%%  %s of %s  %s/s  %s", percent, size_text(done, a),
                     size_text(all, b), size_text(s->rate, c), left);
    if (all_files > 1 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, "  %lld/%lld files", (long long)files,
                 (long long)all_files);
    room = width - (int)strlen(text) - 2;
    if (room > 40)
        room = 40;
    if (room >= 8) {
        int filled = percent * room / 100;
        for (int i = 0; i < room; i++)
            bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
        bar[room] = '\0';
    }
    clear_bar(s);
    s->drawn =
        room >= 8 ? fprintf(stderr, "[%s]%s", bar, text) : fprintf(stderr, "%.*s", width, text);
    fflush(stderr);
}

void cli_progress_begin(struct cli_progress *s)
{
    s->bar = !s->json && !s->quiet && isatty(STDERR_FILENO);
    s->begun_ms = s->mark_ms = clock_mono_ms();
}

int cli_progress_bytes(void *arg, int64_t done, int64_t all, int64_t files, int64_t all_files)
{
    struct cli_progress *s = arg;
    int64_t now_ms = clock_mono_ms();
    s->done_bytes = s->before_bytes + done;
    if (s->bar && now_ms - s->drawn_ms >= BAR_EVERY_MS) {
        measure(s, s->done_bytes, now_ms);
        draw(s, done, all, files, all_files);
        s->drawn_ms = now_ms;
    }
    return cli_signals_count() > 0;
}

/* An optional output that the job did not make: itself, not one of its files. */
static bool may_be_missing(const struct cli_progress *s, const struct sagent_transfer *t,
                           const struct sagent_error *err)
{
    const char *from = s->optional ? s->optional->from : NULL;
    return from && err && err->code == SAGENT_ERR_NOT_FOUND &&
           (!t->to || (!strpbrk(from, "*?[") && from[strlen(from) - 1] != '/'));
}

static void print_json(const struct sagent_transfer *t, const struct sagent_error *err,
                       bool optional)
{
    json_t *j = json_object();
    cli_json_set(j, "from", t->from);
    cli_json_set(j, "to", t->to);
    if (err) {
        json_object_set_new(j, "error", cli_json_string(sagent_code_name(err->code)));
        cli_json_set(j, "text", err->text);
        if (optional)
            json_object_set_new(j, "optional", json_true());
    } else {
        json_object_set_new(j, "size", json_integer(t->size));
        cli_json_set(j, "etag", t->etag);
        if (t->modified)
            cli_json_set_number(j, "modified", t->modified);
        json_object_set_new(j, "checked", json_boolean(t->checked));
    }
    cli_json_print_line(j);
}

void cli_progress_file(void *arg, const struct sagent_transfer *t, const struct sagent_error *err)
{
    struct cli_progress *s = arg;
    char size[CLI_TEXT];
    s->files += err == NULL;
    bool optional = may_be_missing(s, t, err);
    s->failed += err && !optional;
    s->missing += optional;
    clear_bar(s);
    if (s->json)
        print_json(t, err, optional);
    else if (optional && !s->quiet)
        cli_say("%s of job %s was not there, and is optional", s->optional->from, s->optional->id);
    else if (err && !optional)
        cli_say("%s", err->text);
    if (err || s->json || s->bar || s->quiet)
        return;
    AUTO(free) char *line = NULL;
    if (asprintf(&line, "%s -> %s  %s", t->from, t->to, size_text(t->size, size)) < 0)
        cli_no_memory();
    if (s->beside) {
        cli_say("%s", line);
        return;
    }
    printf("%s\n", str_printable(line));
    cli_flush_output();
}

void cli_progress_end(struct cli_progress *s)
{
    char size[CLI_TEXT], rate[CLI_TEXT], time[CLI_TEXT];
    int64_t ms = clock_mono_ms() - s->begun_ms;
    clear_bar(s);
    if (!s->bar || s->files == 0)
        return;
    fprintf(stderr, "%lld file%s, %s in %s (%s/s)\n", (long long)s->files, s->files == 1 ? "" : "s",
            size_text(s->done_bytes, size), cli_duration((ms + 999) / 1000, time),
            size_text(s->done_bytes * 1000 / (ms ? ms : 1), rate));
}

void cli_progress_left_out(void *arg, const char *path)
{
    struct cli_progress *s = arg;
    if (!s->quiet)
        cli_say("%s is left out: it is a link to a directory, or no file", path);
}
