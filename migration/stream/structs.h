/*
 * Migration stream version 4: where a channel is among structures
 *
 * What saving and loading VMState keeps from one call of vmstate.c to the
 * next.  Private to this directory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_STRUCTS_H
#define MIGRATION_STREAM_STRUCTS_H

#include "migration/stream/channel.h"
#include "migration/stream/stored.h"
#include "migration/stream/vmstate.h"

/* Frames, and what put() saves in each */
#define STREAM_PLACES_MAX (2 * STREAM_FRAME_DEPTH_MAX)

typedef enum StreamPlaceKind {
    STREAM_PLACE_FRAME,     /* in a structure's frame, or in an array's */
    STREAM_PLACE_BLOB,      /* in what a field's put() or get() does */
} StreamPlaceKind;

typedef struct StreamPlace {
    StreamPlaceKind kind;
    uint16_t flags;         /* of the frame */
    uint32_t version_id;    /* of the frame, or its structures */
    uint32_t count;         /* of the frame, when loading */
    const char *part;       /* its name, when loading one */
    /* Saving: the structure, NULL of an array and of what is no structure */
    const VMStateDescription *vmsd;
    bool in_element;        /* of an array whose elements are no frames */
    bool subsection;        /* the frame is one */

    /* In a file: what this structure has of subsections, and what is in it */
    StreamStored *stored;
    GPtrArray *inside;      /* of StreamStored; NULL: nobody asks */
    bool spare;             /* saving: the subsections that begin next are */

    /* Saving: where the structure's fields are described, or NULL */
    JSONWriter *fields;

    /* Saving: the description of what is not described by a VMState field */
    JSONWriter *json;       /* NULL if there is none to be made */
    bool own_field;         /* it has a field of its own there */
    bool opened;            /* its list of fields was begun */
    uint64_t begin;         /* bytes of the file before it */
    uint64_t described;     /* bytes of the file that have a description */
} StreamPlace;

struct StreamStructs {
    unsigned depth;
    StreamPlace places[STREAM_PLACES_MAX];
    StreamIdent section;    /* saving: the section, at the chosen version */
    GPtrArray *inside;      /* of StreamStored: what the section has */
    bool optional;          /* saving: so is the frame that begins next */
    bool subsection;        /* saving: it is one */
    bool whole;             /* saving: what is unused, too */
    bool pending;           /* loading: its header was read already */
    uint64_t came;          /* loading: subsections of what ended last */
    StreamFrame frame;
    char wire_name[256];    /* loading from a file: its name in the stream */
    StreamFrameStack frames;    /* loading */
    GString *path;          /* of the field that failed */
    Error *reason;          /* why, without place and path */
};

/* The channel's state, made when it is first asked for */
StreamStructs *stream_structs(StreamChannel *sc);
void stream_structs_free(StreamStructs *s);

/* Loading: the position in the section, or behind the stream's first byte */
uint64_t stream_structs_position(StreamChannel *sc, QEMUFile *f);

/* Loading: the name of the section, or "" of what has none */
const char *stream_structs_section(StreamChannel *sc);

/* What migration_stream_set_spares() has set */
const StreamSpares *stream_spares(void);

/* The place that is innermost, or NULL */
StreamPlace *stream_structs_top(StreamStructs *s);

/* Is a structure that begins here an element without a frame of its own? */
static inline bool stream_place_has_elements(const StreamPlace *place)
{
    return place && !place->in_element &&
           (place->flags & (STREAM_FRAME_ARRAY | STREAM_FRAME_FRAMES)) ==
           STREAM_FRAME_ARRAY;
}

/**
 * stream_structs_push: go to a place
 *
 * Returns: the place, all zero but for its kind; NULL, with @errp set, when
 * there are too many around it.
 */
StreamPlace *stream_structs_push(StreamStructs *s, StreamPlaceKind kind,
                                 Error **errp);

/**
 * stream_structs_refuse: say why loading fails, if nobody has yet
 *
 * @err: taken
 *
 * Returns: -EINVAL.
 */
int stream_structs_refuse(StreamChannel *sc, Error *err);

#endif
