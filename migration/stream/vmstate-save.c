/*
 * Migration stream version 4: saving VMState structures
 *
 * What vmstate.c calls while it saves.  Implements "Frames" and "Description"
 * of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qmp/json-writer.h"
#include "migration/qemu-file.h"
#include "migration/stream/map.h"
#include "migration/stream/older.h"
#include "migration/stream/structs.h"
#include "migration/stream/vmstate.h"
#include "migration/vmstate.h"
#include "trace.h"

bool migration_stream_is_v4(QEMUFile *f)
{
    return stream_channel_of(f);
}

/* Where the file writes to, if it is of version 4 and sound */
static StreamChannel *saving(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);

    return sc && !qemu_file_get_error(f) ? sc : NULL;
}

static void save_fail(QEMUFile *f, Error *err)
{
    qemu_file_set_error_obj(f, -EIO, err);
}

void migration_stream_refuse_to_save(QEMUFile *f, Error *err)
{
    StreamIdent *section = &stream_structs(stream_channel_of(f))->section;

    error_prepend(&err, "device '%s' (instance %" PRIu32 "): ", section->name,
                  section->instance_id);
    save_fail(f, err);
}

static StreamChoose *chooser;

void migration_stream_set_choose(StreamChoose *choose)
{
    chooser = choose;
}

/* @subsection: NULL for the section itself */
static int choose(QEMUFile *f, const StreamIdent *section,
                  const char *subsection, int version_id)
{
    Error *err = NULL;
    int chosen;

    if (!chooser) {
        return version_id;
    }
    chosen = chooser(section->name, section->instance_id,
                     subsection ? stream_map_name(section->name, true,
                                                  subsection, false) : NULL,
                     version_id, &err);
    if (err) {
        save_fail(f, err);
    } else if (chosen != version_id) {
        trace_migration_stream_choose(section->name, section->instance_id,
                                      subsection ?: "", version_id, chosen);
    }
    return chosen;
}

int migration_stream_choose_section(QEMUFile *f, const char *name,
                                    uint32_t instance_id, int version_id)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamIdent *section = &stream_structs(sc)->section;
    int chosen;

    pstrcpy(section->name, sizeof(section->name), name);
    section->instance_id = instance_id;
    if (sc->stored) {
        sc->structs->inside = stream_stored_get_section(sc->stored, name,
                                                        instance_id);
    }
    chosen = choose(f, section, NULL, version_id);
    /* A section that begins is always sent, unless the file has an error */
    section->version_id = chosen == STREAM_LEAVE_OFF ? version_id : chosen;
    return section->version_id;
}

int migration_stream_section_version(QEMUFile *f, int version_id)
{
    StreamChannel *sc = stream_channel_of(f);

    return sc ? stream_structs(sc)->section.version_id : version_id;
}

/* What a part is of in the structure that is being saved */
static int part_version(const StreamStructs *s, const char *part, int newest)
{
    const StreamPlace *place = s->depth ? &s->places[s->depth - 1] : NULL;

    if (place && place->kind == STREAM_PLACE_BLOB && s->depth > 1) {
        place--;
    }
    if (place && place->vmsd) {
        return vmstate_older_part(place->vmsd, place->version_id, part,
                                  newest);
    }
    return place && place->flags & STREAM_FRAME_ARRAY ? place->version_id
                                                      : newest;
}

int migration_stream_subsection_version(QEMUFile *f,
                                        const VMStateDescription *vmsd)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamPlace *place;
    Error *err = NULL;
    int newest;

    if (!sc) {
        return vmsd->version_id;
    }
    newest = part_version(stream_structs(sc), vmsd->name, vmsd->version_id);
    if (newest != VMSTATE_OLDER_NONE) {
        return choose(f, &sc->structs->section, vmsd->name, newest);
    }
    place = stream_structs_top(sc->structs);
    error_setg(&err, "subsection '%s' is needed now, and '%s' had none at "
               "version %" PRIu32, vmsd->name, place->vmsd->name,
               place->version_id);
    migration_stream_refuse_to_save(f, err);
    return STREAM_LEAVE_OFF;
}

int migration_stream_save_at(QEMUFile *f, const VMStateDescription *vmsd,
                             void *opaque, int version_id)
{
    StreamChannel *sc = saving(f);
    Error *err = NULL;

    if (sc) {
        version_id = MIN(version_id, part_version(stream_structs(sc),
                                                  vmsd->name, version_id));
        if (!vmstate_check_lost(vmsd, opaque, version_id, &err)) {
            migration_stream_refuse_to_save(f, err);
        }
    }
    return version_id;
}

