/*
 * Migration stream version 4: what sends the guest's memory
 *
 * A cursor goes over the dirty bitmaps, and threads take pieces of them: each
 * looks for zeros, checksums and sends packets of pages on a channel of its
 * own.  Without multifd the migration thread does the same into the main
 * stream.  Implements the sending side of "Packets" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_SOURCE_H
#define MIGRATION_RAM_SOURCE_H

#include "io/channel.h"
#include "migration/qemu-file-types.h"

/* What a channel has done since the migration began */
typedef struct RamChannelStats {
    char name[32];          /* "main", or "multifd" and a number */
    int fd;                 /* of the socket below, -1 if there is none */
    int tid;                /* of the thread that sends, 0 before it runs */
    uint64_t bytes;         /* sent, headers and heads included */
    uint64_t pages;         /* sent, zeros aside; of the guest's size */
    uint64_t zeros;         /* pages of zeros */
    uint64_t cpu_ns;        /* of the thread, spent on sending */
    uint64_t blocked_ns;    /* spent in writing, on a CPU or waiting */
} RamChannelStats;

/**
 * ram_channel_stats: what the channels have done
 *
 * @stats: room for @max
 *
 * Any thread may ask, at any time.
 *
 * Returns: how many were filled in, 0 if memory is not sent in packets.
 */
unsigned ram_channel_stats(RamChannelStats *stats, unsigned max);

/* The present round, from 1 on; 0 if memory is not sent in packets */
uint32_t ram_source_round(void);

/**
 * ram_source_start: a migration begins to send memory
 *
 * @f: where to; what it is, and the migration's capabilities, decide on
 * whether memory is sent in packets
 *
 * The dirty bitmaps are set up, and the channels of multifd are being.
 *
 * Returns: %true, or %false with @errp set if that cannot be.
 */
bool ram_source_start(QEMUFile *f, Error **errp);

/**
 * ram_source_running: is memory sent in packets, at present?
 *
 * It is not any more in a postcopy.
 */
bool ram_source_running(void);

/**
 * ram_source_has_channels: are the channels of multifd for packets?
 *
 * Also in a postcopy, where they are idle.
 */
bool ram_source_has_channels(void);

/**
 * ram_source_may_leave_out: need dirty pages not be sent that nobody uses?
 *
 * In a one-way stream they have to be if they were sent before: one that the
 * guest wrote to meanwhile came wrong, and must come right in the end, whatever
 * is in it.  By any thread, during a migration.
 */
bool ram_source_may_leave_out(void);

/**
 * ram_source_iterate: send some memory, in the open section
 *
 * As much as may be sent now, and for a while.  A failure is an error of @f.
 *
 * Returns: %true if nothing is left for the present.
 */
bool ram_source_iterate(QEMUFile *f);

/**
 * ram_source_complete: send all that is left, in the open section
 *
 * The guest has stopped and the bitmaps are up to date.  When this returns, the
 * other side has said that it has all pages, if it can.  Called with the BQL or
 * without; with, it is released while that is waited for.
 *
 * Returns: %true, or %false when it failed, which is an error of @f.
 */
bool ram_source_complete(QEMUFile *f);

/**
 * ram_source_before_postcopy: a postcopy begins
 *
 * The guest has stopped.  Waits until the other side has said which pages came
 * wrong.  Called with the BQL, which is released meanwhile, and not in an RCU
 * read section; before the last synchronization of the dirty bitmaps, which
 * finds what changes meanwhile.  A failure is an error of @f.
 */
void ram_source_before_postcopy(QEMUFile *f);

/**
 * ram_source_put_back: mark these pages dirty
 *
 * After that synchronization: what the guest has made dirty came wrong because
 * of that, and does not count as healed.
 */
void ram_source_put_back(void);

/**
 * ram_source_send: send memory on a channel, until there is none any more
 *
 * @ioc: behind the initial packet
 * @id: of the channel, from 0 on
 *
 * In the channel's thread.  Once the channels are being stopped, a failure is
 * none.
 *
 * Returns: %true, or %false with @errp set; then the migration has failed.
 */
bool ram_source_send(QIOChannel *ioc, unsigned id, Error **errp);

/**
 * ram_source_stop: no more pages are taken
 *
 * The channels' threads end as soon as what they write is written, or fails.
 * When this returns, the dirty bitmaps are used no more.  By any thread.
 */
void ram_source_stop(void);

/**
 * ram_source_cancel: a person does not want the migration any more
 *
 * With the BQL.  Whoever writes to a channel fails.
 */
void ram_source_cancel(void);

/**
 * ram_source_end: a migration ends
 *
 * Before the dirty bitmaps are freed; the migration thread uses them no more.
 */
void ram_source_end(void);

#endif
