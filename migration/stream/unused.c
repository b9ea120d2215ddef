/*
 * Migration stream version 4: whether what is unused is left out
 *
 * Implements "What is unused" of docs/devel/migration-v4/wire-format.rst, for
 * those who save: the property "send-unused" of the migration object, and
 * COLO.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/migration.h"
#include "migration/stream/unused.h"

static bool send_unused;

bool migration_stream_is_whole(void)
{
    return send_unused || migrate_colo_enabled();
}

bool migration_stream_unused(const VMStateDescription *vmsd, void *opaque)
{
    return vmsd->unused && !migration_stream_is_whole() &&
           vmsd->unused(opaque);
}

static bool get_send_unused(Object *obj, Error **errp)
{
    return send_unused;
}

static void set_send_unused(Object *obj, bool value, Error **errp)
{
    send_unused = value;
}

void migration_unused_class_init(ObjectClass *klass)
{
    object_class_property_add_bool(klass, "send-unused", get_send_unused,
                                   set_send_unused);
}
