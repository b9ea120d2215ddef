/*
 * Migration stream version 4: packets, and the records that they travel in
 *
 * "Packets" and what is said of the flag HEAD in
 * docs/devel/migration-v4/wire-format.rst, without a machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qemu/module.h"
#include "io/channel-buffer.h"
#include "migration/ram/packet.h"
#include "migration/stream/channel.h"
#include "stream-beginning.h"

#define PAGE 4096

/* A stream in memory, and what was got out of its packets */
typedef struct Wire {
    GByteArray *bytes;
    size_t pos;
    size_t chunk;           /* how many bytes a read gives at most */
    unsigned reads;
    unsigned heads;         /* packets that came */
    size_t head_bytes;
    GByteArray *data;
    bool fail;              /* the next packet is refused */
} Wire;

static void wire_clear(Wire *wire)
{
    g_clear_pointer(&wire->bytes, g_byte_array_unref);
    g_clear_pointer(&wire->data, g_byte_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wire, wire_clear)

static bool wire_write(void *opaque, const void *data, size_t length,
                       Error **errp)
{
    Wire *wire = opaque;

    g_byte_array_append(wire->bytes, data, length);
    return true;
}

static ssize_t wire_readv(void *opaque, const struct iovec *iov, size_t niov,
                          Error **errp)
{
    Wire *wire = opaque;
    size_t n = MIN(wire->chunk, wire->bytes->len - wire->pos);

    n = iov_from_buf(iov, niov, 0, wire->bytes->data + wire->pos, n);
    wire->pos += n;
    wire->reads++;
    return n;
}

static ssize_t wire_read(void *opaque, void *data, size_t length, Error **errp)
{
    struct iovec iov = { .iov_base = data, .iov_len = length };

    return wire_readv(opaque, &iov, 1, errp);
}

static bool wire_packet(void *opaque, StreamReader *r, const uint8_t *head,
                        size_t head_length, size_t data_length, Error **errp)
{
    Wire *wire = opaque;
    size_t at = wire->data->len;
    /* To places of several lengths, in two calls */
    size_t first = MIN(data_length, 100), second = (data_length - first) / 3;
    struct iovec iov[3];

    g_assert_cmpuint(ldl_be_p(head), ==, head_length);
    wire->heads++;
    wire->head_bytes += head_length;
    g_byte_array_set_size(wire->data, at + data_length);
    iov[0] = (struct iovec) { wire->data->data + at, first };
    iov[1] = (struct iovec) { wire->data->data + at + first, second };
    iov[2] = (struct iovec) {
        wire->data->data + at + first + second,
        data_length - first - second
    };
    if (wire->fail) {
        error_setg(errp, "it is not wanted");
        return false;
    }
    return stream_reader_get_data(r, iov, 1, errp) &&
           stream_reader_get_data(r, iov + 1, 2, errp);
}

static StreamReader *reader_new(Wire *wire, bool vectored)
{
    StreamReader *r = stream_reader_new(wire_read, wire);

    wire->data = wire->data ?: g_byte_array_new();
    stream_reader_set_packet(r, wire_packet, wire);
    if (vectored) {
        stream_reader_set_readv(r, wire_readv);
    }
    return r;
}

/* A head of that length: of nothing but its length and a pattern */
static void make_head(uint8_t *head, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        head[i] = i * 3 + length;
    }
    stl_be_p(head, length);
}

static void put_packet(StreamWriter *w, Wire *wire, size_t head_length,
                       size_t data_length, uint8_t seed)
{
    g_autofree uint8_t *head = g_malloc(head_length);
    g_autofree uint8_t *data = g_malloc(data_length);
    uint8_t header[STREAM_HEADER_SIZE];

    make_head(head, head_length);
    for (size_t i = 0; i < data_length; i++) {
        data[i] = seed + i * 5 + (i >> 9);
    }
    stream_writer_put_packet(w, STREAM_RECORD_PACKET, head, head_length,
                             data_length, header, &error_abort);
    g_byte_array_append(wire->bytes, header, sizeof(header));
    g_byte_array_append(wire->bytes, head, head_length);
    g_byte_array_append(wire->bytes, data, data_length);
    if (wire->data) {
        g_byte_array_append(wire->data, data, data_length);
    }
}

