/*
 * Migration stream version 4: any bytes at all to the reader
 *
 * A stream is read as a loader does, and once more in other portions.  It must
 * not matter how the bytes come in: both give out the same, up to the message
 * in which they end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/frame.h"
#include "migration/stream/reader.h"
#include "forge.h"

typedef struct Wire {
    const uint8_t *data;
    size_t size;
    size_t pos;
    size_t portion;     /* how many bytes a read gives at most */
} Wire;

static ssize_t wire_read(void *opaque, void *data, size_t length, Error **errp)
{
    Wire *wire = opaque;
    size_t n = MIN(length, wire->portion);

    assert(length > 0);
    n = MIN(n, wire->size - wire->pos);
    memcpy(data, wire->data + wire->pos, n);
    wire->pos += n;
    return n;
}

/* What packets have brought, in portions that do not show */
typedef struct Packets {
    GChecksum *said;
    unsigned count;
} Packets;

static bool take_packet(void *opaque, StreamReader *r, const uint8_t *head,
                        size_t head_length, size_t data_length, Error **errp)
{
    Packets *packets = opaque;
    g_autofree uint8_t *data = g_malloc(data_length + 1);
    size_t some = data_length / 3;
    struct iovec iov[] = {
        { data, some }, { data + some, data_length - some },
    };

    assert(head_length >= STREAM_HEAD_MIN && ldl_be_p(head) == head_length);
    packets->count++;
    g_checksum_update(packets->said, head, head_length);
    if (!stream_reader_get_data(r, iov, ARRAY_SIZE(iov), errp)) {
        return false;
    }
    g_checksum_update(packets->said, data, data_length);
    return true;
}

/* Goes through frames, one inside or behind the other, as far as they go */
static void read_frames(const uint8_t *data, size_t size)
{
    uint8_t again[STREAM_FRAME_HEADER_MAX];
    StreamFrameStack stack = { };
    StreamFrame frame;
    size_t at = 0;
    Error *err = NULL;

    while (!err) {
        size_t used = stream_frame_decode(data + at, size - at, &frame, &err);

        if (used) {
            assert(used == stream_frame_encode(&frame, again) &&
                   !memcmp(again, data + at, used));
            at += used;
            stream_frame_enter(&stack, &frame, at, &err);
        }
        while (stack.depth && !stream_frame_left(&stack, at)) {
            stream_frame_leave(&stack, at, NULL);
        }
    }
    while (stack.depth) {
        stream_frame_leave(&stack, size, NULL);
    }
    error_free(err);
}

/* Notes all of the present section; its type, or -1 */
static int read_section(StreamReader *r, size_t portion, GChecksum *said,
                        Error **errp)
{
    g_autofree uint8_t *data = g_malloc(portion);
    g_autofree char *where = NULL;
    const StreamIdent *ident;
    bool first = true;
    int type = stream_reader_next(r, 0, errp);
    ssize_t n;

    if (type < 0) {
        return -1;
    }
    ident = stream_reader_ident(r);
    if (ident) {
        assert(ident->name[0] && memchr(ident->name, 0, sizeof(ident->name)));
        g_checksum_update(said, (const uint8_t *)ident->name, -1);
    }
    where = stream_reader_where(r);
    g_checksum_update(said, (const uint8_t *)where, -1);
    do {
        n = stream_reader_read(r, data, portion, errp);
        assert(n <= (ssize_t)portion);
        if (n > 0) {
            g_checksum_update(said, data, n);
            if (first) {
                read_frames(data, n);
            }
            first = false;
        }
    } while (n > 0);
    assert(n < 0 || stream_reader_check_end(r, 0, &error_abort));
    return n < 0 ? -1 : type;
}

/* What reading a stream has come to */
typedef struct Outcome {
    char *said;         /* a digest of all that was given out */
    bool accepted;
    unsigned packets;
    uint64_t bytes;
    uint64_t records;
    uint64_t skipped;
} Outcome;

static void outcome_of(const StreamReader *r, bool accepted, Outcome *outcome)
{
    outcome->accepted = accepted;
    outcome->bytes = stream_reader_bytes(r);
    outcome->records = stream_reader_records(r);
    outcome->skipped = stream_index_skipped(stream_reader_index(r));
}