/* Describes what was written since, so that all bytes have a description */
static void describe(StreamPlace *place, const char *name, const char *type,
                     uint64_t now)
{
    if (!place || !place->json || now == place->described) {
        return;
    }
    if (!place->opened) {
        json_writer_start_object(place->json, "struct");
        json_writer_start_array(place->json, "fields");
        place->opened = true;
    }
    json_writer_start_object(place->json, NULL);
    json_writer_str(place->json, "name", name);
    json_writer_str(place->json, "type", type);
    json_writer_int64(place->json, "size", now - place->described);
    json_writer_end_object(place->json);
    place->described = now;
}

/* A list of fields in the description, for what is inside of a blob */
static void describe_open(StreamPlace *place, uint64_t now)
{
    describe(place, "data", "buffer", now);
    if (!place->opened) {
        json_writer_start_object(place->json, "struct");
        json_writer_start_array(place->json, "fields");
        place->opened = true;
    }
}

/*
 * A subsection is stored: what is in it belongs there.  Gives its number, -1
 * where nobody counts them.
 */
static int note_part(StreamPlace *place, const StreamStored *stored,
                     const StreamFrame *frame)
{
    int n = stored ? stream_stored_part(stored, frame->name) : -1;

    if (n >= 0) {
        StreamStoredPart *part = stored->parts->pdata[n];

        part->version = frame->version_id;
        part->times++;
        place->inside = part->inside;
    }
    return n;
}

/* One that is not needed has its number for a name, of which the facts tell */
static bool write_frame(StreamWriter *w, const StreamFrame *frame, int number,
                        Error **errp)
{
    StreamFrame spare;

    if (!(frame->flags & STREAM_FRAME_SPARE)) {
        return stream_writer_begin_frame(w, frame, errp);
    }
    spare = *frame;
    snprintf(spare.name, sizeof(spare.name), "%d", number);
    return stream_writer_begin_frame(w, &spare, errp);
}

/* Goes into a frame; its field in the description is the caller's to close */
static StreamPlace *begin_frame(QEMUFile *f, StreamChannel *sc,
                                const char *name, uint32_t version_id,
                                uint16_t flags, uint32_t count)
{
    StreamStructs *s = stream_structs(sc);
    StreamPlace *outer = stream_structs_top(s), *place;
    uint64_t now = qemu_file_total_transferred_fast(f);
    StreamFrame *frame = &s->frame;
    Error *err = NULL;
    int number = -1;

    place = stream_structs_push(s, STREAM_PLACE_FRAME, &err);
    if (s->subsection && outer->spare) {
        flags |= STREAM_FRAME_SPARE;
    }
    *frame = (StreamFrame) {
        .version_id = version_id,
        .count = count,
        .flags = flags | (s->optional ? STREAM_FRAME_OPTIONAL : 0),
    };
    pstrcpy(frame->name, sizeof(frame->name),
            stream_map_name(s->section.name, s->subsection, name, true));
    if (strcmp(frame->name, name)) {
        trace_migration_stream_map(s->section.name, name, frame->name);
    }
    if (place && s->subsection) {
        place->subsection = true;
        number = note_part(place, outer->stored, frame);
    }
    s->optional = false;
    s->subsection = false;
    qemu_fflush(f);
    if (!place || !write_frame(sc->writer, frame, number, &err)) {
        save_fail(f, err);
        return NULL;
    }
    place->flags = flags;
    place->version_id = version_id;
    place->begin = now;

    if (outer && outer->kind == STREAM_PLACE_BLOB && outer->json) {
        describe_open(outer, now);
        json_writer_start_object(outer->json, NULL);
        json_writer_str(outer->json, "name", frame->name);
        json_writer_str(outer->json, "type", "struct");
        json_writer_start_object(outer->json, "struct");
        place->json = outer->json;
        place->own_field = true;
    }
    return place;
}

static void end_frame(QEMUFile *f, StreamChannel *sc)
{
    StreamStructs *s = stream_structs(sc);
    StreamPlace *place = stream_structs_top(s);
    uint64_t now = qemu_file_total_transferred_fast(f);
    Error *err = NULL;

    qemu_fflush(f);
    if (!stream_writer_end_frame(sc->writer, &err)) {
        save_fail(f, err);
    }
    if (place->own_field) {
        json_writer_end_object(place->json);
        json_writer_int64(place->json, "size", now - place->begin);
        json_writer_end_object(place->json);
    }
    s->depth--;
    place = stream_structs_top(s);
    if (place) {
        place->described = now;
    }
}

