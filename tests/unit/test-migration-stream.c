/*
 * Migration stream version 4: records, writer and reader, without a machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "stream-beginning.h"

/* A stream in memory, and how many bytes a read gives at most */
typedef struct Wire {
    GByteArray *bytes;
    size_t pos;
    size_t chunk;
} Wire;

static bool wire_write(void *opaque, const void *data, size_t length,
                       Error **errp)
{
    Wire *wire = opaque;

    g_byte_array_append(wire->bytes, data, length);
    return true;
}

static ssize_t wire_read(void *opaque, void *data, size_t length, Error **errp)
{
    Wire *wire = opaque;
    size_t n = MIN(length, wire->bytes->len - wire->pos);

    n = MIN(n, wire->chunk);
    memcpy(data, wire->bytes->data + wire->pos, n);
    wire->pos += n;
    return n;
}

/* State that no two bytes in a row have in common */
static void fill(uint8_t *data, size_t length, uint8_t seed)
{
    for (size_t i = 0; i < length; i++) {
        data[i] = seed + i * 7 + (i >> 8);
    }
}

typedef struct Part {
    uint16_t type;
    uint16_t flags;
    uint32_t id;
    const char *name;
    size_t length;
} Part;

/* What a small machine sends: a chain of records is among the parts */
static const Part machine[] = {
    { STREAM_RECORD_MACHINE, 0, 0, NULL, STREAM_PAYLOAD_MAX + 3 },
    { STREAM_RECORD_MACHINE_END, 0, 0, NULL, 0 },
    { STREAM_RECORD_CONFIGURATION, 0, 0, NULL, 40 },
    { STREAM_RECORD_SECTION_START, 0, 2, "ram", 100 },
    { STREAM_RECORD_COMMAND, 0, 0, NULL, 8 },
    { STREAM_RECORD_SECTION_PART, 0, 2, "ram", 2 * STREAM_PAYLOAD_MAX + 5 },
    { STREAM_RECORD_SECTION_END, 0, 2, "ram", STREAM_PAYLOAD_MAX },
    { STREAM_RECORD_SECTION_FULL, 0, 3, "timer", 24 },
    { STREAM_RECORD_SECTION_FULL, 0, 4, "empty", 0 },
    { 0x7001, STREAM_FLAG_OPTIONAL, 0, NULL, 77 },
    { STREAM_RECORD_SECTION_FULL, 0, 5, "serial", 30 },
    { STREAM_RECORD_VMDESCRIPTION, 0, 0, NULL, 300 },
    { STREAM_RECORD_INDEX, 0, 0, NULL, 0 },
    { STREAM_RECORD_END, 0, 0, NULL, 0 },
};

/* How many of them stand before the state */
#define BEFORE_STATE 3

static GByteArray *write_parts(const Part *parts, size_t n)
{
    Wire wire = { .bytes = g_byte_array_new() };
    g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);

    stream_writer_preamble(w, &error_abort);
    for (size_t i = 0; i < n; i++) {
        const Part *p = &parts[i];
        g_autofree uint8_t *data = g_malloc(p->length);
        StreamIdent ident = { .instance_id = i, .version_id = 10 + i };

        fill(data, p->length, i);
        if (p->type == STREAM_RECORD_INDEX) {
            stream_writer_put_index(w, &error_abort);
            continue;
        }
        pstrcpy(ident.name, sizeof(ident.name), p->name ?: "");
        stream_writer_begin(w, p->type, p->flags, p->id,
                            stream_record_identifies(p->type) ? &ident : NULL);
        /* In two pieces, of which the first is no round number */
        stream_writer_append(w, data, p->length / 3, &error_abort);
        stream_writer_append(w, data + p->length / 3,
                             p->length - p->length / 3, &error_abort);
        stream_writer_end(w, &error_abort);
    }
    g_assert_cmpuint(stream_writer_bytes(w), ==, wire.bytes->len);
    return wire.bytes;
}

