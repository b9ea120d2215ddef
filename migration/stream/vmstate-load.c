/*
 * Migration stream version 4: loading VMState structures
 *
 * What vmstate.c calls while it loads.  Implements "Frames" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/qemu-file.h"
#include "migration/stream/map.h"
#include "migration/stream/structs.h"
#include "migration/stream/vmstate.h"
#include "migration/vmstate.h"
#include "trace.h"

/* The name that this side has for a frame */
static void map_frame(StreamChannel *sc, bool subsection)
{
    StreamFrame *frame = &stream_structs(sc)->frame;
    const char *section = stream_structs_section(sc);
    const char *name = stream_map_name(section, subsection, frame->name, true);

    if (name != frame->name) {
        trace_migration_stream_map(section, frame->name, name);
        pstrcpy(frame->name, sizeof(frame->name), name);
    }
}

/* Reads a frame's header into s->frame */
static int read_frame(QEMUFile *f, StreamChannel *sc, bool subsection)
{
    StreamStructs *s = stream_structs(sc);
    uint8_t wire[STREAM_FRAME_HEADER_MAX];
    size_t have = qemu_get_buffer(f, wire, STREAM_FRAME_HEADER_SIZE);
    Error *err = NULL;

    if (have == STREAM_FRAME_HEADER_SIZE && !qemu_file_get_error(f)) {
        have += qemu_get_buffer(f, wire + have, stream_frame_name_length(wire));
    }
    if (qemu_file_get_error(f)) {
        return qemu_file_get_error(f);
    }
    if (!stream_frame_decode(wire, have, &s->frame, &err)) {
        return stream_structs_refuse(sc, err);
    }
    map_frame(sc, subsection);
    return 0;
}

/* Passes over the body of s->frame */
static int skip_frame(QEMUFile *f, StreamChannel *sc, const char *in)
{
    StreamStructs *s = stream_structs(sc);
    g_autofree char *section = stream_reader_section_name(sc->reader);
    g_autofree char *what = g_strdup_printf("'%s' in '%s' of %s",
                                            s->frame.name, in, section);
    uint8_t ignored[512];
    Error *err = NULL;

    if (!stream_frame_enter(&s->frames, &s->frame,
                            stream_structs_position(sc, f), &err)) {
        return stream_structs_refuse(sc, err);
    }
    for (uint32_t left = s->frame.length; left && !qemu_file_get_error(f);) {
        left -= qemu_get_buffer(f, ignored, MIN(left, sizeof(ignored)));
    }
    if (qemu_file_get_error(f)) {
        return qemu_file_get_error(f);
    }
    stream_frame_leave(&s->frames, stream_structs_position(sc, f),
                       &error_abort);

    trace_migration_stream_skip(what);
    stream_reader_skip(sc->reader, what);
    return 0;
}

/* Reads the header of the frame that a structure of @name has to be in */
static int expect_frame(QEMUFile *f, StreamChannel *sc, const char *name,
                        uint16_t array)
{
    StreamStructs *s = stream_structs(sc);
    Error *err = NULL;
    int ret;

    for (;;) {
        ret = read_frame(f, sc, false);
        if (ret) {
            return ret;
        }
        if (!strcmp(s->frame.name, name) &&
            (s->frame.flags & STREAM_FRAME_ARRAY) == array) {
            return 0;
        }
        if (!(s->frame.flags & STREAM_FRAME_OPTIONAL)) {
            error_setg(&err, "expected %s '%s', got %s '%s'",
                       array ? "an array of" : "structure", name,
                       s->frame.flags & STREAM_FRAME_ARRAY ? "an array of" :
                       "structure", s->frame.name);
            return stream_structs_refuse(sc, err);
        }
        ret = skip_frame(f, sc, name);
        if (ret) {
            return ret;
        }
    }
}

/* Goes into the frame whose header was read */
static int enter_frame(QEMUFile *f, StreamChannel *sc)
{
    StreamStructs *s = stream_structs(sc);
    StreamPlace *place;
    Error *err = NULL;

    place = stream_structs_push(s, STREAM_PLACE_FRAME, &err);
    if (!place ||
        !stream_frame_enter(&s->frames, &s->frame,
                            stream_structs_position(sc, f), &err)) {
        return stream_structs_refuse(sc, err);
    }
    place->flags = s->frame.flags;
    place->version_id = s->frame.version_id;
    place->count = s->frame.count;
    return 0;
}

