/*
 * What a QEMU says of itself before a guest moves: as JSON
 *
 * Implements "Facts" of docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qmp/json-writer.h"
#include "migration/compat/facts.h"

static void write_string(JSONWriter *json, const char *key, const char *value)
{
    if (value) {
        json_writer_str(json, key, value);
    }
}

static void write_true(JSONWriter *json, const char *key, bool value)
{
    if (value) {
        json_writer_bool(json, key, true);
    }
}

static void write_combinations(JSONWriter *json,
                               const MigrationStateFacts *state)
{
    if (!state->combinations->len) {
        return;
    }
    json_writer_start_array(json, "combinations");
    for (unsigned i = 0; i < state->combinations->len; i++) {
        const MigrationCombinationFacts *c = state->combinations->pdata[i];
        g_autofree char *valid = combinations_to_text(c->valid);
        g_autofree char *needed = NULL;

        json_writer_start_object(json, NULL);
        json_writer_str(json, "structure", c->structure);
        json_writer_str(json, "combinations", valid);
        if (c->needed->len) {
            needed = combinations_sets_to_text(c->valid,
                                               (uint64_t *)c->needed->data,
                                               c->needed->len);
            json_writer_str(json, "needed", needed);
        }
        json_writer_end_object(json);
    }
    json_writer_end_array(json);
}

static void write_subsections(JSONWriter *json,
                              const MigrationStateFacts *state);

static void write_state(JSONWriter *json, const MigrationStateFacts *state)
{
    json_writer_uint64(json, "version", state->version);
    if (state->minimum_version != state->version) {
        json_writer_uint64(json, "minimum-version", state->minimum_version);
    }
    if (state->minimum_saved != state->minimum_version) {
        json_writer_uint64(json, "minimum-saved-version",
                           state->minimum_saved);
    }
    if (state->has_saved) {
        json_writer_uint64(json, "saved-version", state->saved);
    }
    write_true(json, "optional", state->optional);
    write_true(json, "needed", state->needed);
    write_subsections(json, state);
    write_combinations(json, state);
}

static void write_subsections(JSONWriter *json,
                              const MigrationStateFacts *state)
{
    if (!state->subsections->len) {
        return;
    }
    json_writer_start_array(json, "subsections");
    for (unsigned i = 0; i < state->subsections->len; i++) {
        const MigrationStateFacts *subsection = state->subsections->pdata[i];

        json_writer_start_object(json, NULL);
        json_writer_str(json, "name", subsection->name);
        write_state(json, subsection);
        json_writer_end_object(json);
    }
    json_writer_end_array(json);
}

static void write_stored(JSONWriter *json, const GPtrArray *inside);

static void write_stored_part(JSONWriter *json, const StreamStoredPart *part)
{
    json_writer_start_object(json, NULL);
    json_writer_str(json, "name", part->name);
    json_writer_uint64(json, "version", part->version);
    write_true(json, "sometimes", part->sometimes);
    write_stored(json, part->inside);
    json_writer_end_object(json);
}

static void write_stored_set(JSONWriter *json, const StreamStored *stored,
                             uint64_t set)
{
    json_writer_start_array(json, NULL);
    for (unsigned i = 0; i < stored->parts->len; i++) {
        const StreamStoredPart *part = stored->parts->pdata[i];

        if (set & (1ULL << i)) {
            json_writer_str(json, NULL, part->name);
        }
    }
    json_writer_end_array(json);
}

static void write_stored(JSONWriter *json, const GPtrArray *inside)
{
    if (!inside || !inside->len) {
        return;
    }
    json_writer_start_array(json, "stored");
    for (unsigned i = 0; i < inside->len; i++) {
        const StreamStored *stored = inside->pdata[i];

        json_writer_start_object(json, NULL);
        json_writer_str(json, "structure", stored->name);
        json_writer_start_array(json, "subsections");
        for (unsigned n = 0; n < stored->parts->len; n++) {
            write_stored_part(json, stored->parts->pdata[n]);
        }
        json_writer_end_array(json);
        json_writer_start_array(json, "needed");
        for (unsigned n = 0; n < stored->needed->len; n++) {
            write_stored_set(json, stored,
                             g_array_index(stored->needed, uint64_t, n));
        }
        json_writer_end_array(json);
        json_writer_end_object(json);
    }
    json_writer_end_array(json);
}

static void write_device(JSONWriter *json, const MigrationDeviceFacts *device)
{
    json_writer_start_object(json, NULL);
    json_writer_str(json, "name", device->state.name);
    json_writer_uint64(json, "instance", device->instance);
    if (device->alias) {
        json_writer_str(json, "alias", device->alias);
        json_writer_uint64(json, "alias-instance", device->alias_instance);
    }
    if (device->has_legacy_instance) {
        json_writer_uint64(json, "legacy-instance", device->legacy_instance);
    }
    write_true(json, "expected", device->expected);
    write_string(json, "saved-why", device->saved_why);
    write_string(json, "qom-path", device->qom_path);
    if (device->size) {
        json_writer_uint64(json, "size", device->size);
    }
    write_state(json, &device->state);
    write_stored(json, device->stored);
    json_writer_end_object(json);
}

static void write_difference(JSONWriter *json, const MachineDifference *d)
{
    json_writer_start_object(json, NULL);
    write_string(json, "path", d->path);
    write_string(json, "id", d->id);
    json_writer_str(json, "property", d->property);
    write_string(json, "source", d->source);
    write_string(json, "destination", d->destination);
    write_true(json, "guest-visible", d->guest_visible);
    write_true(json, "fatal", d->fatal);
    write_string(json, "advice", d->advice);
    json_writer_end_object(json);
}

static void write_differences(JSONWriter *json,
                              const MachineDifferenceList *differences)
{
    unsigned n = 0;

    if (!differences) {
        return;
    }
    json_writer_start_array(json, "machine-differences");
    /* The first ones are those that matter most */
    for (; differences && n < MIGRATION_FACTS_LIST_MAX; n++) {
        write_difference(json, differences->value);
        differences = differences->next;
    }
    json_writer_end_array(json);
}

