/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/journal_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "agentd/conf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    SCHEMA = 6,
    APPLICATION_ID = 0x534c4147, /* "SLAG" */
    CHECK_MS = 2000,             /* of the file when it is opened: what can be seen in this time */
    PRUNE_STEP = 500,            /* rows */
    PRUNE_EVERY_MS = 60000,
    PRUNE_LEAST = 1000, /* rows: see may_prune() */
    BUSY_MS = 2000,
    DAY_S = 86400,
};

#define ROW                                                                                        \
    "SELECT e.number, r.body, e.uid, e.tag, e.end_time, e.state, e.name, e.user, e.partition "     \
    "FROM ended e JOIN record r ON r.number = e.number WHERE "

#define REQUEST_COLUMNS                                                                            \
    "uid, id, hash, state, attempt, tag, begun, changed, job_id, submit_time, code, text, "        \
    "clock"

#define STAGING_COLUMNS                                                                            \
    "uid, id, task, state, attempt, job_id, submit_time, begun, changed, code, files, bytes, text"

static const char *const sql[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_PROBE] = "UPDATE meta SET value = ?1 WHERE name = 'opened'",
    [ST_ALIVE] = "UPDATE meta SET value = ?1 WHERE name = ?2",
    [ST_SAW] = "REPLACE INTO seen (job_id, submit_time, body, grp) VALUES (?1, ?2, ?3, ?4)",
    [ST_SEEN] = "SELECT job_id, body FROM seen WHERE job_id > ?1 ORDER BY job_id LIMIT ?2",
    [ST_FORGET] = "DELETE FROM seen WHERE job_id = ?1 AND submit_time <= ?2",
    [ST_KNOWN] = "SELECT number, phase FROM ended "
                 "WHERE job_id = ?1 AND submit_time = ?2 AND restarts = ?3",
    [ST_DELETE] = "DELETE FROM ended WHERE number = ?1",
    [ST_INSERT] = "INSERT INTO ended (job_id, submit_time, restarts, grp, uid, tag, end_time, "
                  "phase, state, name, user, partition) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [ST_INSERT_RECORD] = "INSERT INTO record (number, body) VALUES (?1, ?2)",
    [ST_NAMED] = "SELECT number FROM ended WHERE grp = ?1 AND number > ?2 "
                 "UNION SELECT number FROM ended WHERE job_id = ?1 AND number > ?2",
    [ST_ONE] = ROW "e.number = ?1",
    [ST_OF_USER] = ROW "e.number > ?1 AND e.uid = ?2 ORDER BY e.number LIMIT ?3",
    [ST_OF_ALL] = ROW "e.number > ?1 AND ?2 = -1 ORDER BY e.number LIMIT ?3",
    [ST_FIRST] = "SELECT min(number) FROM ended",
    [ST_FIRST_SINCE] = "SELECT min(number) FROM ended WHERE end_time >= ?1",
    [ST_OLDEST] = "SELECT number, end_time FROM ended WHERE end_time < ?1 "
                  "ORDER BY end_time LIMIT ?2",
    [ST_BEGINS] = "UPDATE meta SET value = max(value, ?1) WHERE name = 'begins'",
    [ST_REQUEST_GET] = "SELECT " REQUEST_COLUMNS " FROM request WHERE uid = ?1 AND id = ?2",
    /* No REPLACE: rows are counted by triggers. */
    [ST_REQUEST_PUT] = "INSERT INTO request (" REQUEST_COLUMNS ") "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "
                       "ON CONFLICT (uid, id) DO UPDATE SET hash = ?3, state = ?4, attempt = ?5, "
                       "tag = ?6, begun = ?7, changed = ?8, job_id = ?9, submit_time = ?10, "
                       "code = ?11, text = ?12, clock = ?13",
    [ST_REQUESTS_KEPT] = "SELECT kept FROM request_user WHERE uid = ?1",
    [ST_REQUESTS_OLDEST] = "SELECT min(changed) FROM request WHERE uid = ?1 AND state > 3",
    /* By state: see requests.def. */
    [ST_REQUESTS_OPEN] = "SELECT " REQUEST_COLUMNS " FROM request WHERE state <= 3 "
                         "UNION ALL SELECT " REQUEST_COLUMNS " FROM request "
                         "WHERE state > 3 AND changed >= ?1 AND (state >= 6 OR attempt > 1) "
                         "LIMIT ?2",
    [ST_REQUESTS_PRUNE] = "DELETE FROM request WHERE number IN "
                          "(SELECT number FROM request WHERE state > 3 AND changed < ?1 LIMIT ?2)",
    [ST_STAGING_PUT] =
        "INSERT INTO staging (" STAGING_COLUMNS ", manifest) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) "
        "ON CONFLICT (uid, id, task) DO UPDATE SET state = ?4, attempt = ?5, job_id = ?6, "
        "submit_time = ?7, begun = ?8, changed = ?9, code = ?10, files = ?11, bytes = ?12, "
        "text = ?13, manifest = coalesce(?14, manifest)",
    /* By state: see staging.def. */
    [ST_STAGING_OPEN] =
        "SELECT " STAGING_COLUMNS ", CASE WHEN state < 10 OR changed >= ?2 THEN manifest END "
        "FROM staging WHERE state < 10 OR (state = 10 AND (code <> 0 OR changed >= ?2)) "
        "OR (task >= 0 AND (uid, id) IN (SELECT uid, id FROM staging "
        "WHERE (state < 10 OR (state = 10 AND changed >= ?2)) AND task = -1)) "
        "ORDER BY task, number LIMIT ?1",
    [ST_STAGING_JOB] = "SELECT " STAGING_COLUMNS ", manifest FROM staging "
                       "WHERE job_id = ?1 AND uid = ?2 ORDER BY begun DESC, task LIMIT ?3",
    [ST_STAGING_PRUNE] = "DELETE FROM staging WHERE number IN "
                         "(SELECT number FROM staging WHERE state = 10 AND changed < ?1 LIMIT ?2)",
    [ST_SEQUENCE] = "UPDATE meta SET value = value + 1 WHERE name = 'sequence'",
};

