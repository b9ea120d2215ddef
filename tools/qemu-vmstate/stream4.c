/*
 * qemu-vmstate: what is in a stream of version 4
 *
 * The reader checks everything on the way, up to the index.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/config/config.h"
#include "migration/stream/frame.h"
#include "contents.h"
#include "description.h"

/* Where the bytes of the present section go */
typedef struct Sink {
    Section *section;       /* whose state is kept, or NULL */
    GByteArray *bytes;      /* of anything else that is kept, or NULL */
    size_t most;            /* of @bytes */
} Sink;

/* The section that has begun or goes on */
static Section *find_section(Contents *c, StreamReader *r, GHashTable *by_id,
                             int type)
{
    uint32_t id = stream_reader_section_id(r);
    Section *section = g_hash_table_lookup(by_id, GUINT_TO_POINTER(id));

    if (!section) {
        section = contents_add(c, id, stream_reader_ident(r));
        section->live = type != STREAM_RECORD_SECTION_FULL;
        section->optional = stream_reader_optional(r);
        if (section->wanted && !section->live) {
            section->state = g_byte_array_new();
        }
        g_hash_table_insert(by_id, GUINT_TO_POINTER(id), section);
    }
    return section;
}

/* Too much of it is not kept at all, as a part would be of no use */
static void keep_state(Contents *c, Section *section, const void *data,
                       size_t length, uint64_t offset)
{
    if (c->kept + length <= STATE_MAX) {
        section_append(section, data, length, offset);
        c->kept += length;
        return;
    }
    c->kept -= section->state->len;
    c->not_kept++;
    g_byte_array_unref(section->state);
    section->state = NULL;
}

/* Where the record began whose last @n bytes were just read */
static uint64_t record_offset(const StreamReader *r, size_t n)
{
    const StreamIdent *ident = stream_reader_ident(r);
    bool first = stream_reader_position(r) == n;
    size_t before = STREAM_HEADER_SIZE;

    if (first && ident) {
        before += sizeof(StreamIdentHeader) + strlen(ident->name) + 4;
    }
    return stream_reader_bytes(r) - n - before;
}

/* Reads the present section to its end; @counted is what it takes */
static bool read_section(Contents *c, StreamReader *r, Sink *sink,
                         Other *counted, uint8_t *buffer, Error **errp)
{
    ssize_t n;

    /* A record at a time, as the buffer takes as much as one can have */
    while ((n = stream_reader_read(r, buffer, STREAM_PAYLOAD_MAX, errp)) > 0) {
        counted->records++;
        counted->bytes += STREAM_HEADER_SIZE + n;
        if (sink->section && sink->section->state) {
            keep_state(c, sink->section, buffer, n, record_offset(r, n));
        }
        if (sink->bytes) {
            if (n > sink->most - sink->bytes->len) {
                g_autofree char *where = stream_reader_where(r);

                error_setg(errp, "%s: it is too long: expected at most %zu "
                           "bytes", where, sink->most);
                return false;
            }
            g_byte_array_append(sink->bytes, buffer, n);
        }
    }
    return n == 0;
}

/* The machine's name is what the configuration begins with */
static void note_machine(Contents *c, const GByteArray *bytes)
{
    StreamFrame frame;
    size_t at = stream_frame_decode(bytes->data, bytes->len, &frame, NULL);
    uint32_t length;

    if (!at || bytes->len - at < 4) {
        return;
    }
    length = ldl_be_p(bytes->data + at);
    if (length < sizeof(c->machine) && length <= bytes->len - at - 4) {
        memcpy(c->machine, bytes->data + at + 4, length);
        c->machine[length] = '\0';
    }
}

/* What the reader has counted */
static void note_figures(Contents *c, StreamReader *r)
{
    StreamIndex *index = stream_reader_index(r);
    uint64_t skipped = stream_index_skipped(index);
    StreamSection seen;
    unsigned i;
    char *name;

    c->bytes = stream_reader_bytes(r);
    c->records = stream_reader_records(r);
    for (i = 0; i < c->sections->len; i++) {
        Section *section = g_ptr_array_index(c->sections, i);

        if (stream_index_get(index, section->id, &seen)) {
            section->records = seen.records;
            section->bytes = seen.length + seen.records * STREAM_HEADER_SIZE;
        }
    }
    for (i = 0; (name = stream_index_skipped_name(index, i)); i++) {
        g_ptr_array_add(c->skipped, name);
    }
    c->skipped_more = skipped - i;
}

