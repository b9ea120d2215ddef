/*
 * Options of a command line, as text
 *
 * Implements "The plan" of docs/devel/migration-v4/adopt.rst, together with
 * plan.c: how each option is written, and whether one was given already.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_PLAN_OPTIONS_H
#define MIGRATION_CONFIG_PLAN_OPTIONS_H

#include "migration/config/plan.h"

/* How a back end of a kind is given */
typedef struct MachineBackendOption {
    const char *option;         /* the option that makes it */
    const char *id;             /* its member that has the name */
    const char *type;           /* its member that has the type */
    const char *other;          /* an older option, with a member 'id' */
    bool json;                  /* it takes JSON */
} MachineBackendOption;

const MachineBackendOption *machine_backend_option(MachineConfigBackendKind k);

/* The value of the option that makes a back end under a name, to be freed */
char *machine_backend_to_option(const MachineConfigBackend *backend,
                                const char *id);

/* Puts 'name=value' at the end of an option, or 'value' if @name is %NULL */
void machine_option_append(GString *option, const char *name,
                           const char *value);

/* The same for a value with parts, as 'name.part=value' */
void machine_option_append_object(GString *option, const char *name,
                                  const QObject *value);

/* The same for each member */
void machine_option_append_members(GString *option, const QDict *members);

/*
 * A member's name, at any depth, that would be more than a name in an option;
 * %NULL if there is none
 */
const char *machine_option_bad_name(const QObject *value);

/* The members of one of -numa */
void machine_option_append_numa(GString *option, const QDict *members);

/*
 * What was given (plan-given.c): @options is a name, a value, a name, ...
 */

/* How many ports, or NICs, were? */
unsigned machine_places_given(const GPtrArray *options, const char *option);

/*
 * Was a drive given for a place on the board?
 *
 * @members: of -drive, with 'if', 'bus' and 'unit'
 * @units: that a bus for disks has
 */
bool machine_drive_given(const GPtrArray *options, const QDict *members,
                         unsigned units);

/* Was an option of the board given that takes the place of this one? */
bool machine_option_given(const GPtrArray *options, const char *option,
                          const char *value);

/* Was a property of the machine, with -machine or with an option of its own? */
bool machine_property_given(const GPtrArray *options, const char *property);

/* Was a default for a device's property? */
bool machine_global_given(const GPtrArray *options,
                          const MachineConfigGlobal *global);

#endif
