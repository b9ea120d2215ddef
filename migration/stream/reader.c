/*
 * Migration stream version 4: the reader
 *
 * Implements the receiving side of "Records" and "Sections" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * A record is read whole and its checksum verified before any of it is given
 * out.  Memory is bounded by one record, whatever the stream says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/reader.h"

/* A section that was seen, and whether more of it may come */
typedef struct StreamSection {
    uint32_t id;
    bool open;
    StreamIdent ident;
} StreamSection;

struct StreamReader {
    StreamReadFunc *read;
    void *opaque;
    uint64_t offset;            /* of the first byte that is not yet parsed */
    uint64_t records;
    uint64_t skipped;
    StreamRecord record;        /* the present one; none yet if !records */
    GHashTable *sections;       /* of StreamSection, by their id */
    const StreamSection *section;   /* of the present record, if it has one */

    /*
     * The present record's payload, and behind it what came of the next
     * header: asking for both at once saves a system call for each record.
     */
    size_t unread;              /* bytes of payload not yet given out */
    size_t ahead;               /* bytes of the next header */
    uint8_t next[STREAM_HEADER_SIZE];
    uint8_t payload[STREAM_PAYLOAD_MAX + STREAM_HEADER_SIZE];
};

StreamReader *stream_reader_new(StreamReadFunc *read, void *opaque)
{
    StreamReader *r = g_new0(StreamReader, 1);

    r->read = read;
    r->opaque = opaque;
    r->record.flags = STREAM_FLAG_LAST;
    r->sections = g_hash_table_new_full(g_int_hash, g_int_equal, NULL, g_free);
    return r;
}

void stream_reader_free(StreamReader *r)
{
    if (r) {
        g_hash_table_unref(r->sections);
        g_free(r);
    }
}

static bool stream_reader_in_chain(const StreamReader *r)
{
    return !(r->record.flags & STREAM_FLAG_LAST);
}

static const char *stream_record_name(uint16_t type)
{
    return stream_record_type_name(type) ?: "unknown";
}

static char *stream_reader_section_name(const StreamReader *r)
{
    if (!r->records) {
        return g_strdup("the preamble");
    }
    if (r->section) {
        return g_strdup_printf("section '%s' (instance %" PRIu32 ")",
                               r->section->ident.name,
                               r->section->ident.instance_id);
    }
    return g_strdup_printf("the %s record",
                           stream_record_name(r->record.type));
}

char *stream_reader_where(const StreamReader *r)
{
    g_autofree char *name = stream_reader_section_name(r);

    return g_strdup_printf("%s, record at offset %" PRIu64, name,
                           r->record.offset);
}