/* Lengths of heads and data that reach every way of reading them */
static const struct {
    size_t head;
    size_t data;
} sizes[] = {
    { 4, 0 }, { 17, 4 }, { 100, PAGE }, { 2071, 128 * PAGE },
    { 4096, 3 }, { 4097, 0 }, { 5000, 2 * PAGE },
    { STREAM_HEAD_MAX, 0 }, { STREAM_HEAD_MAX, STREAM_DATA_MAX },
    { 64, 1 }, { 4, STREAM_DATA_MAX },
};

/* A channel that has packets alone; @sent gets their data, if it is there */
static GByteArray *write_channel(GByteArray *sent)
{
    Wire wire = { .bytes = g_byte_array_new(), .data = sent };
    g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);

    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        put_packet(w, &wire, sizes[i].head, sizes[i].data, i);
    }
    g_assert_cmpuint(stream_writer_bytes(w), ==, wire.bytes->len);
    g_assert_cmpuint(stream_writer_records(w), ==, ARRAY_SIZE(sizes));
    return wire.bytes;
}

static void begin_ram(StreamWriter *w)
{
    StreamIdent ident = { .version_id = 4, .name = "ram" };

    put_beginning(w);
    stream_writer_begin(w, STREAM_RECORD_SECTION_START, 0, 2, &ident);
    stream_writer_append(w, "blocks", 6, &error_abort);
    stream_writer_end(w, &error_abort);
}

static void end_stream(StreamWriter *w)
{
    stream_writer_put_index(w, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_END, 0, 0, NULL);
    stream_writer_end(w, &error_abort);
}

/* A stream with packets in its section ram */
static GByteArray *write_stream(GByteArray *sent, size_t largest)
{
    Wire wire = { .bytes = g_byte_array_new(), .data = sent };
    g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);

    begin_ram(w);
    for (int part = 0; part < 2; part++) {
        stream_writer_begin(w, part ? STREAM_RECORD_SECTION_END
                                    : STREAM_RECORD_SECTION_PART, 0, 2, NULL);
        for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
            if (sizes[i].head + sizes[i].data <= largest) {
                put_packet(w, &wire, sizes[i].head, sizes[i].data, i + part);
            }
        }
        stream_writer_append(w, "that was it", 11, &error_abort);
        stream_writer_end(w, &error_abort);
    }
    end_stream(w);
    g_assert_cmpuint(stream_writer_bytes(w), ==, wire.bytes->len);
    return wire.bytes;
}

static const size_t chunks[] = { 1, 7, 4096, 65536, SIZE_MAX };

static void test_channel(void)
{
    for (int c = 0; c < 2 * ARRAY_SIZE(chunks); c++) {
        g_autoptr(GByteArray) sent = g_byte_array_new();
        g_auto(Wire) wire = {
            .bytes = write_channel(sent), .chunk = chunks[c / 2],
        };
        g_autoptr(StreamReader) r = reader_new(&wire, c % 2);

        for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
            g_assert_cmpint(stream_reader_next(r, 0, &error_abort), ==,
                            STREAM_RECORD_PACKET);
            g_assert_cmpuint(wire.heads, ==, i + 1);
        }
        g_assert_cmpmem(wire.data->data, wire.data->len, sent->data, sent->len);
        g_assert_cmpuint(stream_reader_bytes(r), ==, wire.bytes->len);
        g_assert_cmpuint(wire.pos, ==, wire.bytes->len);
        /* Two of each packet: its head, and its data with the next header */
        if (wire.chunk == SIZE_MAX && c % 2) {
            g_assert_cmpuint(wire.reads, <=, 2 * ARRAY_SIZE(sizes) + 4);
        }
    }
}

