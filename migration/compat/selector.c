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
#include "migration/misc.h"
#include "migration/qemu-file.h"

#define VERSION_LEGACY 3

/* The properties of the migration object, and the parameter */

static void get_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    int64_t *ptr = object_field_prop_ptr(obj, opaque);

    visit_type_int64(v, name, ptr, errp);
}

static void set_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    int64_t *ptr = object_field_prop_ptr(obj, opaque);
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
    object_property_set_default_int(op, prop->defval.i);
}

const PropertyInfo qdev_prop_stream_version = {
    .name = "int",
    .description = "version of the migration stream, 3 or 4",
    .get = get_stream_version,
    .set = set_stream_version,
    .set_default_value = set_default_stream_version,
};

static bool migration_runs(void)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    return !migration_is_idle() || mis->from_src_file ||
           mis->state == MIGRATION_STATUS_POSTCOPY_PAUSED;
}

bool migration_stream_check_version(int64_t version, Error **errp)
{
    if (version != VERSION_LEGACY && version != STREAM_VERSION) {
        error_setg(errp, "Parameter 'stream-version' takes a version of the "
                   "migration stream, %d or %d", VERSION_LEGACY,
                   STREAM_VERSION);
        return false;
    }
    if (version != migrate_get_current()->parameters.stream_version &&
        migration_runs()) {
        error_setg(errp, "Parameter 'stream-version' cannot be changed while "
                   "a migration runs");
        return false;
    }
    return true;
}

/* Files */

static bool selected_v4(void)
{
    return migrate_get_current()->parameters.stream_version == STREAM_VERSION;
}

static QEMUFile *new_file(QIOChannel *ioc, bool outgoing)
{
    return outgoing ? qemu_file_new_output(ioc) : qemu_file_new_input(ioc);
}

static QEMUFile *new_stream(QIOChannel *ioc, bool outgoing, StreamIndex *index)
{
    g_autoptr(StreamChannel) sc = stream_channel_new(ioc, outgoing);

    stream_channel_set_index(sc, index);
    return new_file(QIO_CHANNEL(sc), outgoing);
}

/*
 * A connection of a migration.  @kept holds on to the index of the stream, so
 * that another connection can continue the stream.
 */
static QEMUFile *new_connection(QIOChannel *ioc, bool outgoing, bool resumed,
                                StreamIndex **kept)
{
    if (!selected_v4()) {
        migration_stream_start(NULL);
        return new_file(ioc, outgoing);
    }
    if (resumed) {
        stream_index_resume(*kept);
    } else {
        stream_index_unref(*kept);
        *kept = stream_index_new();
        migration_stream_start(*kept);
    }
    return new_stream(ioc, outgoing, *kept);
}

QEMUFile *migration_stream_output(QIOChannel *ioc)
{
    static StreamIndex *index;
    int state = migrate_get_current()->state;

    return new_connection(ioc, true, state == MIGRATION_STATUS_POSTCOPY_PAUSED,
                          &index);
}

QEMUFile *migration_stream_input(QIOChannel *ioc)
{
    static StreamIndex *index;
    int state = migration_incoming_get_current()->state;

    return new_connection(ioc, false,
                          state == MIGRATION_STATUS_POSTCOPY_PAUSED, &index);
}

QEMUFile *migration_stream_snapshot(QIOChannel *ioc, bool saving)
{
    g_autoptr(StreamIndex) index = NULL;

    return new_connection(ioc, saving, false, &index);
}

static QEMUFile *new_pages(QIOChannel *ioc, bool outgoing)
{
    g_autoptr(StreamChannel) sc = NULL;

    if (selected_v4()) {
        sc = stream_channel_new(ioc, outgoing);
        sc->message = STREAM_RECORD_PAGES;
        ioc = QIO_CHANNEL(sc);
    }
    return new_file(ioc, outgoing);
}

QEMUFile *migration_stream_pages_output(QIOChannel *ioc)
{
    return new_pages(ioc, true);
}

QEMUFile *migration_stream_pages_input(QIOChannel *ioc)
{
    return new_pages(ioc, false);
}

bool migration_stream_check(const char *uri, Error **errp)
{
    if (!selected_v4() || !strstart(uri, "rdma:", NULL)) {
        return true;
    }
    error_setg(errp, "Migration stream version 4 cannot go over 'rdma', which "
               "puts pages into the destination's memory without a record "
               "that could be checked; for that, set the migration parameter "
               "'stream-version' to 3 on both sides");
    return false;
}
