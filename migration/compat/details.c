/*
 * What this QEMU says of its devices to people and programs alone
 *
 * Implements "Details" of docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "io/channel-null.h"
#include "hw/qdev-core.h"
#include "migration/compat/collect.h"
#include "migration/compat/selector.h"
#include "migration/compat/versions.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
#include "migration/stream/channel.h"
#include "migration/stream/unused.h"
#include "migration/stream/vmstate.h"
#include "migration/vmstate.h"
#include "sysemu/runstate.h"

/* A guest that stands still, and could be saved as it stands */
static bool can_be_measured(void)
{
    return phase_check(PHASE_MACHINE_READY) && !runstate_is_running() &&
           !runstate_check(RUN_STATE_INMIGRATE) &&
           !runstate_check(RUN_STATE_RESTORE_VM) &&
           !migration_stream_runs() && !migration_is_blocked(NULL);
}

/* Saves it to nowhere; 0 if that cannot be done */
static uint64_t size_of(const SavevmEntry *entry)
{
    g_autoptr(StreamChannel) sc = NULL;
    QIOChannelNull *nowhere = qio_channel_null_new();
    StreamIdent ident = { .instance_id = entry->instance_id };
    QEMUFile *f;
    uint64_t size = 0;
    int ret;

    sc = stream_channel_new(QIO_CHANNEL(nowhere), true);
    f = qemu_file_new_output(QIO_CHANNEL(sc));
    pstrcpy(ident.name, sizeof(ident.name), entry->name);
    ident.version_id =
        migration_stream_choose_section(f, entry->name, entry->instance_id,
                                        migration_saved_version(entry, NULL));
    if (stream_writer_preamble(sc->writer, NULL)) {
        uint64_t before = stream_writer_bytes(sc->writer);

        stream_writer_begin(sc->writer, STREAM_RECORD_SECTION_FULL, 0, 0,
                            &ident);
        ret = vmstate_save_state_v(f, entry->vmsd, entry->opaque, NULL,
                                   ident.version_id);
        qemu_fflush(f);
        if (!ret && !qemu_file_get_error(f) &&
            stream_writer_end(sc->writer, NULL)) {
            size = stream_writer_bytes(sc->writer) - before;
        }
    }
    qemu_fclose(f);
    object_unref(OBJECT(nowhere));
    return size;
}

typedef struct Details {
    MigrationFacts *facts;
    unsigned n;                 /* of the device */
    bool measured;
} Details;

static void add_details(const SavevmEntry *entry, void *arg)
{
    Details *details = arg;
    MigrationDeviceFacts *device =
        details->facts->devices->pdata[details->n++];
    VmstateSavedWhy why;

    device->state.has_saved = true;
    device->state.saved = migration_saved_version(entry, &why);
    device->saved_why = VmstateSavedWhy_str(why);
    if (entry->obj) {
        device->qom_path = object_get_canonical_path(OBJECT(entry->obj));
    }
    if (details->measured && entry->vmsd && device->state.needed) {
        device->size = size_of(entry);
    }
}

void migration_facts_add_details(MigrationFacts *facts)
{
    Details details = { .facts = facts, .measured = can_be_measured() };

    qemu_savevm_foreach(add_details, &details);
}
