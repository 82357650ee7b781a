/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/watch_diff.h"

#include <stdlib.h>
#include <string.h>

/* Open addressing, linear probing, never more than half full.  job_id 0 is no job: a free slot. */
struct slot {
    uint32_t job_id;
    uint32_t generation; /* of the table it was last seen in */
    uint64_t hash;
};

struct watch_diff {
    struct slot *slots;
    size_t size; /* a power of two */
    size_t n;
    uint32_t generation;
};

enum { DIFF_FIRST_SIZE = 1024 };

/* Eight bytes at a time: a multiplication and a fold, which mix as well as is needed against
 * accidents.  Nobody gains from a collision: a user would hide a change of an own job. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_of(struct bytes b)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL ^ b.n, word;
    const uint8_t *p = b.p;
    size_t left = b.n;
    for (; left >= sizeof word; p += sizeof word, left -= sizeof word) {
        memcpy(&word, p, sizeof word);
        h = mix(h ^ word, 0xe7037ed1a0b428dbULL);
    }
    word = 0;
    if (left)
        memcpy(&word, p, left);
    return mix(h ^ word, 0x8ebc6af09c88c6e3ULL);
}

static size_t home(const struct watch_diff *d, uint32_t job_id)
{
    return (size_t)((job_id * 0x9e3779b97f4a7c15ULL) >> 32) & (d->size - 1);
}

/* Its slot, or the free one where it belongs. */
static size_t find(const struct watch_diff *d, uint32_t job_id)
{
    size_t i = home(d, job_id);
    while (d->slots[i].job_id && d->slots[i].job_id != job_id)
        i = (i + 1) & (d->size - 1);
    return i;
}

static bool grow(struct watch_diff *d)
{
    struct watch_diff bigger = *d;
    bigger.size = d->size * 2;
    bigger.slots = calloc(bigger.size, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < d->size; i++)
        if (d->slots[i].job_id)
            bigger.slots[find(&bigger, d->slots[i].job_id)] = d->slots[i];
    free(d->slots);
    *d = bigger;
    return true;
}

/* Closes the gap: what probed past the slot moves into it. */
static void clear(struct watch_diff *d, size_t hole)
{
    size_t mask = d->size - 1;
    for (size_t i = (hole + 1) & mask; d->slots[i].job_id; i = (i + 1) & mask) {
        size_t want = home(d, d->slots[i].job_id);
        if (((i - want) & mask) < ((i - hole) & mask))
            continue;
        d->slots[hole] = d->slots[i];
        hole = i;
    }
    d->slots[hole] = (struct slot){0};
    d->n--;
}

struct watch_diff *watch_diff_new(void)
{
    struct watch_diff *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->size = DIFF_FIRST_SIZE;
    d->slots = calloc(d->size, sizeof *d->slots);
    if (!d->slots) {
        free(d);
        return NULL;
    }
    return d;
}

void watch_diff_free(struct watch_diff *d)
{
    if (!d)
        return;
    free(d->slots);
    free(d);
}

void watch_diff_begin(struct watch_diff *d)
{
    d->generation++;
}

int watch_diff_see(struct watch_diff *d, uint32_t job_id, struct bytes packed)
{
    uint64_t hash = hash_of(packed);
    size_t i = find(d, job_id);
    if (d->slots[i].job_id) {
        bool same = d->slots[i].hash == hash;
        d->slots[i].hash = hash;
        d->slots[i].generation = d->generation;
        return same ? 0 : 1;
    }
    if (d->n >= d->size / 2) {
        if (!grow(d))
            return -1;
        i = find(d, job_id);
    }
    d->slots[i] = (struct slot){.job_id = job_id, .generation = d->generation, .hash = hash};
    d->n++;
    return 1;
}

bool watch_diff_lacks(const struct watch_diff *d)
{
    for (size_t i = 0; i < d->size; i++)
        if (d->slots[i].job_id && d->slots[i].generation != d->generation)
            return true;
    return false;
}

void watch_diff_end(struct watch_diff *d, void (*gone)(void *arg, uint32_t job_id), void *arg)
{
    for (size_t i = 0; i < d->size;) {
        uint32_t job_id = d->slots[i].job_id;
        if (!job_id || d->slots[i].generation == d->generation) {
            i++;
            continue;
        }
        gone(arg, job_id);
        clear(d, i); /* another may have moved in: look at the slot again */
    }
}

bool watch_diff_forget(struct watch_diff *d, uint32_t job_id)
{
    size_t i = find(d, job_id);
    if (!d->slots[i].job_id)
        return false;
    clear(d, i);
    return true;
}

size_t watch_diff_count(const struct watch_diff *d)
{
    return d->n;
}
