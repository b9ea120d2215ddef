/*
 * Migration stream version 4: the reader
 *
 * Implements the receiving side of "Records", "Sections" and "Index" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * A record is read whole and its checksum verified before any of it is given
 * out.  Memory is bounded by one record, whatever the stream says.
 * reader-order.c says which record may follow which, reader-packet.c reads
 * those that have a head, and reader-chains.c what the reader itself takes of
 * several.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "reader-private.h"

StreamReader *stream_reader_new(StreamReadFunc *read, void *opaque)
{
    StreamReader *r = g_new0(StreamReader, 1);

    r->read = read;
    r->opaque = opaque;
    r->record.flags = STREAM_FLAG_LAST;
    r->index = stream_index_new();
    return r;
}

StreamReader *stream_reader_new_checked(StreamReadFunc *read, void *opaque,
                                        uint64_t offset, StreamIndex *index)
{
    StreamReader *r = stream_reader_new(read, opaque);

    stream_reader_set_index(r, index);
    r->offset = offset;
    r->checked = true;
    return r;
}

void stream_reader_free(StreamReader *r)
{
    if (r) {
        stream_index_unref(r->index);
        g_free(r);
    }
}

void stream_reader_set_hop(StreamReader *r, StreamHopFunc *hop)
{
    r->hop = hop;
}

void stream_reader_set_packet(StreamReader *r, StreamPacketFunc *packet,
                              void *opaque)
{
    r->packet = packet;
    r->packet_opaque = opaque;
}

void stream_reader_set_readv(StreamReader *r, StreamReadvFunc *readv)
{
    r->readv = readv;
}

StreamIndex *stream_reader_index(const StreamReader *r)
{
    return r->index;
}

void stream_reader_set_index(StreamReader *r, StreamIndex *index)
{
    stream_index_ref(index);
    stream_index_unref(r->index);
    r->index = index;
}

char *stream_reader_section_name(const StreamReader *r)
{
    if (!r->records) {
        return g_strdup("the preamble");
    }
    if (r->has_section) {
        return g_strdup_printf("section '%s' (instance %" PRIu32 ")",
                               r->section.ident.name,
                               r->section.ident.instance_id);
    }
    return g_strdup_printf("the %s record",
                           stream_record_name(r->record.type));
}

uint64_t stream_reader_position(const StreamReader *r)
{
    return r->given;
}

char *stream_reader_where(const StreamReader *r)
{
    g_autofree char *name = stream_reader_section_name(r);

    return g_strdup_printf("%s, record at offset %" PRIu64, name,
                           r->record.offset);
}

void stream_reader_cut_short(const StreamReader *r, size_t have, size_t want,
                             Error **errp)
{
    error_setg(errp, "the stream ends too early, at offset %" PRIu64
               ": expected %zu more bytes, got none", r->offset + have,
               want - have);
}

bool stream_reader_fill(StreamReader *r, uint8_t *data, size_t *have,
                        size_t want, size_t extra, Error **errp)
{
    while (*have < want) {
        ssize_t n = r->read(r->opaque, data + *have, want + extra - *have,
                            errp);

        if (n < 0) {
            return false;
        }
        if (n == 0) {
            stream_reader_cut_short(r, *have, want, errp);
            return false;
        }
        *have += n;
    }
    return true;
}

uint32_t stream_reader_preamble(StreamReader *r, Error **errp)
{
    uint8_t wire[STREAM_PREAMBLE_SIZE];
    size_t have = 0;

    assert(r->offset == 0);
    if (!stream_reader_fill(r, wire, &have, sizeof(wire), 0, errp)) {
        return 0;
    }
    if (ldl_be_p(wire) != STREAM_MAGIC || !ldl_be_p(wire + 4)) {
        error_setg(errp, "this is no migration stream: expected magic 0x%08x "
                   "and a version, got 0x%08x and %u", STREAM_MAGIC,
                   ldl_be_p(wire), ldl_be_p(wire + 4));
        return 0;
    }
    r->offset = sizeof(wire);
    r->stage = STREAM_STAGE_BEGUN;
    return ldl_be_p(wire + 4);
}

/* The first record of a section that says what it is about */
static size_t stream_reader_identify(StreamReader *r, size_t length,
                                     Error **errp)
{
    uint32_t id = r->record.section_id;
    StreamIdent ident;
    size_t used = stream_ident_decode(r->payload, length, &ident, errp);

    if (!used ||
        (!r->checked && !stream_index_begin(r->index, r->record.type, id,
                                            &ident, errp))) {
        return 0;
    }
    r->has_section = stream_index_get(r->index, id, &r->section);
    return used;
}

