/*
 * Migration stream version 4: packets of pages, what is done with them
 *
 * Implements the receiving side of "Packets" of
 * docs/devel/migration-v4/wire-format.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/ram/place.h"
#include "migration/stream/record.h"
#include "prefetch.h"
#include <zlib.h>
#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif

bool ram_place_check(const RamPacket *packet, uint64_t length,
                     size_t page_size, Error **errp)
{
    for (uint32_t i = 0; i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];
        uint64_t size = (uint64_t)MAX(entry->zeros, 1) * page_size;

        if (entry->offset > length || size > length - entry->offset) {
            error_setg(errp, "block '%s' is too short for a packet: expected "
                       "pages below 0x%" PRIx64 ", got 0x%" PRIx64 " bytes at "
                       "offset 0x%" PRIx64, packet->name, length, size,
                       entry->offset);
            return false;
        }
    }
    return true;
}

unsigned ram_place_data(const RamPacket *packet, uint8_t *host,
                        size_t page_size, struct iovec *iov)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < packet->count; i++) {
        uint8_t *page = host + packet->entries[i].offset;

        if (packet->entries[i].zeros) {
            continue;
        }
        if (n && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == page) {
            iov[n - 1].iov_len += page_size;
        } else {
            iov[n++] = (struct iovec) { page, page_size };
        }
    }
    return n;
}

void ram_place_zeros(const RamPacket *packet, uint8_t *host, size_t page_size)
{
    for (uint32_t i = 0; i < packet->count; i++) {
        uint8_t *page = host + packet->entries[i].offset;

        for (uint32_t k = 0; k < packet->entries[i].zeros; k++) {
            if (k + 1 < packet->entries[i].zeros) {
                ram_prefetch(page + page_size, page_size);
            }
            if (!buffer_is_zero(page, page_size)) {
                memset(page, 0, page_size);
            }
            page += page_size;
        }
    }
}

unsigned ram_place_sum(const RamPacket *packet, const uint8_t *host,
                       size_t page_size, unsigned long *wrong)
{
    unsigned count = 0;

    bitmap_zero(wrong, packet->count);
    for (uint32_t i = 0; i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];

        if (i + 1 < packet->count && !entry[1].zeros) {
            ram_prefetch(host + entry[1].offset, page_size);
        }
        if (!entry->zeros &&
            stream_crc32c(host + entry->offset, page_size) != entry->crc) {
            set_bit(i, wrong);
            count++;
        }
    }
    return count;
}

unsigned ram_place_all_wrong(const RamPacket *packet, unsigned long *wrong)
{
    unsigned count = 0;

    bitmap_zero(wrong, packet->count);
    for (uint32_t i = 0; i < packet->count; i++) {
        if (!packet->entries[i].zeros) {
            set_bit(i, wrong);
            count++;
        }
    }
    return count;
}

bool ram_place_unpack(unsigned compression, const uint8_t *data,
                      size_t length, uint8_t *to, size_t wanted)
{
    uLongf got = wanted;

    switch (compression) {
    case RAM_PACKET_ZLIB:
        return uncompress(to, &got, data, length) == Z_OK && got == wanted;
#ifdef CONFIG_ZSTD
    case RAM_PACKET_ZSTD:
        return ZSTD_decompress(to, wanted, data, length) == wanted;
#endif
    default:
        return false;
    }
}

bool ram_place_can_unpack(unsigned compression, Error **errp)
{
#ifndef CONFIG_ZSTD
    if (compression == RAM_PACKET_ZSTD) {
        error_setg(errp, "a packet is compressed with zstd: expected one "
                   "without, as this QEMU was built without zstd");
        return false;
    }
#endif
    return true;
}
