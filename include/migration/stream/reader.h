/*
 * Migration stream version 4: the reader
 *
 * Gives out a stream's sections and their bytes, every one of them checked
 * before it is seen.  Pure: the bytes come from a function of the caller's.
 * The loader, the unit tests and any tool read through this one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_READER_H
#define MIGRATION_STREAM_READER_H

#include "migration/stream/record.h"

typedef struct StreamReader StreamReader;

/**
 * StreamReadFunc: gives some bytes of the stream
 *
 * @opaque: what was given to stream_reader_new()
 * @data: where to put them
 * @length: how many are wanted at most, in bytes, never 0
 * @errp: set on failure
 *
 * Returns: how many were put there, 0 at the end, -1 on failure.
 */
typedef ssize_t StreamReadFunc(void *opaque, void *data, size_t length,
                               Error **errp);

/**
 * stream_reader_new: a reader at the beginning of a stream
 *
 * Never asks for bytes behind the END record.  The caller frees it with
 * stream_reader_free().
 */
StreamReader *stream_reader_new(StreamReadFunc *read, void *opaque);
void stream_reader_free(StreamReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamReader, stream_reader_free)

/**
 * stream_reader_preamble: check the preamble
 *
 * Only at the very beginning.  A return path has none.
 *
 * Returns: the stream's version, 0 with @errp set if it isn't a stream of
 * any version.  Only behind version %STREAM_VERSION are there records.
 */
uint32_t stream_reader_preamble(StreamReader *r, Error **errp);

/**
 * stream_reader_next: go to the next section
 *
 * @unread: how many bytes of the present section the caller holds in buffers
 * of its own and has not looked at; like bytes left in the reader, they mean
 * that the device did not take all of its state, which is an error
 *
 * Optional records of unknown type are skipped.
 *
 * Returns: the section's type, or -1 with @errp set.
 */
int stream_reader_next(StreamReader *r, size_t unread, Error **errp);

/**
 * stream_reader_read: bytes of the present section
 *
 * Returns: how many bytes were put into @data, at most @length; 0 at the
 * section's end; -1 with @errp set.
 */
ssize_t stream_reader_read(StreamReader *r, void *data, size_t length,
                           Error **errp);

/**
 * stream_reader_check_end: has the present section been read to its end?
 *
 * @unread: as for stream_reader_next()
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_reader_check_end(StreamReader *r, size_t unread, Error **errp);

/* The present section's identifier on the wire */
uint32_t stream_reader_section_id(const StreamReader *r);

/**
 * stream_reader_ident: which device the present section is about
 *
 * Returns: the identification, which is the reader's; NULL when the section
 * has none because of its type.
 */
const StreamIdent *stream_reader_ident(const StreamReader *r);

/**
 * stream_reader_where: the present place in words, for messages
 *
 * Returns: a string such as "section 'ram' (instance 0), record at offset 96",
 * which the caller frees with g_free().
 */
char *stream_reader_where(const StreamReader *r);

/* Bytes read so far, preamble and headers included */
uint64_t stream_reader_bytes(const StreamReader *r);

/* Records read so far, and those of them that were skipped */
uint64_t stream_reader_records(const StreamReader *r);
uint64_t stream_reader_skipped(const StreamReader *r);

#endif
