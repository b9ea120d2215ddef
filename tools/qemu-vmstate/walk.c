/*
 * qemu-vmstate: going through a device's state, field by field
 *
 * Neither state nor description is trusted: each step is held against what
 * is left, and against the other.  In version 4 frames say where a structure
 * begins and ends; in version 3 only the description does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "walk-internal.h"

/* Most structures around one another, with or without frames */
#define DEPTH_MAX (2 * STREAM_FRAME_DEPTH_MAX)

bool walk_spend(Walk *w, uint64_t amount, Error **errp)
{
    if (amount > *w->budget) {
        error_setg(errp, "the description tells of more fields than there can "
                   "be");
        return false;
    }
    *w->budget -= amount;
    return true;
}

bool walk_enough(Walk *w, uint64_t size, Error **errp)
{
    if (size > w->end - w->at) {
        error_setg(errp, "the state ends too early: expected %" PRIu64
                   " bytes, got %zu", size, w->end - w->at);
        return false;
    }
    return true;
}

/* Goes down to something with a name, and says what to come back to */
static size_t path_push(Walk *w, const char *name)
{
    size_t length = w->path->len;

    g_string_append_printf(w->path, "%s%s", length ? "." : "", name);
    return length;
}

static void object_begin(Walk *w, const char *name)
{
    if (w->json) {
        json_writer_start_object(w->json, name);
    }
}

static void object_end(Walk *w)
{
    if (w->json) {
        json_writer_end_object(w->json);
    }
}

/* The bytes of one value */
static bool walk_value(Walk *w, const Field *field, const char *name,
                       Error **errp)
{
    if (!walk_enough(w, field->size, errp) ||
        !walk_spend(w, 2 * field->size, errp)) {
        return false;
    }
    if (w->json) {
        value_write(w->json, name, field->type, w->data + w->at, field->size);
    }
    w->at += field->size;
    return true;
}

/* What is left of a structure that has written more than it tells of */
static bool walk_rest(Walk *w, size_t end, Error **errp)
{
    const Field rest = { .type = "buffer", .size = end - w->at };

    return !rest.size || walk_value(w, &rest, "undescribed", errp);
}

/* The fields of a structure, and in version 3 its subsections */
static bool walk_body(Walk *w, const QDict *structure, Error **errp)
{
    bool good;

    if (w->depth >= DEPTH_MAX) {
        error_setg(errp, "structures are nested too deep: expected at most %d",
                   DEPTH_MAX);
        return false;
    }
    w->depth++;
    good = walk_fields(w, structure, errp) &&
           (w->framed || walk_v3_subsections(w, structure, errp));
    w->depth--;
    return good;
}

/* An element that is a null pointer is a byte that says so */
static bool walk_null(Walk *w, const char *name, Error **errp)
{
    if (!walk_enough(w, 1, errp)) {
        return false;
    }
    if (w->data[w->at] != NULL_MARK) {
        error_setg(errp, "expected the mark of a null pointer, 0x%02x, got "
                   "0x%02x", NULL_MARK, w->data[w->at]);
        return false;
    }
    w->at++;
    if (w->json) {
        json_writer_null(w->json, name);
    }
    return true;
}

bool walk_structure(Walk *w, const QDict *structure, const char *name,
                    Error **errp)
{
    object_begin(w, name);
    if (!walk_body(w, structure, errp)) {
        return false;
    }
    object_end(w);
    return true;
}

/* One element, or the only one */
static bool walk_element(Walk *w, const Field *field, const char *name,
                         uint16_t flags, Error **errp)
{
    size_t begin = w->at;

    if (!walk_spend(w, ELEMENT_COST, errp)) {
        return false;
    }
    if (!field->structure) {
        return walk_value(w, field, name, errp);
    }
    if (!qdict_haskey(field->structure, "fields")) {
        return walk_null(w, name, errp);
    }
    if (w->framed) {
        bool has_frame = description_name(field->structure) &&
                         (flags & STREAM_FRAME_ARRAY ?
                          flags & STREAM_FRAME_FRAMES : true);

        return has_frame ? walk_frame(w, field->structure, name, errp)
                         : walk_structure(w, field->structure, name, errp);
    }

    /* In version 3 its size is known */
    if (!walk_enough(w, field->size, errp)) {
        return false;
    }
    object_begin(w, name);
    if (!walk_body(w, field->structure, errp)) {
        return false;
    }
    if (w->at - begin > field->size) {
        error_setg(errp, "the fields are longer than the structure: expected "
                   "%zu bytes, got %zu", field->size, w->at - begin);
        return false;
    }
    if (!walk_rest(w, begin + field->size, errp)) {
        return false;
    }
    object_end(w);
    return true;
}

