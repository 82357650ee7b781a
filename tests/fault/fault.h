/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fault.h: the fault suite: clients that submit, a driver that breaks everything they need, and a
 * count of what came of it, by slurmctld and slurmdbd and not by the agent (fault_judge.h)
 *
 * All of it is one program: the driver, as root, forks clients; they share one block of memory.
 */
#ifndef TESTS_FAULT_FAULT_H
#define TESTS_FAULT_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/slurmagent.h"
#include "common/failpoint.h"
#include "tests/fault/fault_judge.h"

enum {
    FAULT_MAX = 200000,
    FAULT_CLIENTS = 96,
    FAULT_HELD = 32, /* of them for what does not start by itself: see fault_late.c */
    FAULT_USERS = 2,
    FAULT_KILLS = 10000,
    FAULT_SPANS = 100,
    FAULT_ANEW = 3, /* exit status of a client that wants another process */
};

/* Who may submit. */
enum fault_hush {
    FAULT_ALL,
    FAULT_FEW, /* three clients of each user, what does not start by itself and is not refused */
    FAULT_NOBODY,
};

/* What a request is, and what its client does to its job: one of ten is of each kind but the first,
 * which is the rest. */
enum fault_kind {
    FAULT_PLAIN,     /* runs at once */
    FAULT_RELEASED,  /* submitted held, and released */
    FAULT_KEPT,      /* to begin in an hour, and held: never runs */
    FAULT_CANCELLED, /* cancelled, twice; half of them are submitted held */
    FAULT_STAGED,  /* with inputs and an output: runs with whole inputs, and ends with it stored */
    FAULT_REFUSED, /* what no node can run, or in no partition: never a job */
    FAULT_KINDS,
};

/* One request, written by its client. */
struct fault_request {
    _Atomic uint8_t in_doubt; /* its client was told so, once at least */
    _Atomic uint8_t answered; /* it was told a job */
    _Atomic uint8_t differs;  /* two answers named different jobs */
    _Atomic uint8_t acted;    /* what was to be done to its job was done, as the agent says */
    _Atomic uint8_t hopeless; /* slurmctld does not let that be done */
    _Atomic uint8_t gone;     /* the agent says that it has no job any more */
    _Atomic uint8_t refused;  /* it says that Slurm has refused it */
    _Atomic uint8_t done;     /* its client goes on to the next */
    _Atomic uint32_t job_id;  /* of the answer */
    _Atomic uint32_t tries;   /* of sagent_submit() */
    _Atomic uint32_t sent;    /* the request, so many times; of the last ones, when */
    _Atomic int64_t sent_s[FAULT_SENT];
    _Atomic int64_t told_s, acted_s;
    char error[200]; /* the last one */
    char phase[20];  /* FAULT_STAGED: how it ended */
    /* Asked at the end: */
    char state[20];
    uint32_t job_now;
    int attempt;
};

struct fault {
    const char *dir; /* the sandbox */
    uint64_t seed;
    int64_t begun_ms, last_ms; /* the first and the last submit are to come then */
    uint32_t requests;
    uid_t uids[FAULT_USERS];
    _Atomic uint32_t kills, stops, slurmctld_kills;
    _Atomic uint32_t steps; /* of clients: answers, and what is done to jobs */
    int64_t slurmctld_kills_s[FAULT_KILLS];
    struct fault_span late[FAULT_SPANS]; /* requests were kept for so long */
    uint32_t lates;
    _Atomic bool calm;      /* nothing is broken any more */
    _Atomic int64_t calm_s; /* since */
    _Atomic enum fault_hush hush;
    _Atomic bool busy[FAULT_CLIENTS]; /* it is submitting */
    struct fault_request request[FAULT_MAX];
};

/* The block, and the fail points of the agent under test. */
extern struct fault *fault;
extern struct failpoint_plan *fault_plan;

int64_t fault_ms(void);
int64_t fault_s(void); /* Unix seconds */
/* From the seed; each use moves *state on. */
uint32_t fault_chance(uint64_t *state, uint32_t below);
_Noreturn void fault_die(const char *what);

