/*
 * The transport file:PATH
 *
 * Implements docs/devel/migration-v4/file.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_SNAPSHOT_FILE_H
#define MIGRATION_SNAPSHOT_FILE_H

#include "migration/migration.h"

/**
 * migration_file_start_outgoing: migrate to a file
 *
 * @path: of the file, which has the stream once the migration has completed,
 * and until then is what it was
 * @errp: set if nothing was started
 */
void migration_file_start_outgoing(MigrationState *s, const char *path,
                                   Error **errp);

/**
 * migration_file_start_incoming: load what a file has
 *
 * @errp: set if nothing was started
 */
void migration_file_start_incoming(const char *path, Error **errp);

/**
 * migration_file_finish: everything was sent
 *
 * If it went to a file, then it is on the disk and has its name when this
 * returns.  Takes as long as the disk takes; called without the BQL.
 *
 * Returns: %false if the migration has failed after all, with the reason kept.
 */
bool migration_file_finish(MigrationState *s);

#endif
