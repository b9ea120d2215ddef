/*
 * Migration stream version 4: whether what is unused is left out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_UNUSED_H
#define MIGRATION_STREAM_UNUSED_H

#include "migration/vmstate.h"
#include "qom/object.h"

/**
 * migration_stream_is_whole: is everything sent, whether it is used or not?
 *
 * With COLO it is, as that loads into a machine that has state already; and if
 * somebody asked for it.
 */
bool migration_stream_is_whole(void);

/**
 * migration_stream_unused: is a state left out, as it is unused?
 *
 * In version 4 only, which is the caller's to know.
 *
 * @vmsd: what the state is described with
 */
bool migration_stream_unused(const VMStateDescription *vmsd, void *opaque);

/**
 * migration_stream_as_unused: is a state right when nothing of it comes?
 *
 * A reset has to make it so before it is loaded, where it can be unused.
 *
 * @vmsd: NULL if nothing describes it
 */
static inline bool migration_stream_as_unused(const VMStateDescription *vmsd,
                                              void *opaque)
{
    return !vmsd || !vmsd->unused || vmsd->unused(opaque);
}

/**
 * migration_unused_class_init: the migration object's share in it
 *
 * Gives it the property "send-unused".
 *
 * @klass: of the migration object
 */
void migration_unused_class_init(ObjectClass *klass);

#endif
