/*
 * The sets of subsections that a structure may have
 *
 * What a VMStateDescription's 'combinations' say, applied to what is saved and
 * loaded in version 4.  Implements "Which combinations are valid" of
 * docs/devel/migration-v4/devices.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_WHITELIST_H
#define MIGRATION_COMPAT_WHITELIST_H

#include "migration/compat/combinations.h"
#include "migration/vmstate.h"

/**
 * migration_whitelist: which of a structure's subsections go together
 *
 * Where the description does not say, each of them goes by itself.
 *
 * Returns: the combinations, which stay as they are; %NULL if there are no
 * subsections, or with @errp set if the description is wrong.
 */
const Combinations *migration_whitelist(const VMStateDescription *vmsd,
                                        Error **errp);

/**
 * migration_whitelist_register: look at a description and those inside of it
 *
 * A field whose get() and put() know more structures is not asked: these are
 * looked at when they are first saved or loaded.
 *
 * @errp: with %NULL, a description that is wrong ends the program
 *
 * Returns: %false if one is wrong.
 */
bool migration_whitelist_register(const VMStateDescription *vmsd,
                                  Error **errp);

/**
 * migration_whitelist_needed: which subsections are needed now
 *
 * All are asked, without anything being prepared.
 */
uint64_t migration_whitelist_needed(const VMStateDescription *vmsd,
                                    void *opaque);

/**
 * migration_whitelist_save: which subsections are to be saved
 *
 * On a version 4 file, behind the structure's pre_save().  Those that are
 * needed, but for what was agreed to be left off; together they are valid.
 *
 * @set: where they go
 *
 * Returns: %false if nothing may be saved; the file has the error.
 */
bool migration_whitelist_save(QEMUFile *f, const VMStateDescription *vmsd,
                              void *opaque, uint64_t *set);

/**
 * migration_whitelist_load: is it valid what came?
 *
 * On a version 4 file, behind migration_stream_load_subsections() and before
 * the structure's post_load().
 *
 * Returns: 0, or a negative errno with the reason kept.
 */
int migration_whitelist_load(QEMUFile *f, const VMStateDescription *vmsd);

#endif
