/*
 * -M incoming -loadvm: the machine out of a snapshot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_ADOPT_SNAPSHOT_H
#define MIGRATION_CONFIG_ADOPT_SNAPSHOT_H

#include "qapi/qapi-types-machine-config.h"

/**
 * machine_adopt_read_snapshot: read which machine a snapshot is of
 *
 * @name: of the snapshot
 * @options: the command line: a name, a value, a name, ...; its images are
 *           opened for reading and closed again
 * @errp: set if none of them has such a snapshot, or it says no machine
 *
 * Returns: the machine, to be freed with qapi_free_MachineConfig(), or %NULL
 * with @errp set.
 */
MachineConfig *machine_adopt_read_snapshot(const char *name,
                                           const GPtrArray *options,
                                           Error **errp);

#endif
