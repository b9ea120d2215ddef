/*
 * At which version the state of a device is saved
 *
 * The property "vmstate-version", and what each release of QEMU had.
 * Implements "How a version is asked for" of
 * docs/devel/migration-v4/versions.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VMSTATE_VERSION_H
#define HW_VMSTATE_VERSION_H

#include "hw/qdev-core.h"

/**
 * device_class_add_vmstate_version: give all devices the property
 *
 * @class: of %TYPE_DEVICE
 */
void device_class_add_vmstate_version(ObjectClass *class);

/**
 * device_check_vmstate_version: can it be saved at the version asked for?
 *
 * @dev: before it is realized
 *
 * Returns: %true, or %false with @errp set to the range that there is.
 */
bool device_check_vmstate_version(DeviceState *dev, Error **errp);

/**
 * vmstate_version_check: can a state be saved at a version?
 *
 * @what: whose state it is, as it stands in @errp
 */
bool vmstate_version_check(const VMStateDescription *vmsd, uint32_t version,
                           const char *what, Error **errp);

/**
 * machine_class_add_vmstate_versions: what the release of a machine type had
 *
 * @mc: has a name and a list of compat_props, which gets the versions
 */
void machine_class_add_vmstate_versions(MachineClass *mc);

/**
 * machine_vmstate_version: at which version a release saved a device's state
 *
 * @machine: name of a machine type
 *
 * Returns: the version, -1 if it is as it is now.
 */
int machine_vmstate_version(const char *machine, Object *device);

/**
 * machine_type_release: which release of QEMU is a machine type of?
 *
 * @family: set to how many bytes of the name stand before the release
 * @release: set to a number that is larger the newer the release is
 *
 * Returns: %false if it is of none.
 */
bool machine_type_release(const char *machine, size_t *family,
                          unsigned *release);

/* A release had a version of a driver's state, and those before it, too */
typedef struct VMStateRelease {
    const char *release;    /* the last one that had it, such as "5.2" */
    const char *driver;
    const char *version;
} VMStateRelease;

/**
 * machine_vmstate_releases: all that is known about that
 *
 * Returns: a list that ends with a @driver of NULL.
 */
const VMStateRelease *machine_vmstate_releases(void);

#endif
