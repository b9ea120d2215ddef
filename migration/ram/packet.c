/*
 * Migration stream version 4: packets of pages, the codec
 *
 * Implements "Packets" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/ram/packet.h"
#include "migration/stream/record.h"

static_assert(sizeof(RamPacketHeader) == RAM_PACKET_HEADER_SIZE,
              "a packet's header");
static_assert(offsetof(RamPacketHeader, kind) == 4, "kind");
static_assert(offsetof(RamPacketHeader, compression) == 5, "compression");
static_assert(offsetof(RamPacketHeader, flags) == 6, "flags");
static_assert(offsetof(RamPacketHeader, round) == 8, "round");
static_assert(offsetof(RamPacketHeader, count) == 12, "count");
static_assert(offsetof(RamPacketHeader, name_length) == 16, "name length");

static_assert(sizeof(RamPacketWireEntry) == RAM_PACKET_ENTRY_SIZE, "an entry");
static_assert(offsetof(RamPacketWireEntry, zeros) == 8, "zeros");
static_assert(offsetof(RamPacketWireEntry, crc) == 12, "crc");

size_t ram_packet_encode(const RamPacket *packet, uint8_t *wire)
{
    size_t name_length = strlen(packet->name);
    size_t length = RAM_PACKET_HEADER_SIZE + name_length +
                    packet->count * RAM_PACKET_ENTRY_SIZE;
    RamPacketHeader header = {
        .head_length = cpu_to_be32(length),
        .kind = packet->kind,
        .compression = packet->compression,
        .flags = cpu_to_be16(packet->flags),
        .round = cpu_to_be32(packet->round),
        .count = cpu_to_be32(packet->count),
        .name_length = name_length,
    };
    uint8_t *to = wire + sizeof(header) + name_length;

    memcpy(wire, &header, sizeof(header));
    memcpy(wire + sizeof(header), packet->name, name_length);
    for (uint32_t i = 0; i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];
        RamPacketWireEntry one = {
            .offset = cpu_to_be64(entry->offset),
            .zeros = cpu_to_be32(entry->zeros),
            .crc = cpu_to_be32(entry->crc),
        };

        memcpy(to + i * sizeof(one), &one, sizeof(one));
    }
    return length;
}

unsigned ram_packet_pages(const RamPacket *packet)
{
    unsigned pages = 0;

    for (uint32_t i = 0; i < packet->count; i++) {
        pages += !packet->entries[i].zeros;
    }
    return pages;
}

/* Everything in front of the entries */
static bool ram_packet_decode_header(const uint8_t *wire, size_t length,
                                     RamPacket *packet, Error **errp)
{
    RamPacketHeader header;
    size_t expected;

    if (length < sizeof(header)) {
        error_setg(errp, "a packet's head is too short: expected at least %d "
                   "bytes, got %zu", RAM_PACKET_HEADER_SIZE, length);
        return false;
    }
    memcpy(&header, wire, sizeof(header));
    packet->kind = header.kind;
    packet->compression = header.compression;
    packet->flags = be16_to_cpu(header.flags);
    packet->round = be32_to_cpu(header.round);
    packet->count = be32_to_cpu(header.count);
    if (packet->kind > RAM_PACKET_ROUND ||
        packet->compression >= RAM_PACKET_COMPRESSION__MAX ||
        (packet->flags & ~RAM_PACKET_VERDICT)) {
        error_setg(errp, "a packet is of a sort that this version does not "
                   "know: kind %u, compression %u, flags 0x%04x", packet->kind,
                   packet->compression, packet->flags);
        return false;
    }
    if (packet->count > RAM_PACKET_ENTRIES_MAX) {
        error_setg(errp, "a packet has too many entries: expected at most %d, "
                   "got %" PRIu32, RAM_PACKET_ENTRIES_MAX, packet->count);
        return false;
    }
    expected = sizeof(header) + header.name_length +
               packet->count * RAM_PACKET_ENTRY_SIZE;
    if (length != expected || be32_to_cpu(header.head_length) != length) {
        error_setg(errp, "a packet's head has a wrong length: expected %zu "
                   "bytes, got %zu", expected, length);
        return false;
    }
    if (packet->kind == RAM_PACKET_ROUND
        ? header.name_length || packet->count || packet->compression
        : packet->flags || !packet->count ||
          !stream_name_is_proper(wire + sizeof(header), header.name_length)) {
        error_setg(errp, "a packet contradicts itself: expected %s",
                   packet->kind == RAM_PACKET_ROUND ?
                   "the end of a round without pages" :
                   "pages, and the name of their block");
        return false;
    }
    memcpy(packet->name, wire + sizeof(header), header.name_length);
    packet->name[header.name_length] = 0;
    return true;
}

bool ram_packet_decode(const uint8_t *wire, size_t length, size_t data_length,
                       size_t page_size, RamPacket *packet, Error **errp)
{
    uint64_t pages = 0;
    size_t data = 0;

    if (!ram_packet_decode_header(wire, length, packet, errp)) {
        return false;
    }
    wire += length - packet->count * RAM_PACKET_ENTRY_SIZE;
    for (uint32_t i = 0; i < packet->count; i++) {
        RamPacketEntry *entry = &packet->entries[i];
        RamPacketWireEntry one;

        memcpy(&one, wire + i * sizeof(one), sizeof(one));
        entry->offset = be64_to_cpu(one.offset);
        entry->zeros = be32_to_cpu(one.zeros);
        entry->crc = be32_to_cpu(one.crc);
        if (entry->offset % page_size ||
            MAX(entry->zeros, 1) > (INT64_MAX - MIN(entry->offset, INT64_MAX)) /
                                   page_size ||
            (entry->zeros && entry->crc)) {
            error_setg(errp, "a packet's entry for block '%s' is no page: got "
                       "offset 0x%" PRIx64 ", %" PRIu32 " pages of zeros, "
                       "checksum 0x%08" PRIx32, packet->name, entry->offset,
                       entry->zeros, entry->crc);
            return false;
        }
        pages += MAX(entry->zeros, 1);
        data += entry->zeros ? 0 : page_size;
    }
    if (pages > RAM_PACKET_PAGES_MAX) {
        error_setg(errp, "a packet tells of too many pages: expected at most "
                   "%d, got %" PRIu64, RAM_PACKET_PAGES_MAX, pages);
        return false;
    }
    if (data > RAM_PACKET_DATA_MAX ||
        (packet->compression
         ? !data || !data_length || data_length > RAM_PACKET_DATA_MAX
         : data_length != data)) {
        error_setg(errp, "a packet's pages have a wrong length: expected %s%zu "
                   "bytes, got %zu", packet->compression ? "what compresses "
                   : "", data, data_length);
        return false;
    }
    return true;
}
