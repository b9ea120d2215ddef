/*
 * What this QEMU says of itself before a guest moves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_COLLECT_H
#define MIGRATION_COMPAT_COLLECT_H

#include "migration/compat/facts.h"

/* The feature of a destination that answers for the guest, and is answered */
#define MIGRATION_FEATURE_HAND_OVER "hand-over"

/**
 * migration_facts_collect: what this QEMU says of itself
 *
 * Asks every device what it would send now, without preparing it for that: a
 * subsection whose need only shows then is given as not needed; and while a
 * guest comes in, there is nothing that could be sent.  Registers
 * that an accelerator has are not fetched: of a guest that runs in KVM, those
 * count that QEMU knew last.  Nothing is changed.
 *
 * Called with the BQL held.
 *
 * Returns: the facts, which the caller frees; a token is not among them.
 */
MigrationFacts *migration_facts_collect(void);

/**
 * migration_facts_add_details: say of each device what the other side need not
 * know
 *
 * Where it is in QOM, why it is saved at its version, and how large its state
 * is if that can be told: a device is prepared for being saved, as it would be
 * while the guest is stopped.
 *
 * @facts: of this QEMU, as collected
 *
 * Called with the BQL held.
 */
void migration_facts_add_details(MigrationFacts *facts);

/**
 * migration_facts_collect_loading: what this QEMU can load
 *
 * The same as on a destination, also while a guest is here.
 */
MigrationFacts *migration_facts_collect_loading(void);

/**
 * migration_facts_add_dropped: say that what is to be dropped can be taken
 *
 * @facts: of this destination
 * @source: what the source says of itself
 */
void migration_facts_add_dropped(MigrationFacts *facts,
                                 const MigrationFacts *source);

/* "info vmstate" */
void hmp_info_vmstate(Monitor *mon, const QDict *qdict);

#endif