/* Records are apart, so that what is looked through stays small.  AUTOINCREMENT: no number is given
 * again, be its row pruned.  The first number is the time in microseconds, above all those of a
 * journal that was here before: whoever remembers one of these goes on rightly. */
static const char schema_1[] =
    "BEGIN;"
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value);"
    "CREATE TABLE ended (number INTEGER PRIMARY KEY AUTOINCREMENT, job_id INTEGER NOT NULL,"
    " submit_time INTEGER NOT NULL, restarts INTEGER NOT NULL, grp INTEGER NOT NULL,"
    " uid INTEGER NOT NULL, tag INTEGER NOT NULL, end_time INTEGER NOT NULL, phase TEXT NOT NULL,"
    " state TEXT NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL, partition TEXT NOT NULL,"
    " UNIQUE (job_id, submit_time, restarts));"
    "CREATE TABLE record (number INTEGER PRIMARY KEY, body BLOB NOT NULL);"
    "CREATE TRIGGER ended_gone AFTER DELETE ON ended"
    " BEGIN DELETE FROM record WHERE number = old.number; END;"
    "CREATE INDEX ended_grp ON ended (grp);"
    "CREATE INDEX ended_uid ON ended (uid);"
    "CREATE INDEX ended_time ON ended (end_time);"
    "INSERT INTO sqlite_sequence (name, seq)"
    " VALUES ('ended', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000);"
    "INSERT INTO meta VALUES ('begins', CAST(strftime('%s', 'now') AS INTEGER)), ('opened', 0);"
    "PRAGMA application_id = 1397506375;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* Jobs that have not ended, as last seen: those that end while no broker runs are missed. */
static const char schema_2[] =
    "BEGIN;"
    "CREATE TABLE seen (job_id INTEGER PRIMARY KEY, submit_time INTEGER NOT NULL,"
    " body BLOB NOT NULL);"
    "INSERT INTO meta VALUES ('alive', 0), ('whole', CAST(strftime('%s', 'now') AS INTEGER));"
    "PRAGMA user_version = 2;"
    "COMMIT;";