/* Reads all of a stream, and gives the last message if it is refused */
static char *read_all(GByteArray *bytes, size_t chunk, StreamReader **reader)
{
    Wire wire = { .bytes = bytes, .chunk = chunk };
    StreamReader *r = stream_reader_new(wire_read, &wire);
    g_autofree uint8_t *data = g_malloc(4 * KiB);
    Error *err = NULL;
    char *text = NULL;
    int type = -1;

    if (stream_reader_preamble(r, &err)) {
        do {
            ssize_t n;

            type = stream_reader_next(r, 0, &err);
            if (type < 0) {
                break;
            }
            do {
                n = stream_reader_read(r, data, 4 * KiB, &err);
            } while (n > 0);
            if (n < 0) {
                break;
            }
        } while (type != STREAM_RECORD_END);
    }
    if (err) {
        text = g_strdup(error_get_pretty(err));
        error_free(err);
    } else {
        g_assert_cmpint(type, ==, STREAM_RECORD_END);
    }
    if (reader) {
        *reader = r;
    } else {
        stream_reader_free(r);
    }
    return text;
}

static void test_checksum(void)
{
    const char check[] = "123456789";
    uint8_t data[1024];

    /* The value that the catalogues of checksums give */
    g_assert_cmphex(stream_crc32c(check, 9), ==, 0xe3069283);
    g_assert_cmphex(stream_crc32c("", 0), ==, 0);
    for (size_t length = 0; length < sizeof(data); length += 13) {
        fill(data, length, length);
        g_assert_cmphex(stream_crc32c(data, length), ==,
                        crc32c(0xffffffff, data, length));
    }
}

static void test_round_trip(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    const size_t chunks[] = { 1, 7, 4096, SIZE_MAX };

    for (int c = 0; c < ARRAY_SIZE(chunks); c++) {
        Wire wire = { .bytes = bytes, .chunk = chunks[c] };
        g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);

        g_assert_cmpuint(stream_reader_preamble(r, &error_abort), ==, 4);
        for (int i = 0; i < ARRAY_SIZE(machine); i++) {
            const Part *p = &machine[i];
            g_autofree uint8_t *expected = g_malloc(p->length);
            g_autofree uint8_t *data = g_malloc(p->length + 1);
            const StreamIdent *ident;
            size_t have = 0;
            ssize_t n;

            if (p->flags & STREAM_FLAG_OPTIONAL ||
                p->type == STREAM_RECORD_INDEX) {
                continue;
            }
            fill(expected, p->length, i);
            g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                            p->type);
            do {
                n = stream_reader_read(r, data + have, p->length + 1 - have,
                                       &error_abort);
                have += n;
            } while (n > 0);
            g_assert_cmpmem(data, have, expected, p->length);
            g_assert_cmpuint(stream_reader_section_id(r), ==, p->id);
            ident = stream_reader_ident(r);
            g_assert_cmpstr(ident ? ident->name : NULL, ==, p->name);
            if (stream_record_identifies(p->type)) {
                g_assert_cmpuint(ident->instance_id, ==, i);
                g_assert_cmpuint(ident->version_id, ==, 10 + i);
            }
        }
        g_assert_cmpuint(stream_reader_bytes(r), ==, bytes->len);
        g_assert_cmpuint(stream_index_skipped(stream_reader_index(r)), ==, 1);
        g_assert_cmpuint(wire.pos, ==, bytes->len);
    }
}

/* Offsets of all records, found with the codec alone */
static GArray *find_records(GByteArray *bytes)
{
    GArray *offsets = g_array_new(false, false, sizeof(uint64_t));
    uint64_t at = STREAM_PREAMBLE_SIZE;

    while (at < bytes->len) {
        StreamRecord record;

        stream_record_decode(bytes->data + at, at, &record, &error_abort);
        g_array_append_val(offsets, at);
        at += STREAM_HEADER_SIZE + record.length;
    }
    g_assert_cmpuint(at, ==, bytes->len);
    return offsets;
}

