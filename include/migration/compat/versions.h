/*
 * At which version each state is saved, if nobody on the other side objects
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_VERSIONS_H
#define MIGRATION_COMPAT_VERSIONS_H

#include "migration/savevm.h"
#include "qapi/qapi-types-migration-facts.h"

/**
 * migration_saved_version: at which version is a state saved at most?
 *
 * @why: set to who wants it so, unless it is NULL
 *
 * Called with the BQL held.  It is for version 4 of the stream: in version 3
 * all is saved at its newest.
 */
uint32_t migration_saved_version(const SavevmEntry *entry,
                                 VmstateSavedWhy *why);

/* "migrate_set_vmstate_version" */
void hmp_migrate_set_vmstate_version(Monitor *mon, const QDict *qdict);

#endif
