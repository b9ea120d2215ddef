/*
 * State that is saved at an older version
 *
 * Implements "Older versions" of docs/devel/migration-v4/versions.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "migration/stream/older.h"

int vmstate_older_part(const VMStateDescription *vmsd, int version_id,
                       const char *part, int newest)
{
    const VMStateOlder *best = NULL;

    if (version_id >= vmsd->version_id || !vmsd->older) {
        return newest;
    }
    for (const VMStateOlder *o = vmsd->older; o->part; o++) {
        if (version_id <= o->version_id && !strcmp(o->part, part) &&
            (!best || o->version_id < best->version_id)) {
            best = o;
        }
    }
    return best ? best->part_version_id : newest;
}

unsigned vmstate_field_count(const VMStateField *field, void *opaque)
{
    void *at = opaque + field->num_offset;
    unsigned factor = field->flags & VMS_MULTIPLY_ELEMENTS ? field->num : 1;

    if (field->flags & VMS_ARRAY) {
        return field->num * factor;
    } else if (field->flags & VMS_VARRAY_INT32) {
        return MAX(*(int32_t *)at, 0) * factor;
    } else if (field->flags & VMS_VARRAY_UINT32) {
        return *(uint32_t *)at * factor;
    } else if (field->flags & VMS_VARRAY_UINT16) {
        return *(uint16_t *)at * factor;
    } else if (field->flags & VMS_VARRAY_UINT8) {
        return *(uint8_t *)at * factor;
    }
    return 1;
}

static size_t size_of(const VMStateField *field, void *opaque)
{
    size_t size = field->size;

    if (field->flags & VMS_VBUFFER) {
        size = MAX(*(int32_t *)(opaque + field->size_offset), 0);
        if (field->flags & VMS_MULTIPLY) {
            size *= field->size;
        }
    }
    if (field->info == &vmstate_info_bitmap) {
        size = BITS_TO_LONGS(size) * sizeof(long);
    }
    return size;
}

static bool is_set(const VMStateField *field, void *opaque);

/* Is there anything in a structure that a loader could not know? */
static bool struct_is_set(const VMStateDescription *vmsd, void *opaque)
{
    for (const VMStateField *field = vmsd->fields; field->name; field++) {
        if (vmstate_field_exists(field, opaque, vmsd->version_id) &&
            is_set(field, opaque)) {
            return true;
        }
    }
    return false;
}

static bool element_is_set(const VMStateField *field, void *element,
                           size_t size)
{
    if (field->flags & (VMS_STRUCT | VMS_VSTRUCT)) {
        return struct_is_set(field->vmsd, element);
    } else if (field->vmsd) {
        /* The head of a list */
        return *(void **)element;
    } else if (!strcmp(field->info->name, "timer")) {
        /* By its name: not everybody who links this has timers' state */
        return timer_pending(element);
    }
    return !buffer_is_zero(element, size);
}

static bool is_set(const VMStateField *field, void *opaque)
{
    void *first = opaque + field->offset;
    size_t size = size_of(field, opaque);
    unsigned n = vmstate_field_count(field, opaque);

    if (field->info == &vmstate_info_unused_buffer) {
        return false;
    }
    if (field->flags & VMS_POINTER) {
        first = *(void **)first;
    }
    for (unsigned i = 0; first && i < n; i++) {
        void *element = first + size * i;

        if (field->flags & VMS_ARRAY_OF_POINTER) {
            element = *(void **)element;
        }
        if (element && element_is_set(field, element, size)) {
            return true;
        }
    }
    return false;
}

char *vmstate_lost(const VMStateDescription *vmsd, void *opaque,
                   int version_id)
{
    g_autoptr(GString) names = NULL;

    if (version_id >= vmsd->version_id) {
        return NULL;
    }
    if (vmsd->lost) {
        return g_strdup(vmsd->lost(opaque, version_id));
    }
    names = g_string_new(NULL);
    for (const VMStateField *field = vmsd->fields; field->name; field++) {
        if (!vmstate_field_exists(field, opaque, version_id) &&
            vmstate_field_exists(field, opaque, vmsd->version_id) &&
            is_set(field, opaque)) {
            g_string_append_printf(names, "%s'%s'", names->len ? ", " : "",
                                   field->name);
        }
    }
    return names->len ? g_string_free(g_steal_pointer(&names), false) : NULL;
}

bool vmstate_check_lost(const VMStateDescription *vmsd, void *opaque,
                        int version_id, Error **errp)
{
    g_autofree char *lost = vmstate_lost(vmsd, opaque, version_id);

    if (lost) {
        error_setg(errp, "'%s' cannot be saved at version %d: the guest would "
                   "lose %s", vmsd->name, version_id, lost);
    }
    return !lost;
}
