/*
 * Two machines: in what they differ, and whether a guest could notice
 *
 * Implements "Compare" of docs/devel/migration-v4/machine.rst.  Pure: knows no
 * machine but the two that it is given.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_COMPARE_H
#define MIGRATION_CONFIG_COMPARE_H

#include "qapi/qapi-types-machine-config.h"

/* How many differences one message has */
#define MACHINE_DIFFERENCES_SHOWN 16

/**
 * machine_config_compare: in what a machine is not the one it should be
 *
 * @source: the one that a guest comes from
 * @destination: the one that it would run on
 *
 * What only a host can notice is no difference.  What follows from a difference
 * is left out: of a device that is missing, its parts.
 *
 * Returns: the differences, those that are fatal first; to be freed with
 * qapi_free_MachineDifferenceList().
 */
MachineDifferenceList *machine_config_compare(MachineConfig *source,
                                              MachineConfig *destination);

/**
 * machine_difference_to_text: a difference as a sentence
 *
 * Returns: one line without its end, which the caller frees.
 */
char *machine_difference_to_text(const MachineDifference *difference);

/**
 * machine_differences_to_text: differences as lines, the first
 * %MACHINE_DIFFERENCES_SHOWN of them
 *
 * @fatal: only those
 * @most: how long the text may get, in bytes; lines are left out as a whole
 *
 * Returns: the text, each line behind a newline, which the caller frees; empty
 * if there are none.
 */
char *machine_differences_to_text(const MachineDifferenceList *differences,
                                  bool fatal, size_t most);

#endif
