/*
 * qemu-vmstate: frames
 *
 * Implements "Frames" of docs/devel/migration-v4/wire-format.rst for a reader
 * that knows of the structures what the stream's description says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "walk-internal.h"

/* How long a list of names in a message may get, about */
#define KNOWN_MAX 1000

/* Reads a frame's header */
static bool read_frame(Walk *w, StreamFrame *frame, Error **errp)
{
    size_t used = stream_frame_decode(w->data + w->at, w->end - w->at, frame,
                                      errp);

    w->at += used;
    return used;
}

/* Goes into the frame whose header was read */
static bool enter_frame(Walk *w, const StreamFrame *frame, Error **errp)
{
    if (!w->frames.depth && frame->length > w->end - w->at) {
        error_setg(errp, "frame '%s' is longer than the section: expected at "
                   "most %zu bytes, got %" PRIu32, frame->name,
                   w->end - w->at, frame->length);
        return false;
    }
    if (!stream_frame_enter(&w->frames, frame, w->at, errp)) {
        return false;
    }
    w->end = w->at + frame->length;
    return true;
}

bool walk_leave(Walk *w, size_t outer, Error **errp)
{
    w->end = outer;
    return stream_frame_leave(&w->frames, w->at, errp);
}

/* Passes over the frame whose header was read */
static bool skip_frame(Walk *w, const StreamFrame *frame, Error **errp)
{
    const StreamIdent *ident = &w->section->ident;

    if (!walk_enough(w, frame->length, errp) ||
        !walk_spend(w, ELEMENT_COST, errp)) {
        return false;
    }
    w->at += frame->length;
    contents_skip(w->contents, "'%s' in '%s' of section '%s' (instance %"
                  PRIu32 ")", frame->name, w->path->str, ident->name,
                  ident->instance_id);
    return true;
}

static const char *kind(uint16_t flags)
{
    return flags & STREAM_FRAME_ARRAY ? "an array of" : "structure";
}

/*
 * Reads the header of a frame of that name, NULL for any; @array is
 * STREAM_FRAME_ARRAY or 0
 */
static bool expect_frame(Walk *w, const char *name, uint16_t array,
                         StreamFrame *frame, Error **errp)
{
    for (;;) {
        if (!read_frame(w, frame, errp)) {
            return false;
        }
        if (frame->flags & STREAM_FRAME_SPARE) {
            error_setg(errp, "'%s' is marked as not needed, which only a "
                       "subsection can be", frame->name);
            return false;
        }
        if ((!name || !strcmp(frame->name, name)) &&
            (frame->flags & STREAM_FRAME_ARRAY) == array) {
            return true;
        }
        if (!(frame->flags & STREAM_FRAME_OPTIONAL)) {
            error_setg(errp, "expected %s '%s', got %s '%s', which is not "
                       "optional", kind(array), name ?: "",
                       kind(frame->flags), frame->name);
            return false;
        }
        if (!skip_frame(w, frame, errp)) {
            return false;
        }
    }
}

/*
 * Sets @found to the description of a subsection, NULL if there is none.  What
 * is not needed has no name, and comes in the order of the descriptions, behind
 * all that is; @seen has those that came before.
 */
static bool find_subsection(Walk *w, const QList *list,
                            const StreamFrame *frame, GHashTable *seen,
                            const QDict **found, Error **errp)
{
    bool spare = frame->flags & STREAM_FRAME_SPARE;
    const QListEntry *entry;

    *found = NULL;
    for (entry = list ? qlist_first(list) : NULL; entry && !*found;
         entry = qlist_next(entry)) {
        const QDict *sub = qobject_to(QDict, entry->value);
        const char *name = sub ? description_name(sub) : NULL;

        if (!walk_spend(w, ELEMENT_COST, errp)) {
            return false;
        }
        if (name && (spare ? !g_hash_table_contains(seen, sub)
                           : !strcmp(name, frame->name))) {
            *found = sub;
        }
    }
    return true;
}

static void refuse_subsection(const QDict *structure, const QList *list,
                              const char *name, Error **errp)
{
    g_autoptr(GString) known = g_string_new(NULL);
    const QListEntry *entry;

    for (entry = list ? qlist_first(list) : NULL;
         entry && known->len < KNOWN_MAX; entry = qlist_next(entry)) {
        const QDict *sub = qobject_to(QDict, entry->value);
        const char *other = sub ? description_name(sub) : NULL;

        g_string_append_printf(known, "%s'%s'", known->len ? ", " : "",
                               other ?: "");
    }
    error_setg(errp, "subsection '%s' is unknown and not optional: '%s' has "
               "%s", name, description_name(structure),
               known->len ? known->str : "none");
}

/* The body of the frame whose header was read, and its end */
static bool walk_frame_body(Walk *w, const QDict *structure,
                            const StreamFrame *frame, const char *name,
                            Error **errp);

