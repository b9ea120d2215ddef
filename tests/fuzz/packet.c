/*
 * Migration stream version 4: any packets at all to a channel's end
 *
 * Packets are read as a channel of multifd is, and placed into blocks of
 * memory as the destination does; a verdict is asked for at each round's end.
 * What the blocks have then is what the packets have said last, or it is
 * suspect, and the verdict names it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "migration/ram/packet.h"
#include "migration/ram/place.h"
#include "migration/ram/suspects.h"
#include "migration/ram/verdict.h"
#include "migration/stream/reader.h"
#include "forge.h"

#define PAGE 4096
#define PAGES_MAX 16

/* A block, and what the last packet has said of each of its pages */
typedef struct Block {
    const char *name;
    unsigned pages;
    uint8_t *memory;        /* of its own, so that a sanitizer sees its end */
    uint32_t crc[PAGES_MAX];
    bool wrong[PAGES_MAX];
} Block;

typedef struct Guest {
    const uint8_t *data;
    size_t size;
    size_t at;
    Block blocks[2];
    RamSuspects *suspects;
    RamPacket packet;
    unsigned long wrong[BITS_TO_LONGS(RAM_PACKET_ENTRIES_MAX)];
    uint8_t packed[RAM_PACKET_DATA_MAX];
    uint8_t pages[RAM_PACKET_DATA_MAX];
} Guest;

static ssize_t guest_readv(void *opaque, const struct iovec *iov, size_t niov,
                           Error **errp)
{
    Guest *guest = opaque;
    size_t n = iov_from_buf(iov, niov, 0, guest->data + guest->at,
                            MIN(guest->size - guest->at, 3001));

    guest->at += n;
    return n;
}

static ssize_t guest_read(void *opaque, void *data, size_t length,
                          Error **errp)
{
    struct iovec iov = { .iov_base = data, .iov_len = length };

    return guest_readv(opaque, &iov, 1, errp);
}

/* Is a page among those that a verdict names? */
static bool names(const RamVerdict *verdict, const Block *block, unsigned page)
{
    for (uint32_t i = 0; i < verdict->count; i++) {
        const RamVerdictRange *range = &verdict->ranges[i];
        uint64_t first = range->offset / PAGE;

        if (!strcmp(range->block, block->name) && page >= first &&
            page < first + range->pages) {
            return true;
        }
    }
    return false;
}

/* Holds the verdict against what is known of each page */
static void check_verdict(Guest *guest, const RamVerdict *verdict)
{
    uint64_t count = 0;

    for (int b = 0; b < ARRAY_SIZE(guest->blocks); b++) {
        Block *block = &guest->blocks[b];

        for (unsigned n = 0; n < block->pages; n++) {
            uint32_t crc = stream_crc32c(block->memory + n * PAGE, PAGE);

            assert(names(verdict, block, n) == block->wrong[n]);
            assert(block->wrong[n] || crc == block->crc[n]);
            count += block->wrong[n];
        }
    }
    assert(count == ram_suspects_count(guest->suspects));
}

static void ask(Guest *guest)
{
    g_auto(RamVerdict) verdict = { 0 }, again = { 0 };
    g_autoptr(GByteArray) payload = g_byte_array_new();
    Error *err = NULL;

    /* So few pages that it makes no difference */
    ram_suspects_verdict(guest->suspects, guest->packet.round,
                         guest->packet.round & 1, &verdict);
    check_verdict(guest, &verdict);
    ram_verdict_encode(&verdict, payload);
    ram_verdict_decode(payload->data, payload->len, PAGE, &again,
                       &error_abort);
    assert(again.round == verdict.round && again.count == verdict.count);
    assert(ram_suspects_check(guest->suspects, &err) == !verdict.count);
    error_free(err);
}

/* What the packet says, whoever places it */
static void expect(Guest *guest, Block *block)
{
    const RamPacket *packet = &guest->packet;
    static const uint8_t zeros[PAGE];

    for (uint32_t i = 0; i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];
        unsigned first = entry->offset / PAGE;

        for (unsigned n = first; n < first + MAX(entry->zeros, 1); n++) {
            block->wrong[n] = false;
            block->crc[n] = entry->zeros ? stream_crc32c(zeros, PAGE)
                                         : entry->crc;
        }
        if (!entry->zeros && test_bit(i, guest->wrong)) {
            block->wrong[first] = true;
        }
    }
}