/* Reads all of a stream; the message if it is refused */
static char *read_all(Wire *wire, StreamReader *r)
{
    Error *err = NULL;
    char *text = NULL;
    uint8_t bytes[64];
    int type = -1;
    ssize_t n = 0;

    if (stream_reader_preamble(r, &err)) {
        do {
            type = stream_reader_next(r, 0, &err);
            do {
                n = type < 0 ? 0 : stream_reader_read(r, bytes, sizeof(bytes),
                                                      &err);
            } while (n > 0);
        } while (type > STREAM_RECORD_END && n == 0);
    }
    if (err) {
        text = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return text;
}

static char *read_stream(GByteArray *bytes)
{
    g_auto(Wire) wire = { .bytes = g_byte_array_ref(bytes), .chunk = SIZE_MAX };
    g_autoptr(StreamReader) r = reader_new(&wire, true);

    return read_all(&wire, r);
}

static void test_stream(void)
{
    for (int c = 0; c < 2 * ARRAY_SIZE(chunks); c++) {
        g_autoptr(GByteArray) sent = g_byte_array_new();
        g_auto(Wire) wire = {
            .bytes = write_stream(sent, SIZE_MAX), .chunk = chunks[c / 2],
        };
        g_autoptr(StreamReader) r = reader_new(&wire, c % 2);
        g_autofree char *text = read_all(&wire, r);
        StreamSection ram;

        g_assert_cmpstr(text, ==, NULL);
        g_assert_cmpuint(wire.heads, ==, 2 * ARRAY_SIZE(sizes));
        g_assert_cmpmem(wire.data->data, wire.data->len, sent->data, sent->len);
        /* The index has the whole payloads of packets */
        stream_index_get(stream_reader_index(r), 2, &ram);
        g_assert_cmpuint(ram.records, ==, 1 + 2 * (ARRAY_SIZE(sizes) + 1));
        g_assert_cmpuint(ram.length, >, wire.data->len + wire.head_bytes);
    }
}

/* Everything but the data is the stream's to check */
static void test_flipped(void)
{
    g_autoptr(GByteArray) bytes = write_stream(NULL, 3 * PAGE);
    uint64_t at = STREAM_PREAMBLE_SIZE;

    while (at < bytes->len) {
        uint64_t begin = at + STREAM_HEADER_SIZE, checked = begin;
        StreamRecord record;

        stream_record_decode(bytes->data + at, at, &record, &error_abort);
        at = begin + record.length;
        checked += record.flags & STREAM_FLAG_HEAD
                   ? ldl_be_p(bytes->data + begin) : record.length;
        for (uint64_t b = begin - STREAM_HEADER_SIZE; b < at;
             b += b < begin + 64 ? 1 : 97) {
            g_autofree char *text = NULL;

            bytes->data[b] ^= 1 << b % 8;
            text = read_stream(bytes);
            bytes->data[b] ^= 1 << b % 8;
            if (b >= checked) {
                g_assert_cmpstr(text, ==, NULL);
            } else {
                g_assert_nonnull(text);
                g_assert_nonnull(strstr(text, "offset"));
                g_assert_nonnull(strstr(text, "expected"));
            }
        }
    }
}

static void test_cut(void)
{
    g_autoptr(GByteArray) bytes = write_stream(NULL, 3 * PAGE);

    for (uint64_t b = STREAM_PREAMBLE_SIZE; b < bytes->len;
         b += b % 64 ? 1 : 61) {
        g_autoptr(GByteArray) cut = g_byte_array_new();
        g_autofree char *text = NULL;

        g_byte_array_append(cut, bytes->data, b);
        text = read_stream(cut);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, "too early"));
    }
}