/* One subsection; @seen has those that came before */
static bool walk_subsection(Walk *w, const QDict *outer, const QList *known,
                            GHashTable *seen, bool *spare, Error **errp)
{
    size_t length = w->path->len;
    const QDict *structure;
    StreamFrame frame;

    if (!read_frame(w, &frame, errp) ||
        !find_subsection(w, known, &frame, seen, &structure, errp)) {
        return false;
    }
    if (!structure || (frame.flags & STREAM_FRAME_ARRAY)) {
        if (frame.flags & STREAM_FRAME_OPTIONAL) {
            return skip_frame(w, &frame, errp);
        }
        refuse_subsection(outer, known, frame.name, errp);
        return false;
    }
    if (*spare && !(frame.flags & STREAM_FRAME_SPARE)) {
        error_setg(errp, "subsection '%s' is needed and comes behind what is "
                   "not: expected it before", frame.name);
        return false;
    }
    *spare = frame.flags & STREAM_FRAME_SPARE;
    if (*spare) {
        pstrcpy(frame.name, sizeof(frame.name), description_name(structure));
    }
    if (!g_hash_table_add(seen, (gpointer)structure)) {
        error_setg(errp, "subsection '%s' comes twice: expected it once",
                   frame.name);
        return false;
    }
    g_string_append_printf(w->path, "%s%s", length ? "." : "", frame.name);
    if (!walk_frame_body(w, structure, &frame, frame.name, errp)) {
        return false;
    }
    g_string_truncate(w->path, length);
    return true;
}

static bool walk_subsections(Walk *w, const QDict *structure, uint32_t count,
                             Error **errp)
{
    const QList *known = qobject_to(QList, qdict_get(structure,
                                                     "subsections"));
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    const QListEntry *entry;
    bool spare = false;
    uint32_t i;

    if (w->json && known) {
        json_writer_start_object(w->json, "subsections");
    }
    for (i = 0; i < count; i++) {
        if (!walk_subsection(w, structure, known, seen, &spare, errp)) {
            return false;
        }
    }
    if (w->json && known) {
        json_writer_end_object(w->json);
    }
    for (entry = known ? qlist_first(known) : NULL; entry;
         entry = qlist_next(entry)) {
        const QDict *sub = qobject_to(QDict, entry->value);

        if (!sub || !g_hash_table_contains(seen, sub)) {
            error_setg(errp, "subsection '%s' is described and did not come",
                       sub ? description_name(sub) ?: "" : "");
            return false;
        }
    }
    return true;
}

static bool walk_frame_body(Walk *w, const QDict *structure,
                            const StreamFrame *frame, const char *name,
                            Error **errp)
{
    size_t outer = w->end;

    if (!enter_frame(w, frame, errp)) {
        return false;
    }
    if (frame->flags & STREAM_FRAME_UNUSED) {
        if (w->json) {
            json_writer_str(w->json, name, "unused");
        }
        return walk_leave(w, outer, errp);
    }
    if (w->json) {
        json_writer_start_object(w->json, name);
        if (frame->flags & STREAM_FRAME_SPARE) {
            json_writer_bool(w->json, "not-needed", true);
        }
    }
    if (!walk_fields(w, structure, errp) ||
        !walk_subsections(w, structure, frame->count, errp)) {
        return false;
    }
    if (w->json) {
        json_writer_end_object(w->json);
    }
    return walk_leave(w, outer, errp);
}

bool walk_frame(Walk *w, const QDict *structure, const char *name,
                Error **errp)
{
    StreamFrame frame;

    return expect_frame(w, description_name(structure), 0, &frame, errp) &&
           walk_frame_body(w, structure, &frame, name, errp);
}

bool walk_array_has_frame(const Field *field)
{
    return field->structure && (description_name(field->structure) ||
                                !qdict_haskey(field->structure, "fields"));
}

const char *walk_array_name(const QListEntry *entry, const Field *field,
                            uint64_t elements)
{
    const char *name = description_name(field->structure);
    Field other;
    uint64_t i;

    for (i = 1; field->has_index && !name && i < elements; i++) {
        entry = qlist_next(entry);
        if (description_field(entry->value, &other, NULL) && other.structure) {
            name = description_name(other.structure);
        }
    }
    return name;
}

bool walk_is_array(Walk *w, const Field *field)
{
    const char *name;
    size_t at = w->at;

    if (!field->structure || !walk_array_has_frame(field)) {
        return false;
    }
    name = description_name(field->structure);
    for (;;) {
        StreamFrame frame;
        size_t used = stream_frame_decode(w->data + at, w->end - at, &frame,
                                          NULL);

        if (!used) {
            return false;
        }
        if (!name || !strcmp(frame.name, name)) {
            return frame.flags & STREAM_FRAME_ARRAY;
        }
        at += used;
        if (!(frame.flags & STREAM_FRAME_OPTIONAL) ||
            frame.length > w->end - at) {
            return false;
        }
        at += frame.length;
    }
}

bool walk_enter_array(Walk *w, const char *name, uint64_t elements,
                      StreamFrame *frame, Error **errp)
{
    if (!expect_frame(w, name, STREAM_FRAME_ARRAY, frame, errp)) {
        return false;
    }
    if (frame->count != elements) {
        error_setg(errp, "the array is of another size: expected %" PRIu64
                   " elements, got %" PRIu32, elements, frame->count);
        return false;
    }
    return enter_frame(w, frame, errp);
}