/* Puts the pages of a packet that was unpacked to where they belong */
static void scatter(Guest *guest, Block *block)
{
    struct iovec iov[RAM_PACKET_ENTRIES_MAX];
    unsigned n = ram_place_data(&guest->packet, block->memory, PAGE, iov);

    iov_from_buf(iov, n, 0, guest->pages, iov_size(iov, n));
}

static bool guest_packet(void *opaque, StreamReader *r, const uint8_t *head,
                         size_t head_length, size_t data_length, Error **errp)
{
    Guest *guest = opaque;
    RamPacket *packet = &guest->packet;
    g_autofree uint8_t *again = g_malloc(RAM_PACKET_HEAD_MAX);
    struct iovec iov[RAM_PACKET_ENTRIES_MAX];
    size_t size;
    Block *block = NULL;

    if (!ram_packet_decode(head, head_length, data_length, PAGE, packet,
                           errp)) {
        return false;
    }
    assert(ram_packet_encode(packet, again) == head_length &&
           !memcmp(again, head, head_length));
    if (packet->kind == RAM_PACKET_ROUND) {
        ask(guest);
        return true;
    }
    for (int b = 0; b < ARRAY_SIZE(guest->blocks); b++) {
        if (!strcmp(guest->blocks[b].name, packet->name)) {
            block = &guest->blocks[b];
        }
    }
    if (!block) {
        error_setg(errp, "there is no block '%s'", packet->name);
        return false;
    }
    if (!ram_place_check(packet, (uint64_t)block->pages * PAGE, PAGE, errp) ||
        !ram_place_can_unpack(packet->compression, errp)) {
        return false;
    }
    size = ram_packet_pages(packet) * PAGE;
    if (packet->compression) {
        iov[0] = (struct iovec) { guest->packed, data_length };
        if (!stream_reader_get_data(r, iov, 1, errp)) {
            return false;
        }
        if (ram_place_unpack(packet->compression, guest->packed, data_length,
                             guest->pages, size)) {
            scatter(guest, block);
            ram_place_zeros(packet, block->memory, PAGE);
            ram_place_sum(packet, block->memory, PAGE, guest->wrong);
        } else {
            ram_place_zeros(packet, block->memory, PAGE);
            ram_place_all_wrong(packet, guest->wrong);
        }
    } else {
        unsigned n = ram_place_data(packet, block->memory, PAGE, iov);

        assert(iov_size(iov, n) == data_length);
        if (!stream_reader_get_data(r, iov, n, errp)) {
            return false;
        }
        ram_place_zeros(packet, block->memory, PAGE);
        ram_place_sum(packet, block->memory, PAGE, guest->wrong);
    }
    ram_suspects_note(guest->suspects, packet, block->pages, guest->wrong);
    expect(guest, block);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree Guest *guest = g_new0(Guest, 1);
    g_autoptr(StreamReader) r = stream_reader_new(guest_read, guest);
    static const uint8_t zeros[PAGE];
    Error *err = NULL;

    guest->data = data;
    guest->size = size;
    guest->suspects = ram_suspects_new(PAGE);
    guest->blocks[0] = (Block) { .name = "pc.ram", .pages = PAGES_MAX };
    guest->blocks[1] = (Block) { .name = "vga.vram", .pages = 3 };
    for (int b = 0; b < ARRAY_SIZE(guest->blocks); b++) {
        Block *block = &guest->blocks[b];

        block->memory = g_malloc0(block->pages * PAGE);
        for (unsigned n = 0; n < block->pages; n++) {
            block->crc[n] = stream_crc32c(zeros, PAGE);
        }
    }
    stream_reader_set_packet(r, guest_packet, guest);
    stream_reader_set_readv(r, guest_readv);
    while (stream_reader_next(r, 0, &err) == STREAM_RECORD_PACKET) {
    }
    error_free(err);
    for (int b = 0; b < ARRAY_SIZE(guest->blocks); b++) {
        g_free(guest->blocks[b].memory);
    }
    ram_suspects_free(guest->suspects);
    return 0;
}