/* Submits by request id. */
static const char schema_3[] =
    "BEGIN;"
    "CREATE TABLE request (number INTEGER PRIMARY KEY, uid INTEGER NOT NULL,"
    " id BLOB NOT NULL, hash BLOB NOT NULL, state INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, tag INTEGER NOT NULL, begun INTEGER NOT NULL,"
    " changed INTEGER NOT NULL, job_id INTEGER NOT NULL, submit_time INTEGER NOT NULL,"
    " code INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (uid, id));"
    "CREATE INDEX request_open ON request (state) WHERE state <= 3;"
    "CREATE INDEX request_over ON request (changed) WHERE state > 3;"
    "INSERT INTO meta VALUES ('sequence', 0);"
    "PRAGMA user_version = 3;"
    "COMMIT;";

/* A clock that is set back while no broker runs. */
static const char schema_4[] = "BEGIN;"
                               "ALTER TABLE request ADD COLUMN clock INTEGER NOT NULL DEFAULT 0;"
                               "PRAGMA user_version = 4;"
                               "COMMIT;";
/* Jobs whose data is moved, and of each end of theirs what was stored: staging.def. */
static const char schema_5[] =
    "BEGIN;"
    "CREATE TABLE staging (number INTEGER PRIMARY KEY, uid INTEGER NOT NULL, id BLOB NOT NULL,"
    " task INTEGER NOT NULL, state INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " job_id INTEGER NOT NULL, submit_time INTEGER NOT NULL, begun INTEGER NOT NULL,"
    " changed INTEGER NOT NULL, code INTEGER NOT NULL, files INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, text TEXT NOT NULL, manifest BLOB, UNIQUE (uid, id, task));"
    "CREATE INDEX staging_open ON staging (state);"
    "CREATE INDEX staging_job ON staging (job_id);"
    "CREATE INDEX staging_over ON staging (changed) WHERE state = 10;"
    "PRAGMA user_version = 5;"
    "COMMIT;";

/* How many of each user's requests there are, and when the first of those that are over goes; which
 * array, say, a job that has not ended is of. */
static const char schema_6[] =
    "BEGIN;"
    "CREATE TABLE request_user (uid INTEGER PRIMARY KEY, kept INTEGER NOT NULL);"
    "INSERT INTO request_user SELECT uid, count(*) FROM request GROUP BY uid;"
    "CREATE TRIGGER request_new AFTER INSERT ON request BEGIN"
    " INSERT INTO request_user VALUES (new.uid, 1)"
    " ON CONFLICT (uid) DO UPDATE SET kept = kept + 1; END;"
    "CREATE TRIGGER request_gone AFTER DELETE ON request BEGIN"
    " UPDATE request_user SET kept = kept - 1 WHERE uid = old.uid;"
    " DELETE FROM request_user WHERE uid = old.uid AND kept <= 0; END;"
    "ALTER TABLE seen ADD COLUMN grp INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX seen_grp ON seen (grp);"
    "CREATE INDEX request_user_over ON request (uid, changed) WHERE state > 3;"
    "PRAGMA user_version = 6;"
    "COMMIT;";

/* What leads to each version from the one before. */
static const char *const schemas[SCHEMA + 1] = {NULL,     schema_1, schema_2, schema_3,
                                                schema_4, schema_5, schema_6};

/* ---- what can be wrong ---- */

static void trouble(struct journal_db *db, const char *text)
{
    if (str_eq(db->state.trouble, text))
        return;
    str_copy(db->state.trouble, sizeof db->state.trouble, text);
    if (*text)
        log_err("no history is kept: %s", text);
    else
        log_notice("history is kept in %s", db->path);
}

int journal_fail(const struct journal_db *db, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "the journal cannot be used: %.450s", db->state.trouble);
}

static void close_file(struct journal_db *db)
{
    for (size_t i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(db->st[i]);
        db->st[i] = NULL;
    }
    sqlite3_close(db->sq);
    db->sq = NULL;
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    db->lock_fd = -1;
}

static const char *advice(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return "make room on its disk";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "it is damaged: move it and the files journal.db-wal and -shm away, and a new one is "
               "made at once";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return "the broker's user must be able to write there (state_dir in agentd.conf)";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program has it locked";
    default:
        return "it is tried again";
    }
}