static void assert_refused(GByteArray *bytes, uint64_t at, const char *what)
{
    g_autofree char *text = read_all(bytes, SIZE_MAX, NULL);

    if (!text) {
        g_test_message("%s at %" PRIu64 " was accepted", what, at);
        g_test_fail();
        return;
    }
    if (at >= STREAM_PREAMBLE_SIZE &&
        (!strstr(text, "offset") || !strstr(text, "expected") ||
         !strstr(text, "got"))) {
        g_test_message("%s at %" PRIu64 ": poor message: %s", what, at, text);
        g_test_fail();
    }
}

static void test_flipped(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    g_autoptr(GArray) offsets = find_records(bytes);

    for (int i = 0; i < offsets->len; i++) {
        uint64_t at = g_array_index(offsets, uint64_t, i);
        uint64_t end = i + 1 < offsets->len
                       ? g_array_index(offsets, uint64_t, i + 1) : bytes->len;

        /* All of the header, and of the payload enough to see each part */
        for (uint64_t b = at; b < end; b += b < at + 64 ? 1 : 997) {
            for (int bit = 0; bit < 8; bit++) {
                bytes->data[b] ^= 1 << bit;
                assert_refused(bytes, b, "a flipped bit");
                bytes->data[b] ^= 1 << bit;
            }
        }
    }
}

static void test_missing(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    g_autoptr(GArray) offsets = find_records(bytes);

    for (int i = 0; i < offsets->len; i++) {
        uint64_t at = g_array_index(offsets, uint64_t, i);

        for (uint64_t b = at; b < MIN(at + 60, bytes->len); b++) {
            g_autoptr(GByteArray) cut = g_byte_array_new();
            g_autoptr(GByteArray) lost = g_byte_array_new();

            g_byte_array_append(cut, bytes->data, b);
            assert_refused(cut, b, "a truncation");
            g_byte_array_append(lost, bytes->data, b);
            g_byte_array_append(lost, bytes->data + b + 1, bytes->len - b - 1);
            assert_refused(lost, b, "a missing byte");
        }
    }
}

static void test_reordered(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    g_autoptr(GArray) offsets = find_records(bytes);
    uint64_t end = bytes->len;

    g_array_append_val(offsets, end);
    for (int i = 0; i + 2 < offsets->len; i++) {
        uint64_t a = g_array_index(offsets, uint64_t, i);
        uint64_t b = g_array_index(offsets, uint64_t, i + 1);
        uint64_t c = g_array_index(offsets, uint64_t, i + 2);
        g_autoptr(GByteArray) doubled = g_byte_array_new();
        g_autoptr(GByteArray) removed = g_byte_array_new();
        g_autoptr(GByteArray) swapped = g_byte_array_new();

        g_byte_array_append(doubled, bytes->data, b);
        g_byte_array_append(doubled, bytes->data + a, end - a);
        assert_refused(doubled, a, "a doubled record");
        g_byte_array_append(removed, bytes->data, a);
        g_byte_array_append(removed, bytes->data + b, end - b);
        assert_refused(removed, a, "a removed record");
        g_byte_array_append(swapped, bytes->data, a);
        g_byte_array_append(swapped, bytes->data + b, c - b);
        g_byte_array_append(swapped, bytes->data + a, b - a);
        g_byte_array_append(swapped, bytes->data + c, end - c);
        assert_refused(swapped, a, "swapped records");
    }
}

/* Appends a record with its checksums right, however wrong the rest may be */
static void forge(GByteArray *bytes, uint16_t type, uint16_t flags,
                  uint32_t id, const void *payload, size_t length)
{
    uint8_t header[STREAM_HEADER_SIZE];
    StreamRecord record = {
        .type = type,
        .flags = flags,
        .section_id = id,
        .length = length,
        .payload_crc = stream_crc32c(payload, length),
        .offset = bytes->len,
    };

    stream_record_encode(&record, header);
    g_byte_array_append(bytes, header, sizeof(header));
    g_byte_array_append(bytes, payload, length);
}

