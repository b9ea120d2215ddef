/*
 * State that is saved at an older version
 *
 * What becomes of the parts of a structure then, and what would be lost.
 * Implements "Older versions" of docs/devel/migration-v4/versions.rst.  Knows
 * descriptions and memory, and no stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_OLDER_H
#define MIGRATION_STREAM_OLDER_H

#include "migration/vmstate.h"

/**
 * vmstate_minimum_saved: the oldest version that a state can be saved at
 */
static inline int vmstate_minimum_saved(const VMStateDescription *vmsd)
{
    return vmsd->minimum_saved_version_id ?: vmsd->minimum_version_id;
}

/**
 * vmstate_field_newest: which version of a structure has @field?
 */
static inline int vmstate_field_newest(const VMStateField *field)
{
    return field->flags & VMS_VSTRUCT ? field->struct_version_id
                                      : field->vmsd->version_id;
}

/**
 * vmstate_older_part: at which version is a part saved?
 *
 * @vmsd: the structure around it
 * @version_id: which the structure is saved at
 * @part: name of a structure in it, or of a subsection
 * @newest: the version of the part when the structure is saved at its newest
 *
 * Returns: the version; %VMSTATE_OLDER_NONE if there was no such subsection.
 */
int vmstate_older_part(const VMStateDescription *vmsd, int version_id,
                       const char *part, int newest);

/**
 * vmstate_lost: what would a guest lose that is saved at an older version?
 *
 * @opaque: the structure, prepared to be saved.  The structures in it are
 * looked at only if they are left out as a whole.
 * @version_id: which it is to be saved at
 *
 * Returns: names of fields, or what the description says, in words, which the
 * caller frees; NULL if nothing.
 */
char *vmstate_lost(const VMStateDescription *vmsd, void *opaque,
                   int version_id);

/**
 * vmstate_check_lost: does nothing get lost at a version?
 *
 * As vmstate_lost().
 *
 * Returns: %false with @errp set if something does.
 */
bool vmstate_check_lost(const VMStateDescription *vmsd, void *opaque,
                        int version_id, Error **errp);

/**
 * vmstate_field_count: how many elements does a field have?
 *
 * @opaque: the structure that the field is in
 */
unsigned vmstate_field_count(const VMStateField *field, void *opaque);

/**
 * vmstate_field_exists: is a field there when its structure is saved?
 */
static inline bool vmstate_field_exists(const VMStateField *field,
                                        void *opaque, int version_id)
{
    return field->field_exists ? field->field_exists(opaque, version_id)
                               : field->version_id <= version_id;
}

#endif