/* @got: what came, as int because VMState has it so */
static int check_version(StreamChannel *sc, const char *name, int least,
                         int most, int got)
{
    Error *err = NULL;

    if (got >= least && got <= most) {
        return 0;
    }
    error_setg(&err, "'%s' is of another version: expected %d to %d, got %u",
               name, least, most, got);
    return stream_structs_refuse(sc, err);
}

static int leave_frame(QEMUFile *f, StreamChannel *sc)
{
    StreamStructs *s = stream_structs(sc);
    Error *err = NULL;

    if (qemu_file_get_error(f)) {
        return qemu_file_get_error(f);
    }
    s->depth--;
    if (!stream_frame_leave(&s->frames, stream_structs_position(sc, f),
                            &err)) {
        return stream_structs_refuse(sc, err);
    }
    return 0;
}

int migration_stream_enter_struct(QEMUFile *f, const VMStateDescription *vmsd,
                                  int *version_id)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamStructs *s = stream_structs(sc);
    StreamPlace *array = stream_structs_top(s);
    int ret;

    if (stream_place_has_elements(array)) {
        array->in_element = true;
        *version_id = array->version_id;
        ret = 0;
    } else {
        ret = s->pending ? 0 : expect_frame(f, sc, vmsd->name, 0);
        s->pending = false;
        ret = ret ?: enter_frame(f, sc);
        *version_id = s->frame.version_id;
    }
    return ret ?: check_version(sc, vmsd->name, vmsd->minimum_version_id,
                                vmsd->version_id, *version_id);
}

static char *subsection_names(const VMStateDescription *vmsd)
{
    GString *names = g_string_new(NULL);

    for (int i = 0; vmsd->subsections && vmsd->subsections[i]; i++) {
        g_string_append_printf(names, "%s'%s'", i ? ", " : "",
                               vmsd->subsections[i]->name);
    }
    return g_string_free(names, false);
}

static int refuse_subsection(StreamChannel *sc, const VMStateDescription *vmsd,
                             const char *name)
{
    g_autofree char *known = subsection_names(vmsd);
    Error *err = NULL;

    error_setg(&err, "subsection '%s' is unknown and not optional: '%s' has %s",
               name, vmsd->name, *known ? known : "none");
    error_append_hint(&err, "The stream comes from a QEMU that is newer, or "
                      "another; the guest uses what the subsection is "
                      "about.\n");
    return stream_structs_refuse(sc, err);
}

static int load_subsection(QEMUFile *f, StreamChannel *sc,
                           const VMStateDescription *vmsd, void *opaque,
                           unsigned long *seen)
{
    StreamStructs *s = stream_structs(sc);
    const VMStateDescription *sub;
    Error *err = NULL;
    int ret, i;

    ret = read_frame(f, sc, true);
    if (ret) {
        return ret;
    }
    for (i = 0; vmsd->subsections && vmsd->subsections[i]; i++) {
        if (!strcmp(vmsd->subsections[i]->name, s->frame.name)) {
            break;
        }
    }
    sub = vmsd->subsections ? vmsd->subsections[i] : NULL;
    if (!sub || (s->frame.flags & STREAM_FRAME_ARRAY)) {
        return s->frame.flags & STREAM_FRAME_OPTIONAL ?
               skip_frame(f, sc, vmsd->name) :
               refuse_subsection(sc, vmsd, s->frame.name);
    }
    if (test_and_set_bit(i, seen)) {
        error_setg(&err, "subsection '%s' comes twice: expected it once",
                   sub->name);
        return stream_structs_refuse(sc, err);
    }
    s->pending = true;
    ret = vmstate_load_state(f, sub, opaque, s->frame.version_id);
    if (ret) {
        migration_stream_failed_in(f, sub->name, -1);
    }
    return ret;
}

