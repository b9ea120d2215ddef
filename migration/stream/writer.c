/*
 * Migration stream version 4: the writer
 *
 * Implements the sending side of "Records", "Sections", "Frames" and "Index" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * A frame's length stands before its body, so that the outermost frame is held
 * back until it ends.
 *
 * One buffer holds a header and its payload side by side, so that a record is
 * one contiguous write: one system call on a socket, full-size records in TLS.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/writer.h"

struct StreamWriter {
    StreamWriteFunc *write;
    void *opaque;
    StreamIndex *index;
    uint64_t offset;        /* of the open record's header */
    uint64_t records;
    bool ended;             /* an END was begun; any thread may ask */
    bool in_section;
    bool refused;           /* the index has no room for the section */
    StreamRecord record;    /* type, flags and section of the open record */

    GByteArray *held;       /* the frames that have not ended */
    unsigned depth;
    size_t frames[STREAM_FRAME_DEPTH_MAX];  /* where they begin in @held */

    size_t used;            /* bytes of payload in the buffer */
    uint8_t buffer[STREAM_HEADER_SIZE + STREAM_PAYLOAD_MAX];
};

StreamWriter *stream_writer_new(StreamWriteFunc *write, void *opaque)
{
    StreamWriter *w = g_new0(StreamWriter, 1);

    w->write = write;
    w->opaque = opaque;
    w->index = stream_index_new();
    w->held = g_byte_array_new();
    return w;
}

void stream_writer_free(StreamWriter *w)
{
    if (w) {
        g_byte_array_unref(w->held);
        stream_index_unref(w->index);
        g_free(w);
    }
}

StreamIndex *stream_writer_index(const StreamWriter *w)
{
    return w->index;
}

