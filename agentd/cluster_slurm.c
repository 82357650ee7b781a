/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening libslurm, its versions and its errors. */
#include "agentd/cluster_slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/jobstate.h"
#include "common/str.h"

/* ---- what differs between versions of Slurm ---- */

void cluster_slurm_free_conf(slurm_conf_t *conf)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    slurm_free_conf(conf);
#else
    slurm_free_ctl_conf(conf);
#endif
}

uint32_t cluster_slurm_submitted(const submit_response_msg_t *msg)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    return msg->step_id.job_id;
#else
    return msg->job_id;
#endif
}

uint32_t cluster_slurm_will_run_job(const will_run_response_msg_t *msg)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    return msg->step_id.job_id;
#else
    return msg->job_id;
#endif
}

int cluster_slurm_get_steps(uint32_t job_id, job_step_info_response_msg_t **ret, uint16_t flags)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    slurm_step_id_t id = {.job_id = job_id, .step_id = NO_VAL, .step_het_comp = NO_VAL};
    return slurm_get_job_steps(&id, ret, flags);
#else
    return slurm_get_job_steps(0, job_id, NO_VAL, ret, flags);
#endif
}

const char *cluster_slurm_step_tres(const job_step_info_t *step)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    return step->tres_fmt_alloc_str;
#else
    return step->tres_alloc_str;
#endif
}

void cluster_slurm_set_power(bool level, job_desc_msg_t *d)
{
#if SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(24, 5, 0)
    d->power_flags = level ? SLURM_POWER_FLAGS_LEVEL : 0;
#else
    (void)level;
    (void)d;
#endif
}

const char *cluster_slurm_gres_prefix(void)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(23, 11, 0)
    return "gres/";
#else
    return "gres:";
#endif
}

const char *cluster_slurm_state_flag(unsigned bit, char buf[32])
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
    if (bit == 9)
        return "GETENV_FAILED";
#else
    if (bit == 9)
        return NULL; /* the job is to be sent to slurmdbd once more */
#endif
    const char *word = jobstate_flag(bit);
    if (word)
        return word;
    snprintf(buf, 32, "UNKNOWN_FLAG_%u", bit);
    return buf;
}

const char *cluster_version(void)
{
    static char text[24];
    snprintf(text, sizeof text, "%d.%02d.%d", SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER),
             SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER), SLURM_VERSION_MICRO(SLURM_VERSION_NUMBER));
    return text;
}

/* ---- errors ---- */

enum { BUSY_MS = 5000 };

enum fate {
    FATE_DOWN,
    FATE_LOST,
    FATE_MUNGE,
    FATE_BUSY,
    FATE_LIMIT,
    FATE_FULL,
    FATE_DENIED,
    FATE_NOT_FOUND,
    FATE_INVALID,
    FATE_SLURM
};

static const struct row {
    int number;
    enum fate fate;
    const char *option;
} rows[] = {
#define SLURM_ERR(number, fate, option) {number, FATE_##fate, option},
#include "agentd/cluster_slurm_errors.def"
#undef SLURM_ERR
};

static struct row find(int number)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].number == number)
            return rows[i];
    /* The system's numbers, libslurm's own and its sockets': something broke on the way. */
    bool way = number < 2000 || (number >= 5000 && number < 6000);
    return (struct row){number, way ? FATE_LOST : FATE_SLURM, NULL};
}

static enum err_code code_of(enum fate fate, enum slurm_call call)
{
    switch (fate) {
    case FATE_DOWN:
        return ERR_SLURM_DOWN;
    case FATE_LOST:
        return call == SLURM_CALL_SUBMIT   ? ERR_IN_DOUBT
               : call == SLURM_CALL_CHANGE ? ERR_TIMEOUT
                                           : ERR_SLURM_DOWN;
    case FATE_MUNGE:
        return ERR_MUNGE;
    case FATE_BUSY:
        return ERR_BUSY;
    case FATE_LIMIT:
        return ERR_LIMIT;
    case FATE_FULL:
        return call == SLURM_CALL_SUBMIT ? ERR_FULL : ERR_BUSY;
    case FATE_DENIED:
        return ERR_DENIED;
    case FATE_NOT_FOUND:
        return ERR_NOT_FOUND;
    case FATE_INVALID:
        return ERR_INVALID;
    case FATE_SLURM:
        break;
    }
    return ERR_SLURM;
}

/* "--partition=nosuch: ": those of the options that were given, with their values; empty otherwise.
 */
static void option_front(const struct sbatch *in, const char *options, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (const char *p = in ? options : NULL; p && *p && n + 1 < size;) {
        char name[32];
        const char *value;
        size_t len = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)len, p);
        p += len + (p[len] == ',');
        if (sbatch_said(in, name, &value))
            n += (size_t)snprintf(out + n, size - n, "%s--%s%s%.100s", n ? " " : "", name,
                                  value ? "=" : "", str_or(value, ""));
    }
    if (n && n + 2 < size)
        strcpy(out + n, ": ");
}

const char *cluster_slurm_text(int slurm_errno)
{
    const char *text = slurm_strerror(slurm_errno);
    return text && *text ? text : "unknown error";
}

void cluster_slurm_begin(void)
{
    errno = 0;
}