/* Reads all of it, @portion bytes at a time */
static void read_all(const uint8_t *data, size_t size, bool preamble,
                     size_t portion, Outcome *outcome)
{
    Wire wire = { .data = data, .size = size, .portion = portion };
    g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
    g_autoptr(GChecksum) said = g_checksum_new(G_CHECKSUM_MD5);
    Packets packets = { .said = said };
    Error *err = NULL;
    int type = -1;

    stream_reader_set_packet(r, take_packet, &packets);
    if (!preamble || stream_reader_preamble(r, &err) == STREAM_VERSION) {
        do {
            type = read_section(r, MIN(portion + 16, 4 * KiB), said, &err);
        } while (type >= 0 && type != STREAM_RECORD_END);
        assert(!err == (type == STREAM_RECORD_END));
    }
    assert(stream_reader_bytes(r) <= wire.pos);
    if (type == STREAM_RECORD_END) {
        /* Whatever follows is not this stream's, and left alone */
        assert(stream_reader_bytes(r) == wire.pos);
    }
    if (err) {
        g_checksum_update(said, (const uint8_t *)error_get_pretty(err), -1);
        error_free(err);
    }
    outcome_of(r, type == STREAM_RECORD_END, outcome);
    outcome->said = g_strdup(g_checksum_get_string(said));
    outcome->packets = packets.count;
}

/*
 * Where the index is, or the end of what there is, going by the lengths; @known
 * is set to where the last record before it ends whose type is known
 */
static size_t find_index(const uint8_t *data, size_t size, size_t at,
                         size_t *known)
{
    *known = at;
    while (size - at >= STREAM_HEADER_SIZE &&
           lduw_be_p(data + at) != STREAM_RECORD_INDEX) {
        bool name = stream_record_type_name(lduw_be_p(data + at));

        at += STREAM_HEADER_SIZE +
              MIN(ldl_be_p(data + at + 8), size - at - STREAM_HEADER_SIZE);
        *known = name ? at : *known;
    }
    return at;
}

/*
 * Reads the first section, takes what follows up to the index as a package,
 * reads that, and then the rest.  What the taking has let pass is read without
 * a complaint.
 */
static void read_package(const uint8_t *data, size_t size, Outcome *outcome)
{
    Wire wire = { .data = data, .size = size, .portion = MiB };
    g_autoptr(StreamReader) r = stream_reader_new(wire_read, &wire);
    g_autoptr(GChecksum) said = g_checksum_new(G_CHECKSUM_MD5);
    g_autoptr(GByteArray) machine = g_byte_array_new();
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t at;
    size_t end, known;
    Error *err = NULL;
    int type = -1;

    if (stream_reader_preamble(r, &err) == STREAM_VERSION &&
        stream_reader_machine(r, machine, &err)) {
        type = read_section(r, 4 * KiB, said, &err);
    }
    at = stream_reader_bytes(r);
    end = find_index(data, size, at, &known);
    if (type > STREAM_RECORD_END && end > at &&
        stream_reader_take(r, end - at, stream_reader_index(r), bytes, &err)) {
        Wire taken = { bytes->data, bytes->len, 0, MiB };
        g_autoptr(StreamReader) inner =
            stream_reader_new_checked(wire_read, &taken, at,
                                      stream_reader_index(r));

        assert(bytes->len == end - at && stream_reader_bytes(r) == end);
        while (stream_reader_bytes(inner) < known &&
               read_section(inner, 4 * KiB, said, &error_abort) >= 0) {
        }
    }
    while (!err && type > STREAM_RECORD_END) {
        type = read_section(r, 4 * KiB, said, &err);
    }
    outcome_of(r, !err && type == STREAM_RECORD_END, outcome);
    error_free(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* As a file gives them, as a slow link does, and anything between */
    const size_t portion[] = { 1, 7, 29, 4096 };
    /* A return path has no preamble */
    bool preamble = size > 0 && data[0] == 'Q';
    Outcome whole, parts, package;

    read_all(data, size, preamble, MiB, &whole);
    read_all(data, size, preamble, portion[size % ARRAY_SIZE(portion)],
             &parts);
    assert(g_str_equal(whole.said, parts.said));
    assert(whole.bytes == parts.bytes && whole.records == parts.records &&
           whole.skipped == parts.skipped);

    /* A package has no packets */
    if (preamble && !whole.packets) {
        read_package(data, size, &package);
        assert(package.accepted == whole.accepted || !whole.accepted);
        assert(!whole.accepted || (whole.bytes == package.bytes &&
                                   whole.records == package.records &&
                                   whole.skipped == package.skipped));
    }
    g_free(whole.said);
    g_free(parts.said);
    return 0;
}
