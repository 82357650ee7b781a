/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "exporter/text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"

#define PREFIX "slurm_agent_"

/* What comes from the server is shown as what it may be, or not at all. */
static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

static bool is_kind(const char *s)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(s, kinds[i]))
            return true;
    return false;
}

static void escaped(FILE *f, const char *s, const char *special)
{
    for (; *s; s++) {
        if (*s == '\n')
            fputs("\\n", f);
        else if (strchr(special, *s))
            fprintf(f, "\\%c", *s);
        else
            fputc(*s, f);
    }
}

static void head(FILE *f, const char *name, const char *kind, const char *help)
{
    fprintf(f, "# HELP " PREFIX "%s ", name);
    escaped(f, help, "\\");
    fprintf(f, "\n# TYPE " PREFIX "%s %s\n", name, kind);
}

static void label(FILE *f, size_t *n, const char *name, const char *value)
{
    if (!value || !is_name(name))
        return;
    fprintf(f, "%s%s=\"", (*n)++ ? "," : "{", name);
    escaped(f, value, "\\\"");
    fputc('"', f);
}

/* NAME{labels,le="..."}; le NULL: none. */
static void series(FILE *f, const struct sagent_family *family, const char *suffix,
                   const struct sagent_sample *s, const char *le)
{
    size_t n = 0;
    fprintf(f, PREFIX "%s%s", family->name, suffix);
    for (size_t i = 0; i < s->label_count; i++)
        label(f, &n, s->labels[i].name, s->labels[i].value);
    if (le)
        label(f, &n, "le", le);
    fputs(n ? "} " : " ", f);
}

static void number(FILE *f, const struct sagent_family *family, int64_t v)
{
    if (family->divisor == 1)
        fprintf(f, "%lld\n", (long long)v);
    else
        fprintf(f, "%.15g\n", (double)v / (double)family->divisor);
}

static void histogram(FILE *f, const struct sagent_family *family, const struct sagent_sample *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->bucket_count; i++) {
        char le[40] = "+Inf";
        n += s->buckets[i];
        if (i < family->bound_count)
            snprintf(le, sizeof le, "%.15g", (double)family->bounds[i] / (double)family->divisor);
        series(f, family, "_bucket", s, le);
        fprintf(f, "%lld\n", (long long)n);
    }
    series(f, family, "_sum", s, NULL);
    number(f, family, s->value);
    series(f, family, "_count", s, NULL);
    fprintf(f, "%lld\n", (long long)n);
}

static void put_family(FILE *f, const struct sagent_family *family)
{
    if (!is_name(family->name) || !is_kind(family->kind) || family->sample_count == 0)
        return;
    head(f, family->name, family->kind, family->help);
    for (size_t i = 0; i < family->sample_count; i++) {
        const struct sagent_sample *s = &family->samples[i];
        if (s->bucket_count) {
            histogram(f, family, s);
            continue;
        }
        series(f, family, "", s, NULL);
        number(f, family, s->value);
    }
}

static void put_own(FILE *f, const struct sagent_stats *stats, int64_t took_us)
{
    size_t n = 0;
    head(f, "up", "gauge", "1: slurm-agentd has answered, and what follows is what it said");
    fprintf(f, PREFIX "up %d\n", stats != NULL);
    head(f, "scrape_duration_seconds", "gauge", "How long slurm-agentd was asked");
    fprintf(f, PREFIX "scrape_duration_seconds %.15g\n", (double)took_us / 1e6);
    head(f, "exporter_info", "gauge", "Version of slurm-agent-exporter");
    fprintf(f, PREFIX "exporter_info{version=\"%s\"} 1\n", sagent_version());
    if (!stats)
        return;
    head(f, "info", "gauge", "Version of slurm-agentd, of its libslurm, and the cluster's name");
    fputs(PREFIX "info", f);
    label(f, &n, "version", stats->version);
    label(f, &n, "slurm_version", stats->slurm_version);
    label(f, &n, "cluster", stats->cluster);
    fputs(n ? "} 1\n" : " 1\n", f);
}

char *text_make(const struct sagent_stats *stats, int64_t took_us, size_t *ret_size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_size);
    if (!f)
        return NULL;
    put_own(f, stats, took_us);
    for (size_t i = 0; stats && i < stats->family_count; i++)
        put_family(f, &stats->families[i]);
    bool whole = !ferror(f);
    if (fclose(f) == 0 && whole)
        return text;
    free(text);
    return NULL;
}
