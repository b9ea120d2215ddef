/*
 * Migration stream version 4: which subsections a file has
 *
 * Implements "Stored, not needed" of docs/devel/migration-v4/snapshots.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "migration/stream/stored.h"

static void part_free(gpointer data)
{
    StreamStoredPart *part = data;

    g_free(part->name);
    g_ptr_array_unref(part->inside);
    g_free(part);
}

static void stored_free(gpointer data)
{
    StreamStored *stored = data;

    g_free(stored->name);
    g_ptr_array_unref(stored->parts);
    g_array_unref(stored->needed);
    g_free(stored);
}

static void section_free(gpointer data)
{
    StreamStoredSection *section = data;

    g_free(section->name);
    g_ptr_array_unref(section->inside);
    g_free(section);
}

GPtrArray *stream_stored_new(void)
{
    return g_ptr_array_new_with_free_func(stored_free);
}

GPtrArray *stream_stored_sections_new(void)
{
    return g_ptr_array_new_with_free_func(section_free);
}

StreamStored *stream_stored_find(const GPtrArray *inside, const char *name)
{
    for (unsigned i = 0; inside && i < inside->len; i++) {
        StreamStored *stored = inside->pdata[i];

        if (!strcmp(stored->name, name)) {
            return stored;
        }
    }
    return NULL;
}

StreamStored *stream_stored_get(GPtrArray *inside, const char *name)
{
    StreamStored *stored = stream_stored_find(inside, name);

    if (!stored) {
        stored = g_new0(StreamStored, 1);
        stored->name = g_strdup(name);
        stored->parts = g_ptr_array_new_with_free_func(part_free);
        stored->needed = g_array_new(false, false, sizeof(uint64_t));
        g_ptr_array_add(inside, stored);
    }
    return stored;
}

int stream_stored_part(const StreamStored *stored, const char *name)
{
    for (unsigned i = 0; i < stored->parts->len; i++) {
        const StreamStoredPart *part = stored->parts->pdata[i];

        if (!strcmp(part->name, name)) {
            return i;
        }
    }
    return -1;
}

const StreamStoredPart *stream_stored_numbered(const StreamStored *stored,
                                               const char *number)
{
    unsigned n;

    /* In one way only: neither a sign nor a zero before it */
    if (!g_ascii_isdigit(number[0]) || (number[0] == '0' && number[1]) ||
        qemu_strtoui(number, NULL, 10, &n) || n >= stored->parts->len) {
        return NULL;
    }
    return stored->parts->pdata[n];
}

int stream_stored_add_part(StreamStored *stored, const char *name,
                           uint32_t version)
{
    StreamStoredPart *part;

    if (stored->parts->len == STREAM_STORED_PARTS_MAX) {
        return -1;
    }
    part = g_new0(StreamStoredPart, 1);
    part->name = g_strdup(name);
    part->version = version;
    part->inside = stream_stored_new();
    g_ptr_array_add(stored->parts, part);
    return stored->parts->len - 1;
}

void stream_sets_add(GArray *sets, uint64_t set, unsigned most)
{
    for (unsigned i = 0; i < sets->len; i++) {
        if (g_array_index(sets, uint64_t, i) == set) {
            return;
        }
    }
    if (sets->len < most) {
        g_array_append_val(sets, set);
    }
}

void stream_stored_need(StreamStored *stored, uint64_t set)
{
    stream_sets_add(stored->needed, set, STREAM_STORED_SETS_MAX);
}

GPtrArray *stream_stored_section(const GPtrArray *sections, const char *name,
                                 uint32_t instance_id)
{
    for (unsigned i = 0; sections && i < sections->len; i++) {
        const StreamStoredSection *section = sections->pdata[i];

        if (section->instance_id == instance_id &&
            !strcmp(section->name, name)) {
            return section->inside;
        }
    }
    return NULL;
}

void stream_stored_add_section(GPtrArray *sections, const char *name,
                               uint32_t instance_id, GPtrArray *inside)
{
    StreamStoredSection *section = g_new0(StreamStoredSection, 1);

    section->name = g_strdup(name);
    section->instance_id = instance_id;
    section->inside = inside;
    g_ptr_array_add(sections, section);
}

GPtrArray *stream_stored_get_section(GPtrArray *sections, const char *name,
                                     uint32_t instance_id)
{
    GPtrArray *inside = stream_stored_section(sections, name, instance_id);

    if (!inside) {
        inside = stream_stored_new();
        stream_stored_add_section(sections, name, instance_id, inside);
    }
    return inside;
}

static void finish(GPtrArray *inside)
{
    for (unsigned i = 0; i < inside->len; i++) {
        StreamStored *stored = inside->pdata[i];

        for (unsigned n = 0; n < stored->parts->len; n++) {
            StreamStoredPart *part = stored->parts->pdata[n];

            part->sometimes = part->times < stored->times;
            finish(part->inside);
        }
    }
}

void stream_stored_finish(GPtrArray *sections)
{
    for (unsigned i = 0; i < sections->len; i++) {
        StreamStoredSection *section = sections->pdata[i];

        finish(section->inside);
    }
}
