/*
 * What this QEMU says of itself before a guest moves, to people and programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration-facts.h"
#include "qapi/qapi-visit-migration-facts.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qobject-input-visitor.h"
#include "migration/compat/collect.h"
#include "monitor/monitor.h"

/* What is in a hello comes from there, so that neither can be more */
VmstateFacts *qmp_query_vmstate(Error **errp)
{
    g_autoptr(MigrationFacts) facts = migration_facts_collect();
    g_autoptr(GString) json = NULL;
    QObject *object;
    Visitor *v;
    VmstateFacts *result = NULL;

    migration_facts_add_details(facts);
    json = migration_facts_to_json(facts);
    object = qobject_from_json(json->str, &error_abort);
    v = qobject_input_visitor_new(object);
    visit_type_VmstateFacts(v, NULL, &result, errp);
    visit_free(v);
    qobject_unref(object);
    return result;
}

static void print_device(Monitor *mon, const MigrationDeviceFacts *device)
{
    if (device->state.saved < device->state.version) {
        monitor_printf(mon, " (%s)", device->saved_why);
    }
    if (device->size) {
        monitor_printf(mon, ", %" PRIu64 " bytes", device->size);
    }
    if (device->qom_path) {
        monitor_printf(mon, ", %s", device->qom_path);
    }
}

static void print_state(Monitor *mon, const MigrationDeviceFacts *device,
                        const MigrationStateFacts *state, int depth)
{
    monitor_printf(mon, "version %" PRIu32, state->version);
    if (state->minimum_version < state->version) {
        monitor_printf(mon, ", from %" PRIu32 " on", state->minimum_version);
    }
    if (state->has_saved && state->saved < state->version) {
        monitor_printf(mon, ", saved at %" PRIu32, state->saved);
    }
    monitor_printf(mon, "%s%s", state->optional ? ", optional" : "",
                   state->needed ? "" : ", not needed now");
    if (state == &device->state) {
        print_device(mon, device);
    }
    monitor_printf(mon, "\n");
    for (unsigned i = 0; i < state->subsections->len; i++) {
        const MigrationStateFacts *subsection = state->subsections->pdata[i];

        monitor_printf(mon, "%*s%s: ", depth * 4, "", subsection->name);
        print_state(mon, device, subsection, depth + 1);
    }
    for (unsigned i = 0; i < state->combinations->len; i++) {
        const MigrationCombinationFacts *c = state->combinations->pdata[i];
        g_autofree char *valid = combinations_to_text(c->valid);

        monitor_printf(mon, "%*sof %s go together: %s\n", depth * 4, "",
                       c->structure, valid);
    }
}

void hmp_info_vmstate(Monitor *mon, const QDict *qdict)
{
    g_autoptr(MigrationFacts) facts = migration_facts_collect();

    migration_facts_add_details(facts);
    monitor_printf(mon, "machine: %s", facts->machine);
    if (strcmp(facts->machine, facts->guest_machine)) {
        monitor_printf(mon, ", to the guest %s", facts->guest_machine);
    }
    monitor_printf(mon, "\nstream versions:");
    for (unsigned i = 0; i < facts->stream_versions->len; i++) {
        monitor_printf(mon, " %" PRIu32, g_array_index(facts->stream_versions,
                                                       uint32_t, i));
    }
    monitor_printf(mon, "\nfeatures:");
    for (unsigned i = 0; i < facts->features->len; i++) {
        const MigrationFeatureFacts *feature = facts->features->pdata[i];

        monitor_printf(mon, " %s%s", feature->name,
                       feature->required ? " (required)" : "");
    }
    monitor_printf(mon, "\n");
    for (unsigned i = 0; i < facts->devices->len; i++) {
        const MigrationDeviceFacts *device = facts->devices->pdata[i];

        monitor_printf(mon, "%s (instance %" PRIu32 "): ", device->state.name,
                       device->instance);
        print_state(mon, device, &device->state, 1);
    }
}
