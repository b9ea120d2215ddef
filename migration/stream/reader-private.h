/*
 * Migration stream version 4: what the parts of the reader share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_READER_PRIVATE_H
#define MIGRATION_STREAM_READER_PRIVATE_H

#include "migration/stream/reader.h"

/* Where a stream is that has a preamble: the machine comes before all else */
typedef enum StreamStage {
    STREAM_STAGE_ANY,           /* it is through, or this is no such stream */
    STREAM_STAGE_BEGUN,         /* the preamble has come */
    STREAM_STAGE_MACHINE,       /* the machine has come, and not its end */
} StreamStage;

struct StreamReader {
    StreamReadFunc *read;
    StreamReadvFunc *readv;     /* NULL: the other one does */
    StreamHopFunc *hop;         /* NULL: everything is read */
    void *opaque;
    StreamPacketFunc *packet;   /* NULL: nobody takes packets */
    void *packet_opaque;
    uint64_t offset;            /* of the first byte that is not yet parsed */
    uint64_t records;
    uint64_t given;             /* bytes of the present section given out */
    StreamRecord record;        /* the present one; none yet if !records */
    StreamIndex *index;         /* the sections so far */
    bool checked;               /* these records have been here before */
    bool indexed;               /* the index has come: the end is next */
    StreamStage stage;
    bool has_section;           /* the present record belongs to @section */
    StreamSection section;

    /*
     * The present record's payload, and behind it what came of the next
     * header: asking for both at once saves a system call for each record.
     */
    size_t unread;              /* bytes of payload not yet given out */
    size_t ahead;               /* bytes of the next header */
    uint8_t next[STREAM_HEADER_SIZE];
    size_t data;                /* bytes behind a head, not yet got */
    size_t data_ahead;          /* of these, what came with the head */
    const uint8_t *data_at;     /* and where in @payload it is */
    uint8_t payload[STREAM_PAYLOAD_MAX + STREAM_HEADER_SIZE];
};

static inline bool stream_reader_in_chain(const StreamReader *r)
{
    return !(r->record.flags & STREAM_FLAG_LAST);
}

static inline const char *stream_record_name(uint16_t type)
{
    return stream_record_type_name(type) ?: "unknown";
}

/* Sets the error that bytes are missing: @have of @want are there */
void stream_reader_cut_short(const StreamReader *r, size_t have, size_t want,
                             Error **errp);

/* Reads until @have of @want bytes are there, with up to @extra in passing */
bool stream_reader_fill(StreamReader *r, uint8_t *data, size_t *have,
                        size_t want, size_t extra, Error **errp);

/* Keeps what came of the next header */
void stream_reader_keep_ahead(StreamReader *r, const uint8_t *from,
                              size_t length);

/* Is it what the header says?  All of the payload, or its head */
bool stream_reader_check_payload(StreamReader *r, size_t length,
                                 Error **errp);

/*
 * Reads the present record's head, and hands it to whoever takes what has one;
 * its data is read when this returns true
 */
bool stream_reader_packet(StreamReader *r, Error **errp);

/* May @record, whose header has come, be behind the present one? */
bool stream_reader_check_place(StreamReader *r, const StreamRecord *record,
                               Error **errp);

/* Is the present record, which has come, of a type that may be as it is? */
bool stream_reader_check_type(const StreamReader *r, Error **errp);

/*
 * Goes to the next record; @given if it is for the caller, and not one that is
 * skipped or the index
 */
bool stream_reader_step(StreamReader *r, bool *given, Error **errp);

/* Reads the index, and holds it against what came */
bool stream_reader_check_index(StreamReader *r, Error **errp);

#endif