/* What a hostile peer can say with its checksums right */
static void test_forged(void)
{
    static const struct {
        Part parts[4];
        const char *message;
    } cases[] = {
        { { { STREAM_RECORD_SECTION_PART, 0, 9, NULL, 4 } },
          "no open section of id 9" },
        { { { STREAM_RECORD_SECTION_FULL, 0, 1, "timer", 4 },
            { STREAM_RECORD_SECTION_END, 0, 1, NULL, 4 } },
          "no open section of id 1" },
        { { { STREAM_RECORD_SECTION_FULL, 0, 1, "timer", 4 },
            { STREAM_RECORD_SECTION_FULL, 0, 1, "serial", 4 } },
          "id 1 is taken" },
        { { { STREAM_RECORD_SECTION_START, 0, 1, "ram", 4 },
            { STREAM_RECORD_SECTION_END, 0, 1, NULL, 4 },
            { STREAM_RECORD_SECTION_PART, 0, 1, NULL, 4 } },
          "no open section of id 1" },
        { { { 0x7001, 0, 0, NULL, 4 } },
          "unknown type 0x7001 and not optional" },
        { { { STREAM_RECORD_SECTION_FULL, 0x8000, 1, "timer", 4 } },
          "unknown flags" },
    };

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GByteArray) bytes = write_parts(machine, BEFORE_STATE);
        g_autofree char *text = NULL;

        for (const Part *p = cases[i].parts; p->length; p++) {
            StreamIdent ident = { .instance_id = 0 };
            uint8_t payload[STREAM_IDENT_MAX] = { 0 };
            size_t length = p->length;

            if (p->name) {
                pstrcpy(ident.name, sizeof(ident.name), p->name);
                length = stream_ident_encode(&ident, payload);
            }
            forge(bytes, p->type, p->flags | STREAM_FLAG_LAST, p->id, payload,
                  length);
        }
        text = read_all(bytes, SIZE_MAX, NULL);
        g_assert_nonnull(text);
        if (!strstr(text, cases[i].message)) {
            g_test_message("expected '%s' in '%s'", cases[i].message, text);
            g_test_fail();
        }
    }
}

/* Behind a word of the hand-over, which comes alone, there is no machine */
static void test_only_word(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, 0);
    g_autofree char *text = NULL;

    forge(bytes, STREAM_RECORD_HANDOVER, STREAM_FLAG_LAST, 0, "word", 4);
    forge(bytes, STREAM_RECORD_MACHINE, STREAM_FLAG_LAST, 0, "{}", 2);
    text = read_all(bytes, SIZE_MAX, NULL);
    g_assert_nonnull(text);
    g_assert_nonnull(strstr(text, "a machine record comes late"));
}

/* A length that would not fit, under a header checksum that is right */
static void test_too_long(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, BEFORE_STATE);
    StreamRecord record = {
        .type = STREAM_RECORD_MACHINE,
        .flags = STREAM_FLAG_LAST,
        .length = STREAM_PAYLOAD_MAX + 1,
        .offset = STREAM_PREAMBLE_SIZE,
    };
    g_autofree char *text = NULL;

    stream_record_encode(&record, bytes->data + STREAM_PREAMBLE_SIZE);
    text = read_all(bytes, SIZE_MAX, NULL);
    g_assert_nonnull(text);
    g_assert_nonnull(strstr(text, "too long"));
}

/* A chain goes on in one section until its last record */
static void test_broken_chain(void)
{
    static const struct {
        uint16_t type;
        uint32_t id;
    } cases[] = {
        { STREAM_RECORD_END, 0 },
        { STREAM_RECORD_COMMAND, 0 },
        { STREAM_RECORD_SECTION_PART, 1 },
        { STREAM_RECORD_SECTION_FULL, 2 },
    };
    StreamIdent ident = { .name = "timer" };
    uint8_t payload[STREAM_IDENT_MAX];
    size_t length = stream_ident_encode(&ident, payload);

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GByteArray) bytes = write_parts(machine, BEFORE_STATE);
        g_autofree char *text = NULL;

        forge(bytes, STREAM_RECORD_SECTION_FULL, 0, 1, payload, length);
        forge(bytes, cases[i].type, STREAM_FLAG_LAST, cases[i].id, payload,
              length);
        text = read_all(bytes, SIZE_MAX, NULL);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, "in section 'timer' (instance 0)"));
        g_assert_nonnull(strstr(text, "not finished"));
    }
}

