/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --begin and --deadline: dates and times in the head node's time zone */
#include "agentd/sbatch_impl.h"

#include <string.h>
#include <strings.h>
#include <time.h>

static const char form[] =
    "not a time: give now, now+N with minutes, hours, days or weeks, HH:MM[:SS] [AM|PM], midnight, "
    "noon, fika, teatime, today, tomorrow, MMDD[YY], MM/DD[/YY], MM.DD[.YY] or "
    "YYYY-MM-DD[THH:MM[:SS]]";

/* What has been said of it; -1 is not said. */
struct when {
    struct tm now;
    int hour, minute, second;
    int month, day, year; /* as in struct tm */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool word(const char **p, const char *w)
{
    size_t n = strlen(w);
    if (strncasecmp(*p, w, n) != 0)
        return false;
    *p += n;
    return true;
}

static void blanks(const char **p)
{
    while (**p == ' ' || **p == '\t')
        (*p)++;
}

/* One or two digits. */
static bool short_number(const char **p, int min, int max, int *ret)
{
    if (!is_digit(**p))
        return false;
    int n = *(*p)++ - '0';
    if (is_digit(**p))
        n = n * 10 + (*(*p)++ - '0');
    *ret = n;
    return n >= min && n <= max;
}

static bool two_digits(const char **p, int max, int *ret)
{
    return is_digit((*p)[0]) && is_digit((*p)[1]) && short_number(p, 0, max, ret);
}

/* HH:MM[:SS] [AM|PM] */
static bool clock_time(const char **p, struct when *w)
{
    w->second = 0;
    if (!short_number(p, 0, 23, &w->hour) || *(*p)++ != ':' || !two_digits(p, 59, &w->minute))
        return false;
    if (**p == ':') {
        (*p)++;
        if (!two_digits(p, 59, &w->second))
            return false;
    }
    blanks(p);
    if (word(p, "pm")) {
        if (w->hour > 12)
            return false;
        w->hour = w->hour == 12 ? 12 : w->hour + 12;
    } else if (word(p, "am")) {
        if (w->hour > 12)
            return false;
        w->hour = w->hour == 12 ? 0 : w->hour;
    }
    return true;
}

static bool separator(const char **p)
{
    if (**p == '/' || **p == '.')
        (*p)++;
    return true;
}

static bool date(const char **p, struct when *w)
{
    const char *s = *p;
    int n;
    if (strnlen(s, 8) == 8 && s[4] == '-' && s[7] == '-') {
        if (strspn(s, "0123456789") != 4 || strspn(s + 5, "0123456789") != 2)
            return false;
        w->year =
            (s[0] - '0') * 1000 + (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0') - 1900;
        *p = s + 5;
        if (!short_number(p, 1, 12, &n))
            return false;
        w->month = n - 1;
        (*p)++;
        return short_number(p, 1, 31, &w->day);
    }
    if (!short_number(p, 1, 12, &n))
        return false;
    w->month = n - 1;
    separator(p);
    if (!short_number(p, 1, 31, &w->day))
        return false;
    separator(p);
    if (!is_digit(**p))
        return true;
    if (!two_digits(p, 99, &n))
        return false;
    if (n) /* 00 is no year to Slurm */
        w->year = n + 100;
    return true;
}

static void on_day(struct when *w, const struct tm *tm)
{
    w->month = tm->tm_mon;
    w->day = tm->tm_mday;
    w->year = tm->tm_year;
}

static void at_hour(struct when *w, int hour)
{
    w->hour = hour;
    w->minute = 0;
    w->second = 0;
}

/* [+N[unit]] or [-N[unit]] behind "now" */
static bool offset(const char *p, int64_t *ret)
{
    static const struct {
        const char *name; /* its plural too */
        int64_t seconds;
    } units[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
    static const int64_t max = (int64_t)100 * 366 * 86400; /* a century: beyond it is a slip */
    int64_t n;
    *ret = 0;
    blanks(&p);
    if (!*p)
        return true;
    bool minus = *p == '-';
    if (*p != '+' && *p != '-')
        return false;
    p++;
    blanks(&p);
    if (!is_digit(*p) || !sbatch_number(&p, max, &n))
        return false;
    blanks(&p);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!word(&p, units[i].name))
            continue;
        if (*p == 's' || *p == 'S')
            p++;
        n *= units[i].seconds;
        break;
    }
    blanks(&p);
    *ret = minus ? -n : n;
    return !*p && n <= max;
}

/* The dates and times of the text, in any order; a later one wins. */
static bool read_all(const char *p, struct when *w, const struct tm *tomorrow)
{
    for (;;) {
        while (*p == ' ' || *p == '\t' || *p == '-' || *p == 'T')
            p++;
        if (!*p)
            return true;
        if (word(&p, "today"))
            on_day(w, &w->now);
        else if (word(&p, "tomorrow"))
            on_day(w, tomorrow);
        else if (word(&p, "midnight"))
            at_hour(w, 0);
        else if (word(&p, "noon"))
            at_hour(w, 12);
        else if (word(&p, "elevenses"))
            at_hour(w, 11);
        else if (word(&p, "fika"))
            at_hour(w, 15);
        else if (word(&p, "teatime"))
            at_hour(w, 16);
        else if (!is_digit(*p))
            return false;
        else if (p[1] == ':' || (p[1] && p[2] == ':')) {
            if (!clock_time(&p, w))
                return false;
        } else if (!date(&p, w))
            return false;
    }
}

/* Is the month, day, hour and minute still to come this year? */
static bool ahead(const struct when *w)
{
    const int said[] = {w->month, w->day, w->hour, w->minute};
    const int now[] = {w->now.tm_mon, w->now.tm_mday, w->now.tm_hour, w->now.tm_min};
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (said[i] != now[i])
            return said[i] > now[i];
    return false;
}

const char *sbatch_value_begin(const struct sbatch_value *v)
{
    const char *p = v->text;
    int64_t n;
    if (word(&p, "uts")) { /* Unix seconds */
        if (!is_digit(*p) || !sbatch_number(&p, INT64_MAX / 2, &n) || *p || n < 1000000)
            return form;
        *(int64_t *)v->target = n;
        return NULL;
    }
    p = v->text;
    blanks(&p);
    if (word(&p, "now")) {
        if (!offset(p, &n))
            return form;
        *(int64_t *)v->target = v->now + n;
        return NULL;
    }

    struct when w = {.hour = -1, .minute = -1, .month = -1, .day = -1, .year = -1};
    time_t now = v->now, later = now + 86400;
    struct tm tomorrow;
    if (!localtime_r(&now, &w.now) || !localtime_r(&later, &tomorrow))
        return form;
    if (!read_all(v->text, &w, &tomorrow) || (w.hour < 0 && w.month < 0))
        return form;
    if (w.hour < 0)
        at_hour(&w, 0);
    if (w.month < 0) {
        bool today = w.hour > w.now.tm_hour || (w.hour == w.now.tm_hour && w.minute > w.now.tm_min);
        on_day(&w, today ? &w.now : &tomorrow);
    }
    if (w.year == -1)
        w.year = w.now.tm_year + (ahead(&w) ? 0 : 1);

    struct tm tm = {.tm_sec = w.second,
                    .tm_min = w.minute,
                    .tm_hour = w.hour,
                    .tm_mday = w.day,
                    .tm_mon = w.month,
                    .tm_year = w.year,
                    .tm_isdst = -1};
    time_t t = mktime(&tm);
    if (t <= 0) /* Slurm takes 0 for "no time" */
        return form;
    *(int64_t *)v->target = t;
    return NULL;
}
