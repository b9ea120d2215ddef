/*
 * Migration stream version 4: the sections of a stream, and its index
 *
 * A table of the sections, which each side keeps as it goes.  The writer puts
 * it at the end of the stream, the reader holds its own against it.
 * Implements "Index" of docs/devel/migration-v4/wire-format.rst.  Pure, and
 * safe to be used by several threads: a postcopy reads sections in two.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_INDEX_H
#define MIGRATION_STREAM_INDEX_H

#include "migration/stream/record.h"

/* Length and checksum count only from where a connection was taken up again */
#define STREAM_INDEX_RESUMED 0x0001

/* An entry as it stands on the wire, without the name; big endian */
typedef struct QEMU_PACKED StreamIndexEntry {
    uint32_t section_id;
    uint32_t instance_id;
    uint32_t version_id;
    uint16_t flags;
    uint8_t name_length;
    uint64_t length;
    uint32_t crc;
} StreamIndexEntry;

#define STREAM_INDEX_ENTRY_SIZE 27
#define STREAM_INDEX_ENTRY_MAX (STREAM_INDEX_ENTRY_SIZE + 255)

/* A section, as far as it has come */
typedef struct StreamSection {
    uint32_t id;
    uint16_t type;          /* of the record that it began with */
    uint16_t flags;         /* STREAM_INDEX_ */
    bool open;              /* more of it may come */
    bool skipped;           /* nobody here knows the device */
    uint64_t records;
    uint64_t length;        /* of all payloads, in bytes */
    uint32_t crc;           /* CRC32C over the checksums of the payloads */
    const void *user;       /* whoever loads it */
    StreamIdent ident;
} StreamSection;

typedef struct StreamIndex StreamIndex;

/**
 * stream_index_new: a table without sections
 *
 * The caller gives it up with stream_index_unref().
 */
StreamIndex *stream_index_new(void);
StreamIndex *stream_index_ref(StreamIndex *index);
void stream_index_unref(StreamIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamIndex, stream_index_unref)

/**
 * stream_index_begin: a section begins
 *
 * @type: %STREAM_RECORD_SECTION_START or %STREAM_RECORD_SECTION_FULL
 *
 * Returns: %false, with @errp set, if the id is taken or there are too many.
 */
bool stream_index_begin(StreamIndex *index, uint16_t type, uint32_t id,
                        const StreamIdent *ident, Error **errp);

/**
 * stream_index_check: may a section go on, or end, with a record of @type?
 *
 * Types that do not belong to a section pass.
 */
bool stream_index_check(StreamIndex *index, uint16_t type, uint32_t id,
                        Error **errp);

/**
 * stream_index_account: count a record of a section
 *
 * @record: whose payload was written or checked
 */
void stream_index_account(StreamIndex *index, const StreamRecord *record);

/**
 * stream_index_get: what is known of a section
 *
 * @section: filled in if there is one
 *
 * Returns: %true if so.
 */
bool stream_index_get(StreamIndex *index, uint32_t id, StreamSection *section);

/**
 * stream_index_nth: the section that began as the @n-th, from 0
 */
bool stream_index_nth(StreamIndex *index, unsigned n, StreamSection *section);

/**
 * stream_index_bind: say who loads a section
 *
 * @user: not NULL
 */
void stream_index_bind(StreamIndex *index, uint32_t id, const void *user);

/* Whether @user loads some section */
bool stream_index_bound(StreamIndex *index, const void *user);

/* Nobody loads the section: all that comes of it is skipped */
void stream_index_skip(StreamIndex *index, uint32_t id);

/* Most names of skipped things that are kept */
#define STREAM_SKIPPED_NAMES_MAX 64

/**
 * stream_index_note_dropped: something that is not needed was not loaded
 * stream_index_dropped: how many of that
 * stream_index_dropped_name: like stream_index_skipped_name()
 */
void stream_index_note_dropped(StreamIndex *index, const char *what);
uint64_t stream_index_dropped(StreamIndex *index);
char *stream_index_dropped_name(StreamIndex *index, unsigned n);

/**
 * stream_index_note_skipped: something optional was not used
 *
 * @what: how to name it to people
 */
void stream_index_note_skipped(StreamIndex *index, const char *what);

/* How many things were skipped */
uint64_t stream_index_skipped(StreamIndex *index);

/**
 * stream_index_skipped_name: what was skipped as the @n-th, from 0
 *
 * Returns: its name, which the caller frees, or NULL.
 */
char *stream_index_skipped_name(StreamIndex *index, unsigned n);

/**
 * stream_index_resume: a connection is taken up again
 *
 * What was under way when it broke is lost, and known to neither side: the
 * sections that are still open are counted from here.
 */
void stream_index_resume(StreamIndex *index);

/**
 * stream_index_restart: the same machine is sent once more
 *
 * Sections that had a start are open again, with nothing counted; the others
 * are forgotten.
 */
void stream_index_restart(StreamIndex *index);

/**
 * stream_index_checksum: CRC32C of the index, as it stands on the wire
 *
 * What the destination has loaded, in four bytes: the same on both sides, or
 * they do not speak of the same sections.
 */
uint32_t stream_index_checksum(StreamIndex *index);

/**
 * stream_index_encode: the @n-th section's entry
 *
 * @wire: room for %STREAM_INDEX_ENTRY_MAX bytes
 *
 * Returns: the number of bytes written, 0 if there is no such section.
 */
size_t stream_index_encode(StreamIndex *index, unsigned n, uint8_t *wire);

/**
 * stream_index_entry_name_length: how long the name behind an entry is
 *
 * @wire: %STREAM_INDEX_ENTRY_SIZE bytes
 */
size_t stream_index_entry_name_length(const uint8_t *wire);

/**
 * stream_index_verify: hold an entry against what was seen
 *
 * @n: which entry it is, from 0
 * @wire: the entry with its name, all of it
 *
 * Returns: %false, with @errp set to what was expected and what came.
 */
bool stream_index_verify(StreamIndex *index, unsigned n, const uint8_t *wire,
                         Error **errp);

/**
 * stream_index_verify_end: was that all?
 *
 * @n: how many entries there were
 */
bool stream_index_verify_end(StreamIndex *index, unsigned n, Error **errp);

#endif