/* It cannot be used: closed, which takes a transaction back, to be tried again later. */
static int broken(struct journal_db *db, const char *text)
{
    close_file(db);
    trouble(db, text);
    db->retry_ms = clock_mono_ms() + JOURNAL_RETRY_MS;
    return -1;
}

static int broken_rc(struct journal_db *db, int rc)
{
    char text[500];
    snprintf(text, sizeof text, "%.200s: %.120s: %s", db->path,
             db->sq && rc != SQLITE_CANTOPEN ? sqlite3_errmsg(db->sq) : sqlite3_errstr(rc),
             advice(rc));
    return broken(db, text);
}

/* A write failed.  On a full disk, say, what is there can still be read. */
int journal_write_failed(struct journal_db *db, int rc, struct err *err)
{
    char text[500];
    int kind = rc & 0xff;
    db->rows = db->begun_rows;
    if (kind != SQLITE_FULL && kind != SQLITE_READONLY && kind != SQLITE_BUSY) {
        broken_rc(db, rc);
        return journal_fail(db, err);
    }
    snprintf(text, sizeof text, "%.200s: %.120s: %s", db->path, sqlite3_errmsg(db->sq), advice(rc));
    if (!sqlite3_get_autocommit(db->sq))
        sqlite3_exec(db->sq, "ROLLBACK", NULL, NULL, NULL);
    trouble(db, text);
    db->no_writing = true;
    db->retry_ms = clock_mono_ms() + JOURNAL_RETRY_MS;
    return journal_fail(db, err);
}

int journal_read_failed(struct journal_db *db, int rc, struct err *err)
{
    if ((rc & 0xff) == SQLITE_INTERRUPT)
        return err_set(err, ERR_TIMEOUT, "the journal takes longer than %d s to look it up",
                       JOURNAL_FIND_MS / 1000);
    if ((rc & 0xff) == SQLITE_NOMEM)
        return err_set(err, ERR_BUSY, "no memory");
    broken_rc(db, rc);
    return journal_fail(db, err);
}

/* ---- statements ---- */

static int is_late(void *arg)
{
    const struct journal_db *db = arg;
    return db->deadline_ms && clock_mono_ms() > db->deadline_ms;
}

