/*
 * Migration stream version 4: the writer
 *
 * Turns what a saver writes into records.  Pure: the bytes go to a function
 * of the caller's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_WRITER_H
#define MIGRATION_STREAM_WRITER_H

#include "migration/stream/frame.h"
#include "migration/stream/index.h"

typedef struct StreamWriter StreamWriter;

/**
 * StreamWriteFunc: takes all of the bytes, or fails
 *
 * @opaque: what was given to stream_writer_new()
 * @data: the bytes; they are the writer's, and change after the call
 * @length: how many, in bytes, never 0
 * @errp: set on failure
 *
 * Returns: %true when all are taken.
 */
typedef bool StreamWriteFunc(void *opaque, const void *data, size_t length,
                             Error **errp);

/**
 * stream_writer_new: a writer at the beginning of a stream
 *
 * The caller frees it with stream_writer_free().
 */
StreamWriter *stream_writer_new(StreamWriteFunc *write, void *opaque);
void stream_writer_free(StreamWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StreamWriter, stream_writer_free)

/**
 * stream_writer_index: the sections that were begun
 *
 * Returns: the table, which is the writer's.
 */
StreamIndex *stream_writer_index(const StreamWriter *w);

/**
 * stream_writer_set_index: share a table of sections with other writers
 *
 * Where a stream is written in several pieces: by a package's writer, or after
 * the connection was taken up again.  The writer takes a reference.
 */
void stream_writer_set_index(StreamWriter *w, StreamIndex *index);

/**
 * stream_writer_preamble: write the preamble ("Preamble" in the specification)
 *
 * Only at the very beginning.  A return path has none.
 */
bool stream_writer_preamble(StreamWriter *w, Error **errp);

/**
 * stream_writer_begin: open a section
 *
 * @type: of all its records
 * @flags: %STREAM_FLAG_OPTIONAL or 0
 * @section_id: which section this is
 * @ident: written first, for types that identify their section; else NULL
 *
 * No section may be open.
 */
void stream_writer_begin(StreamWriter *w, uint16_t type, uint16_t flags,
                         uint32_t section_id, const StreamIdent *ident);

/**
 * stream_writer_append: add bytes to the open section
 *
 * They are copied before they are checksummed, as live guest memory changes
 * under the sender's hands: what is sent is what the checksum was taken over.
 *
 * Returns: %false, with @errp set, when a full record could not be written.
 */
bool stream_writer_append(StreamWriter *w, const void *data, size_t length,
                          Error **errp);

/**
 * stream_writer_push: write what was appended, full record or not
 *
 * For what somebody waits for.  Frames are held back nonetheless.
 */
bool stream_writer_push(StreamWriter *w, Error **errp);

/**
 * stream_writer_begin_frame: open a frame in the open section
 *
 * @frame: what its header says; the length is found out, and for a structure
 * the count as well
 *
 * Frames are held in memory until the outermost one ends.
 *
 * Returns: %false, with @errp set, if there are too many around it.
 */
bool stream_writer_begin_frame(StreamWriter *w, const StreamFrame *frame,
                               Error **errp);

/**
 * stream_writer_count_frame: one more subsection in the innermost frame
 */
void stream_writer_count_frame(StreamWriter *w);

/**
 * stream_writer_end_frame: end the innermost frame
 *
 * Returns: %false, with @errp set, when a full record could not be written.
 */
bool stream_writer_end_frame(StreamWriter *w, Error **errp);

/**
 * stream_writer_end: write the open section's last record
 */
bool stream_writer_end(StreamWriter *w, Error **errp);

/**
 * stream_writer_put_packet: make the header of a record that has a head
 *
 * @type: %STREAM_RECORD_PACKET, which is a record of its own; in an open
 * section it is ignored, as the record is one of that section's
 * @head: begins with its own length, as 4 bytes, big endian
 * @head_length: in bytes, %STREAM_HEAD_MIN to %STREAM_HEAD_MAX
 * @data_length: of what is behind the head, at most %STREAM_DATA_MAX bytes
 * @header: %STREAM_HEADER_SIZE bytes, filled in
 *
 * The caller writes header, head and data, in this order and before it calls
 * this writer again.  They count as written already.  In a section they are a
 * SECTION_PART's or a SECTION_END's, and come before anything else of it; what
 * was appended nonetheless is written first.
 *
 * Returns: %false, with @errp set, when that could not be written.
 */
bool stream_writer_put_packet(StreamWriter *w, uint16_t type, const void *head,
                              size_t head_length, size_t data_length,
                              uint8_t *header, Error **errp);

/**
 * stream_writer_put_records: copy records that another writer has made
 *
 * @data: whole records, their offsets counted from anywhere
 * @length: in bytes
 *
 * They become part of this stream, with offsets to suit.  That they belong to
 * the index is for the two writers to settle: see stream_writer_set_index().
 * No section may be open.
 */
bool stream_writer_put_records(StreamWriter *w, const void *data,
                               size_t length, Error **errp);

/**
 * stream_writer_put_index: write the index of all sections
 */
bool stream_writer_put_index(StreamWriter *w, Error **errp);

/* Whether the end was begun; any thread may ask */
bool stream_writer_ended(const StreamWriter *w);

/* Whether a section is open */
bool stream_writer_in_section(const StreamWriter *w);

/* Bytes written so far, preamble and headers included */
uint64_t stream_writer_bytes(const StreamWriter *w);

/* Records written so far */
uint64_t stream_writer_records(const StreamWriter *w);

#endif