/* A name is only taken at its word when it came through undamaged */
static void test_ident(void)
{
    StreamIdent ident = { .instance_id = 1, .version_id = 2, .name = "ram" };
    StreamIdent copy;
    uint8_t wire[STREAM_IDENT_MAX];
    size_t length = stream_ident_encode(&ident, wire);
    Error *err = NULL;

    g_assert_cmpuint(stream_ident_decode(wire, length, &copy, &error_abort),
                     ==, length);
    g_assert_cmpstr(copy.name, ==, "ram");
    g_assert_cmpuint(copy.instance_id, ==, 1);
    g_assert_cmpuint(copy.version_id, ==, 2);

    for (size_t i = 0; i < length; i++) {
        g_assert_cmpuint(stream_ident_decode(wire, i, &copy, &err), ==, 0);
        g_assert_nonnull(strstr(error_get_pretty(err), "cut short"));
        error_free(err);
        err = NULL;

        wire[i] ^= 1;
        g_assert_cmpuint(stream_ident_decode(wire, length, &copy, &err), ==, 0);
        wire[i] ^= 1;
        error_free(err);
        err = NULL;
    }

    /* No name, and one with a NUL, each under a checksum that is right */
    wire[8] = 0;
    stl_be_p(wire + 9, stream_crc32c(wire, 9));
    g_assert_cmpuint(stream_ident_decode(wire, 13, &copy, &err), ==, 0);
    g_assert_nonnull(strstr(error_get_pretty(err), "no proper name"));
    error_free(err);
    err = NULL;

    wire[8] = 1;
    wire[9] = 0;
    stl_be_p(wire + 10, stream_crc32c(wire, 10));
    g_assert_cmpuint(stream_ident_decode(wire, 14, &copy, &err), ==, 0);
    g_assert_nonnull(strstr(error_get_pretty(err), "no proper name"));
    error_free(err);
}

/* Damage is called by the section's name even where its record begins */
static void test_names(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    g_autoptr(GArray) offsets = find_records(bytes);
    uint64_t end = bytes->len;

    g_array_append_val(offsets, end);
    for (int i = 0; i + 1 < offsets->len; i++) {
        uint64_t a = g_array_index(offsets, uint64_t, i);
        uint64_t b = g_array_index(offsets, uint64_t, i + 1);
        g_autofree char *offset = g_strdup_printf("offset %" PRIu64, a);
        g_autofree char *name = NULL;
        g_autofree char *text = NULL;
        StreamRecord record;
        StreamReader *r;

        if (b - a <= STREAM_HEADER_SIZE) {
            continue;
        }
        stream_record_decode(bytes->data + a, a, &record, &error_abort);
        bytes->data[b - 1] ^= 0x10;
        text = read_all(bytes, SIZE_MAX, &r);
        bytes->data[b - 1] ^= 0x10;
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, offset));
        for (int p = 0; p < ARRAY_SIZE(machine); p++) {
            /* The empty section ends with its own identification */
            if (record.section_id && machine[p].id == record.section_id &&
                machine[p].length && machine[p].name) {
                name = g_strdup_printf("section '%s' (instance",
                                       machine[p].name);
                g_assert_nonnull(strstr(text, name));
                break;
            }
        }
        stream_reader_free(r);
    }
}

/* A reader that takes less than a section has */
static void test_left_over(void)
{
    g_autoptr(GByteArray) bytes = write_parts(machine, ARRAY_SIZE(machine));
    Wire wire = { .bytes = bytes, .chunk = SIZE_MAX };
    g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
    g_autoptr(GByteArray) json = g_byte_array_new();
    uint8_t data[40];
    Error *err = NULL;

    stream_reader_preamble(r, &error_abort);
    stream_reader_machine(r, json, &error_abort);
    stream_reader_next(r, 0, &error_abort);
    g_assert_cmpint(stream_reader_read(r, data, 39, &error_abort), ==, 39);
    g_assert_false(stream_reader_check_end(r, 0, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "got 1 bytes more"));
    error_free(err);
    err = NULL;

    g_assert_cmpint(stream_reader_read(r, data, 1, &error_abort), ==, 1);
    g_assert_true(stream_reader_check_end(r, 0, &error_abort));
    /* The caller has bytes in hand that nobody looked at */
    g_assert_cmpint(stream_reader_next(r, 3, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "got 3 bytes more"));
    error_free(err);
}

