/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_upload.h: --upload of submit and run: files of this host into a store, before the submit */
#ifndef CLIENT_CLI_UPLOAD_H
#define CLIENT_CLI_UPLOAD_H

#include "client/cli_request.h"
#include "client/slurmagent_store.h"

/* Uploads what r says, when it says something and is no test, and has *request name it; *ret is
 * good as long as the request.  Before, it asks whether the server is there.  -1 with *err, or with
 * what was wrong said and *ret_status set. */
int cli_upload(struct sagent *s, const struct cli_request *r, struct sagent_submit_request *request,
               struct sagent_uploaded **ret, int *ret_status, struct sagent_error *err);
/* The submit has failed with err: takes back what was uploaded, unless another try may need it. */
void cli_upload_refused(const struct cli_request *r, struct sagent_uploaded *uploaded,
                        const struct sagent_error *err);

#endif