/* Reads the next header, and makes its record the present one */
static bool stream_reader_header(StreamReader *r, Error **errp)
{
    StreamRecord record;

    if (!stream_reader_fill(r, r->next, &r->ahead, STREAM_HEADER_SIZE, 0,
                            errp) ||
        !stream_record_decode(r->next, r->offset, &record, errp) ||
        !stream_reader_check_place(r, &record, errp)) {
        return false;
    }

    if (!stream_reader_in_chain(r)) {
        r->given = 0;
        r->has_section = stream_record_has_section(record.type) &&
                         !stream_record_identifies(record.type) &&
                         stream_index_get(r->index, record.section_id,
                                          &r->section);
    }
    if (record.type == STREAM_RECORD_MACHINE) {
        r->stage = STREAM_STAGE_MACHINE;
    } else if (record.type == STREAM_RECORD_MACHINE_END) {
        r->stage = STREAM_STAGE_ANY;
    }
    r->record = record;
    r->records++;
    r->offset += STREAM_HEADER_SIZE;
    return true;
}

/* What is only to be checked for its place in the stream */
static bool stream_reader_hops(const StreamReader *r)
{
    return r->hop && (r->record.type == STREAM_RECORD_SECTION_PART ||
                      r->record.type == STREAM_RECORD_SECTION_END);
}

void stream_reader_keep_ahead(StreamReader *r, const uint8_t *from,
                              size_t length)
{
    memcpy(r->next, from, length);
    r->ahead = length;
}

bool stream_reader_check_payload(StreamReader *r, size_t length, Error **errp)
{
    uint32_t crc = stream_crc32c(r->payload, length);

    if (crc != r->record.payload_crc) {
        error_setg(errp, "the record's %zu bytes%s are damaged: expected "
                   "checksum 0x%08" PRIx32 ", got 0x%08" PRIx32, length,
                   r->record.flags & STREAM_FLAG_HEAD ? " of head" : "",
                   r->record.payload_crc, crc);
        return false;
    }
    return true;
}

/* Reads the present record's payload, of which @have bytes arrive */
static bool stream_reader_payload(StreamReader *r, size_t *have, Error **errp)
{
    const StreamRecord *record = &r->record;
    size_t extra = record->type == STREAM_RECORD_END ? 0 : STREAM_HEADER_SIZE;

    r->ahead = 0;
    if (stream_reader_hops(r)) {
        r->offset += record->length;
        return r->hop(r->opaque, record->length, errp);
    }
    if (record->flags & STREAM_FLAG_HEAD) {
        return stream_reader_packet(r, errp);
    }
    if (!stream_reader_fill(r, r->payload, have, record->length, extra,
                            errp) ||
        !stream_reader_check_payload(r, record->length, errp)) {
        return false;
    }
    stream_reader_keep_ahead(r, r->payload + record->length,
                             *have - record->length);
    r->offset += record->length;
    r->unread = record->length;
    return true;
}