/* Whether a machine can be made of it, only who makes one can tell */
static bool check_machine(const GByteArray *json, Error **errp)
{
    g_autoptr(MachineConfig) config =
        machine_config_parse((const char *)json->data, json->len, errp);

    return config;
}

/* Whatever came wrong of memory has come right when it ends */
static bool check_packets(Packets *packets, StreamReader *r, Error **errp)
{
    ERRP_GUARD();

    if (!packets_check(packets, errp)) {
        g_autofree char *where = stream_reader_where(r);

        error_prepend(errp, "%s: ", where);
        return false;
    }
    return true;
}

static bool read_sections(Contents *c, StreamReader *r, Packets *packets,
                          GByteArray *description, GByteArray *facts,
                          Error **errp)
{
    g_autoptr(GHashTable) by_id = g_hash_table_new(NULL, NULL);
    g_autoptr(GByteArray) configuration = g_byte_array_new();
    g_autoptr(GByteArray) machine = g_byte_array_new();
    g_autofree uint8_t *buffer = g_malloc(STREAM_PAYLOAD_MAX);
    int type;

    while ((type = stream_reader_next(r, 0, errp)) > STREAM_RECORD_END) {
        Sink sink = { 0 };

        if (stream_record_has_section(type)) {
            sink.section = find_section(c, r, by_id, type);
        } else if (type == STREAM_RECORD_CONFIGURATION) {
            sink.bytes = configuration;
            sink.most = STREAM_PAYLOAD_MAX;
        } else if (type == STREAM_RECORD_MACHINE) {
            sink.bytes = machine;
            sink.most = STREAM_MACHINE_MAX;
        } else if (type == STREAM_RECORD_VMDESCRIPTION) {
            sink.bytes = description;
            sink.most = DESCRIPTION_MAX;
        } else if (type == STREAM_RECORD_FACTS) {
            sink.bytes = facts;
            sink.most = STREAM_FACTS_MAX;
        }
        assert(type < OTHER_TYPES);
        if (!read_section(c, r, &sink, &c->others[type], buffer, errp)) {
            return false;
        }
        if (type == STREAM_RECORD_MACHINE && !check_machine(machine, errp)) {
            return false;
        }
        if (type == STREAM_RECORD_SECTION_END &&
            !check_packets(packets, r, errp)) {
            return false;
        }
    }
    note_machine(c, configuration);
    return type == STREAM_RECORD_END && check_packets(packets, r, errp);
}

/* A loader does not look there, but a file has an end */
static bool check_end(Contents *c, Source *source, Error **errp)
{
    uint8_t byte;
    ssize_t n = source_read(source, &byte, 1, errp);

    if (n > 0) {
        error_setg(errp, "there is more behind the end of the stream, at "
                   "offset %" PRIu64, c->bytes);
    }
    return n == 0;
}

bool contents_read_v4(Contents *c, StreamReader *r, Source *source,
                      Error **errp)
{
    g_autoptr(GByteArray) description = g_byte_array_new();
    g_autoptr(GByteArray) facts = g_byte_array_new();
    g_autoptr(Packets) packets = packets_new(&c->packets);
    bool good;

    stream_reader_set_packet(r, packets_take, packets);
    good = read_sections(c, r, packets, description, facts, errp);
    note_figures(c, r);
    if (!good || !check_end(c, source, errp)) {
        return false;
    }
    if (facts->len) {
        c->facts = migration_facts_parse((char *)facts->data, facts->len,
                                         errp);
        if (!c->facts) {
            return false;
        }
    }
    if (description->len) {
        c->description = description_parse((char *)description->data,
                                           description->len, errp);
        return c->description && description_attach(c, errp);
    }
    return true;
}
