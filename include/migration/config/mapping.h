/*
 * What is changed on the way: this QEMU's map
 *
 * Implements "Using it" of docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_MAPPING_H
#define MIGRATION_CONFIG_MAPPING_H

#include "qapi/qapi-types-machine-config.h"
#include "qom/object.h"

/**
 * migration_map_add_property: the migration object's property 'map'
 */
void migration_map_add_property(ObjectClass *klass);

/**
 * migration_map_set_file: use the map that is in a file
 *
 * While no migration runs.
 *
 * Returns: %true, or %false with @errp set and the map as it was.
 */
bool migration_map_set_file(const char *path, Error **errp);

/**
 * migration_map_config: do to a machine what the map says
 *
 * On the source to the configuration that it sends, on the destination to that
 * which came; behind migration_stream_start().
 *
 * Returns: %true; or %false with @errp set, and @config is of no use.
 */
bool migration_map_config(MachineConfig *config, Error **errp);

#endif
