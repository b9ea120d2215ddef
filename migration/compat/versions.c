/*
 * At which version each state is saved, if nobody on the other side objects
 *
 * The monitor, the command line and the machine type may ask for an older one
 * than the newest.  Implements "How a version is asked for" of
 * docs/devel/migration-v4/versions.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration-facts.h"
#include "qapi/qmp/qdict.h"
#include "hw/boards.h"
#include "hw/vmstate-version.h"
#include "migration/compat/selector.h"
#include "migration/compat/versions.h"
#include "migration/stream/older.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "trace.h"

/* The machine type whose versions the monitor has asked for, or NULL */
static char *as_machine;

static const char *guest_machine(void)
{
    MachineClass *mc = MACHINE_GET_CLASS(current_machine);

    return mc->guest_name ?: mc->name;
}

/* Whose own state it is, if it is a device's */
static DeviceState *device_of(const SavevmEntry *entry)
{
    DeviceState *dev = entry->obj
        ? (DeviceState *)object_dynamic_cast(OBJECT(entry->obj), TYPE_DEVICE)
        : NULL;

    return dev && dev == entry->opaque && qdev_get_vmsd(dev) == entry->vmsd
        ? dev : NULL;
}

uint32_t migration_saved_version(const SavevmEntry *entry,
                                 VmstateSavedWhy *why)
{
    DeviceState *dev = device_of(entry);
    VmstateSavedWhy ignored;
    int version = -1;

    why = why ?: &ignored;
    *why = VMSTATE_SAVED_WHY_MONITOR;
    if (entry->asked->is_set) {
        return entry->asked->version_id;
    }
    if (as_machine && dev) {
        version = machine_vmstate_version(as_machine, OBJECT(dev));
    }
    if (version < 0 && dev && dev->vmstate_version >= 0) {
        version = dev->vmstate_version;
        *why = version == machine_vmstate_version(guest_machine(), OBJECT(dev))
            ? VMSTATE_SAVED_WHY_MACHINE_TYPE : VMSTATE_SAVED_WHY_PROPERTY;
    }
    if (version < 0) {
        *why = VMSTATE_SAVED_WHY_NEWEST;
        version = entry->version_id;
    }
    return version;
}

/* The monitor: which device */

typedef struct Search {
    const char *name;           /* of a section, or a path in QOM */
    bool has_instance;
    uint32_t instance;
    SavevmEntry found;
    unsigned n;
} Search;

static bool is_at(const SavevmEntry *entry, const char *path)
{
    DeviceState *dev = device_of(entry);
    g_autofree char *at = dev ? object_get_canonical_path(OBJECT(dev)) : NULL;

    return !g_strcmp0(at, path);
}

static void look(const SavevmEntry *entry, void *arg)
{
    Search *search = arg;

    if ((!strcmp(entry->name, search->name) || is_at(entry, search->name)) &&
        (!search->has_instance || entry->instance_id == search->instance)) {
        search->found = *entry;
        search->n++;
    }
}

static void set_device(Search *search, SavevmAsked asked, Error **errp)
{
    g_autofree char *what = NULL;

    qemu_savevm_foreach(look, search);
    if (!search->n) {
        error_setg(errp, "there is no device '%s' whose state is saved",
                   search->name);
        error_append_hint(errp, "'query-vmstate' lists those that there "
                          "are.\n");
        return;
    }
    if (search->n > 1) {
        error_setg(errp, "there are %u devices '%s', with different instances",
                   search->n, search->name);
        return;
    }
    what = g_strdup_printf("device '%s' (instance %" PRIu32 ")",
                           search->found.name, search->found.instance_id);
    if (asked.is_set && !vmstate_version_check(search->found.vmsd,
                                               asked.version_id, what, errp)) {
        return;
    }
    trace_migration_version_asked(search->found.name,
                                  search->found.instance_id, asked.is_set,
                                  asked.version_id);
    *search->found.asked = asked;
}

/* The monitor: which machine type */

static MachineClass *find_machine(const char *name)
{
    GSList *machines = object_class_get_list(TYPE_MACHINE, false);
    MachineClass *found = NULL;

    for (GSList *m = machines; m && !found; m = m->next) {
        MachineClass *mc = m->data;

        if (!g_strcmp0(mc->name, name) || !g_strcmp0(mc->alias, name)) {
            found = mc;
        }
    }
    g_slist_free(machines);
    return found;
}

static void set_as(const char *name, Error **errp)
{
    const MachineClass *mc = find_machine(name);
    const char *ours = guest_machine(), *theirs;
    size_t family, asked_family;
    unsigned release, asked;

    if (!mc) {
        error_setg(errp, "there is no machine type '%s'", name);
        return;
    }
    theirs = mc->guest_name ?: mc->name;
    if (!machine_type_release(ours, &family, &release) ||
        !machine_type_release(theirs, &asked_family, &asked) ||
        family != asked_family || strncmp(ours, theirs, family)) {
        error_setg(errp, "machine type '%s' is not of the family of '%s', "
                   "which this machine is", theirs, ours);
        return;
    }
    if (asked > release) {
        error_setg(errp, "machine type '%s' is newer than '%s', which this "
                   "machine is", theirs, ours);
        return;
    }
    trace_migration_version_as(theirs);
    g_free(as_machine);
    as_machine = asked < release ? g_strdup(theirs) : NULL;
}

void qmp_migrate_set_vmstate_version(bool has_device, const char *device,
                                     bool has_instance, uint32_t instance,
                                     bool has_version, uint32_t version,
                                     bool has_as, const char *as, Error **errp)
{
    Search search = {
        .name = device,
        .has_instance = has_instance,
        .instance = instance,
    };

    if (has_device == has_as) {
        error_setg(errp, "expected either a device or a machine type");
    } else if (has_as && (has_instance || has_version)) {
        error_setg(errp, "a machine type goes without an instance and a "
                   "version");
    } else if (migration_stream_runs()) {
        error_setg(errp, "versions cannot be changed while a migration runs");
    } else if (has_as) {
        set_as(as, errp);
    } else {
        set_device(&search, (SavevmAsked) { has_version, version }, errp);
    }
}

void hmp_migrate_set_vmstate_version(Monitor *mon, const QDict *qdict)
{
    bool as = qdict_get_try_bool(qdict, "as", false);
    const char *name = qdict_get_str(qdict, "name");
    bool has_instance = qdict_haskey(qdict, "instance");
    bool has_version = qdict_haskey(qdict, "version");
    Error *err = NULL;

    qmp_migrate_set_vmstate_version(!as, name, has_instance,
                                    qdict_get_try_int(qdict, "instance", 0),
                                    has_version,
                                    qdict_get_try_int(qdict, "version", 0),
                                    as, name, &err);
    hmp_handle_error(mon, err);
}
