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

#endif
