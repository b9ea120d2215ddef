/*
 * The machine as it stands, to people and programs
 *
 * Implements "Commands" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-commands-machine-config.h"
#include "migration/config/adopt.h"
#include "migration/config/collect.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"

MachineConfig *qmp_query_machine_config(Error **errp)
{
    return machine_adopt_waiting() ? machine_adopt_query(errp)
                                   : machine_config_collect();
}

void qmp_set_machine_cookie(bool has_cookie, const char *cookie, Error **errp)
{
    machine_config_set_cookie(has_cookie ? cookie : NULL, errp);
}

static void print_device(Monitor *mon, const MachineConfigDevice *device)
{
    int depth = 0;

    /* A bus and what is on it */
    for (const char *at = device->path; (at = strchr(at + 1, '/'));) {
        depth++;
    }
    monitor_printf(mon, "%*s%s", (depth / 2 + 1) * 2, "", device->driver);
    if (device->has_id) {
        monitor_printf(mon, " '%s'", device->id);
    }
    if (device->has_address) {
        monitor_printf(mon, " at %s", device->address);
    }
    if (device->has_bus) {
        monitor_printf(mon, " on %s", device->bus);
    }
    monitor_printf(mon, "%s\n", device->has_hotplugged ? ", plugged in" : "");
}

/* As a tree: what is below a path comes right behind it */
static int compare_paths(const void *a, const void *b)
{
    const MachineConfigDevice *const *x = a, *const *y = b;
    const char *p = (*x)->path, *q = (*y)->path;

    while (*p && *p == *q) {
        p++;
        q++;
    }
    return (*p == '/' ? 1 : (unsigned char)*p) -
           (*q == '/' ? 1 : (unsigned char)*q);
}

static void print_devices(Monitor *mon, const MachineConfigDeviceList *l)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new();

    for (; l; l = l->next) {
        g_ptr_array_add(devices, l->value);
    }
    qsort(devices->pdata, devices->len, sizeof(devices->pdata[0]),
          compare_paths);
    for (guint i = 0; i < devices->len; i++) {
        print_device(mon, devices->pdata[i]);
    }
}

static uint64_t sum_ram(const MachineConfigRamBlockList *l)
{
    uint64_t sum = 0;

    for (; l; l = l->next) {
        sum += l->value->size;
    }
    return sum;
}

void hmp_info_machine_config(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(MachineConfig) config = qmp_query_machine_config(&err);
    g_autoptr(GString) json = NULL;

    if (hmp_handle_error(mon, err)) {
        return;
    }
    json = machine_config_to_json(config);
    monitor_printf(mon, "machine: %s", config->board->type);
    if (config->board->has_guest_type) {
        monitor_printf(mon, ", to the guest %s", config->board->guest_type);
    }
    monitor_printf(mon, "\naccelerator: %s\ncpu: %s%s%s\n",
                   config->board->accelerator, config->cpu->model,
                   config->cpu->has_options ? "," : "",
                   config->cpu->has_options ? config->cpu->options : "");
    monitor_printf(mon, "memory: %" PRIu64 " KiB that travel\n",
                   sum_ram(config->ram_blocks) / KiB);
    monitor_printf(mon, "size: %zu bytes\ndevices:\n", json->len);
    print_devices(mon, config->devices);
}
