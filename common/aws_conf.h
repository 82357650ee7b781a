/* SPDX-License-Identifier: GPL-3.0-or-later */
/* aws_conf.h: how a user reaches S3: ~/.aws/config, ~/.aws/credentials and AWS_* variables
 *
 * Read with inih.  Known are, in [default], [profile NAME] (credentials: [NAME]) and [services
 * NAME]: aws_access_key_id aws_secret_access_key aws_session_token region endpoint_url ca_bundle
 * services s3 = with addressing_style and endpoint_url below it and, of a client that says so, the
 * variables AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION
 *   AWS_DEFAULT_REGION AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL AWS_CONFIG_FILE
 *   AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE
 * A variable counts more than a file, the credentials file more than the config file, as with
 * Amazon's tools; keys of a profile that was asked for by name more than keys in variables. Nothing
 * is run and nobody is asked for keys: with credential_process, sso_*, role_arn and the like
 * instead of keys it is an error that says what to do.
 *
 * A file with keys in it that everybody may read or write is refused, and so is one of another user
 * than its reader and root, unless a variable names it.
 */
#ifndef COMMON_AWS_CONF_H
#define COMMON_AWS_CONF_H

#include <stdbool.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/stage.h"

struct aws_options {
    const char *home;     /* where .aws is; NULL: no files but those of variables */
    const char *profile;  /* NULL: AWS_PROFILE, or default */
    const char *endpoint; /* instead of what is configured; NULL: that */
    const char *region;   /* the same */
    bool environment;     /* AWS_* count; never in a worker */
    bool anonymous;       /* no keys wanted: a public bucket */
};

struct aws_conf;

/* Reads it all.  NOT_FOUND without keys or without that profile, INVALID for what is wrong in a
 * file (with its name and line), DENIED for a file that may not be read or should not be trusted.
 */
int aws_conf_load(const struct aws_options *o, struct aws_conf **ret, struct err *err);
/* NULL is fine.  Wipes the keys. */
void aws_conf_free(struct aws_conf *c);
CLEANUP_FN(struct aws_conf, aws_conf_free)
/* Borrowed, with all that is in it, until aws_conf_free(). */
const struct stage_conf *aws_conf_stage(const struct aws_conf *c);

/* For tests: reads one file's text as far as it is about the profile. */
int aws_conf_parse(struct aws_conf *c, const char *text, const char *name, bool is_credentials,
                   const char *profile, struct err *err);
struct aws_conf *aws_conf_new(void);

#endif
