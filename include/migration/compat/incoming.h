/*
 * Incoming migrations that fail
 *
 * Why is kept for query-migrate.  In version 4 and with "-incoming defer" the
 * machine is then made what it was at first, and "migrate-incoming" may be
 * called again; otherwise QEMU exits.  See docs/devel/migration-v4/retry.rst.
 *
 * A try is what goes on from one "migrate-incoming" to the next.  What is not
 * said to be for any thread is for the main loop's, with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_INCOMING_H
#define MIGRATION_COMPAT_INCOMING_H

#include "io/channel.h"
#include "qapi/qapi-types-migration.h"

/**
 * migration_incoming_defer: QEMU was started with "-incoming defer"
 */
void migration_incoming_defer(void);

/**
 * migration_incoming_again: has a try failed, so that there can be another?
 *
 * If so, all that is left of it has been undone on return.
 */
bool migration_incoming_again(void);

/**
 * migration_incoming_started: a try has begun, a source may connect
 */
void migration_incoming_started(void);

/**
 * migration_incoming_try: what tells this try from others
 */
unsigned migration_incoming_try(void);

/**
 * migration_incoming_connected: the first connection of a source is there
 */
void migration_incoming_connected(void);

/**
 * migration_incoming_await: a connection is there, others have to come
 *
 * @ioc: the one that is there; nobody reads it to its end until all are
 *
 * When it ends, and the others have not come 'peer-timeout' later, the try has
 * failed.  In version 3 they are waited for.
 */
void migration_incoming_await(QIOChannel *ioc);

/**
 * migration_incoming_complete: all connections are there
 */
void migration_incoming_complete(void);

/**
 * migration_incoming_not_connected: a connection came to nothing
 *
 * @attempt: the try that it was for
 * @err: why; this takes it
 *
 * That alone does not end the try: the source, or another one, can connect
 * again.
 */
void migration_incoming_not_connected(unsigned attempt, Error *err);

/**
 * migration_incoming_error: why loading has failed
 *
 * @f: what was loaded
 * @ret: the negative errno that loading it has returned
 *
 * For any thread.
 *
 * Returns: an error that the caller frees.
 */
Error *migration_incoming_error(QEMUFile *f, int ret);

/**
 * migration_incoming_failed: the migration has failed; nothing is loaded now
 *
 * @err: why, NULL if that was found elsewhere; this takes it
 *
 * Returns only where another try is possible.
 */
void migration_incoming_failed(Error *err);

/**
 * migration_incoming_channel_failed: a channel beside the stream has failed
 *
 * @err: why
 *
 * For any thread.  A load that has begun ends when it reads on, in version 3
 * when it needs the channel; one that waits for its channels ends here.
 */
void migration_incoming_channel_failed(const Error *err);

/**
 * migration_incoming_listen_ended: the thread that listens in a postcopy is
 * through
 *
 * @f: what it has read
 * @ret: what loading it has returned
 *
 * For that thread.
 *
 * Returns: %true if the migration has failed before the guest could run, and
 * there can be another try; then the thread must touch nothing any more.
 */
bool migration_incoming_listen_ended(QEMUFile *f, int ret);

/**
 * migration_incoming_explain: show that the last try has failed, and why
 *
 * One that is about to fail is active until then.
 *
 * Returns: %false, with nothing said in @info, if it has not.
 */
bool migration_incoming_explain(MigrationInfo *info);

#endif