/* Reads until @have of @want bytes are there, with up to @extra in passing */
static bool stream_reader_fill(StreamReader *r, uint8_t *data, size_t *have,
                               size_t want, size_t extra, Error **errp)
{
    while (*have < want) {
        ssize_t n = r->read(r->opaque, data + *have, want + extra - *have,
                            errp);

        if (n < 0) {
            return false;
        }
        if (n == 0) {
            error_setg(errp, "the stream ends too early, at offset %" PRIu64
                       ": expected %zu more bytes, got none",
                       r->offset + *have, want - *have);
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
    return ldl_be_p(wire + 4);
}

/* Do @record and the one before it belong together as sections demand? */
static bool stream_reader_check_order(StreamReader *r,
                                      const StreamRecord *record, Error **errp)
{
    StreamSection *section;

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

    section = g_hash_table_lookup(r->sections, &record->section_id);
    switch (record->type) {
    case STREAM_RECORD_SECTION_START:
    case STREAM_RECORD_SECTION_FULL:
        if (section) {
            error_setg(errp, "section id %" PRIu32 " is taken: expected a new "
                       "one, got that of section '%s' (instance %" PRIu32 ")",
                       record->section_id, section->ident.name,
                       section->ident.instance_id);
            return false;
        }
        break;
    case STREAM_RECORD_SECTION_PART:
    case STREAM_RECORD_SECTION_END:
        if (!section || !section->open) {
            error_setg(errp, "there is no open section of id %" PRIu32
                       ": expected one that has started and not ended",
                       record->section_id);
            return false;
        }
        break;
    }
    return true;
}

/* The first record of a section that says what it is about */
static size_t stream_reader_identify(StreamReader *r, size_t length,
                                     Error **errp)
{
    g_autofree StreamSection *section = g_new0(StreamSection, 1);
    size_t used = stream_ident_decode(r->payload, length, &section->ident,
                                      errp);

    if (!used) {
        return 0;
    }
    if (g_hash_table_size(r->sections) >= STREAM_SECTIONS_MAX) {
        error_setg(errp, "too many sections: expected at most %d",
                   STREAM_SECTIONS_MAX);
        return 0;
    }
    section->id = r->record.section_id;
    section->open = r->record.type == STREAM_RECORD_SECTION_START;
    r->section = section;
    g_hash_table_insert(r->sections, &section->id, section);
    section = NULL;
    return used;
}

/* Reads the next header, and makes its record the present one */
static bool stream_reader_header(StreamReader *r, Error **errp)
{
    StreamRecord record;
    StreamSection *section;

    if (!stream_reader_fill(r, r->next, &r->ahead, STREAM_HEADER_SIZE, 0,
                            errp) ||
        !stream_record_decode(r->next, r->offset, &record, errp) ||
        !stream_reader_check_order(r, &record, errp)) {
        return false;
    }

    section = g_hash_table_lookup(r->sections, &record.section_id);
    switch (record.type) {
    case STREAM_RECORD_SECTION_END:
        section->open = false;
        /* fall through */
    case STREAM_RECORD_SECTION_PART:
        r->section = section;
        break;
    default:
        r->section = stream_reader_in_chain(r) ? r->section : NULL;
    }
    r->record = record;
    r->records++;
    r->offset += STREAM_HEADER_SIZE;
    return true;
}

/* Reads the present record's payload, of which @have bytes arrive */
static bool stream_reader_payload(StreamReader *r, size_t *have, Error **errp)
{
    const StreamRecord *record = &r->record;
    size_t extra = record->type == STREAM_RECORD_END ? 0 : STREAM_HEADER_SIZE;
    uint32_t crc;

    if (!stream_reader_fill(r, r->payload, have, record->length, extra,
                            errp)) {
        return false;
    }
    crc = stream_crc32c(r->payload, record->length);
    if (crc != record->payload_crc) {
        error_setg(errp, "the record's %" PRIu32 " bytes are damaged: expected "
                   "checksum 0x%08" PRIx32 ", got 0x%08" PRIx32,
                   record->length, record->payload_crc, crc);
        return false;
    }
    r->ahead = *have - record->length;
    memcpy(r->next, r->payload + record->length, r->ahead);
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

    identifies = !r->section &&
                 (r->record.type == STREAM_RECORD_SECTION_START ||
                  r->record.type == STREAM_RECORD_SECTION_FULL);
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
    }

    if (*errp) {
        g_autofree char *where = stream_reader_where(r);

        if (identifies && !r->section) {
            error_prepend(errp, "a section behind %s, record at offset %"
                          PRIu64 ": ", before, r->record.offset);
        } else {
            error_prepend(errp, "%s: ", where);
        }
        return false;
    }
    return true;
}

int stream_reader_next(StreamReader *r, size_t unread, Error **errp)
{
    if (r->records && !stream_reader_check_end(r, unread, errp)) {
        return -1;
    }
    for (;;) {
        if (!stream_reader_record(r, errp)) {
            return -1;
        }
        if (stream_record_type_name(r->record.type)) {
            return r->record.type;
        }
        r->skipped++;
        r->unread = 0;
    }
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
    return length;
}

bool stream_reader_check_end(StreamReader *r, size_t unread, Error **errp)
{
    unread += r->unread;
    if (unread || stream_reader_in_chain(r)) {
        g_autofree char *where = stream_reader_where(r);

        error_setg(errp, "%s: the section is longer than its reader expected: "
                   "expected its end, got %zu bytes more%s", where, unread,
                   stream_reader_in_chain(r) ? " and another record" : "");
        return false;
    }
    return true;
}

uint32_t stream_reader_section_id(const StreamReader *r)
{
    return r->record.section_id;
}

const StreamIdent *stream_reader_ident(const StreamReader *r)
{
    return r->section ? &r->section->ident : NULL;
}

uint64_t stream_reader_bytes(const StreamReader *r)
{
    return r->offset;
}

uint64_t stream_reader_records(const StreamReader *r)
{
    return r->records;
}

uint64_t stream_reader_skipped(const StreamReader *r)
{
    return r->skipped;
}
