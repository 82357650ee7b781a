/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmagent_store.h: files into object stores and out of them, the optional part of libslurmagent
 *
 *     struct sagent_store *st;
 *     const char *files[] = {"mesh.h5", "case"};
 *     struct sagent_transfer_options o = {.recursive = true};
 *     if (sagent_store_open("s3://data/in/", NULL, &st, &err) < 0 ||
 *         sagent_put(st, files, 2, "s3://data/in/", &o, &err) < 0)
 *         return complain(err.text);
 *
 * It is in libslurmagent.a alone, since it needs libs3 as an archive; pkg-config calls it
 * slurmagent-store.  Programs that do not use it link nothing of it.  No agent is asked: the store
 * is reached from here, with the keys and settings of ~/.aws/config, ~/.aws/credentials and AWS_*
 * variables, as Amazon's tools find them (credential_process, sso and roles left out).
 *
 * URLs are s3://BUCKET/KEY, s3://BUCKET/PREFIX/ and file:///DIR/NAME; keys are taken byte for byte.
 * What is said of errors, structs and threads in slurmagent.h holds here too, with a
 * struct sagent_store as the handle.  Errors are NOT_FOUND, DENIED, INVALID, LIMIT, STORE,
 * STORE_DOWN, TIMEOUT, INTERRUPTED and INTERNAL.
 */
#ifndef SLURMAGENT_STORE_H
#define SLURMAGENT_STORE_H

#include "slurmagent.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sagent_store;

struct sagent_store_options {
    const char *profile;   /* of ~/.aws; NULL: AWS_PROFILE, or default */
    const char *endpoint;  /* https://HOST[:PORT], or http; NULL: as configured, else Amazon's */
    const char *region;    /* NULL: as configured, else us-east-1 */
    bool anonymous;        /* without keys: public buckets */
    int parallel;          /* connections at once, 16 at most; 0: 4 */
    uintptr_t reserved[6]; /* zero */
};

/* Reads the settings for URLs of the kind of url; does not connect. */
int sagent_store_open(const char *url, const struct sagent_store_options *options,
                      struct sagent_store **ret, struct sagent_error *err);
/* NULL is fine.  Wipes the keys. */
void sagent_store_close(struct sagent_store *st);

/* One file's way. */
struct sagent_transfer {
    const char *from, *to; /* a path and a URL, or the other way round */
    int64_t size;
    int64_t modified; /* of the object, as the store says */
    const char *etag; /* NULL: none */
    bool checked;     /* a checksum of the whole was compared; else the length and the tag */
};

struct sagent_transfer_options {
    bool recursive; /* directories, and all below a prefix */
    int timeout_s;  /* for all of it; 0: 30 days.  A store that stalls is given up long before */
    /* Each of these may be NULL.  They come from the library's threads, one at a time, and must not
     * use the handle.  Other than 0 from on_bytes ends it all, with INTERRUPTED; it comes once a
     * second at least. */
    int (*on_bytes)(void *arg, int64_t done_bytes, int64_t all_bytes, int64_t done_files,
                    int64_t all_files);
    /* A file is done; or, with err, could not be. */
    void (*on_file)(void *arg, const struct sagent_transfer *t, const struct sagent_error *err);
    void *arg;
    /* What is below a directory that is put and is left out: a link to a directory, or no file. */
    void (*on_left_out)(void *arg, const char *path);
    uintptr_t reserved[5]; /* zero */
};

/* Stores files: as url itself when that does not end with '/' and there is one path, else below it
 * under their own names.  A directory (recursive) takes its name along, but for "DIR/."; links in
 * it are followed to files, not to directories; what is no file is left out.  An object appears
 * whole, in place of one of that name.  When one file fails the others go on; then -1 with the
 * first one's error. */
int sagent_put(struct sagent_store *st, const char *const *paths, size_t n, const char *url,
               const struct sagent_transfer_options *options, struct sagent_error *err);
/* Fetches an object into path (NULL: its own name), or into it when that is a directory; with
 * recursive all below a prefix, into the directory path (NULL: the prefix's own name); with *, ? or
 * [ in the key's last part all that match, into the directory path (NULL: here).  Directories are
 * made. A file appears whole, in place of one of that name.  A key that would lead out of path is
 * an error. */
int sagent_fetch(struct sagent_store *st, const char *url, const char *path,
                 const struct sagent_transfer_options *options, struct sagent_error *err);
/* Would no two of a job's outputs, which are not the same there, become the same file or directory
 * when they are fetched?  INVALID names them. */
int sagent_check_outputs(const struct sagent_staged *staged, struct sagent_error *err);
/* Fetches what was stored as a job's output, one of sagent_staged()'s, into the directory dir
 * (NULL: here), which is made: under the path it had in the job's working directory, or of an
 * absolute path under its last part.  Of a pattern's output what fits comes, whatever else is at
 * the prefix. NOT_FOUND: nothing is there.  The handle must have been opened for a URL of the same
 * kind. */
int sagent_fetch_output(struct sagent_store *st, const struct sagent_stored *output,
                        const char *dir, const struct sagent_transfer_options *options,
                        struct sagent_error *err);

/* ---- a client's files as a job's inputs ---- */

struct sagent_upload {
    const char *path; /* here: a file, or a directory with all files that are in it */
    const char *to;   /* as in struct sagent_input; NULL: its own name, of "DIR/." none */
};

struct sagent_upload_request {
    const struct sagent_upload *files;
    size_t file_count; /* 256 at most, with the inputs of staging */
    const char *store; /* where to: s3://BUCKET/PREFIX/, or file:///DIR/ that the cluster has too.
                          NULL: upload_store of client.conf */
    const char *request_id; /* as in struct sagent_submit_request; NULL: one is made */
    const struct sagent_staging *staging; /* what else is moved for the job; NULL: nothing */
    const struct sagent_store_options *store_options; /* NULL: none */
    uintptr_t reserved[6];                            /* zero */
};

struct sagent_uploaded {
    const char *request_id;               /* for sagent_submit_request: 32 hexadecimal digits */
    const struct sagent_staging *staging; /* for it as well: with the files as further inputs */
    const char *prefix; /* URL: all of it is below, and nothing of other submits */
    int64_t file_count, bytes;
};

/* Stores files as inputs of a job that is to be submitted next, with what it gives.  The server is
 * not asked; of s the configuration alone is used.  They are below STORE/REQUEST ID/, their URLs
 * tell their bytes: the same submit with the same files is the same request, and moves what an
 * earlier try has left out no more; with files that have changed it is another (CONFLICT).  When it
 * fails what it stored is removed again, unless a request_id was given, with which it can go on
 * where it was.  Nobody removes what a job was submitted with.  INVALID also for what the server
 * would refuse in staging, and for a file that changes meanwhile. */
int sagent_upload(struct sagent *s, const struct sagent_upload_request *request,
                  const struct sagent_transfer_options *options, struct sagent_uploaded **ret,
                  struct sagent_error *err);
/* Removes what that call has stored, and not what was there before: for a submit that was refused.
 * Not after IN_DOUBT.  Takes 60 s at most. */
int sagent_upload_undo(struct sagent_uploaded *p, struct sagent_error *err);
void sagent_uploaded_free(struct sagent_uploaded *p);

#ifdef __cplusplus
}
#endif

#endif
