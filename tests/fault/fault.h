/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fault.h: the fault suite: clients that submit, a driver that breaks everything they need, and a
 * count of what came of it, by slurmctld and slurmdbd and not by the agent
 *
 * All of it is one program: the driver, as root, forks clients; they share one block of memory.
 */
#ifndef TESTS_FAULT_FAULT_H
#define TESTS_FAULT_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/failpoint.h"

enum { FAULT_MAX = 200000, FAULT_CLIENTS = 96, FAULT_USERS = 2 };

/* One request, written by its client. */
struct fault_request {
    _Atomic uint8_t in_doubt; /* its client was told so, once at least */
    _Atomic uint8_t answered; /* it was told a job */
    _Atomic uint8_t differs;  /* two answers named different jobs */
    _Atomic uint32_t job_id;  /* of the answer */
    _Atomic uint32_t tries;   /* of sagent_submit() */
    char error[200];          /* the last one */
    /* Asked at the end: */
    char state[20];
    uint32_t job_now, tag;
    int attempt;
};

/* Each job appends its id to this file: what ran, whatever slurmctld remembers. */
void fault_ran_path(uint32_t n, char out[4096]);

struct fault {
    const char *dir; /* the sandbox */
    uint64_t seed;
    int64_t begun_ms, last_ms; /* the first and the last submit are to come then */
    uint32_t requests;
    _Atomic uint32_t kills, stops, slurmctld_kills;
    _Atomic bool calm; /* nothing is broken any more */
    struct fault_request request[FAULT_MAX];
};

/* The block, and the fail points of the agent under test. */
extern struct fault *fault;
extern struct failpoint_plan *fault_plan;

int64_t fault_ms(void);
/* From the seed; each use moves *state on. */
uint32_t fault_chance(uint64_t *state, uint32_t below);
_Noreturn void fault_die(const char *what);

/* Text of a request's id, and its job's name. */
void fault_id(uint32_t n, char out[64]);
void fault_name(uint32_t n, char out[32]);

/* ---- fault_clients.c ---- */
pid_t fault_client_start(int client);
/* As the user: what the agent says of every request of theirs, and that it says it twice. */
void fault_ask_all(int user);

/* ---- fault_chaos.c ---- */
void fault_chaos_begin(void);
/* Breaks something now and then; repairs what is broken.  Until fault->calm, and then until all is
 * whole.  clients: their processes, started again when they are killed. */
void fault_chaos_step(pid_t clients[FAULT_CLIENTS]);
bool fault_chaos_whole(void);
void fault_chaos_print(void);

/* ---- fault_count.c ---- */
/* Prints the closing line; false when something is wrong. */
bool fault_count(void);

#endif
