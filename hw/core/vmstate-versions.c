/*
 * At which version the state of a device is saved: what releases had
 *
 * A machine type saves a device's state at the version that it was of in the
 * release that the type is named after.  Implements "Machine types" of
 * docs/devel/migration-v4/versions.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/ctype.h"
#include "qemu/cutils.h"
#include "hw/boards.h"
#include "hw/vmstate-version.h"

/*
 * Up to that release at least, the driver's state was of that version; of one
 * driver, the newest release comes first.  What changed before the oldest
 * machine types that there are does not matter here.
 */
static const VMStateRelease releases[] = {
    /* No register SBCL */
    { "2.8", "lsi53c895a", "0" },
    /* No count of multicast packets */
    { "1.6", "rtl8139", "4" },
    { }
};

const VMStateRelease *machine_vmstate_releases(void)
{
    return releases;
}

/*
 * A number that is larger the newer the release is that @text begins with,
 * such as 7002000 for "7.2-v4"; 0 if it begins with none.
 */
static unsigned parse_release(const char *text)
{
    unsigned parts[3] = { 0 }, n = 0;
    const char *end = text;

    do {
        if (!qemu_isdigit(*text) ||
            qemu_strtoui(text, &end, 10, &parts[n]) || parts[n++] > 999) {
            return 0;
        }
        text = end + 1;
    } while (*end == '.' && n < ARRAY_SIZE(parts));
    return n > 1 && (!*end || *end == '-')
        ? (parts[0] * 1000 + parts[1]) * 1000 + parts[2] : 0;
}

/* Stable releases have the versions of the release that they come from */
static bool is_of(const VMStateRelease *r, unsigned release)
{
    return release / 1000 <= parse_release(r->release) / 1000;
}

bool machine_type_release(const char *machine, size_t *family,
                          unsigned *release)
{
    for (const char *at = strchr(machine, '-'); at; at = strchr(at, '-')) {
        *family = at++ - machine;
        *release = parse_release(at);
        if (*release) {
            return true;
        }
    }
    return false;
}

void machine_class_add_vmstate_versions(MachineClass *mc)
{
    size_t family;
    unsigned release;

    if (!machine_type_release(mc->name, &family, &release)) {
        return;
    }
    /* What is added later wins: the older a release, the later it comes */
    for (const VMStateRelease *r = releases; r->driver; r++) {
        if (is_of(r, release)) {
            GlobalProperty prop = { r->driver, "vmstate-version", r->version };

            compat_props_add(mc->compat_props,
                             g_memdup2(&prop, sizeof(prop)), 1);
        }
    }
}

int machine_vmstate_version(const char *machine, Object *device)
{
    int version = -1;
    size_t family;
    unsigned release;

    if (!machine_type_release(machine, &family, &release)) {
        return version;
    }
    for (const VMStateRelease *r = releases; r->driver; r++) {
        if (is_of(r, release) && object_dynamic_cast(device, r->driver)) {
            version = atoi(r->version);
        }
    }
    return version;
}
