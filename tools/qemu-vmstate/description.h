/*
 * qemu-vmstate: what a stream says of the devices in it
 *
 * The description at a stream's end, in JSON.  It is not trusted more than
 * anything else that is in a stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_DESCRIPTION_H
#define QEMU_VMSTATE_DESCRIPTION_H

#include "contents.h"

/* Longest description, in bytes */
#define DESCRIPTION_MAX (64 * MiB)

/* Most objects in it; each takes some KiB of memory, once it is read */
#define DESCRIPTION_OBJECTS_MAX (128 * 1024)

/* One field of a structure, or one element of an array */
typedef struct Field {
    const char *name;
    const char *type;
    size_t size;            /* in bytes, of each element */
    bool is_array;
    bool has_index;         /* this is the element of that number */
    uint64_t index;
    uint64_t elements;      /* else 1, or as many of one and the same kind */
    const QDict *structure; /* NULL if it has no fields of its own */
} Field;

/**
 * description_parse: read a description
 *
 * Returns: the object, or NULL with @errp set.
 */
QDict *description_parse(const char *text, size_t length, Error **errp);

/* The list of devices, NULL if there is none */
const QList *description_devices(const QDict *description);

/**
 * description_ident: which device an entry of the list is about
 *
 * Returns: %false with @errp set if it does not say that.
 */
bool description_ident(const QDict *device, StreamIdent *ident, Error **errp);

/**
 * description_attach: give each section its device's description
 *
 * Returns: %false with @errp set if there is one without a section.
 */
bool description_attach(Contents *c, Error **errp);

/* The name of a structure, NULL if it has none */
const char *description_name(const QDict *structure);

/* Reads an entry of a list of fields */
bool description_field(const QObject *object, Field *field, Error **errp);

/**
 * description_size: how many bytes of a version 3 stream a structure takes
 *
 * Returns: %false with @errp set if the description is not right.
 */
bool description_size(const QDict *structure, uint64_t *size, Error **errp);

#endif
