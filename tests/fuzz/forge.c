/*
 * Migration stream version 4: streams that are wrong in a chosen way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/ram/packet.h"
#include "migration/stream/record.h"
#include "forge.h"
#include "forge-frames.h"

/* "Index" of docs/devel/migration-v4/wire-format.rst */
#define RECORD_INDEX 0x0a
#define ENTRY_FIXED 27

/* Of the guest's, in bytes */
#define PAGE 4096

/* A record whose header is written when the stream is put together again */
typedef struct Piece {
    StreamRecord header;
    GByteArray *payload;
} Piece;

typedef struct Forge {
    bool preamble;
    GPtrArray *pieces;      /* of Piece */
    uint32_t random;
} Forge;

static Piece *piece_new(const StreamRecord *header, const uint8_t *data,
                        size_t length)
{
    Piece *p = g_new0(Piece, 1);

    p->header = *header;
    /* One byte more: even without any there is a place for them */
    p->payload = g_byte_array_sized_new(length + 1);
    g_byte_array_append(p->payload, data, length);
    return p;
}

static void piece_free(void *opaque)
{
    Piece *p = opaque;

    g_byte_array_unref(p->payload);
    g_free(p);
}

/* Unlike the codec, takes whatever comes, and what fits of it */
static void take_apart(Forge *forge, const uint8_t *data, size_t size)
{
    size_t at = 0;

    forge->pieces = g_ptr_array_new_with_free_func(piece_free);
    forge->preamble = size >= STREAM_PREAMBLE_SIZE &&
                      ldl_be_p(data) == STREAM_MAGIC;
    if (forge->preamble) {
        at = STREAM_PREAMBLE_SIZE;
    }
    while (size - at >= STREAM_HEADER_SIZE) {
        StreamRecord header = {
            .type = lduw_be_p(data + at),
            .flags = lduw_be_p(data + at + 2),
            .section_id = ldl_be_p(data + at + 4),
            .length = ldl_be_p(data + at + 8),
        };

        at += STREAM_HEADER_SIZE;
        header.length = MIN(header.length, size - at);
        g_ptr_array_add(forge->pieces,
                        piece_new(&header, data + at, header.length));
        at += header.length;
    }
}

static bool identifies(const StreamRecord *header)
{
    return header->type == STREAM_RECORD_SECTION_START ||
           header->type == STREAM_RECORD_SECTION_FULL;
}

/* How many bytes of the payload are the identification, 0 if there is none */
static size_t ident_size(const Forge *forge, int i)
{
    const Piece *p = g_ptr_array_index(forge->pieces, i);
    const Piece *before = i ? g_ptr_array_index(forge->pieces, i - 1) : NULL;
    size_t size = sizeof(StreamIdentHeader);

    if (!identifies(&p->header) || p->payload->len < size ||
        (before && before->header.type == p->header.type &&
         !(before->header.flags & STREAM_FLAG_LAST))) {
        return 0;
    }
    size += p->payload->data[offsetof(StreamIdentHeader, name_length)] + 4;
    return size <= p->payload->len ? size : 0;
}

static uint32_t checksum(const GByteArray *bytes)
{
    return stream_crc32c(bytes->data, MIN(bytes->len, STREAM_PAYLOAD_MAX));
}

/* How long a packet's head says that it is, as far as it is there */
static size_t head_size(const Piece *p)
{
    return p->payload->len < STREAM_HEAD_MIN
           ? 0 : MIN(ldl_be_p(p->payload->data), p->payload->len);
}

/* Of the payload, or of its head */
static uint32_t piece_checksum(const Piece *p)
{
    return p->header.flags & STREAM_FLAG_HEAD
           ? stream_crc32c(p->payload->data,
                           MIN(head_size(p), STREAM_PAYLOAD_MAX))
           : checksum(p->payload);
}

/* "Packets": the head's length, and the checksums of pages that are there */
static void put_packet_right(Piece *p)
{
    uint8_t *head = p->payload->data, *entry, *end, *data;
    uint64_t length;
    uint32_t count;

    if (p->payload->len < RAM_PACKET_HEADER_SIZE) {
        return;
    }
    count = ldl_be_p(head + offsetof(RamPacketHeader, count));
    length = RAM_PACKET_HEADER_SIZE +
             head[offsetof(RamPacketHeader, name_length)] +
             (uint64_t)count * RAM_PACKET_ENTRY_SIZE;
    if (length > p->payload->len) {
        return;
    }
    stl_be_p(head, length);
    end = head + p->payload->len;
    data = head + length;
    for (entry = head + RAM_PACKET_HEADER_SIZE +
                 head[offsetof(RamPacketHeader, name_length)];
         entry < head + length && end - data >= PAGE;
         entry += RAM_PACKET_ENTRY_SIZE) {
        if (!ldl_be_p(entry + offsetof(RamPacketWireEntry, zeros))) {
            stl_be_p(entry + offsetof(RamPacketWireEntry, crc),
                     stream_crc32c(data, PAGE));
            data += PAGE;
        }
    }
}

