/*
 * Migration stream version 4: VMState structures on a QEMUFile
 *
 * What vmstate.c calls on a version 4 file, and devices that save by hand on
 * any: what is theirs (parts, describe, failed) does nothing in version 3.
 * Implements "Frames" and "Description" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_VMSTATE_H
#define MIGRATION_STREAM_VMSTATE_H

#include "migration/vmstate.h"

/**
 * migration_stream_is_v4: does @f carry version 4?
 */
bool migration_stream_is_v4(QEMUFile *f);

/**
 * migration_stream_is_array: is @field one of several structures?
 */
static inline bool migration_stream_is_array(const VMStateField *field)
{
    return (field->flags & (VMS_STRUCT | VMS_VSTRUCT)) &&
           (field->flags & (VMS_ARRAY | VMS_ARRAY_OF_POINTER |
                            VMS_VARRAY_INT32 | VMS_VARRAY_UINT32 |
                            VMS_VARRAY_UINT16 | VMS_VARRAY_UINT8));
}

/**
 * migration_stream_may_lack: can elements at the end of @field be left out?
 *
 * Those that are unused, of an array that is there before it is loaded.
 */
static inline bool migration_stream_may_lack(const VMStateField *field)
{
    return migration_stream_is_array(field) && field->vmsd->unused &&
           !(field->flags & (VMS_ALLOC | VMS_ARRAY_OF_POINTER));
}

/**
 * migration_stream_is_checked: is there something of @field to be checked?
 *
 * A frame, or a length that came in the stream.  Most fields have neither, and
 * there are many of them.
 */
static inline bool migration_stream_is_checked(const VMStateField *field)
{
    return migration_stream_is_array(field) ||
           (field->flags & (VMS_ALLOC | VMS_VBUFFER |
                            VMS_VARRAY_INT32 | VMS_VARRAY_UINT32 |
                            VMS_VARRAY_UINT16 | VMS_VARRAY_UINT8));
}

/*
 * What is saved of a state can be left to somebody else, who knows what the
 * other side can load.
 */

#define STREAM_LEAVE_OFF (-1)

/**
 * StreamChoose: at which version is a state to be saved?
 *
 * @device: its section's name
 * @instance_id: its section's instance
 * @subsection: name of the subsection that is about to be saved; NULL if it is
 * the device's own state
 * @version_id: the newest
 *
 * Returns: the version; %STREAM_LEAVE_OFF to do without that subsection, or
 * with @errp set when there is no doing without.
 */
typedef int StreamChoose(const char *device, uint32_t instance_id,
                         const char *subsection, int version_id, Error **errp);

/**
 * migration_stream_set_choose: ask before anything is saved in version 4
 *
 * @choose: NULL to save everything that is needed, at its newest version
 *
 * Not while something is being saved.
 */
void migration_stream_set_choose(StreamChoose *choose);

/*
 * Streams in files have more subsections than are needed.  Which of them make
 * up a state is known to somebody else, too.
 */
typedef struct StreamSpares {
    /**
     * describe: what this QEMU says of itself and of what it has stored
     *
     * @stored: of StreamStoredSection
     *
     * With or without the BQL.
     *
     * Returns: JSON, which the caller frees, or %NULL with @errp set.
     */
    GString *(*describe)(const GPtrArray *stored, Error **errp);
    /**
     * choose: the subsections of a structure that are to be loaded
     *
     * @needed: have to be
     * @available: may be
     *
     * Returns: the set, at least @needed.
     */
    uint64_t (*choose)(const VMStateDescription *vmsd, uint64_t needed,
                       uint64_t available);
} StreamSpares;

/**
 * migration_stream_set_spares: who knows that
 *
 * Before any stream begins.  Without, nothing is loaded but what is needed.
 */
void migration_stream_set_spares(const StreamSpares *spares);

/* Saving; failures are set on the file */

/**
 * migration_stream_refuse_to_save: the state of the section cannot be saved
 *
 * @err: why; taken, and set on the file behind the section's name
 */
void migration_stream_refuse_to_save(QEMUFile *f, Error *err);

/**
 * migration_stream_choose_section: ask at which version a section is saved
 *
 * Returns: the version, which is kept for migration_stream_section_version().
 */
int migration_stream_choose_section(QEMUFile *f, const char *name,
                                    uint32_t instance_id, int version_id);

/**
 * migration_stream_section_version: at which version the section is saved
 *
 * @version_id: the newest, which it is on a version 3 file
 */
int migration_stream_section_version(QEMUFile *f, int version_id);

/**
 * migration_stream_subsection_version: at which version one is to be saved
 *
 * Returns: the version, or %STREAM_LEAVE_OFF; the newest on a version 3 file.
 */
int migration_stream_subsection_version(QEMUFile *f,
                                        const VMStateDescription *vmsd);

/**
 * migration_stream_save_at: at which version a structure is to be saved
 *
 * @opaque: the structure, prepared to be saved
 * @version_id: the newest, or what was chosen for it
 *
 * The structure around it may be saved at a version that had an older one.
 * That the guest would lose something by it is a failure.
 *
 * Returns: the version.
 */
int migration_stream_save_at(QEMUFile *f, const VMStateDescription *vmsd,
                             void *opaque, int version_id);

/**
 * migration_stream_begin_struct: a structure begins
 *
 * @vmdesc: where its description goes, or NULL
 *
 * Returns: where its description goes: @vmdesc, or the description of the
 * field whose put() saves the structure, which now has an entry for it.
 */
JSONWriter *migration_stream_begin_struct(QEMUFile *f,
                                          const VMStateDescription *vmsd,
                                          int version_id, JSONWriter *vmdesc);

