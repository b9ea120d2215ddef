/*
 * Migration stream version 4: loading packets of pages
 *
 * What the destination does with the packets that come in the main stream and
 * on channels of their own.  Implements the receiving side of "Packets" of
 * docs/devel/migration-v4/wire-format.rst; docs/devel/migration-v4/ram.rst says
 * how it works.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_LOAD_H
#define MIGRATION_RAM_LOAD_H

#include "io/channel.h"
#include "migration/qemu-file-types.h"

/* In the main loop's thread */

/**
 * ram_load_expect: there will be channels beside the main stream
 *
 * @channels: how many; before any of their threads is there
 */
void ram_load_expect(unsigned channels);

/**
 * ram_load_begin: the loading of RAM begins
 *
 * @f: the main stream, of which packets are taken from here on
 */
void ram_load_begin(QEMUFile *f);

/**
 * ram_load_synced: a part of the section of RAM was read to its end
 *
 * Behind the first part it is known what blocks there are, and how long; from
 * then on pages may come.  Behind the last part none may, and all of them have
 * to be right.  In a postcopy there is nothing to be done, whichever channel it
 * came over.
 *
 * Returns: 1; 0 if this is for version 3 to do; -EINVAL with an error of the
 * main stream's file.
 */
int ram_load_synced(void);

/**
 * ram_load_end: the loading of RAM is over, be it through or not
 *
 * A thread that goes on does no harm.
 */
void ram_load_end(void);

/**
 * ram_load_stop: no thread is to wait any more
 *
 * For any thread.
 *
 * @err: why; NULL if all is through
 */
void ram_load_stop(const Error *err);

/* In the thread of a channel beside the main stream */

/**
 * ram_load_channel: load what comes on a channel, until it ends
 *
 * @ioc: behind the channel's first packet, which says its number
 * @channel: that
 * @errp: set if it did not end as it should
 *
 * Waits until it is known what version the stream has.
 *
 * Returns: %false if that is version 3, and nothing was read.
 */
bool ram_load_channel(QIOChannel *ioc, unsigned channel, Error **errp);

#endif