/* ---- fault_kinds.c: requests ---- */
enum fault_kind fault_kind(uint32_t n);
const char *fault_kind_name(enum fault_kind kind);
/* Whose a request is: 0 or 1, and their name. */
int fault_user(uint32_t n);
const char *fault_user_name(int user);
bool fault_starts_by_itself(uint32_t n);
/* May its client submit it while FAULT_FEW do? */
bool fault_is_one_of_few(uint32_t n);
/* Which client's it is: the same user's. */
int fault_client(uint32_t n);
/* Its request id, and which request's one is; -1 for none. */
enum { FAULT_ID = 33 };
void fault_id(uint32_t n, char out[FAULT_ID]);
int64_t fault_number(const char *id);
/* The tag of one of its attempts. */
uint32_t fault_tag(uint32_t n, int64_t attempt);
/* Its job's name, and which request's one is. */
void fault_name(uint32_t n, char out[32]);
int64_t fault_named(const char *name);
/* Each job appends a line to this file: its id, when, and of FAULT_STAGED whether its inputs were
 * whole.  And its output's object. */
void fault_ran_path(uint32_t n, char out[4096]);
void fault_output_path(uint32_t n, char out[4096]);
int fault_submit(struct sagent *s, uint32_t n, int64_t retry_s, struct sagent_submit_reply **ret,
                 struct sagent_error *err);
/* Slurm has refused it. */
bool fault_is_no(const struct sagent_error *err);
/* Makes what the jobs need: by root, before the first. */
void fault_make_store(void);
/* What is to be done to its job, once it is submitted; returns when it is done.  False: it takes
 * long, and is to be waited for later, for good. */
bool fault_act(struct sagent *s, uint32_t n, bool for_good);

/* ---- fault_clients.c ---- */
pid_t fault_client_start(int client);
/* As the user, and not through the agent: another job with the tag of the first request. */
void fault_plant_double(void);
/* As the user: which attempt of a request is the last one, and what the agent says of that. */
void fault_ask_attempt(uint32_t n);
/* As the user: what the agent says of every request of theirs, and that it says it twice. */
void fault_ask_all(int user);

/* ---- fault_chaos.c ---- */
void fault_chaos_begin(void);
/* Breaks something now and then; repairs what is broken.  Until fault->calm, and then until all is
 * whole.  clients: their processes, started again when they are killed. */
void fault_chaos_step(pid_t clients[FAULT_CLIENTS]);
bool fault_chaos_whole(void);
/* 0: it does not run. */
pid_t fault_part_pid(const char *part);
void fault_kill_slurmctld(void);
/* Of one that is stopped: continued then. */
void fault_stop_for(pid_t pid, int64_t ms);
bool fault_stands(pid_t pid);
void fault_chaos_print(void);

/* ---- fault_late.c: requests that slurmctld makes late ---- */
void fault_late_begin(void);
void fault_late_step(uint32_t (*roll)(uint32_t below));
/* One is kept for long, or has been let go just now: slurmctld is not to be killed. */
bool fault_late_now(void);
/* It is waited for that it is sent again: every other time the agent is to be let count in peace.
 */
bool fault_late_in_peace(void);
/* There was no twin yet, and there may be. */
bool fault_late_wants_more(void);
void fault_late_print(void);

/* ---- fault_disk.c: the journal's ---- */
void fault_disk_begin(void);
void fault_disk_step(uint32_t (*roll)(uint32_t below));
bool fault_disk_is_full(void);
void fault_disk_print(void);

/* ---- fault_rare.c: what happens a few times ---- */
void fault_rare_begin(void);
void fault_rare_step(uint32_t (*roll)(uint32_t below));
/* The monitor stands still. */
bool fault_rare_stands(void);
/* slurmctld was started without its state so many times. */
uint32_t fault_rare_wipes(void);
void fault_rare_print(void);

/* ---- fault_count.c ---- */
/* What slurmctld has, before it loses it for the time with that number: for the count.  False: it
 * does not answer. */
bool fault_take_down(uint32_t wipe);
/* Prints the closing line; false when something is wrong. */
bool fault_count(void);

#endif