/* Of a channel: packets that are left out, doubled or swapped */
static void test_order(void)
{
    g_autoptr(GByteArray) bytes = write_channel(NULL);
    uint64_t ends[3] = { 0 };

    for (int i = 0; i < ARRAY_SIZE(ends); i++) {
        ends[i] = (i ? ends[i - 1] : 0) + STREAM_HEADER_SIZE + sizes[i].head +
                  sizes[i].data;
    }
    for (int what = 0; what < 3; what++) {
        g_auto(Wire) wire = { .bytes = g_byte_array_new(), .chunk = SIZE_MAX };
        g_autoptr(StreamReader) r = reader_new(&wire, true);
        Error *err = NULL;

        g_byte_array_append(wire.bytes, bytes->data, ends[what == 1]);
        if (what == 1) {
            g_byte_array_append(wire.bytes, bytes->data + ends[0],
                                ends[1] - ends[0]);
        } else {
            g_byte_array_append(wire.bytes, bytes->data + ends[1],
                                ends[2] - ends[1]);
        }
        if (what == 2) {
            g_byte_array_append(wire.bytes, bytes->data + ends[0],
                                ends[1] - ends[0]);
        }
        while (stream_reader_next(r, 0, &err) == STREAM_RECORD_PACKET) {
        }
        g_assert_nonnull(strstr(error_get_pretty(err), "out of place"));
        /* Nothing of it was handed on */
        g_assert_cmpuint(wire.heads, ==, what == 1 ? 2 : 1);
        error_free(err);
    }
}

/* Appends a record whose checksums are right, however wrong the rest may be */
static void forge(GByteArray *bytes, uint16_t type, uint16_t flags,
                  uint32_t head_length, size_t checked, size_t length)
{
    g_autofree uint8_t *payload = g_malloc0(length + 4);
    uint8_t header[STREAM_HEADER_SIZE];
    StreamRecord record = {
        .type = type,
        .flags = flags,
        .section_id = stream_record_has_section(type) ? 2 : 0,
        .length = length,
        .offset = bytes->len,
    };

    stl_be_p(payload, head_length);
    for (size_t i = 0; i < checked; i += STREAM_PAYLOAD_MAX) {
        record.payload_crc = stream_crc32c_extend(
            record.payload_crc, payload + i,
            MIN(checked - i, STREAM_PAYLOAD_MAX));
    }
    stream_record_encode(&record, header);
    g_byte_array_append(bytes, header, sizeof(header));
    g_byte_array_append(bytes, payload, length);
}

static void test_forged(void)
{
    static const struct {
        uint16_t type;
        uint16_t flags;
        uint32_t head;
        size_t checked;
        size_t length;
        const char *words;
    } forged[] = {
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, 4, 3, 3, "too short" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, 0, 0, 8,
          "impossible length" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, 9, 8, 8,
          "impossible length" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, UINT32_MAX, 8, 8,
          "impossible length" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, STREAM_HEAD_MAX + 1,
          8, STREAM_HEAD_MAX + 1, "impossible length" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, 4, 4,
          STREAM_DATA_MAX + 5, "impossible length" },
        { STREAM_RECORD_SECTION_PART, STREAM_FLAG_HEAD, 4, 4,
          STREAM_DATA_MAX + STREAM_HEAD_MAX + 1, "too long" },
        { STREAM_RECORD_COMMAND, STREAM_FLAG_HEAD, 4, 4, 8, "has a head" },
        { STREAM_RECORD_SECTION_START, STREAM_FLAG_HEAD, 4, 4, 8,
          "id 2 is taken" },
        { STREAM_RECORD_PACKET, STREAM_FLAG_LAST, 4, 8, 8, "has no head" },
        { STREAM_RECORD_PACKET, STREAM_FLAG_LAST | STREAM_FLAG_HEAD, 4, 4, 8,
          "out of place" },
        { 0x7001, STREAM_FLAG_LAST | STREAM_FLAG_HEAD, 4, 4, 8,
          "unknown type" },
    };

    for (int i = 0; i < ARRAY_SIZE(forged); i++) {
        Wire wire = { .bytes = g_byte_array_new() };
        g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);
        g_autoptr(GByteArray) bytes = wire.bytes;
        g_autofree char *text = NULL;

        begin_ram(w);
        forge(bytes, forged[i].type, forged[i].flags, forged[i].head,
              forged[i].checked, forged[i].length);
        text = read_stream(bytes);
        g_assert_nonnull(text);
        if (!strstr(text, forged[i].words) || !strstr(text, "offset") ||
            !strstr(text, "expected")) {
            g_test_message("%d: poor message: %s", i, text);
            g_test_fail();
        }
    }
}

