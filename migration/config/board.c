/*
 * The board and the CPUs of the machine as it stands
 *
 * Implements "The board" and "CPUs" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/qdev-properties.h"
#include "qapi/qmp/qbool.h"
#include "qapi/util.h"
#include "qemu/accel.h"
#include "qemu/config-file.h"
#include "qemu/option.h"
#include "qom/qom-qobject.h"
#include "collect-parts.h"

/* What follows from the CPU's place, or is about how QEMU goes about it */
static const char *const not_of_the_model[] = {
    "apic-id", "check", "core-id", "die-id", "enforce", "hotplugged",
    "node-id", "realized", "socket-id", "start-powered-off", "thread-id",
    "vmstate-version",
};

static bool add_global(void *tail, QemuOpts *opts, Error **errp)
{
    const char *driver = qemu_opt_get(opts, "driver");
    const char *property = qemu_opt_get(opts, "property");
    MachineConfigGlobal *global;

    /* How a machine is moved is no part of it */
    if (strcmp(driver, "migration") && strcmp(property, "vmstate-version")) {
        global = g_new0(MachineConfigGlobal, 1);
        global->driver = g_strdup(driver);
        global->property = g_strdup(property);
        global->value = g_strdup(qemu_opt_get(opts, "value"));
        QAPI_LIST_APPEND(*(MachineConfigGlobalList ***)tail, global);
    }
    return true;
}

static int take_global(void *tail, QemuOpts *opts, Error **errp)
{
    return add_global(tail, opts, errp) ? 0 : -1;
}

/* Without as many parts, each with a '-' before it, as types have at the end */
static char *without_parts(const char *type, int parts)
{
    char *name = g_strdup(type);

    while (parts--) {
        char *last = strrchr(name, '-');

        if (last) {
            *last = 0;
        }
    }
    return name;
}

MachineConfigBoard *machine_collect_board(MachineTypes *types)
{
    MachineConfigBoard *board = g_new0(MachineConfigBoard, 1);
    MachineClass *mc = MACHINE_GET_CLASS(current_machine);
    MachineConfigGlobalList **tail = &board->globals;
    MachineProperties properties;

    board->type = g_strdup(mc->name);
    board->has_guest_type = mc->guest_name;
    board->guest_type = g_strdup(mc->guest_name);
    board->accelerator =
        without_parts(object_get_typename(OBJECT(current_accel())), 1);
    machine_properties_read(types, OBJECT(current_machine), NULL, NULL,
                            &properties);
    machine_properties_hide(QOBJECT(properties.host));
    board->properties = QOBJECT(properties.guest);
    board->host_properties = QOBJECT(properties.host);
    board->set = properties.set;
    qemu_opts_foreach(qemu_find_opts("global"), take_global, &tail, NULL);
    board->numa = machine_collect_numa();
    return board;
}

static bool is_of_the_model(const ObjectProperty *property)
{
    if (!property->get || !property->set || property->resolve) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(not_of_the_model); i++) {
        if (!strcmp(property->name, not_of_the_model[i])) {
            return false;
        }
    }
    return true;
}

/* Settings are in the class's table; features are not */
static bool is_setting(ObjectClass *class, const char *name)
{
    for (; class && object_class_dynamic_cast(class, TYPE_DEVICE);
         class = object_class_get_parent(class)) {
        const Property *p = DEVICE_CLASS(class)->props_;

        for (; p && p->name; p++) {
            if (!strcmp(p->name, name)) {
                return true;
            }
        }
    }
    return false;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

static void read_model(Object *cpu, MachineConfigCpu *config)
{
    g_autoptr(GPtrArray) features = g_ptr_array_new();
    QDict *values = qobject_to(QDict, config->properties);
    ObjectPropertyIterator iter;
    ObjectProperty *property;

    object_property_iter_init(&iter, cpu);
    while ((property = object_property_iter_next(&iter))) {
        QObject *value = is_of_the_model(property) ?
            object_property_get_qobject(cpu, property->name, NULL) : NULL;
        QBool *on = qobject_to(QBool, value);

        if (on && !is_setting(object_get_class(cpu), property->name)) {
            if (qbool_get_bool(on)) {
                g_ptr_array_add(features, property->name);
            }
            qobject_unref(value);
        } else if (value) {
            qdict_put_obj(values, property->name, value);
        }
    }
    qsort(features->pdata, features->len, sizeof(features->pdata[0]),
          compare_names);
    for (guint i = features->len; i; i--) {
        QAPI_LIST_PREPEND(config->features, g_strdup(features->pdata[i - 1]));
    }
}

MachineConfigCpu *machine_collect_cpu(void)
{
    MachineConfigCpu *config = g_new0(MachineConfigCpu, 1);
    const char *type = current_machine->cpu_type;
    const char *noted = machine_noted_cpu();
    const char *options = noted ? strchr(noted, ',') : NULL;

    config->properties = QOBJECT(qdict_new());
    config->model = noted ? g_strndup(noted, strcspn(noted, ","))
                          : without_parts(type ?: "none", 2);
    config->has_options = options;
    config->options = options ? g_strdup(options + 1) : NULL;
    if (first_cpu) {
        read_model(OBJECT(first_cpu), config);
    }
    return config;
}
