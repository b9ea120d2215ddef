/*
 * Which version of the migration stream is spoken
 *
 * Implements "Versions" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/qdev-properties.h"
#include "migration/compat/selector.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"

#define VERSION_LEGACY 3

/* Modes that bring records of their own, which version 4 has not taken in */
static const MigrationCapability legacy_capabilities[] = {
    MIGRATION_CAPABILITY_POSTCOPY_RAM,
    MIGRATION_CAPABILITY_DIRTY_BITMAPS,
    MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT,
    MIGRATION_CAPABILITY_X_COLO,
};

static void get_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    uint32_t *ptr = object_field_prop_ptr(obj, opaque);

    visit_type_uint32(v, name, ptr, errp);
}

static void set_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    uint32_t *ptr = object_field_prop_ptr(obj, opaque);
    int64_t value = -1;

    /* What isn't even a number gets the same answer */
    visit_type_int64(v, name, &value, NULL);
    if (value != VERSION_LEGACY && value != STREAM_VERSION) {
        error_setg(errp, "Property '%s.%s' takes a version of the migration "
                   "stream, %d or %d", object_get_typename(obj), name,
                   VERSION_LEGACY, STREAM_VERSION);
        return;
    }
    *ptr = value;
}

static void set_default_stream_version(ObjectProperty *op,
                                       const Property *prop)
{
    object_property_set_default_uint(op, prop->defval.u);
}

const PropertyInfo qdev_prop_stream_version = {
    .name = "uint32",
    .description = "version of the migration stream, 3 or 4",
    .get = get_stream_version,
    .set = set_stream_version,
    .set_default_value = set_default_stream_version,
};

static bool selected_v4(void)
{
    return migrate_get_current()->stream_version == STREAM_VERSION;
}

static QEMUFile *new_file(QIOChannel *ioc, bool outgoing)
{
    g_autoptr(StreamChannel) sc = NULL;

    if (selected_v4()) {
        sc = stream_channel_new(ioc, outgoing);
        ioc = QIO_CHANNEL(sc);
    }
    migration_stream_start(!sc ? NULL : outgoing ?
                           stream_writer_index(sc->writer) :
                           stream_reader_index(sc->reader));
    return outgoing ? qemu_file_new_output(ioc) : qemu_file_new_input(ioc);
}

QEMUFile *migration_stream_output(QIOChannel *ioc)
{
    return new_file(ioc, true);
}

QEMUFile *migration_stream_input(QIOChannel *ioc)
{
    return new_file(ioc, false);
}

bool migration_stream_check(const char *uri, Error **errp)
{
    MigrationState *s = migrate_get_current();

    if (!selected_v4()) {
        return true;
    }
    for (int i = 0; i < ARRAY_SIZE(legacy_capabilities); i++) {
        MigrationCapability cap = legacy_capabilities[i];

        if (s->enabled_capabilities[cap]) {
            error_setg(errp, "Migration stream version 4 cannot do '%s'; for "
                       "that, start both sides with "
                       "-global migration.stream-version=3",
                       MigrationCapability_str(cap));
            return false;
        }
    }
    if (strstart(uri, "rdma:", NULL)) {
        error_setg(errp, "Migration stream version 4 cannot go over 'rdma'; "
                   "for that, start both sides with "
                   "-global migration.stream-version=3");
        return false;
    }
    return true;
}
