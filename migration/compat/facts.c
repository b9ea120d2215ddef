/*
 * What a QEMU says of itself before a guest moves: in memory
 *
 * Implements "Facts" of docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "migration/compat/facts.h"

static void state_clear(MigrationStateFacts *state)
{
    g_free(state->name);
    g_ptr_array_unref(state->subsections);
    g_ptr_array_unref(state->combinations);
}

static void combinations_facts_free(gpointer data)
{
    MigrationCombinationFacts *c = data;

    g_free(c->structure);
    combinations_free(c->valid);
    g_array_unref(c->needed);
    g_free(c);
}

static void subsection_free(gpointer data)
{
    MigrationStateFacts *state = data;

    state_clear(state);
    g_free(state);
}

static void device_free(gpointer data)
{
    MigrationDeviceFacts *device = data;

    state_clear(&device->state);
    if (device->stored) {
        g_ptr_array_unref(device->stored);
    }
    g_free(device->alias);
    g_free(device->qom_path);
    g_free(device->lost);
    g_free(device);
}

static void feature_free(gpointer data)
{
    MigrationFeatureFacts *feature = data;

    g_free(feature->name);
    g_free(feature);
}

static void state_init(MigrationStateFacts *state, const char *name)
{
    state->name = g_strdup(name);
    state->subsections = g_ptr_array_new_with_free_func(subsection_free);
    state->combinations =
        g_ptr_array_new_with_free_func(combinations_facts_free);
}

MigrationFacts *migration_facts_new(void)
{
    MigrationFacts *facts = g_new0(MigrationFacts, 1);

    facts->stream_versions = g_array_new(false, false, sizeof(uint32_t));
    facts->features = g_ptr_array_new_with_free_func(feature_free);
    facts->devices = g_ptr_array_new_with_free_func(device_free);
    return facts;
}

void migration_facts_free(MigrationFacts *facts)
{
    if (facts) {
        g_free(facts->qemu_version);
        g_free(facts->qemu_package);
        g_free(facts->machine);
        g_free(facts->guest_machine);
        g_array_unref(facts->stream_versions);
        g_ptr_array_unref(facts->features);
        g_ptr_array_unref(facts->devices);
        qapi_free_MachineDifferenceList(facts->differences);
        g_free(facts);
    }
}

void migration_facts_add_stream_version(MigrationFacts *facts,
                                        uint32_t version)
{
    g_array_append_val(facts->stream_versions, version);
}

void migration_facts_add_feature(MigrationFacts *facts, const char *name,
                                 bool required)
{
    MigrationFeatureFacts *feature = g_new0(MigrationFeatureFacts, 1);

    feature->name = g_strdup(name);
    feature->required = required;
    g_ptr_array_add(facts->features, feature);
}

MigrationDeviceFacts *migration_facts_add_device(MigrationFacts *facts,
                                                 const char *name,
                                                 uint32_t instance)
{
    MigrationDeviceFacts *device = g_new0(MigrationDeviceFacts, 1);

    state_init(&device->state, name);
    device->instance = instance;
    g_ptr_array_add(facts->devices, device);
    return device;
}

MigrationStateFacts *migration_facts_add_subsection(MigrationStateFacts *state,
                                                    const char *name)
{
    MigrationStateFacts *subsection = g_new0(MigrationStateFacts, 1);

    state_init(subsection, name);
    g_ptr_array_add(state->subsections, subsection);
    return subsection;
}

MigrationStateFacts *
migration_facts_find_subsection(const MigrationStateFacts *state,
                                const char *name)
{
    for (unsigned i = 0; state && i < state->subsections->len; i++) {
        MigrationStateFacts *subsection = state->subsections->pdata[i];

        if (!strcmp(subsection->name, name)) {
            return subsection;
        }
    }
    return NULL;
}

MigrationCombinationFacts *
migration_facts_add_combinations(MigrationStateFacts *state,
                                 const char *structure, Combinations *valid)
{
    MigrationCombinationFacts *c = g_new0(MigrationCombinationFacts, 1);

    c->structure = g_strdup(structure);
    c->valid = valid;
    c->needed = g_array_new(false, false, sizeof(uint64_t));
    g_ptr_array_add(state->combinations, c);
    return c;
}

MigrationCombinationFacts *
migration_facts_find_combinations(const MigrationStateFacts *state,
                                  const char *structure)
{
    for (unsigned i = 0; state && i < state->combinations->len; i++) {
        MigrationCombinationFacts *c = state->combinations->pdata[i];

        if (!strcmp(c->structure, structure)) {
            return c;
        }
    }
    return NULL;
}

/* Some structures are there often, but in few different states */
void migration_facts_need(MigrationCombinationFacts *c, uint64_t set)
{
    stream_sets_add(c->needed, set, MIGRATION_FACTS_LIST_MAX);
}

const MigrationFeatureFacts *
migration_facts_find_feature(const MigrationFacts *facts, const char *name)
{
    for (unsigned i = 0; i < facts->features->len; i++) {
        const MigrationFeatureFacts *feature = facts->features->pdata[i];

        if (!strcmp(feature->name, name)) {
            return feature;
        }
    }
    return NULL;
}

/* What is not valid, for migration_facts_check(), and what is in it */
static void check_state(const MigrationDeviceFacts *device,
                        const MigrationStateFacts *state, GString *wrong)
{
    for (unsigned i = 0; i < state->combinations->len; i++) {
        const MigrationCombinationFacts *c = state->combinations->pdata[i];

        for (unsigned k = 0; k < c->needed->len; k++) {
            uint64_t set = g_array_index(c->needed, uint64_t, k);
            g_autofree char *why = NULL;

            if (!combinations_allow(c->valid, set)) {
                why = combinations_refusal(c->valid, c->structure, set);
                g_string_append_printf(wrong, "%sdevice '%s' (instance %" PRIu32
                                       "): %s", wrong->len ? "; " : "",
                                       device->state.name, device->instance,
                                       why);
            }
        }
    }
    for (unsigned i = 0; i < state->subsections->len; i++) {
        check_state(device, state->subsections->pdata[i], wrong);
    }
}

bool migration_facts_check(const MigrationFacts *facts, Error **errp)
{
    g_autoptr(GString) wrong = g_string_new(NULL);

    for (unsigned i = 0; i < facts->devices->len; i++) {
        const MigrationDeviceFacts *device = facts->devices->pdata[i];

        if (device->lost) {
            g_string_append_printf(wrong, "%sdevice '%s' (instance %" PRIu32
                                   "): %s", wrong->len ? "; " : "",
                                   device->state.name, device->instance,
                                   device->lost);
        }
        check_state(device, &device->state, wrong);
    }
    if (wrong->len) {
        error_setg(errp, "%s", wrong->str);
    }
    return !wrong->len;
}