/* Rubbish of every length ends in an error, and in nothing else */
static void test_rubbish(void)
{
    for (int i = 0; i < 2000; i++) {
        g_autoptr(GByteArray) bytes = write_parts(machine, BEFORE_STATE + 1);
        g_autofree char *text = NULL;

        for (int n = 0; n < 4; n++) {
            bytes->data[g_test_rand_int_range(0, bytes->len)] =
                g_test_rand_int_range(0, 256);
        }
        g_byte_array_set_size(bytes,
                              g_test_rand_int_range(0, bytes->len));
        text = read_all(bytes, 1 + i % 50, NULL);
        g_assert_nonnull(text);
    }
}

/* A small stream of two sections */
static GByteArray *write_sections(const char *first, const char *second)
{
    const Part parts[] = {
        { STREAM_RECORD_MACHINE, 0, 0, NULL, 4 },
        { STREAM_RECORD_MACHINE_END, 0, 0, NULL, 0 },
        { STREAM_RECORD_SECTION_FULL, 0, 1, first, 4 },
        { STREAM_RECORD_SECTION_FULL, 0, 2, second, 4 },
        { STREAM_RECORD_INDEX, 0, 0, NULL, 0 },
        { STREAM_RECORD_END, 0, 0, NULL, 0 },
    };

    return write_parts(parts, ARRAY_SIZE(parts));
}

/* Every record in its place and intact, and yet not what the index says */
static void test_index(void)
{
    static const struct {
        int bytes, after;       /* which entries, 0 to 3 of them */
        const char *message;
    } cases[] = {
        { 0, 0, "section 'one' (instance 2) came, but the index does not" },
        { 0, 1, "section 'two' (instance 3) came, but the index does not" },
        { 1, 2, "expected section 'two' (instance 3) as number 1, got" },
        { 0, 3, "section 'one' (instance 2) is missing: the index has it" },
    };
    g_autoptr(GByteArray) bytes = write_sections("one", "two");
    g_autoptr(GArray) offsets = find_records(bytes);
    uint64_t at = g_array_index(offsets, uint64_t, 4);
    const uint8_t *payload = bytes->data + at + STREAM_HEADER_SIZE;
    const size_t entry = STREAM_INDEX_ENTRY_SIZE + 3;
    uint8_t entries[3 * (STREAM_INDEX_ENTRY_SIZE + 3)];

    memcpy(entries, payload, 2 * entry);
    memcpy(entries + 2 * entry, payload, entry);
    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GByteArray) forged = g_byte_array_new();
        g_autofree char *text = NULL;

        g_byte_array_append(forged, bytes->data, at);
        forge(forged, STREAM_RECORD_INDEX, STREAM_FLAG_LAST, 0,
              entries + cases[i].bytes * entry,
              (cases[i].after - cases[i].bytes) * entry);
        forge(forged, STREAM_RECORD_END, STREAM_FLAG_LAST, 0, "", 0);
        text = read_all(forged, SIZE_MAX, NULL);
        g_assert_nonnull(text);
        if (!strstr(text, cases[i].message)) {
            g_test_message("expected '%s' in '%s'", cases[i].message, text);
            g_test_fail();
        }
    }
    /* Each field of an entry, and a payload that is no whole entry */
    for (size_t i = 0; i < entry + 1; i++) {
        g_autoptr(GByteArray) forged = g_byte_array_new();
        g_autofree char *text = NULL;

        entries[i % entry] ^= 1;
        g_byte_array_append(forged, bytes->data, at);
        forge(forged, STREAM_RECORD_INDEX, STREAM_FLAG_LAST, 0, entries,
              2 * entry - (i == entry));
        forge(forged, STREAM_RECORD_END, STREAM_FLAG_LAST, 0, "", 0);
        text = read_all(forged, SIZE_MAX, NULL);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, "the index record"));
        entries[i % entry] ^= 1;
    }
}

