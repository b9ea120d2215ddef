/*
 * Migration stream version 4: channels wait for one another
 *
 * A page can be sent in one round over one channel, and in the next round over
 * another.  No channel goes on to a round before all have ended the one before
 * it, so that what is older never comes last.  See "Rounds" of
 * docs/devel/migration-v4/ram.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_BARRIER_H
#define MIGRATION_RAM_BARRIER_H

#include "qemu/thread.h"

typedef struct RamBarrier {
    QemuMutex lock;             /* protects what is below */
    QemuCond changed;
    unsigned channels;
    uint32_t *reached;          /* per channel: the round that it has ended */
    bool *over;                 /* per channel: nothing comes any more */
    Error *broken;              /* why; NULL if it is not */
    void (*tell)(void *opaque); /* something has changed; with the lock held */
    void *opaque;
} RamBarrier;

/**
 * ram_barrier_init: no channel has ended a round
 *
 * @channels: how many there are, from 0 on
 * @tell: called by any thread that changes something, with the lock held;
 * NULL if nobody has to know
 *
 * To be undone by ram_barrier_destroy(), when nobody waits any more.
 */
void ram_barrier_init(RamBarrier *b, unsigned channels,
                      void (*tell)(void *opaque), void *opaque);
void ram_barrier_destroy(RamBarrier *b);

/**
 * ram_barrier_arrive: a channel has ended a round
 *
 * @channel: which
 * @round: has to be the one behind that which it ended last
 *
 * Waits for the other channels.
 *
 * Returns: %true; %false with @errp set when the round is another one, or when
 * the barrier is broken.
 */
bool ram_barrier_arrive(RamBarrier *b, unsigned channel, uint32_t round,
                        Error **errp);

/**
 * ram_barrier_end: nothing comes over a channel any more
 */
void ram_barrier_end(RamBarrier *b, unsigned channel);

/**
 * ram_barrier_passed: have all channels ended a round?
 *
 * Does not wait.
 *
 * Returns: 1 if so; 0 if not yet; -1 with @errp set when the barrier is
 * broken, or when a channel is over that has not come so far.
 */
int ram_barrier_passed(RamBarrier *b, uint32_t round, Error **errp);

/**
 * ram_barrier_wait: likewise, but waits
 *
 * Not in a coroutine.
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_barrier_wait(RamBarrier *b, uint32_t round, Error **errp);

/**
 * ram_barrier_break: let nobody wait any more
 *
 * @err: why, which stays the caller's; the first reason counts
 */
void ram_barrier_break(RamBarrier *b, const Error *err);

#endif
