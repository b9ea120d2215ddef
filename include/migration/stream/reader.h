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

#include "migration/stream/index.h"

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
 * StreamHopFunc: passes over some bytes of the stream
 *
 * @length: how many, in bytes; what is behind the end is found out when the
 * next are read
 *
 * Returns: %true, or %false with @errp set.
 */
typedef bool StreamHopFunc(void *opaque, size_t length, Error **errp);

/**
 * StreamReadvFunc: gives some bytes of the stream, into several places
 *
 * @iov: where to put them, one place after the other
 * @niov: how many places, never 0
 *
 * Returns: like a StreamReadFunc.
 */
typedef ssize_t StreamReadvFunc(void *opaque, const struct iovec *iov,
                                size_t niov, Error **errp);

/**
 * StreamPacketFunc: takes a record that has a head
 *
 * @opaque: what was given to stream_reader_set_packet()
 * @r: the reader, for stream_reader_get_data(); which section it is in, and
 * whether it may be there, is to be seen from stream_reader_ident(), which is
 * NULL for a record of its own
 * @head: the reader's, its checksum has passed; only its length, which it
 * begins with, was looked at
 * @head_length: in bytes, at least %STREAM_HEAD_MIN
 * @data_length: what is behind the head, all of which has to be got
 *
 * Returns: %true, or %false with @errp set, which ends the reading.
 */
typedef bool StreamPacketFunc(void *opaque, StreamReader *r,
                              const uint8_t *head, size_t head_length,
                              size_t data_length, Error **errp);

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
 * stream_reader_set_hop: pass over what is sent while the guest runs
 *
 * @hop: for the payloads of SECTION_PART and SECTION_END, whose checksums are
 * not looked at then; everything else is checked as ever.  They seem empty.
 */
void stream_reader_set_hop(StreamReader *r, StreamHopFunc *hop);

/**
 * stream_reader_set_packet: say who takes records that have heads
 *
 * Without anybody they are refused.  Those that are optional are passed over,
 * once their head was checked.
 */
void stream_reader_set_packet(StreamReader *r, StreamPacketFunc *packet,
                              void *opaque);

/**
 * stream_reader_set_readv: read the data of such records to where they go
 *
 * @readv: gets the same @opaque as the reader's StreamReadFunc, and goes on
 * where that is
 */
void stream_reader_set_readv(StreamReader *r, StreamReadvFunc *readv);

/**
 * stream_reader_get_data: get what is behind a head
 *
 * @iov: filled; together not longer than what is left of the data
 *
 * Only from a StreamPacketFunc.  The bytes are not checked.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_reader_get_data(StreamReader *r, struct iovec *iov, size_t niov,
                            Error **errp);

/**
 * stream_reader_new_checked: a reader of records that were taken
 *
 * @offset: where in the stream they stood
 * @index: what stream_reader_take() was given
 *
 * They are in the table already, and are not counted again.
 */
StreamReader *stream_reader_new_checked(StreamReadFunc *read, void *opaque,
                                        uint64_t offset, StreamIndex *index);

/**
 * stream_reader_index: the sections so far
 *
 * Returns: the table, which is the reader's.
 */
StreamIndex *stream_reader_index(const StreamReader *r);

/**
 * stream_reader_set_index: go on with a table of sections
 *
 * Where a stream comes in several pieces, after a connection was taken up
 * again.  The reader takes a reference.
 */
void stream_reader_set_index(StreamReader *r, StreamIndex *index);

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
 * Optional records of unknown type are skipped.  The index is held against the
 * sections that came, and not given out; without it the end is refused.
 *
 * Packets inside of a section go to whoever takes them, and are not given out.
 * One that is a record of its own was taken as well when this returns its type.
 *
 * Returns: the section's type, or -1 with @errp set.
 */
int stream_reader_next(StreamReader *r, size_t unread, Error **errp);

/**
 * stream_reader_machine: read the machine that a stream brings, up to its end
 *
 * @json: empty, filled with what came
 *
 * Right behind the preamble of version %STREAM_VERSION, and only there.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_reader_machine(StreamReader *r, GByteArray *json, Error **errp);

/**
 * stream_reader_read: bytes of the present section
 *
 * Returns: how many bytes were put into @data, at most @length; 0 at the
 * section's end; -1 with @errp set.
 */
ssize_t stream_reader_read(StreamReader *r, void *data, size_t length,
                           Error **errp);

/**
 * stream_reader_discard: pass over what is left of the present section
 *
 * It is checked like everything else.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_reader_discard(StreamReader *r, Error **errp);

/**
 * stream_reader_check_end: has the present section been read to its end?
 *
 * @unread: as for stream_reader_next()
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_reader_check_end(StreamReader *r, size_t unread, Error **errp);

/**
 * stream_reader_skip: note that something optional is not used
 *
 * @what: its name, or NULL for the present section; the bytes are left to the
 * caller
 */
void stream_reader_skip(StreamReader *r, const char *what);

/**
 * stream_reader_restart: go on behind the end
 *
 * The same machine is sent once more, see stream_index_restart().  Only
 * between sections.
 */
void stream_reader_restart(StreamReader *r);

/**
 * stream_reader_take: take whole records off the stream, and check them
 *
 * @length: of the records, in bytes
 * @index: the table that their sections are put into
 * @bytes: empty, filled with the records, and as large as what has arrived
 *
 * Only between sections.  For stream_reader_new_checked().
 */
bool stream_reader_take(StreamReader *r, size_t length, StreamIndex *index,
                        GByteArray *bytes, Error **errp);

/* The present record's type; 0 before the first */
uint16_t stream_reader_type(const StreamReader *r);

/* The present section's identifier on the wire */
uint32_t stream_reader_section_id(const StreamReader *r);

/**
 * stream_reader_ident: which device the present section is about
 *
 * Returns: the identification, which is the reader's; NULL when the section
 * has none because of its type.
 */
const StreamIdent *stream_reader_ident(const StreamReader *r);

/* The present section in words, or the kind of record; to be freed */
char *stream_reader_section_name(const StreamReader *r);

/**
 * stream_reader_where: the present place in words, for messages
 *
 * Returns: a string such as "section 'ram' (instance 0), record at offset 96",
 * which the caller frees with g_free().
 */
char *stream_reader_where(const StreamReader *r);

/* Bytes read so far, preamble and headers included */
uint64_t stream_reader_bytes(const StreamReader *r);

/* Records read so far */
uint64_t stream_reader_records(const StreamReader *r);

/* Bytes of the present section given out so far, without identification */
uint64_t stream_reader_position(const StreamReader *r);

/* Whether the present section may be skipped by whoever does not know it */
bool stream_reader_optional(const StreamReader *r);

#endif