int migration_stream_load_subsections(QEMUFile *f,
                                      const VMStateDescription *vmsd,
                                      void *opaque)
{
    StreamChannel *sc = stream_channel_of(f);
    g_autofree unsigned long *seen = NULL;
    StreamPlace *place = stream_structs_top(stream_structs(sc));
    uint32_t count = place->count;
    int n = 0, ret;

    if (place->in_element) {
        place->in_element = false;
        return 0;
    }
    while (vmsd->subsections && vmsd->subsections[n]) {
        n++;
    }
    seen = count ? bitmap_new(MAX(n, 1)) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        ret = load_subsection(f, sc, vmsd, opaque, seen);
        if (ret) {
            return ret;
        }
    }
    return leave_frame(f, sc);
}

/*
 * Is there as much in the stream as is to be allocated?  What has not arrived
 * yet is only a claim, so that there is a limit as well.
 */
static int check_alloc(QEMUFile *f, StreamChannel *sc,
                       const VMStateField *field, int n_elems, int size)
{
    uint64_t left = stream_frame_left(&stream_structs(sc)->frames,
                                      stream_structs_position(sc, f));
    /* Elements take a byte at least; of a buffer all is in the stream */
    uint64_t need = field->flags & VMS_VBUFFER ?
                    (uint64_t)MAX(size, 0) * MAX(n_elems, 0) :
                    MAX(n_elems, 0);
    Error *err = NULL;

    if (qemu_file_get_error(f)) {
        return qemu_file_get_error(f);
    }
    if (n_elems < 0 || size < 0 ||
        ((field->flags & VMS_ALLOC) &&
         (need > left || (uint64_t)n_elems * size > STREAM_ALLOC_MAX))) {
        error_setg(&err, "there is not enough for %d elements of %d bytes: "
                   "expected at least %" PRIu64 " bytes more, and at most %"
                   PRIu64 " in memory, got %" PRIu64, n_elems, size, need,
                   (uint64_t)STREAM_ALLOC_MAX, left);
        return stream_structs_refuse(sc, err);
    }
    return 0;
}

int migration_stream_enter_field(QEMUFile *f, const VMStateField *field,
                                 int n_elems, int size)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    int ret;

    ret = check_alloc(f, sc, field, n_elems, size);
    if (!ret && migration_stream_is_array(field)) {
        ret = expect_frame(f, sc, field->vmsd->name, STREAM_FRAME_ARRAY) ?:
              enter_frame(f, sc) ?:
              check_version(sc, field->vmsd->name,
                            field->vmsd->minimum_version_id,
                            field->vmsd->version_id,
                            stream_structs(sc)->frame.version_id);
        if (!ret && sc->structs->frame.count != n_elems) {
            error_setg(&err, "the array is of another size: expected %d "
                       "elements, got %" PRIu32, n_elems,
                       sc->structs->frame.count);
            ret = stream_structs_refuse(sc, err);
        }
    }
    if (ret) {
        migration_stream_failed_in(f, field->name, -1);
    }
    return ret;
}

int migration_stream_leave_field(QEMUFile *f, const VMStateField *field)
{
    int ret = 0;

    if (migration_stream_is_array(field)) {
        ret = leave_frame(f, stream_channel_of(f));
        if (ret) {
            migration_stream_failed_in(f, field->name, -1);
        }
    }
    return ret;
}

int migration_stream_enter_part(QEMUFile *f, const char *name)
{
    StreamChannel *sc = stream_channel_of(f);
    int ret;

    if (!sc) {
        return 0;
    }
    ret = expect_frame(f, sc, name, 0) ?: enter_frame(f, sc);
    if (!ret) {
        stream_structs_top(stream_structs(sc))->part = name;
        ret = check_version(sc, name, 1, 1,
                            stream_structs(sc)->frame.version_id);
    }
    return ret;
}

int migration_stream_leave_part(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamPlace *place = sc ? stream_structs_top(stream_structs(sc)) : NULL;
    VMStateDescription part = { .name = place ? place->part : NULL };
    int ret = 0;

    /* It has no subsections, but a newer one may */
    for (uint32_t i = 0; place && !ret && i < place->count; i++) {
        ret = load_subsection(f, sc, &part, NULL, NULL);
    }
    return sc ? ret ?: leave_frame(f, sc) : 0;
}
