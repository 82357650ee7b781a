/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_upload.h"

#include "client/cli_follow.h"
#include "client/cli_progress.h"
#include "common/cleanup.h"

CLEANUP_FN(struct sagent_server, sagent_server_free)

/* Gigabytes need not be moved to learn that there is no server. */
static int look_for_server(struct sagent *s, const struct cli_request *r, struct sagent_error *err)
{
    AUTO(sagent_server_free) struct sagent_server *ping = NULL;
    if (sagent_ping(s, &ping, err) < 0 && !(r->submit.retry_s && err->retry))
        return -1;
    return 0;
}

/* What went wrong is said once, by who called us. */
static void on_file(void *arg, const struct sagent_transfer *t, const struct sagent_error *err)
{
    if (!err)
        cli_progress_file(arg, t, err);
}

static int move(struct sagent *s, const struct cli_request *r,
                const struct sagent_submit_request *request, struct sagent_uploaded **ret,
                struct sagent_error *err)
{
    const struct cli_sbatch *args = &r->args;
    struct cli_progress show = {.quiet = args->quiet || args->json, .beside = true};
    const struct sagent_transfer_options o = {
        .on_bytes = cli_progress_bytes,
        .on_file = on_file,
        .on_left_out = cli_progress_left_out,
        .arg = &show,
    };
    const struct sagent_upload_request upload = {
        .files = args->stage.uploads,
        .file_count = args->stage.upload_count,
        .store = args->stage.upload_store,
        .request_id = request->request_id,
        .staging = request->staging,
    };
    cli_progress_begin(&show);
    cli_signals_catch(2);
    int rc = sagent_upload(s, &upload, &o, ret, err);
    cli_signals_release();
    cli_progress_end(&show);
    return rc;
}

static int interrupted(const struct cli_request *r, struct sagent_uploaded *uploaded)
{
    if (r->args.request_id)
        cli_say("nothing was submitted; what was uploaded stays, and --request-id %s goes on there",
                r->args.request_id);
    else if (uploaded && sagent_upload_undo(uploaded, NULL) < 0)
        cli_say("nothing was submitted; files are left at %s", uploaded->prefix);
    return cli_signals_end();
}

int cli_upload(struct sagent *s, const struct cli_request *r, struct sagent_submit_request *request,
               struct sagent_uploaded **ret, int *ret_status, struct sagent_error *err)
{
    const struct cli_stage *stage = &r->args.stage;
    *ret = NULL;
    *ret_status = 0;
    if (stage->upload_count == 0 || r->args.test_only)
        return 0;
    if (request->component_count) {
        cli_say("--upload: no data is moved for heterogeneous jobs");
        *ret_status = CLI_USAGE;
        return -1;
    }
    if (look_for_server(s, r, err) < 0)
        return -1;
    int rc = move(s, r, request, ret, err);
    if (cli_signals_count() > 0) {
        *ret_status = interrupted(r, rc == 0 ? *ret : NULL);
        return -1;
    }
    if (rc < 0)
        return -1;
    request->request_id = (*ret)->request_id;
    request->staging = (*ret)->staging;
    return 0;
}

void cli_upload_refused(const struct cli_request *r, struct sagent_uploaded *uploaded,
                        const struct sagent_error *err)
{
    struct sagent_error failed;
    if (!uploaded)
        return;
    if (err->code == SAGENT_ERR_IN_DOUBT || (err->retry && r->args.request_id))
        cli_say("what was uploaded stays at %s, for another try with the request id",
                uploaded->prefix);
    else if (sagent_upload_undo(uploaded, &failed) < 0)
        cli_say("what was uploaded is left at %s: %s", uploaded->prefix, failed.text);
}
