/*
 * The machine that travels: in memory, and as JSON
 *
 * What a MACHINE record and query-machine-config hold.  Implements "The
 * machine" of docs/devel/migration-v4/machine.rst; the members are described
 * in qapi/machine-config.json.  Pure: knows no machine, and trusts nothing
 * that it reads.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_CONFIG_H
#define MIGRATION_CONFIG_CONFIG_H

#include "qemu/units.h"
#include "qapi/qapi-types-machine-config.h"
#include "qapi/qmp/qdict.h"

/* The version of the format */
#define MACHINE_CONFIG_FORMAT 1

/* Limits on what is read; more is refused */
#define MACHINE_CONFIG_SIZE_MAX (16 * MiB)      /* of the JSON, in bytes */
#define MACHINE_CONFIG_DEPTH_MAX 32             /* of lists and objects */
#define MACHINE_CONFIG_LIST_MAX 16384           /* of what is in a list */
#define MACHINE_CONFIG_MEMBERS_MAX 4096         /* of an object */
#define MACHINE_CONFIG_VALUES_MAX (256 * KiB)   /* of all of it */
/* Of those, as large as QDict */
#define MACHINE_CONFIG_OBJECTS_MAX (32 * KiB)
#define MACHINE_CONFIG_NAME_MAX 1023            /* of an id or name, in bytes */

/**
 * machine_config_check_json: may a text be parsed as JSON?
 *
 * QEMU's parser knows limits that are good for what a user may write; an
 * object with very many members takes it hours.
 *
 * @json: the text
 *
 * Returns: %false, with @errp set, if it is beyond the limits above.
 */
bool machine_config_check_json(const char *json, Error **errp);

/**
 * machine_config_parse: read a machine's configuration
 *
 * @json: the text; it need not end with a NUL
 * @length: of the text, in bytes
 * @errp: says what is wrong, and where in it
 *
 * Members that are not known are passed over.  On success every member that
 * QAPI calls an object is one, no two devices have the same path, and no two
 * devices or back ends of one kind have the same id.  Nothing is said about
 * whether such a machine can exist.
 *
 * Returns: the configuration, to be freed with qapi_free_MachineConfig(), or
 * %NULL with @errp set.
 */
MachineConfig *machine_config_parse(const char *json, size_t length,
                                    Error **errp);

/**
 * machine_config_from_qdict: the same, of what was parsed already
 *
 * @dict: what is not known is taken out of it
 */
MachineConfig *machine_config_from_qdict(QDict *dict, Error **errp);

/**
 * machine_config_to_qdict: a machine's configuration as an object
 *
 * Returns: the object, whose only reference is the caller's.
 */
QDict *machine_config_to_qdict(MachineConfig *config);

/**
 * machine_config_to_json: a machine's configuration as text, in one line
 *
 * Returns: the text, which the caller frees.
 */
GString *machine_config_to_json(MachineConfig *config);

/**
 * machine_config_find_device: a device by its path
 *
 * Returns: the device, which is @config's, or %NULL.
 */
MachineConfigDevice *machine_config_find_device(MachineConfig *config,
                                                const char *path);

/**
 * machine_config_find_backend: a back end by its kind and id
 *
 * Returns: the back end, which is @config's, or %NULL.
 */
MachineConfigBackend *machine_config_find_backend(MachineConfig *config,
                                                  MachineConfigBackendKind kind,
                                                  const char *id);

#endif
