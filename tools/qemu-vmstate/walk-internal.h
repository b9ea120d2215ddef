/*
 * qemu-vmstate: the parts of walk.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_WALK_INTERNAL_H
#define QEMU_VMSTATE_WALK_INTERNAL_H

#include "migration/stream/frame.h"
#include "description.h"
#include "walk.h"

/* What stands for an element of an array that is a null pointer */
#define NULL_MARK 0x30

/* What an element adds to a dump at least, in bytes */
#define ELEMENT_COST 64

/* A way through a section's state */
typedef struct Walk {
    Contents *contents;
    const Section *section;
    JSONWriter *json;       /* or NULL */
    uint64_t *budget;       /* what may still be written, in bytes */
    const uint8_t *data;
    size_t at;
    size_t end;             /* of the frame, or of all */
    bool framed;
    unsigned depth;
    StreamFrameStack frames;
    GString *path;          /* where it is, for messages */
} Walk;

/* Takes something off what there may be of fields and their values */
bool walk_spend(Walk *w, uint64_t amount, Error **errp);

/* Are there so many bytes? */
bool walk_enough(Walk *w, uint64_t size, Error **errp);

/* The fields of a structure, each with its name, into the present object */
bool walk_fields(Walk *w, const QDict *structure, Error **errp);

/* A structure that has no frame */
bool walk_structure(Walk *w, const QDict *structure, const char *name,
                    Error **errp);

/* Version 4 */

/* A structure in a frame of its own, with its subsections */
bool walk_frame(Walk *w, const QDict *structure, const char *name,
                Error **errp);

/* Does an array of such elements have a frame? */
bool walk_array_has_frame(const Field *field);

/* Which structure its elements are, NULL if all of them are null pointers */
const char *walk_array_name(const QListEntry *entry, const Field *field,
                            uint64_t elements);

/* Does an array begin here, though the description has but one element? */
bool walk_is_array(Walk *w, const Field *field);

/* Goes into the frame of an array; @name is NULL if it isn't known */
bool walk_enter_array(Walk *w, const char *name, uint64_t elements,
                      StreamFrame *frame, Error **errp);

/* Goes out of the innermost frame; @outer is the end of the one around it */
bool walk_leave(Walk *w, size_t outer, Error **errp);

/* Version 3 */
bool walk_v3_subsections(Walk *w, const QDict *structure, Error **errp);

#endif
