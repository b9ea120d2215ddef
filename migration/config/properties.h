/*
 * The properties of a QOM object, sorted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_PROPERTIES_H
#define MIGRATION_CONFIG_PROPERTIES_H

#include "qapi/qapi-builtin-types.h"
#include "qapi/qmp/qdict.h"
#include "qom/object.h"

/* What was found out about types, for as long as a machine is looked at */
typedef struct MachineTypes MachineTypes;

MachineTypes *machine_types_new(void);
void machine_types_free(MachineTypes *types);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineTypes, machine_types_free)

/**
 * machine_types_rename: call something by another name than QEMU's own
 *
 * @name: that QEMU gave, which is another each time
 * @called: what it is called; taken over
 */
void machine_types_rename(MachineTypes *types, const char *name,
                          char *called);

/**
 * machine_types_hide: leave out what leads to an object
 *
 * @object: that QEMU made itself, and will make again
 */
void machine_types_hide(MachineTypes *types, Object *object);

/**
 * machine_types_name: what something is called
 *
 * Returns: @name, or what it was renamed to.
 */
const char *machine_types_name(const MachineTypes *types, const char *name);

/* An object's properties, that have a value and take one */
typedef struct MachineProperties {
    QDict *guest;           /* that the guest can notice */
    QDict *host;            /* that only this host can */
    strList *set;           /* that a new object of the type has otherwise */
} MachineProperties;

/**
 * machine_properties_read: the properties of an object
 *
 * @types: is looked into, and added to
 * @object: a device, the machine, or what '-object' makes
 * @owner: the device that @object is a part of, or %NULL; what it shows of
 *         @object under the same name is left out
 * @given: values that count instead of what the object says, because that is
 *         not what it would take; or %NULL
 * @properties: where they go; the caller owns all three
 */
void machine_properties_read(MachineTypes *types, Object *object,
                             Object *owner, const QDict *given,
                             MachineProperties *properties);

/**
 * machine_property_is_alias: does it stand for another object's?
 */
bool machine_property_is_alias(const ObjectProperty *property);

/**
 * machine_properties_hide: take out what nobody may see
 *
 * @object: a dictionary or list, which is changed, also inside
 *
 * Members that hold secrets go, and so do user and password in a URL.
 */
void machine_properties_hide(QObject *object);

#endif
