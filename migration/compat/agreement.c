/*
 * The agreement of the migration that runs, applied to what is saved
 *
 * Implements "What was agreed" of docs/devel/migration-v4/planning.rst: the
 * stream's code asks before each state, and knows nothing of why.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/agreement.h"
#include "migration/migration.h"
#include "migration/stream/vmstate.h"

static const MigrationAgreement *current;

/* A StreamChoose */
static int choose(const char *device, uint32_t instance_id,
                  const char *subsection, int version_id, Error **errp)
{
    const MigrationChoice *choice =
        migration_agreement_device(current, device, instance_id);
    Error *err = NULL;

    if (choice && subsection) {
        choice = migration_choice_subsection(choice, subsection);
    }
    if (!choice || choice->fate == MIGRATION_FATE_SENT) {
        return choice ? MIN((int)choice->version, version_id) : version_id;
    } else if (choice->fate == MIGRATION_FATE_LEFT_OFF) {
        return STREAM_LEAVE_OFF;
    }
    error_setg(&err, "device '%s' (instance %" PRIu32 "): %s%s%s is needed "
               "now, and the destination cannot load it: migrate to a QEMU "
               "that knows it", device, instance_id,
               subsection ? "subsection '" : "its state", subsection ?: "",
               subsection ? "'" : "");
    /* The file has it as well, but is not always asked at the end */
    migrate_set_error(migrate_get_current(), err);
    error_propagate(errp, err);
    return STREAM_LEAVE_OFF;
}

void migration_agreement_set(const MigrationAgreement *agreement)
{
    migration_stream_set_choose(agreement ? choose : NULL);
    current = agreement;
}

int migration_agreement_version(const char *device, uint32_t instance_id,
                                int version)
{
    const MigrationChoice *choice = current
        ? migration_agreement_device(current, device, instance_id) : NULL;

    return choice && choice->fate == MIGRATION_FATE_SENT
        ? MIN((int)choice->version, version) : version;
}
