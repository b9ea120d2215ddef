/*
 * Migration stream version 4: records, the codec
 *
 * Implements "Records" and "Sections" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/record.h"

static_assert(sizeof(StreamRecordHeader) == STREAM_HEADER_SIZE,
              "a record's header");
static_assert(offsetof(StreamRecordHeader, flags) == 2, "flags");
static_assert(offsetof(StreamRecordHeader, section_id) == 4, "section id");
static_assert(offsetof(StreamRecordHeader, length) == 8, "length");
static_assert(offsetof(StreamRecordHeader, payload_crc) == 12, "payload crc");
static_assert(offsetof(StreamRecordHeader, offset) == 16, "offset");
static_assert(offsetof(StreamRecordHeader, header_crc) == 24, "header crc");

static_assert(sizeof(StreamIdentHeader) == 9, "an identification's header");
static_assert(offsetof(StreamIdentHeader, version_id) == 4, "version");
static_assert(offsetof(StreamIdentHeader, name_length) == 8, "name length");

const char *stream_record_type_name(uint16_t type)
{
    static const char *const names[] = {
        [STREAM_RECORD_END] = "end",
        [STREAM_RECORD_SECTION_START] = "section start",
        [STREAM_RECORD_SECTION_PART] = "section part",
        [STREAM_RECORD_SECTION_END] = "section end",
        [STREAM_RECORD_SECTION_FULL] = "section",
        [STREAM_RECORD_VMDESCRIPTION] = "description",
        [STREAM_RECORD_CONFIGURATION] = "configuration",
        [STREAM_RECORD_COMMAND] = "command",
        [STREAM_RECORD_RETURN_PATH] = "return path",
        [STREAM_RECORD_INDEX] = "index",
        [STREAM_RECORD_PAGES] = "pages",
        [STREAM_RECORD_COLO] = "COLO",
        [STREAM_RECORD_HELLO] = "hello",
        [STREAM_RECORD_HANDOVER] = "hand-over",
        [STREAM_RECORD_MACHINE] = "machine",
        [STREAM_RECORD_MACHINE_END] = "machine end",
        [STREAM_RECORD_FACTS] = "facts",
        [STREAM_RECORD_PACKET] = "packet",
        [STREAM_RECORD_VERDICT] = "verdict",
    };

    return type < ARRAY_SIZE(names) ? names[type] : NULL;
}

bool stream_record_identifies(uint16_t type)
{
    return type == STREAM_RECORD_SECTION_START ||
           type == STREAM_RECORD_SECTION_FULL;
}

bool stream_record_has_section(uint16_t type)
{
    return type >= STREAM_RECORD_SECTION_START &&
           type <= STREAM_RECORD_SECTION_FULL;
}

bool stream_record_may_have_head(uint16_t type)
{
    return type == STREAM_RECORD_SECTION_PART ||
           type == STREAM_RECORD_SECTION_END ||
           type == STREAM_RECORD_PACKET;
}

uint32_t stream_record_payload_max(uint16_t flags)
{
    return flags & STREAM_FLAG_HEAD ? STREAM_HEAD_MAX + STREAM_DATA_MAX
                                    : STREAM_PAYLOAD_MAX;
}

uint64_t stream_record_offset(const uint8_t *wire)
{
    return ldq_be_p(wire + offsetof(StreamRecordHeader, offset));
}

void stream_record_encode(const StreamRecord *record, uint8_t *wire)
{
    StreamRecordHeader h = {
        .type = cpu_to_be16(record->type),
        .flags = cpu_to_be16(record->flags),
        .section_id = cpu_to_be32(record->section_id),
        .length = cpu_to_be32(record->length),
        .payload_crc = cpu_to_be32(record->payload_crc),
        .offset = cpu_to_be64(record->offset),
    };

    h.header_crc = cpu_to_be32(
        stream_crc32c(&h, offsetof(StreamRecordHeader, header_crc)));
    memcpy(wire, &h, sizeof(h));
}

bool stream_record_decode(const uint8_t *wire, uint64_t offset,
                          StreamRecord *record, Error **errp)
{
    StreamRecordHeader h;
    uint32_t crc;

    memcpy(&h, wire, sizeof(h));
    crc = stream_crc32c(&h, offsetof(StreamRecordHeader, header_crc));
    if (crc != be32_to_cpu(h.header_crc)) {
        error_setg(errp, "the record header is damaged: expected checksum "
                   "0x%08" PRIx32 ", got 0x%08" PRIx32,
                   be32_to_cpu(h.header_crc), crc);
        return false;
    }

    *record = (StreamRecord) {
        .type = be16_to_cpu(h.type),
        .flags = be16_to_cpu(h.flags),
        .section_id = be32_to_cpu(h.section_id),
        .length = be32_to_cpu(h.length),
        .payload_crc = be32_to_cpu(h.payload_crc),
        .offset = be64_to_cpu(h.offset),
    };
    if (record->offset != offset) {
        error_setg(errp, "the record is out of place: expected the one of "
                   "offset %" PRIu64 ", got the one of offset %" PRIu64,
                   offset, record->offset);
        return false;
    }
    if (record->flags & ~STREAM_FLAGS_KNOWN) {
        error_setg(errp, "the record has unknown flags: expected none but "
                   "0x%04x, got 0x%04x", STREAM_FLAGS_KNOWN, record->flags);
        return false;
    }
    if (record->length > stream_record_payload_max(record->flags)) {
        error_setg(errp, "the record is too long: expected at most %" PRIu32
                   " bytes, got %" PRIu32,
                   stream_record_payload_max(record->flags), record->length);
        return false;
    }
    return true;
}

bool stream_name_is_proper(const uint8_t *name, size_t length)
{
    const char *p = (const char *)name, *end = p + length;

    if (!length || !g_utf8_validate(p, length, NULL)) {
        return false;
    }
    while (p < end && !g_unichar_iscntrl(g_utf8_get_char(p))) {
        p = g_utf8_next_char(p);
    }
    return p == end;
}

char *stream_text_mend(const void *data, size_t length, size_t most)
{
    g_autofree char *proper = g_utf8_make_valid(data, length);
    GString *text = g_string_new(NULL);

    for (const char *p = proper; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        bool shown = c == '\n' || !g_unichar_iscntrl(c);
        size_t n = shown ? g_utf8_next_char(p) - p : 1;

        if (text->len + n > most) {
            break;
        }
        g_string_append_len(text, shown ? p : "?", n);
    }
    return g_string_free(text, false);
}

size_t stream_ident_encode(const StreamIdent *ident, uint8_t *wire)
{
    size_t name_length = strlen(ident->name);
    size_t used = sizeof(StreamIdentHeader) + name_length;
    StreamIdentHeader h = {
        .instance_id = cpu_to_be32(ident->instance_id),
        .version_id = cpu_to_be32(ident->version_id),
        .name_length = name_length,
    };

    assert(name_length > 0);
    memcpy(wire, &h, sizeof(h));
    memcpy(wire + sizeof(h), ident->name, name_length);
    stl_be_p(wire + used, stream_crc32c(wire, used));
    return used + 4;
}

size_t stream_ident_decode(const uint8_t *wire, size_t length,
                           StreamIdent *ident, Error **errp)
{
    StreamIdentHeader h;
    size_t used;
    uint32_t crc, expected;

    if (length < sizeof(h)) {
        error_setg(errp, "the section's identification is cut short: expected "
                   "at least %zu bytes, got %zu", sizeof(h), length);
        return 0;
    }
    memcpy(&h, wire, sizeof(h));
    used = sizeof(h) + h.name_length;
    if (length < used + 4) {
        error_setg(errp, "the section's identification is cut short: expected "
                   "%zu bytes, got %zu", used + 4, length);
        return 0;
    }
    crc = stream_crc32c(wire, used);
    expected = ldl_be_p(wire + used);
    if (crc != expected) {
        error_setg(errp, "the section's identification is damaged: expected "
                   "checksum 0x%08" PRIx32 ", got 0x%08" PRIx32,
                   expected, crc);
        return 0;
    }
    if (!stream_name_is_proper(wire + sizeof(h), h.name_length)) {
        error_setg(errp, "the section has no proper name: expected 1 to 255 "
                   "bytes without control characters");
        return 0;
    }

    ident->instance_id = be32_to_cpu(h.instance_id);
    ident->version_id = be32_to_cpu(h.version_id);
    memcpy(ident->name, wire + sizeof(h), h.name_length);
    ident->name[h.name_length] = '\0';
    return used + 4;
}