static void test_end(void)
{
    static const struct {
        uint16_t type;
        uint16_t flags;
        size_t length;
        const char *message;
    } cases[] = {
        { STREAM_RECORD_END, STREAM_FLAG_LAST, 0, "without an index" },
        { STREAM_RECORD_END, STREAM_FLAG_LAST, 5, "without an index" },
        { STREAM_RECORD_COMMAND, STREAM_FLAG_LAST, 4, "behind the index" },
        { STREAM_RECORD_END, STREAM_FLAG_LAST, 4, "the end has a payload" },
        { STREAM_RECORD_END, 0, 0, "not the last of its chain" },
    };
    g_autoptr(GByteArray) bytes = write_sections("one", "two");
    g_autoptr(GArray) offsets = find_records(bytes);

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GByteArray) forged = g_byte_array_new();
        g_autofree char *text = NULL;

        g_byte_array_append(forged, bytes->data,
                            g_array_index(offsets, uint64_t, i < 2 ? 4 : 5));
        forge(forged, cases[i].type, cases[i].flags, 0, "12345",
              cases[i].length);
        text = read_all(forged, SIZE_MAX, NULL);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, cases[i].message));
    }
}

/* Records that another writer has made become part of the stream */
static void test_package(void)
{
    Wire wire = { .bytes = g_byte_array_new(), .chunk = 100 };
    Wire aside = { .bytes = g_byte_array_new() };
    g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);
    g_autoptr(StreamWriter) package = stream_writer_new(wire_write, &aside);
    g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
    g_autoptr(StreamReader) again = NULL;
    g_autoptr(GByteArray) taken = g_byte_array_new();
    StreamIdent ident = { .name = "dev" };
    g_autofree uint8_t *state = g_malloc0(STREAM_PAYLOAD_MAX);
    uint8_t data[8];
    uint64_t at;

    stream_writer_set_index(package, stream_writer_index(w));
    for (uint32_t id = 1; id <= 2; id++) {
        stream_writer_begin(package, STREAM_RECORD_SECTION_FULL, 0, id,
                            &ident);
        stream_writer_append(package, state, STREAM_PAYLOAD_MAX, &error_abort);
        stream_writer_end(package, &error_abort);
    }
    /* Its last record may be one that is skipped */
    stream_writer_begin(package, 0x7001, STREAM_FLAG_OPTIONAL, 0, NULL);
    stream_writer_end(package, &error_abort);

    put_beginning(w);
    stream_writer_begin(w, STREAM_RECORD_COMMAND, 0, 0, NULL);
    stl_be_p(data, aside.bytes->len);
    stream_writer_append(w, data, 4, &error_abort);
    stream_writer_end(w, &error_abort);
    stream_writer_put_records(w, aside.bytes->data, aside.bytes->len,
                              &error_abort);
    stream_writer_put_index(w, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_END, 0, 0, NULL);
    stream_writer_end(w, &error_abort);

    get_beginning(r);
    g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                    STREAM_RECORD_COMMAND);
    g_assert_cmpint(stream_reader_read(r, data, 8, &error_abort), ==, 4);
    at = stream_reader_bytes(r);
    stream_reader_take(r, ldl_be_p(data), stream_reader_index(r), taken,
                       &error_abort);
    g_assert_cmpuint(taken->len, ==, aside.bytes->len);

    /* The stream goes on behind the package, which can be read at leisure */
    g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                    STREAM_RECORD_END);
    g_byte_array_unref(aside.bytes);
    aside.bytes = taken;
    aside.pos = 0;
    aside.chunk = SIZE_MAX;
    again = stream_reader_new_checked(wire_read, &aside, at,
                                      stream_reader_index(r));
    for (int i = 0; i < 2; i++) {
        size_t have = 0;
        ssize_t n;

        g_assert_cmpint(stream_reader_next(again, 0, &error_abort), ==,
                        STREAM_RECORD_SECTION_FULL);
        g_assert_cmpstr(stream_reader_ident(again)->name, ==, "dev");
        while ((n = stream_reader_read(again, state, 1000, &error_abort))) {
            have += n;
        }
        g_assert_cmpuint(have, ==, STREAM_PAYLOAD_MAX);
    }

    g_assert_cmpuint(stream_index_skipped(stream_reader_index(r)), ==, 1);

    /* Damage is found before any of it is used */
    wire.bytes->data[at + STREAM_HEADER_SIZE + 9000] ^= 1;
    wire.pos = 0;
    stream_reader_free(r);
    r = stream_reader_new(wire_read, &wire);
    get_beginning(r);
    stream_reader_next(r, 0, &error_abort);
    stream_reader_read(r, data, 8, &error_abort);
    g_byte_array_set_size(taken, 0);
    g_assert_false(stream_reader_take(r, ldl_be_p(data),
                                      stream_reader_index(r), taken, NULL));
    g_byte_array_unref(wire.bytes);
}

