/* SPDX-License-Identifier: GPL-3.0-or-later */
/* way_slurmrestd.c: slurmrestd over its unix socket, one connection kept alive for each caller */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/bench/bench.h"
#include "tests/bench/way.h"

/* Oldest first: what a slurmrestd offers is its release's, and the older forms are simpler. */
static const int versions[] = {38, 39, 40, 41, 42, 43, 44};

struct rest {
    CURL *curl;
    char base[128]; /* http://localhost/slurm/v0.0.N */
    int version;
    char *got;
    size_t n, size;
};

static size_t keep(char *data, size_t one, size_t n, void *arg)
{
    struct rest *r = arg;
    (void)one;
    if (r->n + n + 1 > r->size) {
        r->size = (r->n + n + 1) * 2;
        if (!(r->got = realloc(r->got, r->size)))
            die("slurmrestd", "no memory");
    }
    memcpy(r->got + r->n, data, n);
    r->n += n;
    r->got[r->n] = 0;
    return n;
}

/* The HTTP status. */
static long ask(struct rest *r, const char *method, const char *path, const char *body)
{
    char url[256];
    long code = 0;
    snprintf(url, sizeof url, "%s/%s", r->base, path);
    r->n = 0;
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, method);
    if (body)
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body);
    else
        curl_easy_setopt(r->curl, CURLOPT_HTTPGET, 1L);
    CURLcode rc = curl_easy_perform(r->curl);
    if (rc != CURLE_OK)
        die("slurmrestd", curl_easy_strerror(rc));
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

static void expect(struct rest *r, long code)
{
    if (code != 200)
        die("slurmrestd", r->n ? r->got : "no answer's body");
}

static void *open_rest(void)
{
    char path[512];
    struct rest *r = calloc(1, sizeof *r);
    if (!r || !(r->curl = curl_easy_init()))
        die("curl", "cannot be had");
    snprintf(path, sizeof path, "%s/run/restd/rest.sock", getenv("SLURM_AGENT_SANDBOX"));
    curl_easy_setopt(r->curl, CURLOPT_UNIX_SOCKET_PATH, path);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, 30000L);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers); /* kept with the process */
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        r->version = versions[i];
        snprintf(r->base, sizeof r->base, "http://localhost/slurm/v0.0.%d", r->version);
        if (ask(r, "GET", "ping", NULL) == 200)
            return r;
    }
    die("slurmrestd", "offers none of the versions that are known here");
}

static void status(void *open, uint32_t id)
{
    char path[32];
    snprintf(path, sizeof path, "job/%u", id);
    expect(open, ask(open, "GET", path, NULL));
}

static json_t *environment(int version)
{
    return version < 40 ? json_pack("{ss}", "PATH", "/usr/bin:/bin")
                        : json_pack("[s]", "PATH=/usr/bin:/bin");
}

static uint32_t submit_job(void *open)
{
    struct rest *r = open;
    json_t *req = json_pack("{ss s{ss ss sb so}}", "script", WAY_SCRIPT, "job", "name", "sbatch",
                            "current_working_directory", "/tmp", "hold", 1, "environment",
                            environment(r->version));
    AUTO(free) char *body = json_dumps(req, JSON_COMPACT);
    json_decref(req);
    expect(r, ask(r, "POST", "job/submit", body));
    json_t *reply = json_loads(r->got, 0, NULL);
    uint32_t id = (uint32_t)json_integer_value(json_object_get(reply, "job_id"));
    json_decref(reply);
    if (id == 0)
        die("slurmrestd submit", r->got);
    return id;
}

static void cancel(void *open, uint32_t id)
{
    char path[32];
    snprintf(path, sizeof path, "job/%u", id);
    expect(open, ask(open, "DELETE", path, NULL));
}

static void close_rest(void *open)
{
    struct rest *r = open;
    curl_easy_cleanup(r->curl);
    free(r->got);
    free(r);
}

const struct way way_slurmrestd = {
    .name = "slurmrestd",
    .status_from = "RPC",
    .server = WAY_SLURMRESTD,
    .one_user = true,
    .open = open_rest,
    .status = status,
    .submit = submit_job,
    .cancel = cancel,
    .close = close_rest,
};