/**
 * migration_stream_put_unused: save a structure as unused, if it is
 *
 * @version_id, @vmdesc: as of migration_stream_begin_struct(), which is not to
 * be called then
 *
 * Returns: %true if that is all of it; %false if it has to be saved.
 */
bool migration_stream_put_unused(QEMUFile *f, const VMStateDescription *vmsd,
                                 void *opaque, int version_id,
                                 JSONWriter *vmdesc);

/**
 * migration_stream_end_struct: the structure ends, behind its subsections
 */
void migration_stream_end_struct(QEMUFile *f);

/**
 * migration_stream_begin_subsection: the structure that begins next is one
 *
 * Returns: %false on a version 3 file, to which nothing was written.  It may
 * be called on either.
 */
bool migration_stream_begin_subsection(QEMUFile *f,
                                       const VMStateDescription *vmsd);

/**
 * migration_stream_spare: what else of a structure's subsections is stored
 *
 * @needed: those that the guest needs, as bits in the order of @vmsd's
 *
 * A stream that stays in a file gets others, too, where that is safe.  Once for
 * each structure, behind its fields.
 *
 * Returns: the others, to be saved behind those that are needed.
 */
uint64_t migration_stream_spare(QEMUFile *f, const VMStateDescription *vmsd,
                                uint64_t needed);

/**
 * migration_stream_begin_spare: from here on the structure's subsections are
 * not needed
 */
void migration_stream_begin_spare(QEMUFile *f);

/**
 * migration_stream_begin_field: an array of structures begins
 *
 * @first: its first element
 * @n_elems: how many elements it has
 * @size: of each, in bytes
 *
 * Returns: how many of them are to be saved: those at the end that are unused
 * are not.
 */
int migration_stream_begin_field(QEMUFile *f, const VMStateField *field,
                                 void *first, int n_elems, int size);
void migration_stream_end_field(QEMUFile *f);

/**
 * migration_stream_begin_put: a field's put() is called next
 *
 * @vmdesc: where the field's description goes
 *
 * Whatever structures it saves find their way into the description; so put()
 * gets none.
 */
void migration_stream_begin_put(QEMUFile *f, JSONWriter *vmdesc);
void migration_stream_end_put(QEMUFile *f);

/**
 * migration_stream_begin_part: part of what put() saves begins
 *
 * @name: of the part, 1 to 255 bytes
 *
 * A frame, as a structure of that name would have, around what is written by
 * hand.
 */
void migration_stream_begin_part(QEMUFile *f, const char *name);
void migration_stream_end_part(QEMUFile *f);

/**
 * migration_stream_describe: name what was written by hand
 *
 * @type: as in VMStateInfo, such as "uint8"
 *
 * It is about all that put() has written since the last call.
 */
void migration_stream_describe(QEMUFile *f, const char *name,
                               const char *type);

/*
 * Loading, the same the other way round.  All return 0, or a negative errno
 * when what comes is not what was expected; the reason is kept.
 */

/**
 * migration_stream_enter_struct: a structure begins
 *
 * @version_id: set to the version that comes
 *
 * Returns: 1 if it ends here as well, as it is unused and nothing of it comes.
 */
int migration_stream_enter_struct(QEMUFile *f, const VMStateDescription *vmsd,
                                  void *opaque, int *version_id);

/**
 * migration_stream_load_subsections: load what is behind a structure's fields
 *
 * Only on a version 4 file.  The structure ends behind it.
 */
int migration_stream_load_subsections(QEMUFile *f,
                                      const VMStateDescription *vmsd,
                                      void *opaque);

/* What a set of a structure's subsections has a bit for, in their order */
#define STREAM_SUBSECTIONS_MAX 64

/**
 * migration_stream_subsections_that_came: what was loaded of them
 *
 * Of the structure that migration_stream_load_subsections() has just ended.
 */
uint64_t migration_stream_subsections_that_came(QEMUFile *f);

/**
 * migration_stream_enter_field: a field begins
 *
 * @first: its first element, or where the pointer to that is
 * @n_elems: how many elements there are; set to how many come, which may be
 * less if the others are unused
 * @size: of each, in bytes
 *
 * Only if migration_stream_is_checked().  Fails as well if they are more than
 * what is left in the stream can fill.
 */
int migration_stream_enter_field(QEMUFile *f, const VMStateField *field,
                                 void *first, int *n_elems, int size);
int migration_stream_leave_field(QEMUFile *f, const VMStateField *field);

int migration_stream_enter_part(QEMUFile *f, const char *name);
int migration_stream_leave_part(QEMUFile *f);

/* Telling why */

/**
 * migration_stream_failed_in: loading failed inside of something
 *
 * @name: of the field or subsection, on the way out to the section
 * @index: which element it is, or -1
 *
 * Only on a version 4 file.
 */
void migration_stream_failed_in(QEMUFile *f, const char *name, int index);

/**
 * migration_stream_failed: loading failed for a reason
 *
 * @fmt: the reason in words, with what was expected and what came
 *
 * Returns: %false on a version 3 file.
 */
bool migration_stream_failed(QEMUFile *f, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* The same with a hint, what the user can do, without a newline */
bool migration_stream_failed_hint(QEMUFile *f, const char *hint,
                                  const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/**
 * migration_stream_differs: a value has to be the same on both sides, and isn't
 *
 * @expected: what this side has
 * @got: what came
 *
 * Returns: %false on a version 3 file.
 */
bool migration_stream_differs(QEMUFile *f, const VMStateField *field,
                              uint64_t expected, uint64_t got);

#endif
