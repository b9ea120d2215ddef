/*
 * The parts of the comparison of two machines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_COMPARE_PARTS_H
#define MIGRATION_CONFIG_COMPARE_PARTS_H

#include "migration/config/compare.h"
#include "migration/config/config.h"

/* A comparison of two machines */
typedef struct Comparison {
    MachineConfig *source;
    MachineConfig *destination;
    GPtrArray *found;           /* of MachineDifference */
} Comparison;

/* What a difference matters; the guest can notice all that are noted */
typedef enum Weight {
    WEIGHT_REMARK,              /* it runs on all the same */
    WEIGHT_FATAL,
} Weight;

/**
 * compare_note: note a difference
 *
 * @device: that it is about, NULL if it is about none; its path and id are the
 * source's if the source has it
 * @property: taken, as are the three below
 * @source: what it is there, as JSON, NULL if it is not there
 * @destination: likewise
 * @advice: NULL if there is none
 */
void compare_note(Comparison *c, const MachineConfigDevice *device,
                  Weight weight, char *property, char *source,
                  char *destination, char *advice);

/* How much a value that differs matters, by the name of what has it */
typedef Weight CompareWeight(const char *name);

/* What to give to the destination for a value, to be freed */
typedef char *CompareAdvice(const Comparison *c,
                            const MachineConfigDevice *device,
                            const char *name, const QObject *value);

/**
 * compare_members: note each member in which two objects differ
 *
 * @prefix: of what the members are called, with a dot at its end, or ""
 * @source: an object with any members
 * @destination: likewise
 * @skip: names that are looked at elsewhere, NULL behind them; or NULL
 * @weight: NULL: what differs is fatal
 * @advice: NULL: there is none
 *
 * One that only one side has is remarked: the other side is of a version that
 * does not know it.
 */
void compare_members(Comparison *c, const MachineConfigDevice *device,
                     const char *prefix, const QObject *source,
                     const QObject *destination, const char *const *skip,
                     CompareWeight *weight, CompareAdvice *advice);

/* A value as JSON, to be freed; NULL for NULL */
char *compare_value(const QObject *value);

/* A value as an option takes it, quoted for a shell; to be freed */
char *compare_option(const QObject *value);

/* Is a name among those before a NULL?  @names may be NULL */
bool compare_listed(const char *const *names, const char *name);

/**
 * compare_shown_options: what to do about a device of the board
 *
 * @reverse: the destination has it, and the source does not
 *
 * Returns: the options that one side was given and the other was not, of those
 * that make devices; to be freed.  NULL if there are none.
 */
char *compare_shown_options(const Comparison *c, bool reverse);

/* Has the source devices of that kind, which its guest has not used? */
bool compare_is_unused(const Comparison *c, const char *driver);

/* All about devices, and what stands behind them */
void compare_devices(Comparison *c);

/**
 * compare_backends: what the guest can notice of what stands behind something
 *
 * @source: host properties, of which some lead to back ends
 * @destination: likewise
 */
void compare_backends(Comparison *c, const MachineConfigDevice *device,
                      const QObject *source, const QObject *destination);

#endif