JSONWriter *migration_stream_begin_struct(QEMUFile *f,
                                          const VMStateDescription *vmsd,
                                          int version_id, JSONWriter *vmdesc)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;

    if (!sc) {
        return vmdesc;
    }
    place = stream_structs_top(stream_structs(sc));
    if (stream_place_has_elements(place)) {
        place->in_element = true;
        place->vmsd = vmsd;
        place->fields = vmdesc;
        return vmdesc;
    }
    place = begin_frame(f, sc, vmsd->name, version_id, 0, 0);
    if (!place) {
        return vmdesc;
    }
    place->vmsd = vmsd;
    place->fields = place->own_field ? place->json : vmdesc;
    return place->fields;
}

static bool is_unused(StreamChannel *sc, const VMStateDescription *vmsd,
                      void *opaque)
{
    return vmsd->unused && !stream_structs(sc)->whole && vmsd->unused(opaque);
}

bool migration_stream_put_unused(QEMUFile *f, const VMStateDescription *vmsd,
                                 void *opaque, int version_id,
                                 JSONWriter *vmdesc)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;

    /* An element without a frame has nowhere to say so */
    if (!sc || stream_place_has_elements(stream_structs_top(
                                             stream_structs(sc))) ||
        !is_unused(sc, vmsd, opaque)) {
        return false;
    }
    version_id = MIN(version_id, part_version(sc->structs, vmsd->name,
                                              version_id));
    place = begin_frame(f, sc, vmsd->name, version_id, STREAM_FRAME_UNUSED, 0);
    if (place) {
        JSONWriter *json = place->own_field ? place->json : vmdesc;

        trace_migration_stream_unused(sc->structs->section.name, vmsd->name);
        if (json) {
            json_writer_str(json, "vmsd_name", sc->structs->frame.name);
            json_writer_int64(json, "version", version_id);
            json_writer_bool(json, "unused", true);
            json_writer_start_array(json, "fields");
            json_writer_end_array(json);
        }
        end_frame(f, sc);
    }
    return true;
}

void migration_stream_end_struct(QEMUFile *f)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;

    if (!sc) {
        return;
    }
    place = stream_structs_top(sc->structs);
    if (place->in_element) {
        place->in_element = false;
        place->vmsd = NULL;
    } else {
        end_frame(f, sc);
    }
}

const char *migration_stream_struct_name(QEMUFile *f,
                                         const VMStateDescription *vmsd)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place = sc ? stream_structs_top(sc->structs) : NULL;

    /* Of an element the array's frame has the name */
    return !place ? vmsd->name
         : place->in_element ? stream_map_name(sc->structs->section.name, false,
                                               vmsd->name, false)
         : sc->structs->frame.name;
}

bool migration_stream_begin_subsection(QEMUFile *f,
                                       const VMStateDescription *vmsd)
{
    StreamChannel *sc = saving(f);

    if (sc) {
        stream_writer_count_frame(sc->writer);
        stream_structs(sc)->optional = vmsd->optional;
        stream_structs(sc)->subsection = true;
    }
    return migration_stream_is_v4(f);
}

/* May it be saved although it is not needed?  An older one has less to say */
static bool can_be_spare(const StreamStructs *s, const VMStateDescription *sub)
{
    return sub->needed && !sub->only_if_needed &&
           part_version(s, sub->name, sub->version_id) == sub->version_id;
}

uint64_t migration_stream_spare(QEMUFile *f, const VMStateDescription *vmsd,
                                uint64_t needed)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place = sc ? stream_structs_top(stream_structs(sc)) : NULL;
    const char *section = sc ? sc->structs->section.name : NULL;
    uint64_t spare = 0, parts = 0;

    if (!place || !place->inside || !vmsd->subsections) {
        return 0;
    }
    place->stored = stream_stored_get(place->inside,
                                      stream_map_name(section,
                                                      place->subsection,
                                                      vmsd->name, false));
    place->stored->times++;
    for (int i = 0; vmsd->subsections[i]; i++) {
        const VMStateDescription *sub = vmsd->subsections[i];
        const char *name = stream_map_name(section, true, sub->name, false);
        bool is_needed = extract64(needed, i, 1);
        int n;

        if (!is_needed && !can_be_spare(sc->structs, sub)) {
            continue;
        }
        n = stream_stored_part(place->stored, name);
        if (n < 0) {
            n = stream_stored_add_part(place->stored, name, sub->version_id);
        }
        if (n < 0) {
            continue;       /* more than the facts have room for */
        }
        parts |= is_needed ? BIT_ULL(n) : 0;
        spare |= is_needed ? 0 : BIT_ULL(i);
    }
    stream_stored_need(place->stored, parts);
    return spare;
}

