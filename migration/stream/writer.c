/*
 * Migration stream version 4: the writer
 *
 * Implements the sending side of "Records" and "Sections" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * One buffer holds a header and its payload side by side, so that a record is
 * one contiguous write: one system call on a socket, full-size records in TLS.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/writer.h"

struct StreamWriter {
    StreamWriteFunc *write;
    void *opaque;
    uint64_t offset;        /* of the open record's header */
    uint64_t records;
    bool in_section;
    StreamRecord record;    /* type, flags and section of the open record */
    size_t used;            /* bytes of payload in the buffer */
    uint8_t buffer[STREAM_HEADER_SIZE + STREAM_PAYLOAD_MAX];
};

StreamWriter *stream_writer_new(StreamWriteFunc *write, void *opaque)
{
    StreamWriter *w = g_new0(StreamWriter, 1);

    w->write = write;
    w->opaque = opaque;
    return w;
}

void stream_writer_free(StreamWriter *w)
{
    g_free(w);
}

bool stream_writer_preamble(StreamWriter *w, Error **errp)
{
    uint8_t wire[STREAM_PREAMBLE_SIZE];

    assert(w->offset == 0);
    stl_be_p(wire, STREAM_MAGIC);
    stl_be_p(wire + 4, STREAM_VERSION);
    w->offset = sizeof(wire);
    return w->write(w->opaque, wire, sizeof(wire), errp);
}

/* Writes the buffer as one record */
static bool stream_writer_flush(StreamWriter *w, uint16_t flags, Error **errp)
{
    StreamRecord record = w->record;
    size_t length = STREAM_HEADER_SIZE + w->used;

    record.flags |= flags;
    record.length = w->used;
    record.payload_crc = stream_crc32c(w->buffer + STREAM_HEADER_SIZE,
                                       w->used);
    record.offset = w->offset;
    stream_record_encode(&record, w->buffer);

    w->used = 0;
    w->offset += length;
    w->records++;
    return w->write(w->opaque, w->buffer, length, errp);
}

void stream_writer_begin(StreamWriter *w, uint16_t type, uint16_t flags,
                         uint32_t section_id, const StreamIdent *ident)
{
    assert(!w->in_section);
    w->in_section = true;
    w->record = (StreamRecord) {
        .type = type,
        .flags = flags,
        .section_id = section_id,
    };
    if (ident) {
        w->used = stream_ident_encode(ident, w->buffer + STREAM_HEADER_SIZE);
    }
}

bool stream_writer_append(StreamWriter *w, const void *data, size_t length,
                          Error **errp)
{
    const uint8_t *from = data;

    assert(w->in_section);
    while (length > 0) {
        size_t n = MIN(length, STREAM_PAYLOAD_MAX - w->used);

        /* Only when more is known to follow: the last record is never empty */
        if (n == 0) {
            if (!stream_writer_flush(w, 0, errp)) {
                return false;
            }
            continue;
        }
        memcpy(w->buffer + STREAM_HEADER_SIZE + w->used, from, n);
        w->used += n;
        from += n;
        length -= n;
    }
    return true;
}

bool stream_writer_end(StreamWriter *w, Error **errp)
{
    assert(w->in_section);
    w->in_section = false;
    return stream_writer_flush(w, STREAM_FLAG_LAST, errp);
}

bool stream_writer_in_section(const StreamWriter *w)
{
    return w->in_section;
}

uint64_t stream_writer_bytes(const StreamWriter *w)
{
    return w->offset;
}

uint64_t stream_writer_records(const StreamWriter *w)
{
    return w->records;
}