/* Behind what else a part of a section has, where it would be read too early */
static void test_late(void)
{
    g_auto(Wire) wire = { .bytes = g_byte_array_new() };
    g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);
    g_autofree char *text = NULL;

    begin_ram(w);
    stream_writer_begin(w, STREAM_RECORD_SECTION_PART, 0, 2, NULL);
    stream_writer_append(w, "words", 5, &error_abort);
    put_packet(w, &wire, 17, 0, 0);
    text = read_stream(wire.bytes);
    g_assert_nonnull(strstr(text, "comes late"));
}

/* Where nobody takes packets, and where they are optional */
static void test_nobody(void)
{
    for (int optional = 0; optional < 2; optional++) {
        g_auto(Wire) wire = { .bytes = g_byte_array_new(), .chunk = SIZE_MAX };
        g_autoptr(StreamWriter) w = stream_writer_new(wire_write, &wire);
        g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
        g_autofree char *text = NULL;
        uint16_t flags = optional ? STREAM_FLAG_OPTIONAL : 0;
        StreamIdent ident = { .version_id = 1, .name = "other" };

        begin_ram(w);
        stream_writer_begin(w, STREAM_RECORD_SECTION_START, flags, 3, &ident);
        stream_writer_end(w, &error_abort);
        stream_writer_begin(w, STREAM_RECORD_SECTION_END, flags, 3, NULL);
        put_packet(w, &wire, 5000, 9000, 0);
        put_packet(w, &wire, 5000, 0, 0);
        stream_writer_end(w, &error_abort);
        end_stream(w);
        text = read_all(&wire, r);
        if (optional) {
            g_assert_cmpstr(text, ==, NULL);
        } else {
            g_assert_nonnull(strstr(text, "section 'other' (instance 0)"));
            g_assert_nonnull(strstr(text, "nobody takes"));
        }
    }
}

/* What whoever takes packets says is told with the place */
static void test_refused(void)
{
    g_auto(Wire) wire = {
        .bytes = write_stream(NULL, PAGE), .chunk = SIZE_MAX, .fail = true,
    };
    g_autoptr(StreamReader) r = reader_new(&wire, false);
    g_autofree char *text = read_all(&wire, r);

    g_assert_nonnull(strstr(text, "section 'ram' (instance 0), record at "
                            "offset"));
    g_assert_nonnull(strstr(text, "not wanted"));
}

static bool wire_hop(void *opaque, size_t length, Error **errp)
{
    Wire *wire = opaque;

    wire->pos += length;
    return true;
}

static void test_hopped(void)
{
    g_auto(Wire) wire = {
        .bytes = write_stream(NULL, SIZE_MAX), .chunk = SIZE_MAX,
    };
    g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
    g_autofree char *text = NULL;

    stream_reader_set_hop(r, wire_hop);
    text = read_all(&wire, r);
    g_assert_cmpstr(text, ==, NULL);
    g_assert_cmpuint(wire.pos, ==, wire.bytes->len);
}

