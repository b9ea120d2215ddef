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

/* The same as in a hello, so that neither can be more than the other */
VmstateFacts *qmp_query_vmstate(Error **errp)
{
    g_autoptr(MigrationFacts) facts = migration_facts_collect();
    g_autoptr(GString) json = migration_facts_to_json(facts);
    QObject *object = qobject_from_json(json->str, &error_abort);
    Visitor *v = qobject_input_visitor_new(object);
    VmstateFacts *result = NULL;

    visit_type_VmstateFacts(v, NULL, &result, errp);
    visit_free(v);
    qobject_unref(object);
    return result;
}

static void print_state(Monitor *mon, const MigrationStateFacts *state,
                        int depth)
{
    monitor_printf(mon, "version %" PRIu32, state->version);
    if (state->minimum_version < state->version) {
        monitor_printf(mon, ", from %" PRIu32 " on", state->minimum_version);
    }
    monitor_printf(mon, "%s%s\n", state->optional ? ", optional" : "",
                   state->needed ? "" : ", not needed now");
    for (unsigned i = 0; i < state->subsections->len; i++) {
        const MigrationStateFacts *subsection = state->subsections->pdata[i];

        monitor_printf(mon, "%*s%s: ", depth * 4, "", subsection->name);
        print_state(mon, subsection, depth + 1);
    }
}

void hmp_info_vmstate(Monitor *mon, const QDict *qdict)
{
    g_autoptr(MigrationFacts) facts = migration_facts_collect();

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
        print_state(mon, &device->state, 1);
    }
}
