/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api_upload.c: a client's files into a store, as a job's inputs
 *
 * What is stored for a submit is below PREFIX/ID/, ID its request id; each file or directory below
 * INDEX-DIGEST/ there, DIGEST that of its names and bytes.  So the same submit with the same files
 * has the same URLs, which is one request; files that have changed have others, which the server
 * takes for another request (CONFLICT), and nothing of a job's inputs is ever overwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "client/handle.h"
#include "client/request_id.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/store_work.h"
#include "common/clock.h"
#include "common/manifest.h"
#include "common/seal.h"
#include "common/str.h"

enum { DIGEST = 16, DIGEST_TEXT = 2 * DIGEST + 1, CHUNK = 1 << 20, UNDO_MS = 60000 };

/* What the caller has is its first member. */
struct upload {
    struct sagent_uploaded told;
    struct sagent_staging staging;
    struct sagent_store *store;
    struct stage_url root; /* PREFIX/ID/ */
    const char **made;     /* keys */
    size_t made_count;
};

/* One of the caller's paths in the plan. */
struct share {
    const char *path;
    size_t first, n; /* of the plan's items */
    size_t stem;     /* bytes of their keys up to DIGEST */
    bool is_directory;
    const char *name; /* "" for a directory that brings none */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

/* ---- what goes where ---- */

static int make_root(struct upload *up, const char *store, const uint8_t id[REQUEST_ID],
                     struct err *err)
{
    struct stage_url prefix;
    char hex[REQUEST_ID_TEXT], name[REQUEST_ID_TEXT + 1];
    if (stage_url_parse(store, &prefix, err) < 0)
        return -1;
    if (!stage_url_is_prefix(&prefix))
        return err_set(err, ERR_INVALID,
                       "%.200s: files are uploaded below a prefix: it has to end with '/'", store);
    str_hex(id, REQUEST_ID, hex);
    snprintf(name, sizeof name, "%s/", hex);
    up->told.request_id = arena_strdup(result_arena(up), hex);
    return up->told.request_id ? stage_url_join(&prefix, name, &up->root, err) : no_memory(err);
}

static int plan_one(struct store_work *w, const struct upload *up, size_t i,
                    const struct sagent_upload *file, struct share *ret, struct err *err)
{
    char below[DIGEST_TEXT + 24];
    struct stage_url to;
    struct stat st;
    if (!file->path || !*file->path)
        return err_set(err, ERR_INVALID, "a file to be uploaded has no path");
    /* In place of the digest, which has this length. */
    snprintf(below, sizeof below, "%zu-%0*d/", i, 2 * DIGEST, 0);
    if (stage_url_join(&up->root, below, &to, err) < 0)
        return -1;
    *ret = (struct share){
        .path = file->path,
        .first = w->plan.n,
        .stem = strlen(to.key) - 2 * DIGEST - 1,
        .name = store_plan_put_name(file->path, &w->plan.arena),
    };
    if (!ret->name)
        return no_memory(err);
    if (store_plan_put(&w->plan, &file->path, 1, &to, true, err) < 0)
        return -1;
    ret->is_directory = stat(file->path, &st) == 0 && S_ISDIR(st.st_mode);
    ret->n = w->plan.n - ret->first;
    return ret->n ? 0
                  : err_set(err, ERR_NOT_FOUND, "%.200s: there is no file in this directory",
                            file->path);
}

/* ---- digests ---- */

static int read_file(struct store_work *w, const char *path, struct seal_hashing *h,
                     struct store_mark *mark, struct err *err)
{
    AUTO(free) char *buf = malloc(CHUNK);
    AUTO(close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ssize_t n;
    if (!buf)
        return no_memory(err);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_DENIED, "cannot read %s", path);
    if (store_mark(fd, mark, err) < 0)
        return err_while(err, "%s", path);
    while ((n = read(fd, buf, CHUNK)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_INVALID, "cannot read %s", path);
        seal_hash_add(h, buf, (size_t)n);
        if (store_work_go_on(w, err) < 0)
            return -1;
    }
    return 0;
}

/* Of names, sizes and bytes, in the plan's order, which is that of the names. */
static int digest_share(struct store_work *w, const struct share *s, struct err *err)
{
    AUTO(seal_hash_free) struct seal_hashing *h = seal_hash_new(err);
    uint8_t hash[SEAL_HASH];
    char hex[DIGEST_TEXT];
    for (size_t i = s->first; h && i < s->first + s->n; i++) {
        const struct store_item *item = &w->plan.items[i];
        const char *name = item->key + s->stem + 2 * DIGEST + 1;
        seal_hash_add(h, name, strlen(name) + 1);
        if (read_file(w, item->path, h, &w->marks[i], err) < 0)
            return -1;
        const int64_t size = w->marks[i].size;
        seal_hash_add(h, &size, sizeof size);
    }
    if (!h)
        return -1;
    seal_hash_end(h, hash);
    str_hex(hash, DIGEST, hex);
    for (size_t i = s->first; i < s->first + s->n; i++)
        memcpy((char *)w->plan.items[i].key + s->stem, hex, 2 * DIGEST);
    return 0;
}

/* ---- the manifest ---- */

static int copy_text(struct arena *arena, const char **text, struct err *err)
{
    if (*text && !(*text = arena_strdup(arena, *text)))
        return no_memory(err);
    return 0;
}

static int copy_staging(struct upload *up, const struct sagent_staging *in,
                        struct sagent_input *inputs, struct err *err)
{
    struct arena *arena = result_arena(up);
    struct sagent_output *outputs = arena_array(arena, in->output_count + 1, sizeof *outputs);
    if (!outputs)
        return no_memory(err);
    up->staging = *in;
    up->staging.inputs = inputs;
    up->staging.outputs = outputs;
    for (size_t i = 0; i < in->input_count; i++) {
        inputs[i] = in->inputs[i];
        if (copy_text(arena, &inputs[i].from, err) < 0 || copy_text(arena, &inputs[i].to, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < in->output_count; i++) {
        outputs[i] = in->outputs[i];
        if (copy_text(arena, &outputs[i].from, err) < 0 ||
            copy_text(arena, &outputs[i].to, err) < 0 || copy_text(arena, &outputs[i].on, err) < 0)
            return -1;
    }
    if (copy_text(arena, &up->staging.stdout_to, err) < 0 ||
        copy_text(arena, &up->staging.stderr_to, err) < 0)
        return -1;
    up->told.staging = &up->staging;
    return 0;
}

/* Where the job finds it: a directory's own name, or what the caller says is a directory. */
static const char *target(const struct share *s, const char *to, struct arena *arena)
{
    if (!s->is_directory)
        return to ? arena_strdup(arena, to) : s->name;
    if (to && *to)
        return manifest_is_directory(to) ? arena_strdup(arena, to) : arena_printf(arena, "%s/", to);
    return *s->name ? arena_printf(arena, "%s/", s->name) : "";
}

static int add_input(struct upload *up, const struct store_work *w, const struct share *s,
                     const struct sagent_upload *file, struct sagent_input *out, struct err *err)
{
    struct arena *arena = result_arena(up);
    struct stage_url u = up->root;
    char text[STAGE_URL_TEXT];
    size_t n = s->stem + 2 * DIGEST + 1;
    str_copy(u.key, sizeof u.key, w->plan.items[s->first].key);
    snprintf(u.key + n, sizeof u.key - n, "%s%s", s->name, s->is_directory && *s->name ? "/" : "");
    out->from = arena_strdup(arena, stage_url_text(&u, text));
    out->to = target(s, file->to, arena);
    if (!out->from || !out->to || copy_text(arena, &out->to, err) < 0)
        return no_memory(err);
    return 0;
}

/* Before anything is moved: what the server would refuse. */
static int check_manifest(const struct upload *up, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct submit_request ignored = {0};
    return staging_take(&up->staging, &arena, &ignored, err);
}

static int make_manifest(struct upload *up, const struct store_work *w, const struct share *shares,
                         const struct sagent_upload_request *r, struct err *err)
{
    static const struct sagent_staging none;
    const struct sagent_staging *rest = r->staging ? r->staging : &none;
    size_t n = rest->input_count + r->file_count;
    struct sagent_input *inputs = arena_array(result_arena(up), n + 1, sizeof *inputs);
    if (!inputs)
        return no_memory(err);
    if (copy_staging(up, rest, inputs, err) < 0)
        return -1;
    for (size_t i = 0; i < r->file_count; i++)
        if (add_input(up, w, &shares[i], &r->files[i], &inputs[rest->input_count + i], err) < 0)
            return -1;
    up->staging.input_count = n;
    return check_manifest(up, err);
}

/* ---- taking it back ---- */

/* Directories of file:// that nothing else is in, from the object's up to the submit's own. */
static void remove_directories(const struct upload *up, const char *key)
{
    char path[STAGE_KEY_MAX + 1];
    size_t root = strlen(up->root.key) - 1;
    str_copy(path, sizeof path, key);
    for (char *slash; (slash = strrchr(path, '/')) && (size_t)(slash - path) >= root;) {
        *slash = '\0';
        if (rmdir(path) < 0)
            break;
    }
}

struct undo {
    const struct upload *up;
    struct stage_run run;
};

static int undo_one(void *arg, size_t i, struct err *err)
{
    const struct undo *u = arg;
    struct stage_url url = u->up->root;
    str_copy(url.key, sizeof url.key, u->up->made[i]);
    return stage_delete(u->up->store->stage, &url, &u->run, err);
}

static int undo(struct upload *up, struct err *err)
{
    const struct undo u = {up, {.deadline_ms = clock_mono_ms() + UNDO_MS}};
    int rc = stage_each(up->made_count, up->store->parallel - 1, undo_one, (void *)&u, err);
    for (size_t i = 0; up->root.scheme == STAGE_FILE && i < up->made_count; i++)
        remove_directories(up, up->made[i]);
    up->made_count = rc == 0 ? 0 : up->made_count;
    return rc;
}

/* Which objects are ours to take back. */
static int take_made(struct upload *up, const struct store_work *w, struct err *err)
{
    struct arena *arena = result_arena(up);
    up->made = arena_array(arena, w->plan.n + 1, sizeof *up->made);
    if (!up->made)
        return no_memory(err);
    for (size_t i = 0; i < w->plan.n; i++) {
        up->told.file_count++;
        up->told.bytes += w->plan.items[i].size;
        if (!w->marks[i].made)
            continue;
        if (!(up->made[up->made_count] = arena_strdup(arena, w->plan.items[i].key)))
            return no_memory(err);
        up->made_count++;
    }
    return 0;
}

/* ---- the whole ---- */

static int move(struct upload *up, struct store_work *w, const struct sagent_upload_request *r,
                struct err *err)
{
    struct err lost = {0};
    w->may_be_there = r->request_id != NULL;
    int rc = store_work_through(w, err);
    if (take_made(up, w, &lost) < 0 && rc == 0)
        rc = err_set(err, lost.code, "%s", lost.text);
    /* With an id there may be another try, which goes on from here. */
    if (rc < 0 && !r->request_id && undo(up, &lost) < 0) {
        char text[STAGE_URL_TEXT];
        err_while(err, "files may be left at %.200s", stage_url_text(&up->root, text));
    }
    return rc;
}

static int plan_and_move(struct upload *up, struct store_work *w,
                         const struct sagent_upload_request *r, struct err *err)
{
    AUTO(free) struct share *shares = calloc(r->file_count, sizeof *shares);
    if (!shares)
        return no_memory(err);
    for (size_t i = 0; i < r->file_count; i++)
        if (plan_one(w, up, i, &r->files[i], &shares[i], err) < 0)
            return -1;
    w->marks = calloc(w->plan.n, sizeof *w->marks);
    if (!w->marks)
        return no_memory(err);
    if (make_manifest(up, w, shares, r, err) < 0)
        return -1;
    for (size_t i = 0; i < r->file_count; i++)
        if (digest_share(w, &shares[i], err) < 0)
            return -1;
    /* Again, with the digests in the URLs. */
    if (make_manifest(up, w, shares, r, err) < 0)
        return -1;
    return move(up, w, r, err);
}

static int upload(struct sagent *s, const struct sagent_upload_request *r,
                  const struct sagent_transfer_options *o, struct upload *up, struct err *err)
{
    struct store_work w;
    struct stage_url u;
    uint8_t id[REQUEST_ID];
    const char *store = str_or(r->store, handle_conf(s)->upload_store);
    if (handle_reserved(r->reserved, ARRAY_LEN(r->reserved), err) < 0 ||
        request_id_take(r->request_id, id, err) < 0)
        return -1;
    if (!r->file_count)
        return err_set(err, ERR_INVALID, "no file to be uploaded is named");
    if (!*str_or(store, ""))
        return err_set(err, ERR_INVALID,
                       "there is no store to upload to: set upload_store in client.conf, or name "
                       "one (s3://BUCKET/PREFIX/, or file:///DIR/ that the cluster has too)");
    if (make_root(up, store, id, err) < 0 ||
        store_open(store, r->store_options, &up->store, err) < 0)
        return -1;
    char text[STAGE_URL_TEXT];
    up->told.prefix = arena_strdup(result_arena(up), stage_url_text(&up->root, text));
    int rc = up->told.prefix ? store_work_begin(&w, up->store, store, o, &u, err) : no_memory(err);
    if (!up->told.prefix)
        return rc;
    w.is_put = true;
    if (rc == 0)
        rc = plan_and_move(up, &w, r, err);
    free(w.marks);
    store_work_end(&w);
    return rc;
}

int sagent_upload(struct sagent *s, const struct sagent_upload_request *request,
                  const struct sagent_transfer_options *options, struct sagent_uploaded **ret,
                  struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct upload *up = result_new(sizeof *up);
    if (!up)
        no_memory(&e);
    if (!up || upload(s, request, options, up, &e) < 0) {
        sagent_uploaded_free((struct sagent_uploaded *)up);
        return handle_fail(&e, err);
    }
    *ret = &up->told;
    return 0;
}

int sagent_upload_undo(struct sagent_uploaded *p, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    return undo((struct upload *)p, &e) < 0 ? handle_fail(&e, err) : 0;
}

void sagent_uploaded_free(struct sagent_uploaded *p)
{
    if (p)
        sagent_store_close(((struct upload *)p)->store);
    result_free(p);
}
