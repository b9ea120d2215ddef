/*
 * Streams in files: looked through before they are loaded
 *
 * Implements docs/devel/migration-v4/snapshots.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_STORED_H
#define MIGRATION_COMPAT_STORED_H

#include "migration/stream/channel.h"

/**
 * migration_stored_init: know what is to be stored, and what to be loaded
 *
 * Before any stream begins.
 */
void migration_stored_init(void);

/**
 * migration_stored_begin: a stream begins
 *
 * @sc: of which nothing was read or written.  If it is over a file, then that
 * is noted, and from a snapshot that was looked through what was found.
 */
void migration_stored_begin(StreamChannel *sc);

/**
 * migration_stored_arrived: the machine is there that is to load a stream
 *
 * A stream in a file is looked through, and it is found out what of it is
 * loaded.  Nothing else is touched.
 *
 * Returns: %true, or %false with @errp set if it cannot be loaded.
 */
bool migration_stored_arrived(StreamChannel *sc, Error **errp);

/**
 * migration_stored_look: check a stream in a file to its end
 *
 * @ioc: at the stream's beginning; stays there
 * @facts: filled with what the source has said
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_stored_look(QIOChannel *ioc, GByteArray *facts, Error **errp);

/**
 * migration_stored_expect: can this machine load what a snapshot has?
 *
 * @facts: from migration_stored_look(); of that snapshot, which is loaded next
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_stored_expect(const GByteArray *facts, Error **errp);

/* No snapshot was looked through that is loaded next */
void migration_stored_forget(void);

#endif
