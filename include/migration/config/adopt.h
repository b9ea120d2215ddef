/*
 * -M incoming: a QEMU that becomes the machine that arrives
 *
 * Implements docs/devel/migration-v4/adopt.rst.  QEMU starts without a machine:
 * with its monitors, and what an incoming migration needs.  What arrives is
 * made into a command line (migration/config/plan.h), QEMU goes on starting
 * with that, and then the migration goes on.
 *
 * All of it runs in the main thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_ADOPT_H
#define MIGRATION_CONFIG_ADOPT_H

#include "qemu/coroutine.h"
#include "qapi/qapi-types-machine-config.h"

#define MACHINE_ADOPT_TYPE "incoming"
#define MACHINE_ADOPT_DESCRIPTION \
    "The machine that arrives with -incoming or -loadvm"

/**
 * machine_adopt_note: an option of the command line has been seen
 *
 * @option: its name without dashes; must live on
 * @value: of it, or %NULL; must live on
 */
void machine_adopt_note(const char *option, const char *value);

/**
 * machine_adopt_select: the command line has been read
 *
 * @machine: what -machine says; that it is to be an incoming one, and what goes
 *           with that, is taken out of it
 * @incoming: where a migration comes from, or %NULL
 * @loadvm: which snapshot is loaded, or %NULL
 * @preconfig: -preconfig was given
 * @errp: set if this does not go together
 */
void machine_adopt_select(QDict *machine, const char *incoming,
                          const char *loadvm, bool preconfig, Error **errp);

/* Is -M incoming among the options? */
bool machine_adopt_selected(void);

/* Is it, and there is no machine yet? */
bool machine_adopt_waiting(void);

/**
 * machine_adopt_wait: run the main loop until it is known which machine it is
 *
 * @incoming: where it comes from, or %NULL
 * @loadvm: the snapshot that has it, or %NULL
 * @argv: is set to the options that make the machine, which live on
 *
 * Ends the process if that is asked for, or if nothing can come any more.
 *
 * Returns: the length of @argv.
 */
int machine_adopt_wait(const char *incoming, const char *loadvm, char ***argv);

/**
 * machine_adopt_arrived: a machine has come with an incoming migration
 *
 * @config: the machine
 * @errp: set if this machine cannot be made here
 *
 * Returns after the machine has been made, if this QEMU waits for one; else at
 * once.
 *
 * Returns: %true when there is a machine, %false if not.
 */
bool coroutine_fn machine_adopt_arrived(MachineConfig *config, Error **errp);

/**
 * machine_adopt_refuses_legacy: is a stream that brings no machine useless?
 *
 * @errp: set if it is: version 3 came, and this QEMU waits for a machine
 */
bool machine_adopt_refuses_legacy(Error **errp);

/**
 * machine_adopt_go_on: the machine is complete
 *
 * Returns: %true if the migration that brought it goes on, %false if there is
 * none: -incoming has to be looked at.
 */
bool machine_adopt_go_on(void);

/**
 * machine_adopt_apply_compat: the machine type is known
 *
 * Gives the migration object, which is older, the machine type's defaults;
 * what the user has set since then stays.
 */
void machine_adopt_apply_compat(void);

/**
 * machine_adopt_query: the machine that has arrived, while there is none here
 *
 * The last one, which could not be made.
 *
 * Returns: it, which the caller frees, or %NULL with @errp set.
 */
MachineConfig *machine_adopt_query(Error **errp);

/* Can a command, of either monitor, do without a machine? */
bool machine_adopt_command_available(const char *name, Error **errp);
bool machine_adopt_hmp_available(const char *name);

/* Can an object of this type be made now? */
bool machine_adopt_object_available(const char *type, Error **errp);

#endif