GString *migration_facts_to_json(const MigrationFacts *facts)
{
    JSONWriter *json = json_writer_new(false);

    json_writer_start_object(json, NULL);
    json_writer_start_object(json, "qemu");
    json_writer_str(json, "version", facts->qemu_version);
    write_string(json, "package", facts->qemu_package);
    json_writer_end_object(json);
    json_writer_str(json, "machine", facts->machine);
    if (strcmp(facts->machine, facts->guest_machine)) {
        json_writer_str(json, "guest-machine", facts->guest_machine);
    }
    if (facts->has_token) {
        g_autofree char *token = g_strdup_printf("%016" PRIx64, facts->token);

        json_writer_str(json, "token", token);
    }
    json_writer_start_array(json, "stream-versions");
    for (unsigned i = 0; i < facts->stream_versions->len; i++) {
        json_writer_uint64(json, NULL, g_array_index(facts->stream_versions,
                                                     uint32_t, i));
    }
    json_writer_end_array(json);
    json_writer_start_array(json, "features");
    for (unsigned i = 0; i < facts->features->len; i++) {
        const MigrationFeatureFacts *feature = facts->features->pdata[i];

        json_writer_start_object(json, NULL);
        json_writer_str(json, "name", feature->name);
        write_true(json, "required", feature->required);
        json_writer_end_object(json);
    }
    json_writer_end_array(json);
    json_writer_start_array(json, "devices");
    for (unsigned i = 0; i < facts->devices->len; i++) {
        write_device(json, facts->devices->pdata[i]);
    }
    json_writer_end_array(json);
    write_differences(json, facts->differences);
    json_writer_end_object(json);
    return json_writer_get_and_free(json);
}
