/*
 * Migration stream version 4: the reader
 *
 * Implements the receiving side of "Records", "Sections" and "Index" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * A record is read whole and its checksum verified before any of it is given
 * out.  Memory is bounded by one record, whatever the stream says.
 * reader-packet.c reads the records that have a head.
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

static bool stream_reader_in_chain(const StreamReader *r)
{
    return !(r->record.flags & STREAM_FLAG_LAST);
}

static const char *stream_record_name(uint16_t type)
{
    return stream_record_type_name(type) ?: "unknown";
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

/* Whether the end has come, behind which there is only the hand-over */
static bool stream_reader_ended(const StreamReader *r)
{
    return r->record.type == STREAM_RECORD_END ||
           r->record.type == STREAM_RECORD_HANDOVER;
}

/* Does what is said before the stream itself come where it belongs? */
static bool stream_reader_check_stage(StreamReader *r,
                                      const StreamRecord *record, Error **errp)
{
    uint16_t type = record->type;

    switch (r->stage) {
    case STREAM_STAGE_BEGUN:
        /* Or there is no more to come than a word of the hand-over */
        if ((type == STREAM_RECORD_MACHINE && !r->records) ||
            type == STREAM_RECORD_HANDOVER) {
            return true;
        }
        if (type == STREAM_RECORD_MACHINE) {
            break;
        }
        error_setg(errp, "the machine is missing: expected a %s record first, "
                   "got a %s record",
                   stream_record_type_name(STREAM_RECORD_MACHINE),
                   stream_record_name(type));
        return false;
    case STREAM_STAGE_MACHINE:
        if (type == STREAM_RECORD_MACHINE_END ||
            !stream_record_type_name(type)) {
            return true;
        }
        error_setg(errp, "the machine's end is missing: expected a %s record "
                   "before anything else, got a %s record",
                   stream_record_type_name(STREAM_RECORD_MACHINE_END),
                   stream_record_name(type));
        return false;
    default:
        break;
    }
    if (type == STREAM_RECORD_MACHINE || type == STREAM_RECORD_MACHINE_END) {
        error_setg(errp, "a %s record comes late: expected it first, and once",
                   stream_record_name(type));
        return false;
    }
    if (type == STREAM_RECORD_HELLO && r->records &&
        r->record.type != STREAM_RECORD_MACHINE_END) {
        error_setg(errp, "a hello comes late: expected it first, and once");
        return false;
    }
    return true;
}

/* May @record have a head, or be without one? */
static bool stream_reader_check_head(const StreamReader *r,
                                     const StreamRecord *record, Error **errp)
{
    bool head = record->flags & STREAM_FLAG_HEAD;
    uint16_t type = record->type;

    if (head ? stream_record_type_name(type) &&
               !stream_record_may_have_head(type)
             : type == STREAM_RECORD_PACKET) {
        error_setg(errp, "a %s record %s: expected %s",
                   stream_record_name(type), head ? "has a head" :
                   "has no head", head ? "none" : "one");
        return false;
    }
    if (head && stream_reader_in_chain(r) && r->given) {
        error_setg(errp, "a packet comes late: expected it before what else "
                   "the section has, got it behind %" PRIu64 " bytes",
                   r->given);
        return false;
    }
    /* They have channels of their own, which have nothing else */
    if (type == STREAM_RECORD_PACKET &&
        ((r->records && r->record.type != type) ||
         !(record->flags & STREAM_FLAG_LAST))) {
        error_setg(errp, "a packet record is out of place: expected it by "
                   "itself, on a channel that has nothing else");
        return false;
    }
    return true;
}

/* Do @record and the one before it belong together as sections demand? */
static bool stream_reader_check_order(StreamReader *r,
                                      const StreamRecord *record, Error **errp)
{
    if (stream_reader_in_chain(r)) {
        if (record->type != r->record.type ||
            record->section_id != r->record.section_id) {
            error_setg(errp, "the section is not finished: expected a %s "
                       "record of section id %" PRIu32 ", got a %s record of "
                       "section id %" PRIu32,
                       stream_record_name(r->record.type),
                       r->record.section_id,
                       stream_record_name(record->type),
                       record->section_id);
            return false;
        }
        return true;
    }
    if (!stream_reader_check_stage(r, record, errp)) {
        return false;
    }
    if (r->indexed && record->type != STREAM_RECORD_END &&
        !(record->type == STREAM_RECORD_HANDOVER && stream_reader_ended(r))) {
        error_setg(errp, "something comes behind the index: expected the end "
                   "record, got a %s record",
                   stream_record_name(record->type));
        return false;
    }
    return r->checked || stream_index_check(r->index, record->type,
                                            record->section_id, errp);
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
        !stream_reader_check_order(r, &record, errp) ||
        !stream_reader_check_head(r, &record, errp)) {
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
    } else if (!stream_record_type_name(r->record.type) &&
               !(r->record.flags & STREAM_FLAG_OPTIONAL)) {
        error_setg(errp, "the record is of unknown type 0x%04x and not "
                   "optional: expected a type that this version knows",
                   r->record.type);
        error_append_hint(errp, "The stream comes from a newer QEMU.\n");
    } else if ((r->record.type == STREAM_RECORD_END ||
                r->record.type == STREAM_RECORD_MACHINE_END) &&
               stream_reader_in_chain(r)) {
        error_setg(errp, "the end is not the last of its chain: expected "
                   "flags 0x%04x, got 0x%04x", STREAM_FLAG_LAST,
                   r->record.flags);
    } else if (r->record.type == STREAM_RECORD_MACHINE_END &&
               r->record.length) {
        error_setg(errp, "the machine's end has a payload: expected none, got "
                   "%" PRIu32 " bytes", r->record.length);
    } else if (r->record.type == STREAM_RECORD_END &&
               (r->record.length || !r->indexed)) {
        error_setg(errp, r->indexed ?
                   "the end has a payload: expected none, got %" PRIu32
                   " bytes" : "the end comes without an index: expected one "
                   "right before it, got %" PRIu32 " bytes of payload",
                   r->record.length);
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

/* Holds the index against what came */
static bool stream_reader_check_index(StreamReader *r, Error **errp)
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

/*
 * Goes to the next record; @given if it is for the caller, and not one that is
 * skipped or the index
 */
static bool stream_reader_step(StreamReader *r, bool *given, Error **errp)
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

void stream_reader_restart(StreamReader *r)
{
    assert(!stream_reader_in_chain(r));
    r->indexed = false;
    stream_index_restart(r->index);
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
