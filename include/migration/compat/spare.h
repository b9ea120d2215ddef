/*
 * Which of the subsections in a file are loaded
 *
 * A file has more than its guest needs.  Of each structure a reader takes the
 * largest combination that is valid for it, that has all that is needed, and
 * that it can load.  Implements "The choice" of
 * docs/devel/migration-v4/snapshots.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_SPARE_H
#define MIGRATION_COMPAT_SPARE_H

#include "migration/compat/combinations.h"
#include "migration/compat/facts.h"

/**
 * migration_spare_choose: the subsections of a structure that are loaded
 *
 * @c: which are valid; %NULL if any are
 * @needed: what has to be loaded
 * @available: what else is stored and can be
 * @set: where they go
 *
 * Returns: %false if there is no such combination.
 */
bool migration_spare_choose(const Combinations *c, uint64_t needed,
                            uint64_t available, uint64_t *set);

/**
 * migration_spare_check: is there a choice for all that a file has?
 *
 * @file: what the file says of itself; its parts are marked as usable where
 * they are
 * @here: what this side can load
 * @errp: names the first %MIGRATION_SPARE_SHOWN structures for which there is
 * none, with what they need, and the combinations of both sides
 *
 * A device that this side does not have is passed over, and so is what a
 * subsection saves by hand.
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_spare_check(MigrationFacts *file, const MigrationFacts *here,
                           Error **errp);

/* How many refusals are shown in words */
#define MIGRATION_SPARE_SHOWN 8

#endif
