/*
 * qemu-vmstate hex: the bytes of a stream, record by record
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "tool.h"

/* How much of a payload is shown, in bytes; of RAM there is a lot */
#define SHOWN_MAX 1024
#define PER_LINE 16

typedef struct Hex {
    Source *source;
    GString *out;
    uint64_t offset;        /* of what is read next */
    char *name;             /* of the section to show, or NULL for all */
    GHashTable *wanted;     /* ids of the sections of that name */
    GByteArray *payload;    /* of the present record */
} Hex;

static bool hex_read(Hex *hex, uint8_t *data, size_t length, Error **errp)
{
    size_t have = 0;

    while (have < length) {
        ssize_t n = source_read(hex->source, data + have, length - have, errp);

        if (n < 0) {
            return false;
        }
        if (n == 0) {
            error_setg(errp, "the stream ends too early, at offset %" PRIu64
                       ": expected %zu more bytes, got none",
                       hex->offset + have, length - have);
            return false;
        }
        have += n;
    }
    hex->offset += length;
    return true;
}

/* As "hexdump -C" has it */
static void hex_lines(Hex *hex, uint64_t offset, const uint8_t *data,
                      size_t length)
{
    for (size_t at = 0; at < length; at += PER_LINE) {
        size_t n = MIN(length - at, PER_LINE);

        g_string_append_printf(hex->out, "%08" PRIx64 " ", offset + at);
        for (size_t i = 0; i < PER_LINE; i++) {
            if (i % 8 == 0) {
                g_string_append_c(hex->out, ' ');
            }
            if (i < n) {
                g_string_append_printf(hex->out, "%02x ", data[at + i]);
            } else {
                g_string_append(hex->out, "   ");
            }
        }
        g_string_append(hex->out, " |");
        for (size_t i = 0; i < n; i++) {
            g_string_append_c(hex->out, g_ascii_isprint(data[at + i]) ?
                              data[at + i] : '.');
        }
        g_string_append(hex->out, "|\n");
    }
}

/* Is this record one that was asked for? */
static bool hex_wants(Hex *hex, const StreamRecord *record, bool first)
{
    void *id = GUINT_TO_POINTER(record->section_id);
    StreamIdent ident;

    if (!hex->name) {
        return true;
    }
    if (stream_record_identifies(record->type) && first &&
        stream_ident_decode(hex->payload->data, record->length, &ident,
                            NULL) &&
        !strcmp(ident.name, hex->name)) {
        g_hash_table_add(hex->wanted, id);
    }
    return stream_record_has_section(record->type) &&
           g_hash_table_contains(hex->wanted, id);
}

/* What a record's checksum is of: its payload, or the head of that */
static uint32_t hex_checksum(const Hex *hex, const StreamRecord *record)
{
    size_t length = record->length;

    if (record->flags & STREAM_FLAG_HEAD) {
        length = length < STREAM_HEAD_MIN
                 ? 0 : MIN(ldl_be_p(hex->payload->data), length);
        length = MIN(length, STREAM_HEAD_MAX);
    }
    return stream_crc32c(hex->payload->data, length);
}

static bool hex_record(Hex *hex, StreamRecord *record, Error **errp)
{
    ERRP_GUARD();
    bool first = record->flags & STREAM_FLAG_LAST;
    uint64_t offset = hex->offset;
    uint8_t wire[STREAM_HEADER_SIZE];
    const char *type;
    uint32_t crc;

    if (hex_read(hex, wire, sizeof(wire), errp) &&
        stream_record_decode(wire, offset, record, errp)) {
        g_byte_array_set_size(hex->payload, record->length);
        hex_read(hex, hex->payload->data, record->length, errp);
    }
    if (*errp) {
        error_prepend(errp, "record at offset %" PRIu64 ": ", offset);
        return false;
    }
    crc = hex_checksum(hex, record);
    if (!hex_wants(hex, record, first)) {
        return true;
    }

    type = stream_record_type_name(record->type);
    g_string_append_printf(hex->out, "\n%s record at offset %" PRIu64 ", flags "
                           "0x%04x, section id %" PRIu32 ", %" PRIu32
                           " bytes%s\n", type ?: "unknown", offset,
                           record->flags, record->section_id, record->length,
                           crc == record->payload_crc ? "" : ", damaged");
    hex_lines(hex, offset, wire, sizeof(wire));
    hex_lines(hex, offset + sizeof(wire), hex->payload->data,
              MIN(record->length, SHOWN_MAX));
    if (record->length > SHOWN_MAX) {
        g_string_append_printf(hex->out, "%" PRIu32 " bytes more\n",
                               record->length - SHOWN_MAX);
    }
    return true;
}

bool tool_hex(Source *source, const char *section, GString *out, Error **errp)
{
    g_autofree Hex *hex = g_new0(Hex, 1);
    g_autofree char *name = g_strdup(section);
    g_autoptr(GHashTable) wanted = g_hash_table_new(NULL, NULL);
    g_autoptr(GByteArray) payload = g_byte_array_new();
    StreamRecord record = { .flags = STREAM_FLAG_LAST };
    uint8_t wire[STREAM_PREAMBLE_SIZE];

    hex->source = source;
    hex->out = out;
    hex->name = name;
    hex->wanted = wanted;
    hex->payload = payload;
    if (!hex_read(hex, wire, sizeof(wire), errp)) {
        return false;
    }
    if (ldl_be_p(wire) != STREAM_MAGIC || ldl_be_p(wire + 4) != STREAM_VERSION) {
        error_setg(errp, "the bytes of version %d only can be told apart",
                   STREAM_VERSION);
        return false;
    }
    if (!section) {
        g_string_append(out, "preamble\n");
        hex_lines(hex, 0, wire, sizeof(wire));
    }
    do {
        if (!hex_record(hex, &record, errp)) {
            return false;
        }
    } while (record.type != STREAM_RECORD_END);
    if (section && !g_hash_table_size(wanted)) {
        error_setg(errp, "there is no section '%s'", section);
        return false;
    }
    return true;
}
