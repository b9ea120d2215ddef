/*
 * The agreement of the migration that runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_AGREEMENT_H
#define MIGRATION_COMPAT_AGREEMENT_H

#include "migration/compat/negotiate.h"

/**
 * migration_agreement_set: save as was agreed from now on
 *
 * @agreement: has to stay until another or NULL is set; with NULL all is saved
 * at its newest
 *
 * Called with the BQL held, while no state is being saved.
 */
void migration_agreement_set(const MigrationAgreement *agreement);

/**
 * migration_agreement_version: at which version a device is saved
 *
 * @version: that it is saved at without an agreement
 *
 * Called with the BQL held.
 */
int migration_agreement_version(const char *device, uint32_t instance_id,
                                int version);

#endif
