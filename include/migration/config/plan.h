/*
 * From a machine that travels to the command line that makes it
 *
 * Implements "The plan" of docs/devel/migration-v4/adopt.rst.  What is printed
 * by 'qemu-vmstate config --command-line' is what '-M incoming' follows.  Pure:
 * knows no machine, opens nothing, and trusts nothing that it reads.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_PLAN_H
#define MIGRATION_CONFIG_PLAN_H

#include "qapi/qapi-types-machine-config.h"
#include "qapi/qmp/qdict.h"

/* What was given on this side, and what can be found out here */
typedef struct MachinePlanSide {
    /* What leads to the host is taken from the machine that arrives, too */
    bool trust;

    /* The options that were given: a name, a value or "", a name, ... */
    const GPtrArray *options;

    /* How many units a bus for disks has on this machine type; 0: as ever */
    unsigned units;

    /* Is there such a back end already?  NULL: no */
    bool (*has_backend)(MachineConfigBackendKind kind, const char *id);

    /*
     * Which type a property of a device has, in QOM's words; NULL if it has
     * none of that name.  The function may be NULL: types are not known.
     */
    const char *(*property_type)(const char *driver, const char *property);
} MachinePlanSide;

/**
 * machine_plan: the command line that makes a machine
 *
 * @config: the machine
 * @side: what is there already
 * @errp: set if something that leads to the host is neither given nor trusted;
 *        it lists all of that, as options to add
 *
 * What was given stays out of it.  The first element is not the name of a
 * program, and none of them leads to a file, network or device of the host
 * unless @side says that this machine is trusted.
 *
 * Returns: the arguments, which the caller frees, or %NULL with @errp set.
 */
GPtrArray *machine_plan(MachineConfig *config, const MachinePlanSide *side,
                        Error **errp);

/**
 * machine_plan_to_shell: arguments as one line for a shell
 *
 * Returns: the line, which the caller frees.
 */
char *machine_plan_to_shell(const GPtrArray *arguments);

/**
 * machine_option_parse: what an option's value says
 *
 * @value: 'a,b=c' with doubled commas inside, or a JSON object
 * @implied: the name of a first member that has none, or %NULL
 *
 * Returns: the members, all of them strings if it was no JSON; empty if it
 * cannot be understood.  The caller has the only reference.
 */
QDict *machine_option_parse(const char *value, const char *implied);

/* Members of an option of the board; one that has more is none of QEMU's */
#define MACHINE_OPTION_MEMBERS_MAX 64

/**
 * machine_option_words: the same for an option that is never JSON
 *
 * Of one with more than %MACHINE_OPTION_MEMBERS_MAX members the rest is one
 * without a name, so that nobody knows it.
 */
QDict *machine_option_words(const char *value, const char *implied);

/* What leads to the host: migration/config/reach.c */

/* Can a back end be made on the word of a machine that arrives? */
bool machine_backend_is_harmless(const MachineConfigBackend *backend);

/*
 * Does a device's property lead to the host, if it has this value?
 *
 * @type: of the property in QOM's words, or %NULL if it is not known
 */
bool machine_property_reaches_host(const char *property, const char *type,
                                   const QObject *value);

/* Does it open no more than every accelerator does? */
bool machine_accelerator_is_harmless(const char *name);

/* Does a device lead to the host, whatever its properties say? */
bool machine_driver_reaches_host(const char *driver);

/* Does a property of the machine name a file? */
bool machine_board_property_reaches_host(const char *property);

/* What can be done with an option that belongs to the board */
typedef enum MachineOptionReach {
    MACHINE_OPTION_UNKNOWN,     /* there is no such option */
    MACHINE_OPTION_HARMLESS,
    MACHINE_OPTION_REACHES_HOST,
} MachineOptionReach;

MachineOptionReach machine_option_reach(const char *option, const char *value);

#endif
