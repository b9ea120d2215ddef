/*
 * Migration stream version 4: packets of pages, the codec
 *
 * What the head of a packet says: which pages of which block are sent, how, and
 * what their checksums are.  Implements "Packets" of
 * docs/devel/migration-v4/wire-format.rst, which is the authority on every
 * byte.  Pure: knows neither memory nor channel.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_PACKET_H
#define MIGRATION_RAM_PACKET_H

#include "qemu/units.h"

/* Most entries of one packet */
#define RAM_PACKET_ENTRIES_MAX 1024

/* Most pages that one packet tells of: so long nobody else gets a turn */
#define RAM_PACKET_PAGES_MAX 65536

/* Most bytes of pages that one packet brings, before they are compressed */
#define RAM_PACKET_DATA_MAX (1 * MiB)

typedef enum RamPacketKind {
    RAM_PACKET_PAGES = 0,       /* pages of one block */
    RAM_PACKET_ROUND = 1,       /* all pages of a round have been sent */
} RamPacketKind;

typedef enum RamPacketCompression {
    RAM_PACKET_PLAIN = 0,
    RAM_PACKET_ZLIB = 1,
    RAM_PACKET_ZSTD = 2,
    RAM_PACKET_COMPRESSION__MAX,
} RamPacketCompression;

/* A ROUND: the other side is to say which pages are still wrong */
#define RAM_PACKET_VERDICT 0x0001

/* The head as it stands on the wire, without name and entries; big endian */
typedef struct QEMU_PACKED RamPacketHeader {
    uint32_t head_length;
    uint8_t kind;
    uint8_t compression;
    uint16_t flags;
    uint32_t round;
    uint32_t count;
    uint8_t name_length;
} RamPacketHeader;

#define RAM_PACKET_HEADER_SIZE 17

/* An entry as it stands on the wire; every field is big endian */
typedef struct QEMU_PACKED RamPacketWireEntry {
    uint64_t offset;
    uint32_t zeros;
    uint32_t crc;
} RamPacketWireEntry;

#define RAM_PACKET_ENTRY_SIZE 16

/* Longest head, in bytes */
#define RAM_PACKET_HEAD_MAX (RAM_PACKET_HEADER_SIZE + 255 + \
                             RAM_PACKET_ENTRIES_MAX * RAM_PACKET_ENTRY_SIZE)

/* Pages that follow one another, in host terms */
typedef struct RamPacketEntry {
    uint64_t offset;        /* in the block, in bytes; of a page */
    uint32_t zeros;         /* so many pages of zeros; 0: one page, sent */
    uint32_t crc;           /* CRC32C of the page that is sent */
} RamPacketEntry;

/* A packet's head in host terms */
typedef struct RamPacket {
    uint8_t kind;
    uint8_t compression;
    uint16_t flags;
    uint32_t round;         /* which this belongs to, from 1 on */
    uint32_t count;         /* of entries */
    char name[256];         /* of the block; empty for a ROUND */
    RamPacketEntry entries[RAM_PACKET_ENTRIES_MAX];
} RamPacket;

/**
 * ram_packet_encode: write a packet's head
 *
 * @packet: what to write
 * @wire: room for %RAM_PACKET_HEAD_MAX bytes
 *
 * Returns: the number of bytes written.
 */
size_t ram_packet_encode(const RamPacket *packet, uint8_t *wire);

/**
 * ram_packet_decode: check and read a packet's head
 *
 * @wire: the head, of which the checksum has passed
 * @length: its length, in bytes
 * @data_length: how many bytes follow behind the head
 * @page_size: of the guest's pages, in bytes; a power of 2
 * @packet: filled in on success
 * @errp: says what was expected and what came
 *
 * Offsets are held against @page_size, and against overflow, but not against
 * a block: the caller knows how long it is.
 *
 * Returns: %true on success, %false with @errp set.
 */
bool ram_packet_decode(const uint8_t *wire, size_t length, size_t data_length,
                       size_t page_size, RamPacket *packet, Error **errp);

/**
 * ram_packet_pages: how many pages does a packet bring, zeros aside?
 */
unsigned ram_packet_pages(const RamPacket *packet);

#endif
