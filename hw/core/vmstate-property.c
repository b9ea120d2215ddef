/*
 * At which version the state of a device is saved: the property of devices
 *
 * Implements "How a version is asked for" of
 * docs/devel/migration-v4/versions.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/qdev-properties.h"
#include "hw/vmstate-version.h"
#include "migration/stream/older.h"

bool vmstate_version_check(const VMStateDescription *vmsd, uint32_t version,
                           const char *what, Error **errp)
{
    if (!vmsd) {
        error_setg(errp, "%s has no state that is saved at a version of its "
                   "own", what);
        return false;
    }
    if (version < vmstate_minimum_saved(vmsd) || version > vmsd->version_id) {
        error_setg(errp, "%s can be saved at versions %d to %d, not %" PRIu32,
                   what, vmstate_minimum_saved(vmsd), vmsd->version_id,
                   version);
        return false;
    }
    return true;
}

bool device_check_vmstate_version(DeviceState *dev, Error **errp)
{
    g_autofree char *what = NULL;

    if (dev->vmstate_version < 0) {
        return true;
    }
    what = g_strdup_printf("vmstate-version: a device of type '%s'",
                           object_get_typename(OBJECT(dev)));
    return vmstate_version_check(qdev_get_vmsd(dev), dev->vmstate_version,
                                 what, errp);
}

static void get_version(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    int32_t version = DEVICE(obj)->vmstate_version;

    visit_type_int32(v, name, &version, errp);
}

static void set_version(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    DeviceState *dev = DEVICE(obj);
    int32_t version;

    if (dev->realized) {
        qdev_prop_set_after_realize(dev, name, errp);
    } else if (visit_type_int32(v, name, &version, errp)) {
        /* A negative one is none that could be saved, but for -1 */
        dev->vmstate_version = MAX(version, -1);
    }
}

void device_class_add_vmstate_version(ObjectClass *class)
{
    object_class_property_add(class, "vmstate-version", "int32", get_version,
                              set_version, NULL, NULL);
    object_class_property_set_description(class, "vmstate-version",
        "Version that its state is saved at in a migration, -1 for the newest");
}