void stream_writer_set_index(StreamWriter *w, StreamIndex *index)
{
    stream_index_ref(index);
    stream_index_unref(w->index);
    w->index = index;
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

/* Makes the header of the record that is next, and counts the record */
static void stream_writer_count(StreamWriter *w, StreamRecord *record,
                                uint8_t *header)
{
    record->offset = w->offset;
    stream_record_encode(record, header);
    if (stream_record_has_section(record->type)) {
        stream_index_account(w->index, record);
    }
    w->offset += STREAM_HEADER_SIZE + record->length;
    w->records++;
}

/* Writes the buffer as one record */
static bool stream_writer_flush(StreamWriter *w, uint16_t flags, Error **errp)
{
    StreamRecord record = w->record;
    size_t used = w->used;

    record.flags |= flags;
    record.length = used;
    record.payload_crc = stream_crc32c(w->buffer + STREAM_HEADER_SIZE, used);
    stream_writer_count(w, &record, w->buffer);
    w->used = 0;
    return w->write(w->opaque, w->buffer, STREAM_HEADER_SIZE + used, errp);
}

void stream_writer_begin(StreamWriter *w, uint16_t type, uint16_t flags,
                         uint32_t section_id, const StreamIdent *ident)
{
    assert(!w->in_section);
    w->in_section = true;
    if (type == STREAM_RECORD_END) {
        qatomic_set(&w->ended, true);
    }
    w->record = (StreamRecord) {
        .type = type,
        .flags = flags,
        .section_id = section_id,
    };
    if (ident) {
        w->refused = !stream_index_begin(w->index, type, section_id, ident,
                                         NULL);
        w->used = stream_ident_encode(ident, w->buffer + STREAM_HEADER_SIZE);
    }
}

/* Fills records and writes those that are full */
static bool stream_writer_fill(StreamWriter *w, const uint8_t *from,
                               size_t length, Error **errp)
{
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

bool stream_writer_append(StreamWriter *w, const void *data, size_t length,
                          Error **errp)
{
    assert(w->in_section);
    if (!w->depth) {
        return stream_writer_fill(w, data, length, errp);
    }
    if (length > STREAM_FRAME_LENGTH_MAX - w->held->len) {
        error_setg(errp, "a frame of more than %u bytes cannot be sent",
                   STREAM_FRAME_LENGTH_MAX);
        return false;
    }
    g_byte_array_append(w->held, data, length);
    return true;
}

bool stream_writer_push(StreamWriter *w, Error **errp)
{
    assert(w->in_section);
    return !w->used || stream_writer_flush(w, 0, errp);
}

bool stream_writer_begin_frame(StreamWriter *w, const StreamFrame *frame,
                               Error **errp)
{
    uint8_t wire[STREAM_FRAME_HEADER_MAX];
    size_t begin = w->held->len;

    if (w->depth >= STREAM_FRAME_DEPTH_MAX) {
        error_setg(errp, "'%s' is nested too deep to be sent: at most %d "
                   "structures can be around one another", frame->name,
                   STREAM_FRAME_DEPTH_MAX);
        return false;
    }
    w->frames[w->depth++] = begin;
    return stream_writer_append(w, wire, stream_frame_encode(frame, wire),
                                errp);
}

/* The innermost frame's header, where it is held */
static uint8_t *stream_writer_frame(StreamWriter *w)
{
    assert(w->depth > 0);
    return w->held->data + w->frames[w->depth - 1];
}

void stream_writer_count_frame(StreamWriter *w)
{
    uint8_t *count = stream_writer_frame(w) +
                     offsetof(StreamFrameHeader, count);

    stl_be_p(count, ldl_be_p(count) + 1);
}

bool stream_writer_end_frame(StreamWriter *w, Error **errp)
{
    uint8_t *wire = stream_writer_frame(w);
    size_t header = STREAM_FRAME_HEADER_SIZE + stream_frame_name_length(wire);
    bool ok = true;

    stl_be_p(wire + offsetof(StreamFrameHeader, length),
             w->held->len - (wire - w->held->data) - header);
    if (--w->depth == 0) {
        ok = stream_writer_fill(w, w->held->data, w->held->len, errp);
        g_byte_array_set_size(w->held, 0);
    }
    return ok;
}

bool stream_writer_end(StreamWriter *w, Error **errp)
{
    assert(w->in_section);
    w->in_section = false;
    if (w->depth || w->refused) {
        error_setg(errp, w->depth ? "a section ends in a structure"
                                  : "a section's id is taken");
        return false;
    }
    return stream_writer_flush(w, STREAM_FLAG_LAST, errp);
}

bool stream_writer_put_packet(StreamWriter *w, uint16_t type, const void *head,
                              size_t head_length, size_t data_length,
                              uint8_t *header, Error **errp)
{
    StreamRecord record = { .type = type, .flags = STREAM_FLAG_LAST };

    assert(head_length >= STREAM_HEAD_MIN && head_length <= STREAM_HEAD_MAX &&
           data_length <= STREAM_DATA_MAX && ldl_be_p(head) == head_length);
    if (w->in_section) {
        assert(!w->depth);
        if (!stream_writer_push(w, errp)) {
            return false;
        }
        record = w->record;
    }
    assert(stream_record_may_have_head(record.type));
    record.flags |= STREAM_FLAG_HEAD;
    record.length = head_length + data_length;
    record.payload_crc = stream_crc32c(head, head_length);
    stream_writer_count(w, &record, header);
    return true;
}

bool stream_writer_put_records(StreamWriter *w, const void *data,
                               size_t length, Error **errp)
{
    const uint8_t *from = data;

    assert(!w->in_section);
    while (length > 0) {
        StreamRecord record;
        size_t n;

        /* They were just written, by the same code, or this is a bug */
        assert(length >= STREAM_HEADER_SIZE);
        stream_record_decode(from, stream_record_offset(from), &record,
                             &error_abort);
        n = STREAM_HEADER_SIZE + record.length;
        assert(length >= n);
        record.offset = w->offset;
        memcpy(w->buffer, from, n);
        stream_record_encode(&record, w->buffer);
        w->offset += n;
        w->records++;
        if (!w->write(w->opaque, w->buffer, n, errp)) {
            return false;
        }
        from += n;
        length -= n;
    }
    return true;
}

bool stream_writer_put_index(StreamWriter *w, Error **errp)
{
    uint8_t wire[STREAM_INDEX_ENTRY_MAX];
    size_t length;

    stream_writer_begin(w, STREAM_RECORD_INDEX, 0, 0, NULL);
    for (unsigned n = 0;
         (length = stream_index_encode(w->index, n, wire)); n++) {
        if (!stream_writer_append(w, wire, length, errp)) {
            return false;
        }
    }
    return stream_writer_end(w, errp);
}

bool stream_writer_ended(const StreamWriter *w)
{
    return qatomic_read(&w->ended);
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