/* Over a channel: from several places, and past its buffers */
static void test_over_channel(void)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    g_autoptr(StreamChannel) out = stream_channel_new(QIO_CHANNEL(buffer),
                                                      true);
    g_autoptr(StreamChannel) in = stream_channel_new(QIO_CHANNEL(buffer),
                                                     false);
    g_auto(Wire) wire = { .data = g_byte_array_new() };
    g_autofree uint8_t *pages = g_malloc(3 * PAGE);
    struct iovec data[] = {
        { pages + 2 * PAGE, PAGE }, { pages, 2 * PAGE },
    };
    StreamSection there, here;
    uint8_t head[20], bytes[16];

    make_head(head, sizeof(head));
    for (int i = 0; i < 3 * PAGE; i++) {
        pages[i] = i * 11 + (i >> 7);
    }
    begin_ram(out->writer);
    stream_writer_begin(out->writer, STREAM_RECORD_SECTION_END, 0, 2, NULL);
    g_assert_true(stream_channel_put_packet(out, head, sizeof(head), data, 2,
                                            &error_abort));
    g_assert_true(stream_channel_put_packet(out, head, sizeof(head), NULL, 0,
                                            &error_abort));
    stream_writer_append(out->writer, "words", 5, &error_abort);
    stream_writer_end(out->writer, &error_abort);
    end_stream(out->writer);

    buffer->offset = 0;
    stream_channel_set_packet(in, wire_packet, &wire);
    get_beginning(in->reader);
    g_assert_cmpint(stream_channel_next(in, 0, &error_abort), ==,
                    STREAM_RECORD_SECTION_START);
    g_assert_true(stream_reader_discard(in->reader, &error_abort));
    g_assert_cmpint(stream_channel_next(in, 0, &error_abort), ==,
                    STREAM_RECORD_SECTION_END);
    g_assert_cmpint(qio_channel_read(QIO_CHANNEL(in), (char *)bytes,
                                     sizeof(bytes), &error_abort), ==, 5);
    g_assert_cmpmem(bytes, 5, "words", 5);
    g_assert_cmpint(stream_channel_next(in, 0, &error_abort), ==,
                    STREAM_RECORD_END);
    g_assert_cmpuint(wire.heads, ==, 2);
    g_assert_cmpuint(wire.data->len, ==, 3 * PAGE);
    g_assert_cmpmem(wire.data->data, PAGE, pages + 2 * PAGE, PAGE);
    g_assert_cmpmem(wire.data->data + PAGE, 2 * PAGE, pages, 2 * PAGE);

    stream_index_get(stream_writer_index(out->writer), 2, &there);
    stream_index_get(stream_reader_index(in->reader), 2, &here);
    g_assert_cmpuint(there.records, ==, 4);
    g_assert_cmpuint(there.length, ==, here.length);
    g_assert_cmphex(there.crc, ==, here.crc);
}

/* The codec of what is in a head */

static void make_packet(RamPacket *packet, unsigned count)
{
    memset(packet, 0, sizeof(*packet));
    packet->round = 7;
    packet->count = count;
    pstrcpy(packet->name, sizeof(packet->name), "pc.ram");
    for (unsigned i = 0; i < count; i++) {
        packet->entries[i].offset = (uint64_t)i * 3 * PAGE;
        packet->entries[i].zeros = i % 5 ? 2 : 0;
        packet->entries[i].crc = i % 5 ? 0 : 0x01234567 + i;
    }
}

static void test_codec(void)
{
    static const unsigned counts[] = { 1, 6, RAM_PACKET_ENTRIES_MAX };
    g_autofree RamPacket *packet = g_new(RamPacket, 1);
    g_autofree RamPacket *other = g_new(RamPacket, 1);
    g_autofree uint8_t *wire = g_malloc(RAM_PACKET_HEAD_MAX);

    for (int i = 0; i < ARRAY_SIZE(counts); i++) {
        size_t length, data;

        make_packet(packet, counts[i]);
        data = ram_packet_pages(packet) * PAGE;
        g_assert_cmpuint(data, ==, (counts[i] + 4) / 5 * PAGE);
        length = ram_packet_encode(packet, wire);
        g_assert_cmpuint(length, ==, 17 + 6 + 16 * counts[i]);
        ram_packet_decode(wire, length, data, PAGE, other, &error_abort);
        g_assert_cmpint(other->kind, ==, RAM_PACKET_PAGES);
        g_assert_cmpuint(other->round, ==, 7);
        g_assert_cmpstr(other->name, ==, "pc.ram");
        g_assert_cmpmem(other->entries, counts[i] * sizeof(*other->entries),
                        packet->entries, counts[i] * sizeof(*other->entries));
    }
}

