/*
 * Migration stream version 4: state that is changed on its way
 *
 * Somebody may know that the other side calls a part of the state otherwise, or
 * has a number of another width.  Implements the stream's part of "State" of
 * docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_MAP_H
#define MIGRATION_STREAM_MAP_H

#include "migration/vmstate.h"

/**
 * StreamMap: what is asked while state is saved or loaded
 *
 * By one thread at a time.  @section is the section's name.
 *
 * @start: a stream begins
 * @name: what the destination calls a subsection, or else a structure, that the
 * source calls @name; @passes if it is in the stream now
 * @source_name: the other way round, for a subsection
 * @width: bytes that @field of @structure has on the other side, if it has
 * @here of them on this one; 0 with @errp set if that cannot be
 * @drops: is a section passed over by a destination that does not know it?
 * @check: has all come that something was to be done to?
 */
typedef struct StreamMap {
    void (*start)(void);
    const char *(*name)(const char *section, bool subsection,
                        const char *name, bool passes);
    const char *(*source_name)(const char *section, const char *name);
    unsigned (*width)(const char *section, const char *structure,
                      const char *field, unsigned here, bool saving,
                      Error **errp);
    bool (*drops)(const char *section);
    bool (*check)(Error **errp);
} StreamMap;

/**
 * migration_stream_set_map: change state on its way
 *
 * @map: NULL to change nothing
 *
 * Not while something is being saved or loaded.
 */
void migration_stream_set_map(const StreamMap *map);

/* What is said if there is no map: nothing is changed */
void stream_map_start(void);
const char *stream_map_name(const char *section, bool subsection,
                            const char *name, bool passes);
const char *stream_map_source_name(const char *section, const char *name);
bool stream_map_drops(const char *section);
bool stream_map_check(Error **errp);

/**
 * migration_stream_get_field: load a field that is no structure
 *
 * @vmsd: of the structure that it is in
 * @pv: where it goes
 * @size: of it, in bytes
 *
 * Returns: what the field's get() returns.
 */
int migration_stream_get_field(QEMUFile *f, const VMStateDescription *vmsd,
                               void *pv, size_t size,
                               const VMStateField *field);

/* The same for saving, with what put() takes */
int migration_stream_put_field(QEMUFile *f, const VMStateDescription *vmsd,
                               void *pv, size_t size,
                               const VMStateField *field, JSONWriter *vmdesc);

/**
 * migration_stream_struct_name: what a structure is called in the stream
 *
 * Right behind migration_stream_begin_struct().
 */
const char *migration_stream_struct_name(QEMUFile *f,
                                         const VMStateDescription *vmsd);

#endif
