/*
 * Migration stream version 4: channels wait for one another
 *
 * Implements "Rounds" of docs/devel/migration-v4/ram.rst.  Pure but for
 * threads.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "migration/ram/barrier.h"

void ram_barrier_init(RamBarrier *b, unsigned channels,
                      void (*tell)(void *opaque), void *opaque)
{
    *b = (RamBarrier) {
        .channels = channels,
        .reached = g_new0(uint32_t, channels),
        .over = g_new0(bool, channels),
        .tell = tell,
        .opaque = opaque,
    };
    qemu_mutex_init(&b->lock);
    qemu_cond_init(&b->changed);
}

void ram_barrier_destroy(RamBarrier *b)
{
    error_free(b->broken);
    g_free(b->reached);
    g_free(b->over);
    qemu_cond_destroy(&b->changed);
    qemu_mutex_destroy(&b->lock);
}

static void ram_barrier_changed(RamBarrier *b)
{
    qemu_cond_broadcast(&b->changed);
    if (b->tell) {
        b->tell(b->opaque);
    }
}

static int ram_barrier_state(RamBarrier *b, uint32_t round, Error **errp)
{
    int passed = 1;

    if (b->broken) {
        error_propagate(errp, error_copy(b->broken));
        return -1;
    }
    for (unsigned n = 0; n < b->channels; n++) {
        if (b->reached[n] >= round) {
            continue;
        }
        if (b->over[n]) {
            error_setg(errp, "multifd channel %u is over before its pages have "
                       "come: expected the end of round %" PRIu32 ", got that "
                       "of round %" PRIu32, n, round, b->reached[n]);
            return -1;
        }
        passed = 0;
    }
    return passed;
}

static bool ram_barrier_wait_locked(RamBarrier *b, uint32_t round,
                                    Error **errp)
{
    int passed;

    while (!(passed = ram_barrier_state(b, round, errp))) {
        qemu_cond_wait(&b->changed, &b->lock);
    }
    return passed > 0;
}

bool ram_barrier_arrive(RamBarrier *b, unsigned channel, uint32_t round,
                        Error **errp)
{
    QEMU_LOCK_GUARD(&b->lock);
    if (round != b->reached[channel] + 1) {
        error_setg(errp, "a round ends out of order: expected the end of round "
                   "%" PRIu32 ", got that of round %" PRIu32,
                   b->reached[channel] + 1, round);
        return false;
    }
    b->reached[channel] = round;
    ram_barrier_changed(b);
    return ram_barrier_wait_locked(b, round, errp);
}

void ram_barrier_end(RamBarrier *b, unsigned channel)
{
    QEMU_LOCK_GUARD(&b->lock);
    b->over[channel] = true;
    ram_barrier_changed(b);
}

int ram_barrier_passed(RamBarrier *b, uint32_t round, Error **errp)
{
    QEMU_LOCK_GUARD(&b->lock);
    return ram_barrier_state(b, round, errp);
}

bool ram_barrier_wait(RamBarrier *b, uint32_t round, Error **errp)
{
    QEMU_LOCK_GUARD(&b->lock);
    return ram_barrier_wait_locked(b, round, errp);
}

void ram_barrier_break(RamBarrier *b, const Error *err)
{
    QEMU_LOCK_GUARD(&b->lock);
    if (!b->broken) {
        b->broken = error_copy(err);
        ram_barrier_changed(b);
    }
}
