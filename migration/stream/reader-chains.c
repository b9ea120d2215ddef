/*
 * Migration stream version 4: what the reader takes of several records
 *
 * Implements the receiving side of "The machine", "Index" and "Packages" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "reader-private.h"

/* Reads so many bytes of the index; %false with @errp unset at its end */
static bool stream_reader_read_entry(StreamReader *r, uint8_t *wire,
                                     size_t length, Error **errp)
{
    size_t have = 0;

    while (have < length) {
        ssize_t n = stream_reader_read(r, wire + have, length - have, errp);

        if (n <= 0) {
            if (n == 0 && have) {
                error_setg(errp, "an entry of the index is cut short: expected "
                           "%zu bytes more, got none", length - have);
            }
            return false;
        }
        have += n;
    }
    return true;
}

bool stream_reader_check_index(StreamReader *r, Error **errp)
{
    ERRP_GUARD();
    uint8_t wire[STREAM_INDEX_ENTRY_MAX];
    unsigned n = 0;

    while (!*errp && stream_reader_read_entry(r, wire, STREAM_INDEX_ENTRY_SIZE,
                                              errp)) {
        size_t name_length = stream_index_entry_name_length(wire);

        if (name_length &&
            !stream_reader_read_entry(r, wire + STREAM_INDEX_ENTRY_SIZE,
                                      name_length, errp)) {
            if (!*errp) {
                error_setg(errp, "the index is cut short in a name");
            }
            break;
        }
        if (!r->checked) {
            stream_index_verify(r->index, n, wire, errp);
        }
        n++;
    }
    if (!*errp && !r->checked) {
        stream_index_verify_end(r->index, n, errp);
    }
    if (*errp) {
        g_autofree char *where = stream_reader_where(r);

        error_prepend(errp, "%s: ", where);
        return false;
    }
    r->indexed = true;
    return true;
}

bool stream_reader_machine(StreamReader *r, GByteArray *json, Error **errp)
{
    int type = stream_reader_next(r, 0, errp);

    while (type == STREAM_RECORD_MACHINE) {
        uint8_t bytes[4096];
        ssize_t n;

        while ((n = stream_reader_read(r, bytes, sizeof(bytes), errp)) > 0) {
            if (json->len + n > STREAM_MACHINE_MAX) {
                g_autofree char *where = stream_reader_where(r);

                error_setg(errp, "%s: it is too long: expected at most %d "
                           "bytes, got more", where, (int)STREAM_MACHINE_MAX);
                return false;
            }
            g_byte_array_append(json, bytes, n);
        }
        type = n < 0 ? -1 : stream_reader_next(r, 0, errp);
    }
    if (type >= 0 && type != STREAM_RECORD_MACHINE_END) {
        g_autofree char *where = stream_reader_where(r);

        error_setg(errp, "%s: expected a %s record, got a %s record", where,
                   stream_record_type_name(STREAM_RECORD_MACHINE),
                   stream_record_type_name(type));
        return false;
    }
    return type >= 0;
}

/* A stream in memory */
typedef struct StreamTaken {
    const GByteArray *bytes;
    size_t position;
} StreamTaken;

static ssize_t stream_taken_read(void *opaque, void *data, size_t length,
                                 Error **errp)
{
    StreamTaken *taken = opaque;
    size_t n = MIN(length, taken->bytes->len - taken->position);

    memcpy(data, taken->bytes->data + taken->position, n);
    taken->position += n;
    return n;
}

/* Goes through records that were taken, so that all of them are checked */
static bool stream_reader_check_taken(StreamReader *r, StreamIndex *index,
                                      const GByteArray *bytes, Error **errp)
{
    StreamTaken taken = { .bytes = bytes };
    g_autoptr(StreamReader) inner = stream_reader_new(stream_taken_read,
                                                      &taken);

    stream_reader_set_index(inner, index);
    inner->offset = r->offset;
    while (inner->offset < r->offset + bytes->len) {
        bool given;

        if (inner->indexed && inner->record.type == STREAM_RECORD_END) {
            error_setg(errp, "something comes behind the end, at offset %"
                       PRIu64, inner->offset);
            return false;
        }
        /* By single records: the last of them may be one that is skipped */
        if (!stream_reader_step(inner, &given, errp)) {
            return false;
        }
        if (given && !stream_reader_discard(inner, errp)) {
            return false;
        }
    }
    if (!stream_reader_check_end(inner, 0, errp)) {
        return false;
    }
    r->records += inner->records;
    return true;
}

bool stream_reader_take(StreamReader *r, size_t length, StreamIndex *index,
                        GByteArray *bytes, Error **errp)
{
    assert(!stream_reader_in_chain(r) && !r->unread && !bytes->len);
    if (length < STREAM_HEADER_SIZE) {
        error_setg(errp, "the package at offset %" PRIu64 " is too short: "
                   "expected at least %d bytes, got %zu", r->offset,
                   STREAM_HEADER_SIZE, length);
        return false;
    }
    g_byte_array_append(bytes, r->next, r->ahead);
    r->ahead = 0;
    while (bytes->len < length) {
        size_t have = bytes->len;
        size_t want = MIN(length - have, STREAM_PAYLOAD_MAX);
        size_t n = 0;

        g_byte_array_set_size(bytes, have + want);
        if (!stream_reader_fill(r, bytes->data + have, &n, want, 0, errp)) {
            return false;
        }
    }
    if (!stream_reader_check_taken(r, index, bytes, errp)) {
        return false;
    }
    r->offset += length;
    return true;
}