int cluster_slurm_fail(enum slurm_call call, int rc, const char *what, const struct sbatch *in,
                       struct err *err)
{
    /* Functions return -1 and errno, or the number itself. */
    int number = errno ? errno : rc > 0 ? rc : 0;
    struct row row = number ? find(number) : (struct row){0, FATE_LOST, NULL};
    char front[240];
    option_front(in, row.option, front, sizeof front);
    enum err_code code = code_of(row.fate, call);
    err_set(err, code, "%s%s%s%s: %s%s", str_or(what, ""), what ? ": " : "", front,
            code != ERR_SLURM_DOWN    ? "Slurm"
            : call == SLURM_CALL_ACCT ? "slurmdbd does not answer"
                                      : "slurmctld does not answer",
            number ? cluster_slurm_text(number) : "the call failed without a reason",
            code == ERR_MUNGE ? " (is munged well on the server: systemctl status munge?)" : "");
    if (!err->slurm_errno)
        err->slurm_errno = number;
    err->retry_after_ms = code == ERR_FULL ? CLUSTER_SLURM_FULL_MS : code == ERR_BUSY ? BUSY_MS : 0;
    return -1;
}

/* ---- opening ---- */

static int check_conf(const char *path, struct err *err)
{
    struct stat st;
    AUTO(close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND,
                         "Slurm's configuration %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "Slurm's configuration %s is not a regular file", path);
    return 0;
}

int cluster_open(const char *slurm_conf, struct err *err)
{
    if (check_conf(slurm_conf, err) < 0)
        return -1;
    /* The second: libslurm cuts the list of an array's waiting tasks after 64 bytes otherwise. */
    if (setenv("SLURM_CONF", slurm_conf, 1) < 0 || setenv("SLURM_BITSTR_LEN", "0", 1) < 0)
        return err_errno(err, ERR_INTERNAL, "environment");
    slurm_init(slurm_conf);
    return 0;
}

void cluster_close(void)
{
    slurm_fini();
}

/* AuthInfo's ttl; munge's own is 300 s. */
static int64_t credential_s(const char *authinfo)
{
    const char *ttl = strstr(str_or(authinfo, ""), "ttl=");
    long s = ttl ? strtol(ttl + 4, NULL, 10) : 0;
    return s > 0 && s < 86400 ? s : 300;
}

/* Slurm hides jobs without an error: whether it does is a matter of who asks.  slurmctld answers it
 * from what it has of slurmdbd. */
static int find_sees_all(uint32_t slurm_uid, bool *ret, struct err *err)
{
    struct passwd pw, *found = NULL;
    char buf[4096];
    uid_t uid = geteuid();
    *ret = uid == 0 || uid == slurm_uid;
    if (*ret || getpwuid_r(uid, &pw, buf, sizeof buf, &found) != 0 || !found)
        return 0;
    assoc_mgr_info_request_msg_t req = {
        .flags = ASSOC_MGR_INFO_FLAG_USERS,
        .user_list = slurm_list_create(NULL),
    };
    assoc_mgr_info_msg_t *info = NULL;
    slurm_list_append(req.user_list, pw.pw_name);
    cluster_slurm_begin();
    int rc = slurm_load_assoc_mgr_info(&req, &info);
    slurm_list_destroy(req.user_list);
    if (rc || !info)
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    if (info->user_list) {
        struct listIterator *it = slurm_list_iterator_create(info->user_list);
        for (slurmdb_user_rec_t *u; (u = slurm_list_next(it));)
            *ret |= str_eq(u->name, pw.pw_name) && u->admin_level >= SLURMDB_ADMIN_OPERATOR;
        slurm_list_iterator_destroy(it);
    }
    slurm_free_assoc_mgr_info_msg(info);
    return 0;
}

int cluster_about(struct cluster_about *out, struct err *err)
{
    slurm_conf_t *conf = NULL;
    cluster_slurm_begin();
    int rc = slurm_load_ctl_conf(0, &conf);
    if (rc || !conf)
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    *out = (struct cluster_about){
        .private_jobs = conf->private_data & PRIVATE_DATA_JOBS,
        .accounting = str_eq(conf->accounting_storage_type, "accounting_storage/slurmdbd"),
        .slurm_uid = conf->slurm_user_id,
        .min_job_age_s = conf->min_job_age,
        .message_timeout_s = conf->msg_timeout,
        .credential_s = credential_s(conf->authinfo),
        .boot_time = conf->boot_time,
        .sees_all = true,
    };
    str_copy(out->name, sizeof out->name, str_or(conf->cluster_name, ""));
    str_copy(out->version, sizeof out->version, str_or(conf->version, ""));
    cluster_slurm_free_conf(conf);
    return out->private_jobs ? find_sees_all(out->slurm_uid, &out->sees_all, err) : 0;
}

bool cluster_is_federated(void)
{
    void *fed = NULL;
    bool is = slurm_load_federation(&fed) == 0 && fed && ((slurmdb_federation_rec_t *)fed)->name;
    slurm_destroy_federation_rec(fed);
    return is;
}

/* libslurm tells nobody what it has read of the file: only what slurmctld has. */
bool cluster_slurm_conf_value(const char *line, const char *key, char *out, size_t size)
{
    const char *p = line + strspn(line, " \t");
    size_t n = strlen(key);
    if (strncasecmp(p, key, n) != 0)
        return false;
    p += n + strspn(p + n, " \t");
    if (*p != '=')
        return false;
    p += 1 + strspn(p + 1, " \t\"");
    snprintf(out, size, "%.*s", (int)strcspn(p, " \t\r\n(\"#"), p);
    return *out != '\0';
}

void cluster_name_in(const char *slurm_conf, char out[64])
{
    AUTO(free) char *line = NULL;
    size_t size = 0;
    AUTO(fclose) FILE *f = fopen(slurm_conf, "re");
    out[0] = '\0';
    while (f && !*out && getline(&line, &size, f) >= 0)
        cluster_slurm_conf_value(line, "ClusterName", out, 64);
}