/* Reads the next record whole and checks it */
static bool stream_reader_record(StreamReader *r, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *before = stream_reader_section_name(r);
    const char *relation = stream_reader_in_chain(r) ? "in" : "behind";
    bool identifies;
    size_t used = 0, have = 0;

    if (!stream_reader_header(r, errp)) {
        error_prepend(errp, "%s %s, record at offset %" PRIu64 ": ",
                      relation, before, r->offset);
        return false;
    }

    identifies = !r->has_section &&
                 stream_record_identifies(r->record.type);
    if (!stream_reader_payload(r, &have, errp)) {
        /* Even so its name may have come through, and is worth saying */
        if (identifies) {
            stream_reader_identify(r, MIN(have, r->record.length), NULL);
        }
    } else if (identifies) {
        used = stream_reader_identify(r, r->record.length, errp);
        r->unread -= used;
    } else {
        stream_reader_check_type(r, errp);
    }

    if (*errp) {
        g_autofree char *where = stream_reader_where(r);

        if (identifies && !r->has_section) {
            error_prepend(errp, "a section behind %s, record at offset %"
                          PRIu64 ": ", before, r->record.offset);
        } else {
            error_prepend(errp, "%s: ", where);
        }
        return false;
    }
    if (r->has_section && !r->checked) {
        stream_index_account(r->index, &r->record);
    }
    return true;
}

void stream_reader_skip(StreamReader *r, const char *what)
{
    g_autofree char *name = what ? NULL : stream_reader_section_name(r);

    stream_index_note_skipped(r->index, what ?: name);
}

bool stream_reader_step(StreamReader *r, bool *given, Error **errp)
{
    *given = false;
    if (!stream_reader_record(r, errp)) {
        return false;
    }
    if (!stream_record_type_name(r->record.type)) {
        if (!r->checked) {
            stream_reader_skip(r, NULL);
        }
        r->unread = 0;
        return true;
    }
    if (r->record.type == STREAM_RECORD_INDEX) {
        return stream_reader_check_index(r, errp);
    }
    *given = true;
    return true;
}

int stream_reader_next(StreamReader *r, size_t unread, Error **errp)
{
    bool given;

    if (r->records && !stream_reader_check_end(r, unread, errp)) {
        return -1;
    }
    do {
        if (!stream_reader_step(r, &given, errp)) {
            return -1;
        }
    } while (!given);
    return r->record.type;
}

void stream_reader_restart(StreamReader *r)
{
    assert(!stream_reader_in_chain(r));
    r->indexed = false;
    stream_index_restart(r->index);
}

ssize_t stream_reader_read(StreamReader *r, void *data, size_t length,
                           Error **errp)
{
    while (!r->unread) {
        if (!stream_reader_in_chain(r)) {
            return 0;
        }
        if (!stream_reader_record(r, errp)) {
            return -1;
        }
    }
    length = MIN(length, r->unread);
    memcpy(data, r->payload + r->record.length - r->unread, length);
    r->unread -= length;
    r->given += length;
    return length;
}

bool stream_reader_discard(StreamReader *r, Error **errp)
{
    uint8_t ignored[1024];
    ssize_t n;

    do {
        n = stream_reader_read(r, ignored, sizeof(ignored), errp);
    } while (n > 0);
    return n == 0;
}

bool stream_reader_check_end(StreamReader *r, size_t unread, Error **errp)
{
    unread += r->unread;
    /* A section that was sent promptly may have an empty record at its end */
    while (!unread && stream_reader_in_chain(r)) {
        if (!stream_reader_record(r, errp)) {
            return false;
        }
        unread = r->unread;
    }
    if (unread) {
        g_autofree char *where = stream_reader_where(r);

        error_setg(errp, "%s: the section is longer than its reader expected: "
                   "expected its end, got %zu bytes more%s", where, unread,
                   stream_reader_in_chain(r) ? " and another record" : "");
        return false;
    }
    return true;
}

uint16_t stream_reader_type(const StreamReader *r)
{
    return r->record.type;
}

uint32_t stream_reader_section_id(const StreamReader *r)
{
    return r->record.section_id;
}

const StreamIdent *stream_reader_ident(const StreamReader *r)
{
    return r->has_section ? &r->section.ident : NULL;
}

uint64_t stream_reader_bytes(const StreamReader *r)
{
    return r->offset;
}

uint64_t stream_reader_records(const StreamReader *r)
{
    return r->records;
}

bool stream_reader_optional(const StreamReader *r)
{
    return r->record.flags & STREAM_FLAG_OPTIONAL;
}
