/*
 * The machine travels: sent first, and looked at before anything is loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_TRAVEL_H
#define MIGRATION_CONFIG_TRAVEL_H

#include "qapi/qapi-types-machine-config.h"
#include "qom/object.h"

/**
 * machine_travel_class_init: the migration object's share in it
 *
 * Gives it the property "config-check", and lets the stream know the machine.
 *
 * @klass: of the migration object
 */
void machine_travel_class_init(ObjectClass *klass);

/**
 * machine_travel_read: what a machine is that has come, as it is to be here
 *
 * With what the map changes of it; behind migration_stream_start().
 *
 * @json: what stands in the stream
 *
 * Returns: the machine, which the caller frees, or %NULL with @errp set.
 */
MachineConfig *machine_travel_read(const GByteArray *json, Error **errp);

/**
 * machine_travel_compare: may a machine's state be loaded into this one?
 *
 * Does what "config-check" says.  With the BQL held.
 *
 * @source: the machine that the state is of
 *
 * Returns: %true, or %false with all that stands against it in @errp.
 */
bool machine_travel_compare(MachineConfig *source, Error **errp);

/**
 * machine_snapshot_open: a look at a snapshot, beside the image in use
 *
 * @bs: a node that has the snapshot, or a filter over it
 * @name: of the snapshot, or its id
 *
 * Returns: a new node that has gone to the snapshot, and only reads; %NULL
 * with @errp set.  The caller unrefs it.
 */
BlockDriverState *machine_snapshot_open(BlockDriverState *bs, const char *name,
                                        Error **errp);

/**
 * machine_snapshot_read: the machine in a snapshot
 *
 * @bs: a node that has gone to it
 * @there: set to whether the snapshot has one: it is of version 4
 *
 * Returns: the machine, which the caller frees, or %NULL with @errp set; or
 * with @errp unset, if there is none and all is well.
 */
MachineConfig *machine_snapshot_read(BlockDriverState *bs, bool *there,
                                     Error **errp);

/**
 * machine_travel_check_snapshot: may a snapshot be loaded into this machine?
 *
 * Reads the machine out of the snapshot, and touches neither this machine nor
 * its disks.  A snapshot without a machine, as in version 3, may be.
 *
 * @bs: where the state of the machine is
 * @name: of the snapshot
 *
 * Returns: %true, or %false with all that stands against it in @errp.
 */
bool machine_travel_check_snapshot(BlockDriverState *bs, const char *name,
                                   Error **errp);

/**
 * machine_travel_differences: in what the two sides' machines differ
 *
 * As was found out here when a machine arrived, or as the other side has said
 * of this one.
 *
 * Returns: a list that the caller frees, NULL if there are none.
 */
MachineDifferenceList *machine_travel_differences(void);

/* Prints them for HMP "info migrate" */
void hmp_info_machine_differences(Monitor *mon,
                                  const MachineDifferenceList *differences);

#endif