/* The index entry of the section that begins with piece @i */
static void index_entry(Forge *forge, int first, GByteArray *index)
{
    g_autoptr(GByteArray) crcs = g_byte_array_new();
    const Piece *begin = g_ptr_array_index(forge->pieces, first);
    const uint8_t *name = begin->payload->data + sizeof(StreamIdentHeader);
    uint8_t name_length = name[-1];
    uint8_t entry[ENTRY_FIXED] = { [14] = name_length };
    uint64_t length = 0;

    for (int i = first; i < forge->pieces->len; i++) {
        const Piece *p = g_ptr_array_index(forge->pieces, i);
        uint8_t crc[4];

        if (p->header.section_id == begin->header.section_id &&
            p->header.type >= STREAM_RECORD_SECTION_START &&
            p->header.type <= STREAM_RECORD_SECTION_FULL) {
            stl_be_p(crc, piece_checksum(p));
            g_byte_array_append(crcs, crc, sizeof(crc));
            length += p->payload->len;
        }
    }
    stl_be_p(entry, begin->header.section_id);
    memcpy(entry + 4, begin->payload->data, 8);
    stq_be_p(entry + 15, length);
    stl_be_p(entry + 23, checksum(crcs));
    g_byte_array_append(index, entry, sizeof(entry));
    g_byte_array_append(index, name, name_length);
}

/* What the codec would refuse first: identifications, packets, the index */
static void put_right(Forge *forge)
{
    for (int i = 0; i < forge->pieces->len; i++) {
        Piece *p = g_ptr_array_index(forge->pieces, i);
        size_t ident = ident_size(forge, i);

        if (ident) {
            stl_be_p(p->payload->data + ident - 4,
                     stream_crc32c(p->payload->data, ident - 4));
        }
        if ((p->header.flags & STREAM_FLAG_HEAD) &&
            forge_random(&forge->random, 8)) {
            put_packet_right(p);
        }
    }
    for (int i = 0; i < forge->pieces->len; i++) {
        Piece *p = g_ptr_array_index(forge->pieces, i);

        if (p->header.type == RECORD_INDEX && forge_random(&forge->random, 8)) {
            g_byte_array_set_size(p->payload, 0);
            for (int j = 0; j < i; j++) {
                if (ident_size(forge, j)) {
                    index_entry(forge, j, p->payload);
                }
            }
        }
    }
}

static size_t put_together(Forge *forge, uint8_t *data, size_t max_size)
{
    size_t at = 0;

    if (forge->preamble && max_size >= STREAM_PREAMBLE_SIZE) {
        stl_be_p(data, STREAM_MAGIC);
        stl_be_p(data + 4, STREAM_VERSION);
        at = STREAM_PREAMBLE_SIZE;
    }
    for (int i = 0; i < forge->pieces->len; i++) {
        Piece *p = g_ptr_array_index(forge->pieces, i);

        if (max_size - at < STREAM_HEADER_SIZE + p->payload->len) {
            break;
        }
        p->header.length = p->payload->len;
        p->header.payload_crc = piece_checksum(p);
        p->header.offset = at;
        stream_record_encode(&p->header, data + at);
        at += STREAM_HEADER_SIZE;
        memcpy(data + at, p->payload->data, p->payload->len);
        at += p->payload->len;
    }
    return at;
}

static Piece *any_piece(Forge *forge)
{
    return g_ptr_array_index(forge->pieces, forge_random(&forge->random,
                                                         forge->pieces->len));
}

static void insert(Forge *forge, int at, const StreamRecord *header,
                   const uint8_t *data, size_t length)
{
    g_ptr_array_insert(forge->pieces, at, piece_new(header, data, length));
}

/* The first part of a record, as far as @p is concerned, and then the rest */
static void split(Forge *forge, int i)
{
    Piece *p = g_ptr_array_index(forge->pieces, i);
    size_t at = forge_random(&forge->random, p->payload->len + 1);

    insert(forge, i + 1, &p->header, p->payload->data + at,
           p->payload->len - at);
    p->header.flags &= ~STREAM_FLAG_LAST;
    g_byte_array_set_size(p->payload, at);
}