void migration_stream_begin_spare(QEMUFile *f)
{
    StreamChannel *sc = saving(f);

    if (sc) {
        stream_structs_top(stream_structs(sc))->spare = true;
    }
}

/* Who reads the stream by its description has to know of the frame, too */
static void describe_no_elements(JSONWriter *json, const char *section,
                                 const VMStateField *field, int version_id)
{
    json_writer_start_object(json, NULL);
    json_writer_str(json, "name", field->name);
    json_writer_int64(json, "array_len", 0);
    json_writer_str(json, "type", "struct");
    json_writer_start_object(json, "struct");
    json_writer_str(json, "vmsd_name",
                    stream_map_name(section, false, field->vmsd->name, false));
    json_writer_int64(json, "version", version_id);
    json_writer_start_array(json, "fields");
    json_writer_end_array(json);
    json_writer_end_object(json);
    json_writer_int64(json, "size", 0);
    json_writer_end_object(json);
}

/* How many elements there are up to the last that is used */
static int count_used(StreamChannel *sc, const VMStateField *field,
                      void *first, int n_elems, int size)
{
    while (migration_stream_may_lack(field) && n_elems > 0 &&
           is_unused(sc, field->vmsd, first + size * (n_elems - 1))) {
        n_elems--;
    }
    return n_elems;
}

int migration_stream_begin_field(QEMUFile *f, const VMStateField *field,
                                 void *first, int n_elems, int size)
{
    StreamChannel *sc = saving(f);

    if (sc) {
        StreamPlace *place = stream_structs_top(sc->structs);
        int version_id = part_version(sc->structs, field->vmsd->name,
                                      vmstate_field_newest(field));

        n_elems = count_used(sc, field, first, n_elems, size);
        if (!n_elems && place && place->fields) {
            describe_no_elements(place->fields, sc->structs->section.name,
                                 field, version_id);
        }
        begin_frame(f, sc, field->vmsd->name, version_id,
                    STREAM_FRAME_ARRAY | (field->vmsd->subsections ?
                                          STREAM_FRAME_FRAMES : 0), n_elems);
    }
    return n_elems;
}

void migration_stream_end_field(QEMUFile *f)
{
    StreamChannel *sc = saving(f);

    if (sc) {
        end_frame(f, sc);
    }
}

void migration_stream_begin_put(QEMUFile *f, JSONWriter *vmdesc)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;
    Error *err = NULL;

    if (!sc) {
        return;
    }
    place = stream_structs_push(stream_structs(sc), STREAM_PLACE_BLOB, &err);
    if (!place) {
        save_fail(f, err);
        return;
    }
    place->json = vmdesc;
    place->begin = qemu_file_total_transferred_fast(f);
    place->described = place->begin;
}

void migration_stream_end_put(QEMUFile *f)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;

    if (!sc) {
        return;
    }
    place = stream_structs_top(sc->structs);
    if (place->opened) {
        describe(place, "data", "buffer", qemu_file_total_transferred_fast(f));
        json_writer_end_array(place->json);
        json_writer_end_object(place->json);
    }
    sc->structs->depth--;
}

void migration_stream_begin_part(QEMUFile *f, const char *name)
{
    StreamChannel *sc = saving(f);
    StreamPlace *frame;

    if (!sc) {
        return;
    }
    frame = begin_frame(f, sc, name, 1, 0, 0);
    if (frame && frame->own_field) {
        json_writer_str(frame->json, "vmsd_name",
                        sc->structs->frame.name);
        json_writer_int64(frame->json, "version", 1);
        json_writer_start_array(frame->json, "fields");
    }
    if (frame) {
        /* What it holds is like what put() saves, in a list that is open */
        StreamPlace *place = frame + 1;

        migration_stream_begin_put(f, frame->json);
        if (saving(f)) {
            place->opened = true;
        }
    }
}

void migration_stream_describe(QEMUFile *f, const char *name, const char *type)
{
    StreamChannel *sc = saving(f);

    if (sc) {
        describe(stream_structs_top(stream_structs(sc)), name, type,
                 qemu_file_total_transferred_fast(f));
    }
}

void migration_stream_end_part(QEMUFile *f)
{
    StreamChannel *sc = saving(f);
    StreamPlace *place;

    if (!sc) {
        return;
    }
    place = stream_structs_top(sc->structs);
    describe(place, "data", "buffer", qemu_file_total_transferred_fast(f));
    if (place->json) {
        json_writer_end_array(place->json);
    }
    sc->structs->depth--;
    end_frame(f, sc);
}