/* The bytes of one packet, as the specification has them */
static void test_bytes(void)
{
    static const uint8_t expected[] = {
        0, 0, 0, 39, 0, 2, 0, 0, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 1, 6,
        'p', 'c', '.', 'r', 'a', 'm',
        0, 0, 0, 1, 0, 0, 0x20, 0, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
    };
    g_autofree RamPacket *packet = g_new0(RamPacket, 1);
    uint8_t wire[sizeof(expected)];

    packet->compression = RAM_PACKET_ZSTD;
    packet->round = 0x01020304;
    packet->count = 1;
    pstrcpy(packet->name, sizeof(packet->name), "pc.ram");
    packet->entries[0].offset = 0x100002000;
    packet->entries[0].crc = 0xdeadbeef;
    g_assert_cmpuint(ram_packet_encode(packet, wire), ==, sizeof(wire));
    g_assert_cmpmem(wire, sizeof(wire), expected, sizeof(expected));
}

static void assert_no_packet(const uint8_t *wire, size_t length, size_t data,
                             const char *words)
{
    g_autofree RamPacket *packet = g_new(RamPacket, 1);
    Error *err = NULL;

    g_assert_false(ram_packet_decode(wire, length, data, PAGE, packet, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), words));
    error_free(err);
}

static void test_no_packet(void)
{
    g_autofree RamPacket *packet = g_new(RamPacket, 1);
    uint8_t wire[17 + 6 + 16 * 6], good[sizeof(wire)];
    size_t n = sizeof(wire);
    static const struct {
        size_t at;
        uint8_t value;
        const char *words;
    } changes[] = {
        { 3, 1, "wrong length" }, { 4, 2, "does not know" },
        { 4, 1, "contradicts" }, { 5, 3, "does not know" },
        { 7, 2, "does not know" }, { 7, 1, "contradicts" },
        { 12, 1, "too many entries" }, { 15, 5, "wrong length" },
        { 16, 5, "wrong length" }, { 18, '\n', "contradicts" },
        /* The first entry's offset: no page, and beyond everything */
        { 23 + 7, 1, "no page" }, { 23, 0x80, "no page" },
        /* Zeros that have a checksum, and too many of them */
        { 39 + 15, 1, "no page" }, { 39 + 9, 1, "too many pages" },
    };

    make_packet(packet, 6);
    g_assert_cmpuint(ram_packet_encode(packet, good), ==, n);
    for (int i = 0; i < ARRAY_SIZE(changes); i++) {
        memcpy(wire, good, n);
        wire[changes[i].at] = changes[i].value;
        assert_no_packet(wire, n, 2 * PAGE, changes[i].words);
    }
    assert_no_packet(good, 16, 0, "too short");
    assert_no_packet(good, n - 1, 2 * PAGE, "wrong length");
    assert_no_packet(good, n, PAGE, "wrong length");
    assert_no_packet(good, n, 3 * PAGE, "wrong length");

    memcpy(wire, good, n);
    wire[5] = RAM_PACKET_ZLIB;
    assert_no_packet(wire, n, 0, "wrong length");
    assert_no_packet(wire, n, RAM_PACKET_DATA_MAX + 1, "wrong length");
    ram_packet_decode(wire, n, 10, PAGE, packet, &error_abort);
}

int main(int argc, char **argv)
{
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/packet/channel", test_channel);
    g_test_add_func("/migration/packet/stream", test_stream);
    g_test_add_func("/migration/packet/flipped", test_flipped);
    g_test_add_func("/migration/packet/cut", test_cut);
    g_test_add_func("/migration/packet/order", test_order);
    g_test_add_func("/migration/packet/forged", test_forged);
    g_test_add_func("/migration/packet/late", test_late);
    g_test_add_func("/migration/packet/nobody", test_nobody);
    g_test_add_func("/migration/packet/refused", test_refused);
    g_test_add_func("/migration/packet/hopped", test_hopped);
    g_test_add_func("/migration/packet/over-channel", test_over_channel);
    g_test_add_func("/migration/packet/codec", test_codec);
    g_test_add_func("/migration/packet/bytes", test_bytes);
    g_test_add_func("/migration/packet/no-packet", test_no_packet);
    return g_test_run();
}
