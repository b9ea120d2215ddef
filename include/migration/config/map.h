/*
 * What is changed of a machine, and of its state, on the way
 *
 * Implements docs/devel/migration-v4/map.rst; the operations are described in
 * qapi/machine-config.json.  Pure: knows no machine.  Both sides can have a
 * map: on either it turns what the source has into what the destination is to
 * have.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_MAP_H
#define MIGRATION_CONFIG_MAP_H

#include "qemu/units.h"
#include "qapi/qapi-types-machine-config.h"
#include "qapi/qmp/qlist.h"

/* Limits on a map; more is refused */
#define MACHINE_MAP_SIZE_MAX (1 * MiB)          /* of the JSON, in bytes */
#define MACHINE_MAP_OPERATIONS_MAX 256

/* A list of operations, and how often each was done */
typedef struct MachineMapping MachineMapping;

/**
 * machine_mapping_parse: read a map
 *
 * @json: a list of MachineMapOperation; it need not end with a NUL
 * @length: in bytes
 *
 * Each operation is checked for itself, and against those before it.
 *
 * Returns: the map, to be freed with machine_mapping_free(), or %NULL with
 * @errp set.
 */
MachineMapping *machine_mapping_parse(const char *json, size_t length,
                                      Error **errp);

/**
 * machine_mapping_from_qlist: the same, of what was parsed already
 *
 * @list: is not changed
 */
MachineMapping *machine_mapping_from_qlist(const QList *list, Error **errp);

void machine_mapping_free(MachineMapping *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineMapping, machine_mapping_free)

/**
 * machine_mapping_start: a migration begins, and nothing was done yet
 */
void machine_mapping_start(MachineMapping *map);

/**
 * machine_mapping_apply: do to a machine's configuration what is to be done
 *
 * @config: is changed; on failure it is of no use any more
 * @errp: says which operation cannot be done, and why
 *
 * Returns: %true if all was done.
 */
bool machine_mapping_apply(MachineMapping *map, MachineConfig *config,
                           Error **errp);

/**
 * machine_mapping_report: what has become of each operation
 *
 * Returns: that, which the caller frees.
 */
MachineMapInfo *machine_mapping_report(const MachineMapping *map);

/*
 * State.  What is asked about state may be asked by any thread, one at a time.
 */

/**
 * machine_mapping_name: what the destination calls a state
 *
 * @section: that it is in
 * @subsection: it is one, else a structure
 * @name: what the source calls it
 * @passes: it goes through now, which is counted
 *
 * Returns: its name, which is @map's, or @name.
 */
const char *machine_mapping_name(MachineMapping *map, const char *section,
                                 bool subsection, const char *name,
                                 bool passes);

/**
 * machine_mapping_source_name: what the source calls a subsection
 *
 * @name: what the destination calls it
 *
 * Nothing is counted.
 *
 * Returns: its name, which is @map's, or @name.
 */
const char *machine_mapping_source_name(const MachineMapping *map,
                                        const char *section, const char *name);

/**
 * machine_mapping_width: how wide a field is on the other side
 *
 * @structure: that it is in
 * @here: how wide it is here, in bytes
 * @source: this side is the source
 *
 * Returns: the width in bytes; 0, with @errp set, if @here is not what the map
 * says of this side.
 */
unsigned machine_mapping_width(MachineMapping *map, const char *section,
                               const char *structure, const char *field,
                               unsigned here, bool source, Error **errp);

/**
 * machine_mapping_drops: is a section's state passed over?
 */
bool machine_mapping_drops(MachineMapping *map, const char *section);

/**
 * machine_mapping_check: the whole state went through
 *
 * @errp: names the operation that was about a state that never came
 *
 * Returns: %true if there is none.
 */
bool machine_mapping_check(const MachineMapping *map, Error **errp);

#endif