/* What was lost with a connection is not held against the sections */
static void test_resume(void)
{
    Wire wire = { .bytes = g_byte_array_new(), .chunk = SIZE_MAX };
    StreamWriter *w = stream_writer_new(wire_write, &wire);
    StreamReader *r = stream_reader_new(wire_read, &wire);
    g_autoptr(StreamIndex) sent = stream_index_ref(stream_writer_index(w));
    g_autoptr(StreamIndex) seen = stream_index_ref(stream_reader_index(r));
    StreamIdent ident = { .name = "ram" };
    StreamSection section;

    stream_writer_begin(w, STREAM_RECORD_SECTION_START, 0, 1, &ident);
    stream_writer_end(w, &error_abort);
    stream_reader_next(r, 0, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_SECTION_PART, 0, 1, NULL);
    stream_writer_append(w, "lost", 4, &error_abort);
    stream_writer_end(w, &error_abort);
    stream_writer_free(w);
    stream_reader_free(r);

    g_byte_array_set_size(wire.bytes, 0);
    wire.pos = 0;
    w = stream_writer_new(wire_write, &wire);
    r = stream_reader_new(wire_read, &wire);
    stream_index_resume(sent);
    stream_writer_set_index(w, sent);
    stream_index_resume(seen);
    stream_reader_set_index(r, seen);
    stream_writer_begin(w, STREAM_RECORD_SECTION_END, 0, 1, NULL);
    stream_writer_end(w, &error_abort);
    stream_writer_put_index(w, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_END, 0, 0, NULL);
    stream_writer_end(w, &error_abort);
    g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                    STREAM_RECORD_SECTION_END);
    g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                    STREAM_RECORD_END);
    g_assert_true(stream_index_nth(seen, 0, &section));
    g_assert_cmphex(section.flags, ==, STREAM_INDEX_RESUMED);

    /* Once more from the beginning */
    stream_reader_restart(r);
    g_assert_true(stream_index_nth(seen, 0, &section));
    g_assert_true(section.open);
    g_assert_cmpuint(section.length, ==, 0);
    stream_writer_free(w);
    stream_reader_free(r);
    g_byte_array_unref(wire.bytes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration-stream/checksum", test_checksum);
    g_test_add_func("/migration-stream/round-trip", test_round_trip);
    g_test_add_func("/migration-stream/flipped", test_flipped);
    g_test_add_func("/migration-stream/missing", test_missing);
    g_test_add_func("/migration-stream/reordered", test_reordered);
    g_test_add_func("/migration-stream/forged", test_forged);
    g_test_add_func("/migration-stream/only-word", test_only_word);
    g_test_add_func("/migration-stream/too-long", test_too_long);
    g_test_add_func("/migration-stream/broken-chain", test_broken_chain);
    g_test_add_func("/migration-stream/ident", test_ident);
    g_test_add_func("/migration-stream/names", test_names);
    g_test_add_func("/migration-stream/left-over", test_left_over);
    g_test_add_func("/migration-stream/rubbish", test_rubbish);
    g_test_add_func("/migration-stream/index", test_index);
    g_test_add_func("/migration-stream/end", test_end);
    g_test_add_func("/migration-stream/package", test_package);
    g_test_add_func("/migration-stream/resume", test_resume);
    return g_test_run();
}