static void change_order(Forge *forge, int i)
{
    GPtrArray *pieces = forge->pieces;
    Piece *p = g_ptr_array_index(pieces, i);
    StreamRecord unknown = {
        .type = 0x7000 + forge_random(&forge->random, 2),
        .flags = STREAM_FLAG_LAST | (forge_random(&forge->random, 4)
                                     ? STREAM_FLAG_OPTIONAL : 0),
    };
    int j = forge_random(&forge->random, pieces->len);

    switch (forge_random(&forge->random, 6)) {
    case 0:
        g_ptr_array_remove_index(pieces, i);
        break;
    case 1:
        insert(forge, j, &p->header, p->payload->data, p->payload->len);
        break;
    case 2:
        pieces->pdata[i] = pieces->pdata[j];
        pieces->pdata[j] = p;
        break;
    case 3:
        insert(forge, i, &unknown, p->payload->data, p->payload->len);
        break;
    default:
        split(forge, i);
    }
}

static void change_header(Forge *forge, Piece *p)
{
    switch (forge_random(&forge->random, 4)) {
    case 0:
        p->header.type = forge_random(&forge->random,
                                      STREAM_RECORD_VERDICT + 2);
        break;
    case 1:
        p->header.flags ^= 1 << forge_random(&forge->random, 4);
        break;
    case 2:
        p->header.section_id = any_piece(forge)->header.section_id;
        break;
    default:
        p->header.section_id += forge_random(&forge->random, 3) - 1;
    }
}

static void change(Forge *forge)
{
    int i = forge_random(&forge->random, forge->pieces->len);
    Piece *p = g_ptr_array_index(forge->pieces, i);
    size_t ident = ident_size(forge, i);

    switch (forge_random(&forge->random, 16)) {
    case 0:
        change_order(forge, i);
        break;
    case 1:
        change_header(forge, p);
        break;
    case 2:
        /* The identification too; its own checksum is put right */
        forge_bytes(p->payload, 0, &forge->random);
        break;
    case 3 ... 6:
        forge_bytes(p->payload, ident, &forge->random);
        break;
    default:
        if (!forge_frames(p->payload, ident, &forge->random)) {
            forge_bytes(p->payload, ident, &forge->random);
        }
    }
}

/* What a link or a disk does to it, or a liar to a header */
static size_t damage(Forge *forge, uint8_t *data, size_t size, size_t max_size)
{
    StreamRecord header;
    const Piece *p;

    if (!forge->pieces->len || forge_random(&forge->random, 2)) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    p = any_piece(forge);
    header = p->header;
    if (header.offset + STREAM_HEADER_SIZE > size) {
        return size;
    }
    switch (forge_random(&forge->random, 4)) {
    case 0:
        header.length += forge_random(&forge->random, 64) - 32;
        break;
    case 1:
        header.length = 1u << forge_random(&forge->random, 32);
        break;
    case 2:
        header.payload_crc++;
        break;
    default:
        header.offset += forge_random(&forge->random, 64) - 32;
    }
    stream_record_encode(&header, data + p->header.offset);
    return size;
}

size_t forge_mutate(uint8_t *data, size_t size, size_t max_size,
                    unsigned int seed)
{
    Forge forge = { .random = seed * 2654435761u | 1 };
    int changes;

    take_apart(&forge, data, size);
    if (!forge.pieces->len || !forge_random(&forge.random, 64)) {
        g_ptr_array_unref(forge.pieces);
        return LLVMFuzzerMutate(data, size, max_size);
    }
    changes = 1 + forge_random(&forge.random, 3);
    for (int i = 0; i < changes && forge.pieces->len; i++) {
        change(&forge);
    }
    put_right(&forge);
    size = put_together(&forge, data, max_size);
    if (!forge_random(&forge.random, 16)) {
        size = damage(&forge, data, size, max_size);
    }
    g_ptr_array_unref(forge.pieces);
    return size;
}

size_t forge_cross(const uint8_t *a, size_t a_size,
                   const uint8_t *b, size_t b_size,
                   uint8_t *out, size_t max_size, unsigned int seed)
{
    Forge forge = { .random = seed * 2654435761u | 1 };
    Forge other = { };
    int from, at;
    size_t size;

    take_apart(&forge, a, a_size);
    take_apart(&other, b, b_size);
    from = forge_random(&forge.random, other.pieces->len);
    at = forge_random(&forge.random, forge.pieces->len);
    for (int i = from; i < other.pieces->len; i++) {
        const Piece *p = g_ptr_array_index(other.pieces, i);

        insert(&forge, at + i - from, &p->header, p->payload->data,
               p->payload->len);
        if (forge_random(&forge.random, 2)) {
            break;
        }
    }
    put_right(&forge);
    size = put_together(&forge, out, max_size);
    g_ptr_array_unref(forge.pieces);
    g_ptr_array_unref(other.pieces);
    return size;
}