void journal_done(sqlite3_stmt *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

/* Runs one that gives no rows. */
int journal_run(struct journal_db *db, enum journal_statement s)
{
    int rc = sqlite3_step(db->st[s]);
    journal_done(db->st[s]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int journal_run_with(struct journal_db *db, enum journal_statement s, int64_t v)
{
    sqlite3_bind_int64(db->st[s], 1, v);
    return journal_run(db, s);
}

/* The number in its first row; 0 when there is none. */
int journal_number(sqlite3_stmt *st, int64_t *ret)
{
    int rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    journal_done(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int ask_number(sqlite3 *sq, const char *query, int64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(sq, query, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = journal_number(st, ret);
    sqlite3_finalize(st);
    return rc;
}

const char *journal_column(sqlite3_stmt *st, int i)
{
    return str_or((const char *)sqlite3_column_text(st, i), "");
}

/* ---- the file ---- */

/* One broker at a time: two would tell the same end twice. */
static int take_lock(struct journal_db *db)
{
    char text[500];
    db->lock_fd = open(db->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (db->lock_fd >= 0 && flock(db->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    snprintf(text, sizeof text, "%.200s: %s: %s", db->lock_path, strerror(errno),
             errno == EWOULDBLOCK ? "another slurm-agentd uses it" : advice(SQLITE_CANTOPEN));
    return broken(db, text);
}

/* Made here for its mode, which -wal and -shm get as well. */
static int make_file(struct journal_db *db)
{
    char text[500];
    struct stat s;
    AUTO(close) int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
        ((s.st_mode & 077) == 0 || fchmod(fd, 0600) == 0))
        return 0;
    snprintf(text, sizeof text, "%.200s: %s: %s", db->path,
             fd >= 0 && !S_ISREG(s.st_mode) ? "not a regular file" : strerror(errno),
             advice(SQLITE_CANTOPEN));
    return broken(db, text);
}

static int set_up(struct journal_db *db)
{
    int rc =
        sqlite3_open_v2(db->path, &db->sq,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db->sq, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->sq, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sq,
                          "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                          "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                          "PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -8192;",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        sqlite3_progress_handler(db->sq, 10000, is_late, db);
    return rc == SQLITE_OK ? 0 : broken_rc(db, rc);
}

static int check_schema(struct journal_db *db)
{
    int64_t id = 0, version = 0, tables = 0;
    char text[500];
    int rc = ask_number(db->sq, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, "SELECT count(*) FROM sqlite_master", &tables);
    bool empty = tables == 0 && id == 0;
    if (rc == SQLITE_OK && !empty && (id != APPLICATION_ID || version < 1 || version > SCHEMA)) {
        snprintf(text, sizeof text, "%.200s: %s move it away, and a new one is made", db->path,
                 id != APPLICATION_ID ? "it is no journal of slurm-agentd:"
                                      : "a newer slurm-agentd has written it: use that one, or");
        return broken(db, text);
    }
    for (version = empty ? 0 : version; rc == SQLITE_OK && version < SCHEMA; version++)
        rc = sqlite3_exec(db->sq, schemas[version + 1], NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : broken_rc(db, rc);
}

/* A large file is not looked through to its end: what is read of it later is checked then. */
static int check_pages(struct journal_db *db)
{
    sqlite3_stmt *st = NULL;
    char text[500];
    int rc = sqlite3_prepare_v2(db->sq, "PRAGMA quick_check(1)", -1, &st, NULL);
    db->deadline_ms = clock_mono_ms() + CHECK_MS;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    db->deadline_ms = 0;
    bool bad = rc == SQLITE_ROW && !str_eq(journal_column(st, 0), "ok");
    if (bad)
        snprintf(text, sizeof text, "%.200s: %s", db->path, advice(SQLITE_CORRUPT));
    sqlite3_finalize(st);
    if (bad)
        return broken(db, text);
    return rc == SQLITE_ROW || rc == SQLITE_INTERRUPT ? 0 : broken_rc(db, rc);
}

/* Can it be written? */
static void probe(struct journal_db *db)
{
    struct err err = {0};
    db->begun_rows = db->rows;
    int rc = journal_run_with(db, ST_PROBE, clock_now());
    if (rc != SQLITE_OK) {
        journal_write_failed(db, rc, &err);
        return;
    }
    db->no_writing = false;
    trouble(db, "");
}

static int read_state(struct journal_db *db)
{
    static const char newest[] = "SELECT seq FROM sqlite_sequence WHERE name = 'ended'";
    static const char begins[] = "SELECT value FROM meta WHERE name = 'begins'";
    static const char alive[] = "SELECT value FROM meta WHERE name = 'alive'";
    static const char whole[] = "SELECT value FROM meta WHERE name = 'whole'";
    /* Jobs whose end was noted, and that they were their request's was not: first of those that
     * were under way, then of those that were known to be jobs.  A part of it may not have ended:
     * other tasks of an array, or the next run of one that was requeued. */
    static const char made[] =
        "UPDATE request SET state = 3, code = 0, text = '', (job_id, submit_time) ="
        " (SELECT e.grp, e.submit_time FROM ended e WHERE e.uid = request.uid"
        " AND e.tag = request.tag AND e.submit_time >= request.begun - 3600) "
        "WHERE state < 3 AND EXISTS (SELECT 1 FROM ended e WHERE e.uid = request.uid"
        " AND e.tag = request.tag AND e.submit_time >= request.begun - 3600)";
    static const char over[] =
        "UPDATE request SET state = 4, changed = max(changed, CAST(strftime('%s', 'now') AS INTEGER)),"
        " submit_time = coalesce(nullif(submit_time, 0), (SELECT e.submit_time FROM ended e WHERE "
        "e.job_id = request.job_id AND e.uid = request.uid AND e.tag = request.tag), 0) "
        "WHERE state = 3 AND EXISTS (SELECT 1 FROM ended e WHERE "
        "e.job_id = request.job_id AND e.uid = request.uid AND e.tag = request.tag "
        "AND e.phase <> 'UNKNOWN') "
        "AND NOT EXISTS (SELECT 1 FROM seen WHERE job_id = request.job_id) "
        "AND NOT EXISTS (SELECT 1 FROM seen WHERE grp = request.job_id)";
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < ST_COUNT; i++)
        rc = sqlite3_prepare_v3(db->sq, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->st[i], NULL);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, newest, &db->state.newest);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, begins, &db->state.begins);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, alive, &db->state.alive);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, whole, &db->state.whole);
    if (rc == SQLITE_OK)
        rc = ask_number(db->sq, "SELECT count(*) FROM ended", &db->rows);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sq, made, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sq, over, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = journal_db_identify(db);
    return rc == SQLITE_OK ? 0 : broken_rc(db, rc);
}

static void open_file(struct journal_db *db)
{
    db->no_writing = false;
    if (take_lock(db) < 0 || make_file(db) < 0 || set_up(db) < 0 || check_schema(db) < 0 ||
        check_pages(db) < 0 || read_state(db) < 0)
        return;
    db->prune_ms = clock_mono_ms();
    probe(db);
}

struct journal_db *journal_db_new(const struct agentd_conf *conf, struct err *err)
{
    struct journal_db *db = calloc(1, sizeof *db);
    if (!db || !(db->out = wire_out_new())) {
        free(db);
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    db->lock_fd = -1;
    db->days = conf->history_days;
    db->max_rows = conf->history_rows;
    db->max_requests = conf->max_request_ids_per_user;
    int n = snprintf(db->path, sizeof db->path, "%s/journal.db", conf->state_dir);
    snprintf(db->lock_path, sizeof db->lock_path, "%s/journal.lock", conf->state_dir);
    if (n >= (int)sizeof db->path - 16)
        err_set(err, ERR_INTERNAL, "state_dir is too long a name");
    else
        open_file(db);
    if (err->code == ERR_NONE)
        return db;
    journal_db_free(db);
    return NULL;
}

void journal_db_free(struct journal_db *db)
{
    if (!db)
        return;
    close_file(db);
    wire_out_free(db->out);
    free(db);
}

const struct journal_state *journal_db_state(const struct journal_db *db)
{
    return &db->state;
}

/* ---- transactions ---- */

/* Moved away or removed by somebody: a new one is made in its place. */
static void look_for_file(struct journal_db *db)
{
    int moved = 0;
    if (sqlite3_file_control(db->sq, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK || !moved)
        return;
    log_warning("%s has been moved away: beginning a new one", db->path);
    close_file(db);
    open_file(db);
}

int journal_db_begin(struct journal_db *db, struct err *err)
{
    if (db->sq)
        look_for_file(db);
    if (!db->sq || db->no_writing)
        return journal_fail(db, err);
    db->begun_rows = db->rows;
    db->put_number = 0;
    db->begun_requests = 0;
    int rc = journal_run(db, ST_BEGIN);
    return rc == SQLITE_OK ? 0 : journal_write_failed(db, rc, err);
}

static int set_meta(struct journal_db *db, const char *name, int64_t value)
{
    sqlite3_bind_text(db->st[ST_ALIVE], 2, name, -1, SQLITE_STATIC);
    return journal_run_with(db, ST_ALIVE, value);
}

int journal_db_alive(struct journal_db *db, int64_t alive, int64_t whole, struct err *err)
{
    int rc = set_meta(db, "alive", alive);
    if (rc == SQLITE_OK && whole > db->state.whole)
        rc = set_meta(db, "whole", whole);
    if (rc != SQLITE_OK)
        return journal_write_failed(db, rc, err);
    db->state.alive = alive;
    db->state.whole = whole > db->state.whole ? whole : db->state.whole;
    return 0;
}

int journal_db_commit(struct journal_db *db, struct err *err)
{
    int rc = journal_run(db, ST_COMMIT);
    if (rc != SQLITE_OK)
        return journal_write_failed(db, rc, err);
    if (db->put_number)
        db->state.newest = db->put_number;
    journal_db_mark(db);
    return 0;
}

/* ---- pruning ---- */

/* A clock that jumps ahead must not take the whole history with it: of what is too old a tenth of
 * history_rows goes in a day, by a clock that cannot be set. */
static int64_t may_prune(struct journal_db *db)
{
    int64_t now = clock_mono_ms();
    if (!db->day_ms || now >= db->day_ms) {
        db->day_ms = now + (int64_t)DAY_S * 1000;
        db->day_left = db->max_rows / 10 > PRUNE_LEAST ? db->max_rows / 10 : PRUNE_LEAST;
        db->day_requests = 0; /* not counted yet */
    }
    return db->day_left < PRUNE_STEP ? db->day_left : PRUNE_STEP;
}

/* The same of request ids: one that is gone is a new submit for whoever sends it again. */
static int prune_requests(struct journal_db *db, int64_t before, int64_t *ret_n)
{
    int64_t n = 0;
    int rc = SQLITE_OK;
    if (!db->day_requests &&
        (rc = ask_number(db->sq, "SELECT count(*) FROM request", &n)) == SQLITE_OK)
        db->day_requests = 1 + (n / 10 > PRUNE_LEAST ? n / 10 : PRUNE_LEAST);
    int64_t may = db->day_requests - 1 < PRUNE_STEP ? db->day_requests - 1 : PRUNE_STEP;
    *ret_n = 0;
    if (rc != SQLITE_OK || may <= 0)
        return rc;
    sqlite3_bind_int64(db->st[ST_REQUESTS_PRUNE], 2, may);
    rc = journal_run_with(db, ST_REQUESTS_PRUNE, before);
    *ret_n = rc == SQLITE_OK ? sqlite3_changes(db->sq) : 0;
    return rc;
}

/* The oldest that ended before that, at most max of them. */
static int prune(struct journal_db *db, int64_t before, int64_t max, int64_t *ret_n)
{
    sqlite3_stmt *st = db->st[ST_OLDEST];
    int64_t numbers[PRUNE_STEP], last = 0;
    size_t n = 0;
    int rc = SQLITE_DONE;
    sqlite3_bind_int64(st, 1, before);
    sqlite3_bind_int64(st, 2, max < PRUNE_STEP ? max : PRUNE_STEP);
    while (n < PRUNE_STEP && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        numbers[n++] = sqlite3_column_int64(st, 0);
        last = sqlite3_column_int64(st, 1);
    }
    journal_done(st);
    rc = rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++)
        rc = journal_run_with(db, ST_DELETE, numbers[i]);
    if (rc == SQLITE_OK && n) {
        rc = journal_run_with(db, ST_BEGINS, last + 1);
        if (rc == SQLITE_OK && last >= db->state.begins)
            db->state.begins = last + 1;
    }
    db->rows -= (int64_t)n;
    *ret_n += (int64_t)n;
    return rc;
}

static void prune_step(struct journal_db *db)
{
    struct err err = {0};
    int64_t old = 0, over = 0, requests = 0;
    db->begun_rows = db->rows;
    int rc = journal_run(db, ST_BEGIN);
    if (rc == SQLITE_OK)
        rc = prune(db, clock_now() - db->days * DAY_S, may_prune(db), &old);
    if (rc == SQLITE_OK && db->rows > db->max_rows)
        rc = prune(db, INT64_MAX, db->rows - db->max_rows, &over);
    if (rc == SQLITE_OK)
        rc = prune_requests(db, clock_now() - db->days * DAY_S, &requests);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(db->st[ST_STAGING_PRUNE], 2, PRUNE_STEP);
        rc = journal_run_with(db, ST_STAGING_PRUNE, clock_now() - db->days * DAY_S);
        over += sqlite3_changes(db->sq);
    }
    if (rc == SQLITE_OK)
        rc = journal_run(db, ST_COMMIT);
    if (rc != SQLITE_OK) {
        journal_write_failed(db, rc, &err);
        return;
    }
    db->day_left -= old;
    db->day_requests -= requests;
    db->prune_ms = clock_mono_ms() + (old || over || requests ? 0 : PRUNE_EVERY_MS);
}

/* ---- chores ---- */

int64_t journal_db_due(const struct journal_db *db)
{
    return !db->sq || db->no_writing ? db->retry_ms : db->prune_ms;
}

void journal_db_chore(struct journal_db *db)
{
    if (!db->sq)
        open_file(db);
    else if (db->no_writing)
        probe(db);
    else
        prune_step(db);
}