/* The elements of an array: one kind, or an entry for each */
static bool walk_elements(Walk *w, const QListEntry *entry, const Field *first,
                          uint64_t elements, uint16_t flags, Error **errp)
{
    Field field = *first;
    uint64_t i;

    for (i = 0; i < elements; i++) {
        size_t length = w->path->len;

        if (first->has_index) {
            if (!description_field(entry->value, &field, errp)) {
                return false;
            }
            entry = qlist_next(entry);
        }
        g_string_append_printf(w->path, "[%" PRIu64 "]", i);
        if (!walk_element(w, &field, NULL, flags, errp)) {
            return false;
        }
        g_string_truncate(w->path, length);
    }
    return true;
}

static bool walk_array(Walk *w, const QListEntry *entry, const Field *field,
                       uint64_t elements, const char *name, Error **errp)
{
    bool has_frame = w->framed && walk_array_has_frame(field);
    StreamFrame frame = { 0 };
    size_t outer = w->end;

    if (has_frame &&
        !walk_enter_array(w, walk_array_name(entry, field, elements), elements,
                          &frame, errp)) {
        return false;
    }
    if (w->json) {
        json_writer_start_array(w->json, name);
    }
    if (!walk_elements(w, entry, field, elements, frame.flags, errp)) {
        return false;
    }
    if (w->json) {
        json_writer_end_array(w->json);
    }
    return !has_frame || walk_leave(w, outer, errp);
}

/* How many entries there are from this one on for the elements of one array */
static uint64_t count_entries(const QListEntry *entry, const Field *first)
{
    uint64_t n = 0;
    Field field;

    for (; entry && description_field(entry->value, &field, NULL) &&
           field.has_index && field.index == n &&
           !strcmp(field.name, first->name); entry = qlist_next(entry)) {
        n++;
    }
    return n;
}

/* A name that no other field of the structure has */
static char *unique_name(GHashTable *names, const char *name)
{
    guint n = GPOINTER_TO_UINT(g_hash_table_lookup(names, name)) + 1;

    g_hash_table_insert(names, (gpointer)name, GUINT_TO_POINTER(n));
    return n == 1 ? g_strdup(name) : g_strdup_printf("%s[%u]", name, n);
}

bool walk_fields(Walk *w, const QDict *structure, Error **errp)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    const QList *list = qobject_to(QList, qdict_get(structure, "fields"));
    const QListEntry *entry = list ? qlist_first(list) : NULL;

    while (entry) {
        g_autofree char *name = NULL;
        const QListEntry *begin = entry;
        uint64_t elements;
        size_t length;
        Field field;
        bool good;

        if (!description_field(entry->value, &field, errp)) {
            return false;
        }
        name = unique_name(names, field.name);
        length = path_push(w, name);
        if (!walk_spend(w, ELEMENT_COST + strlen(name), errp)) {
            return false;
        }
        elements = field.has_index ? count_entries(entry, &field)
                                   : field.elements;
        if (field.has_index && !elements) {
            error_setg(errp, "the description has an element of an array "
                       "out of order");
            return false;
        }
        if (field.has_index || field.is_array) {
            good = walk_array(w, begin, &field, elements, name, errp);
        } else if (w->framed && field.structure &&
                   walk_is_array(w, &field)) {
            /* An array of one is described like what is no array */
            good = walk_array(w, begin, &field, 1, name, errp);
        } else {
            good = walk_element(w, &field, name, 0, errp);
        }
        if (!good) {
            return false;
        }
        g_string_truncate(w->path, length);
        for (uint64_t i = 0; i < (field.has_index ? elements : 1); i++) {
            entry = qlist_next(entry);
        }
    }
    return true;
}

/* Says which device, where in the stream, and which field it is about */
static void explain(Walk *w, Error **errp)
{
    const Section *section = w->section;

    error_prepend(errp, "section '%s' (instance %" PRIu32 "), %s %" PRIu64
                  ", byte %zu: %s%s", section->ident.name,
                  section->ident.instance_id,
                  w->framed ? "record at offset" : "state at offset",
                  section_offset(section, w->at), w->at, w->path->str,
                  w->path->len ? ": " : "");
}

bool walk_section(Contents *c, const Section *section, JSONWriter *json,
                  uint64_t *budget, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GString) path = g_string_new(NULL);
    Walk w = {
        .contents = c,
        .section = section,
        .json = json,
        .budget = budget,
        .data = section->state->data,
        .end = section->state->len,
        .framed = c->version == STREAM_VERSION,
        .path = path,
    };
    const Field root = {
        .name = "fields",
        .size = w.end,
        .structure = section->description,
    };

    if (!qdict_haskey(root.structure, "fields")) {
        error_setg(errp, "the description has no fields of it");
    } else if (walk_element(&w, &root, root.name, 0, errp) && w.at != w.end) {
        error_setg(errp, "there is more than is described: expected the end, "
                   "got %zu bytes more", w.end - w.at);
    }
    if (*errp) {
        explain(&w, errp);
        return false;
    }
    return true;
}
