/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "exporter/text.h"
#include "tests/kit/prom.h"

static char *text_of(const struct sagent_family *families, size_t n)
{
    const struct sagent_stats stats = {
        .version = "1.2.3", .cluster = "a\"b\\c\nd", .families = families, .family_count = n};
    size_t size;
    char why[300] = "", *text = text_make(&stats, 1500, &size);
    cr_assert_not_null(text);
    cr_expect_eq(size, strlen(text));
    cr_expect(prom_good(text, why), "%s", why);
    return text;
}

#define expect_has(text, part) cr_expect_not_null(strstr(text, part), "no %s in\n%s", part, text)

Test(exporter_text, a_server_that_does_not_answer_is_down_and_nothing_more)
{
    size_t size;
    char why[300];
    AUTO(free) char *text = text_make(NULL, 250000, &size);
    cr_expect(prom_good(text, why), "%s", why);
    expect_has(text, "\nslurm_agent_up 0\n");
    expect_has(text, "\nslurm_agent_scrape_duration_seconds 0.25\n");
    cr_expect_null(strstr(text, "slurm_agent_info"));
}

Test(exporter_text, counters_and_gauges_in_their_units)
{
    const struct sagent_pair op[] = {{"op", "job.get"}, {"result", "OK"}};
    const struct sagent_sample requests = {.labels = op, .label_count = 2, .value = 42};
    const struct sagent_sample cpu = {.value = 1234567};
    const struct sagent_family f[] = {
        {.name = "requests_total",
         .kind = "counter",
         .help = "one \\ two\nthree",
         .divisor = 1,
         .samples = &requests,
         .sample_count = 1},
        {.name = "cpu_seconds_total",
         .kind = "counter",
         .help = "CPU",
         .divisor = 1000000,
         .samples = &cpu,
         .sample_count = 1},
        {.name = "never_seen_total", .kind = "counter", .help = "none", .divisor = 1},
    };
    AUTO(free) char *text = text_of(f, ARRAY_LEN(f));
    expect_has(text, "# HELP slurm_agent_requests_total one \\\\ two\\nthree\n"
                     "# TYPE slurm_agent_requests_total counter\n"
                     "slurm_agent_requests_total{op=\"job.get\",result=\"OK\"} 42\n");
    expect_has(text, "slurm_agent_cpu_seconds_total 1.234567\n");
    expect_has(text, "slurm_agent_info{version=\"1.2.3\",cluster=\"a\\\"b\\\\c\\nd\"} 1\n");
    cr_expect_null(strstr(text, "never_seen"));
}

Test(exporter_text, histograms_are_cumulative)
{
    const int64_t bounds[] = {100, 2500, 1000000}, buckets[] = {3, 0, 2, 1};
    const struct sagent_pair op[] = {{"op", "ping"}};
    const struct sagent_sample s = {
        .labels = op, .label_count = 1, .value = 2500100, .buckets = buckets, .bucket_count = 4};
    const struct sagent_family f = {.name = "took_seconds",
                                    .kind = "histogram",
                                    .help = "took",
                                    .divisor = 1000000,
                                    .bounds = bounds,
                                    .bound_count = 3,
                                    .samples = &s,
                                    .sample_count = 1};
    AUTO(free) char *text = text_of(&f, 1);
    expect_has(text, "slurm_agent_took_seconds_bucket{op=\"ping\",le=\"0.0001\"} 3\n"
                     "slurm_agent_took_seconds_bucket{op=\"ping\",le=\"0.0025\"} 3\n"
                     "slurm_agent_took_seconds_bucket{op=\"ping\",le=\"1\"} 5\n"
                     "slurm_agent_took_seconds_bucket{op=\"ping\",le=\"+Inf\"} 6\n"
                     "slurm_agent_took_seconds_sum{op=\"ping\"} 2.5001\n"
                     "slurm_agent_took_seconds_count{op=\"ping\"} 6\n");
}

/* Whatever a server says, Prometheus gets what it can read. */
Test(exporter_text, what_is_no_name_is_left_out)
{
    const struct sagent_pair bad[] = {{"a b", "c"}, {"1", "d"}, {"good", "}\" 1\nx 2"}};
    const struct sagent_sample s = {.labels = bad, .label_count = 3, .value = 7};
    const struct sagent_family f[] = {
        {.name = "no good",
         .kind = "gauge",
         .help = "",
         .divisor = 1,
         .samples = &s,
         .sample_count = 1},
        {.name = "kind",
         .kind = "summary",
         .help = "x",
         .divisor = 1,
         .samples = &s,
         .sample_count = 1},
        {.name = "fine",
         .kind = "gauge",
         .help = "x",
         .divisor = 1,
         .samples = &s,
         .sample_count = 1},
    };
    AUTO(free) char *text = text_of(f, ARRAY_LEN(f));
    cr_expect_null(strstr(text, "no good"));
    cr_expect_null(strstr(text, "slurm_agent_kind"));
    expect_has(text, "slurm_agent_fine{good=\"}\\\" 1\\nx 2\"} 7\n");
}

/* The reader of the tests finds what is wrong. */
Test(exporter_text, what_is_not_well_formed_is_found)
{
    static const char *const bad[] = {
        "",
        "x 1",
        "x 1\n",
        "# HELP x y\n# TYPE x gauge\nx 1\nx 1\n",
        "# HELP x y\n# TYPE x gauge\ny 1\n",
        "# HELP x y\n# TYPE x gauge\nx{a=b} 1\n",
        "# HELP x y\n# TYPE x gauge\nx one\n",
        "# TYPE x gauge\nx 1\n",
        "# HELP x y\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 1\n",
        "# HELP x y\n# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 1\nx_count 2\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char why[300];
        cr_expect(!prom_good(bad[i], why), "%s", bad[i]);
    }
}
