/*
 * Migration stream version 4: loading VMState structures
 *
 * What vmstate.c calls while it loads.  Implements "Frames" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/host-utils.h"
#include "qapi/error.h"
#include "migration/qemu-file.h"
#include "migration/stream/map.h"
#include "migration/stream/structs.h"
#include "migration/stream/unused.h"
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

/*
 * What is not needed comes with a number, to which the file's facts have the
 * name.  Who has no facts passes over it.
 */
static int name_spare(StreamChannel *sc)
{
    StreamStructs *s = sc->structs;
    const StreamPlace *place = stream_structs_top(s);
    const StreamStored *stored = place ? place->stored : NULL;
    const StreamStoredPart *part;
    Error *err = NULL;

    if (!stored) {
        return 0;
    }
    part = stream_stored_numbered(stored, s->frame.name);
    if (!part) {
        error_setg(&err, "subsection '%s' is stored: expected a number of "
                   "those that the stream's facts have, which is less than %u",
                   s->frame.name, stored->parts->len);
        return stream_structs_refuse(sc, err);
    }
    pstrcpy(s->frame.name, sizeof(s->frame.name), part->name);
    return 0;
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
    if (subsection && (s->frame.flags & STREAM_FRAME_SPARE)) {
        int ret = name_spare(sc);

        if (ret) {
            return ret;
        }
    }
    if (sc->stored) {
        pstrcpy(s->wire_name, sizeof(s->wire_name), s->frame.name);
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

    if (s->frame.flags & STREAM_FRAME_SPARE) {
        trace_migration_stream_drop(what);
        stream_index_note_dropped(stream_reader_index(sc->reader), what);
    } else {
        trace_migration_stream_skip(what);
        stream_reader_skip(sc->reader, what);
    }
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
        if (s->frame.flags & STREAM_FRAME_SPARE) {
            error_setg(&err, "'%s' is marked as not needed, which only a "
                       "subsection can be", s->frame.name);
            return stream_structs_refuse(sc, err);
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

/* What the file says of the structure that begins */
static void note_stored(StreamChannel *sc, StreamPlace *place, bool subsection)
{
    StreamStructs *s = sc->structs;

    if (!sc->stored) {
        return;
    }
    if (s->depth == 1) {
        const StreamIdent *ident = stream_reader_ident(sc->reader);

        place->inside = ident ? stream_stored_section(sc->stored, ident->name,
                                                      ident->instance_id)
                              : NULL;
    } else if (subsection) {
        const StreamStored *outer = place[-1].stored;
        int n = outer ? stream_stored_part(outer, s->wire_name) : -1;
        const StreamStoredPart *part = n < 0 ? NULL : outer->parts->pdata[n];

        place->inside = part ? part->inside : NULL;
    }
    place->stored = stream_stored_find(place->inside, s->wire_name);
}

/* Goes into the frame whose header was read */
static int enter_frame(QEMUFile *f, StreamChannel *sc, bool subsection)
{
    StreamStructs *s = stream_structs(sc);
    StreamPlace *place;
    Error *err = NULL;

    if (s->frame.flags & STREAM_FRAME_UNUSED) {
        error_setg(&err, "'%s' comes as unused, and this side does not know "
                   "what that would be: expected its state", s->frame.name);
        return stream_structs_refuse(sc, err);
    }
    place = stream_structs_push(s, STREAM_PLACE_FRAME, &err);
    if (!place ||
        !stream_frame_enter(&s->frames, &s->frame,
                            stream_structs_position(sc, f), &err)) {
        return stream_structs_refuse(sc, err);
    }
    place->flags = s->frame.flags;
    place->version_id = s->frame.version_id;
    place->count = s->frame.count;
    note_stored(sc, place, subsection);
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

/* What does not come has to be here already */
static int check_unused(StreamChannel *sc, const VMStateDescription *vmsd,
                        void *opaque)
{
    Error *err = NULL;

    if (migration_stream_as_unused(vmsd, opaque)) {
        return 0;
    }
    error_setg(&err, "'%s' comes as unused, and is not as after a reset on "
               "this side", vmsd->name);
    return stream_structs_refuse(sc, err);
}

int migration_stream_enter_struct(QEMUFile *f, const VMStateDescription *vmsd,
                                  void *opaque, int *version_id)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamStructs *s = stream_structs(sc);
    StreamPlace *array = stream_structs_top(s);
    bool subsection = s->pending, unused = false;
    int ret;

    if (stream_place_has_elements(array)) {
        array->in_element = true;
        *version_id = array->version_id;
        ret = 0;
    } else {
        ret = subsection ? 0 : expect_frame(f, sc, vmsd->name, 0);
        s->pending = false;
        unused = !ret && vmsd->unused && (s->frame.flags & STREAM_FRAME_UNUSED);
        ret = ret ?: unused ? 0 : enter_frame(f, sc, subsection);
        *version_id = s->frame.version_id;
    }
    ret = ret ?: check_version(sc, vmsd->name, vmsd->minimum_version_id,
                               vmsd->version_id, *version_id);
    if (!ret && unused) {
        trace_migration_stream_unused(stream_structs_section(sc), vmsd->name);
        ret = check_unused(sc, vmsd, opaque);
    }
    return ret ?: unused;
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

static const StreamSpares *spares;

void migration_stream_set_spares(const StreamSpares *who)
{
    spares = who;
}

const StreamSpares *stream_spares(void)
{
    return spares;
}

/* A structure's subsections, as they come */
typedef struct Subsections {
    const StreamStored *stored;     /* what the file says of them, or NULL */
    uint64_t came;                  /* and were loaded */
    bool spare;                     /* from here on they are not needed */
    uint64_t wanted;                /* and these are to be loaded */
} Subsections;

/* Which of them that is; -1 if none */
static int subsection_number(const VMStateDescription *vmsd, const char *name)
{
    for (int i = 0; vmsd->subsections && vmsd->subsections[i]; i++) {
        if (!strcmp(vmsd->subsections[i]->name, name)) {
            return i < STREAM_SUBSECTIONS_MAX ? i : -1;
        }
    }
    return -1;
}

/* All that is needed has come: which are to be loaded? */
static uint64_t choose(StreamChannel *sc, const VMStateDescription *vmsd,
                       const Subsections *subs)
{
    const char *section = stream_structs_section(sc);
    uint64_t available = 0;

    for (unsigned i = 0; subs->stored && i < subs->stored->parts->len; i++) {
        const StreamStoredPart *part = subs->stored->parts->pdata[i];
        int n = subsection_number(vmsd, stream_map_name(section, true,
                                                        part->name, false));

        if (n >= 0 && part->usable && !part->sometimes) {
            available |= BIT_ULL(n);
        }
    }
    return available && spares ? spares->choose(vmsd, subs->came, available)
                               : subs->came;
}

/* Is the one whose header was read to be loaded? */
static bool is_wanted(StreamChannel *sc, const VMStateDescription *vmsd, int n,
                      Subsections *subs)
{
    if (!(sc->structs->frame.flags & STREAM_FRAME_SPARE)) {
        return true;
    }
    if (!subs->spare) {
        subs->spare = true;
        subs->wanted = choose(sc, vmsd, subs);
    }
    return n >= 0 && extract64(subs->wanted, n, 1);
}

static int load_subsection(QEMUFile *f, StreamChannel *sc,
                           const VMStateDescription *vmsd, void *opaque,
                           Subsections *subs)
{
    StreamStructs *s = stream_structs(sc);
    const VMStateDescription *sub;
    Error *err = NULL;
    int ret, n;

    ret = read_frame(f, sc, true);
    if (ret) {
        return ret;
    }
    n = s->frame.flags & STREAM_FRAME_ARRAY ? -1
      : subsection_number(vmsd, s->frame.name);
    if (!is_wanted(sc, vmsd, n, subs)) {
        return skip_frame(f, sc, vmsd->name);
    }
    if (n < 0) {
        return s->frame.flags & STREAM_FRAME_OPTIONAL ?
               skip_frame(f, sc, vmsd->name) :
               refuse_subsection(sc, vmsd, s->frame.name);
    }
    sub = vmsd->subsections[n];
    if (extract64(subs->came, n, 1)) {
        error_setg(&err, "subsection '%s' comes twice: expected it once",
                   sub->name);
        return stream_structs_refuse(sc, err);
    }
    if (subs->spare && !(s->frame.flags & STREAM_FRAME_SPARE)) {
        error_setg(&err, "subsection '%s' is needed and comes behind what is "
                   "not: expected it before", sub->name);
        return stream_structs_refuse(sc, err);
    }
    subs->came |= BIT_ULL(n);
    s->pending = true;
    ret = vmstate_load_state(f, sub, opaque, s->frame.version_id);
    if (ret) {
        migration_stream_failed_in(f, sub->name, -1);
    }
    return ret;
}

/* Has all come that the file said it has? */
static int check_wanted(StreamChannel *sc, const VMStateDescription *vmsd,
                        const Subsections *subs)
{
    uint64_t missing = subs->wanted & ~subs->came;
    Error *err = NULL;

    if (!missing) {
        return 0;
    }
    error_setg(&err, "'%s' is without subsection '%s': expected it, as the "
               "stream's facts have it", vmsd->name,
               vmsd->subsections[ctz64(missing)]->name);
    return stream_structs_refuse(sc, err);
}

int migration_stream_load_subsections(QEMUFile *f,
                                      const VMStateDescription *vmsd,
                                      void *opaque)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamPlace *place = stream_structs_top(stream_structs(sc));
    Subsections subs = { .stored = place->stored };
    uint32_t count = place->count;
    int ret;

    if (place->in_element) {
        place->in_element = false;
        sc->structs->came = 0;
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        ret = load_subsection(f, sc, vmsd, opaque, &subs);
        if (ret) {
            return ret;
        }
    }
    sc->structs->came = subs.came;
    return check_wanted(sc, vmsd, &subs) ?: leave_frame(f, sc);
}

uint64_t migration_stream_subsections_that_came(QEMUFile *f)
{
    return stream_structs(stream_channel_of(f))->came;
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

/* Are there as many elements as there have to be, or may be? */
static int check_count(StreamChannel *sc, const VMStateField *field,
                       void *first, int *n_elems, int size)
{
    uint32_t count = stream_structs(sc)->frame.count;
    bool fewer = migration_stream_may_lack(field);
    Error *err = NULL;

    if (fewer ? count > *n_elems : count != *n_elems) {
        error_setg(&err, "the array is of another size: expected %s%d "
                   "elements, got %" PRIu32, fewer ? "at most " : "", *n_elems,
                   count);
        return stream_structs_refuse(sc, err);
    }
    if (count < *n_elems && (field->flags & VMS_POINTER)) {
        first = *(void **)first;
    }
    for (int i = count, ret; i < *n_elems; i++) {
        ret = check_unused(sc, field->vmsd, first + (size_t)size * i);
        if (ret) {
            return ret;
        }
    }
    *n_elems = count;
    return 0;
}

int migration_stream_enter_field(QEMUFile *f, const VMStateField *field,
                                 void *first, int *n_elems, int size)
{
    StreamChannel *sc = stream_channel_of(f);
    int ret;

    ret = check_alloc(f, sc, field, *n_elems, size);
    if (!ret && migration_stream_is_array(field)) {
        ret = expect_frame(f, sc, field->vmsd->name, STREAM_FRAME_ARRAY) ?:
              enter_frame(f, sc, false) ?:
              check_version(sc, field->vmsd->name,
                            field->vmsd->minimum_version_id,
                            field->vmsd->version_id,
                            stream_structs(sc)->frame.version_id) ?:
              check_count(sc, field, first, n_elems, size);
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
    ret = expect_frame(f, sc, name, 0) ?: enter_frame(f, sc, false);
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
    Subsections subs = { 0 };
    int ret = 0;

    /* It has no subsections, but a newer one may */
    for (uint32_t i = 0; place && !ret && i < place->count; i++) {
        ret = load_subsection(f, sc, &part, NULL, &subs);
    }
    return sc ? ret ?: leave_frame(f, sc) : 0;
}
