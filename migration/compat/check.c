/*
 * Can the state of all devices be saved?
 *
 * Looked at before anything is sent, as far as it can be told then, and told
 * when it could not.  Implements "Before memory is sent" of
 * docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/check.h"
#include "migration/compat/collect.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/stream/record.h"

bool migration_check_devices(Error **errp)
{
    return migrate_get_current()->stream_version != STREAM_VERSION ||
           migration_check_agreed(errp);
}

bool migration_check_agreed(Error **errp)
{
    g_autoptr(MigrationFacts) facts = migration_facts_collect();

    return migration_facts_check(facts, errp);
}

void migration_save_failed(QEMUFile *f)
{
    Error *err = NULL;

    qemu_file_get_error_obj(f, &err);
    if (err) {
        migrate_set_error(migrate_get_current(), err);
        error_free(err);
    }
}
