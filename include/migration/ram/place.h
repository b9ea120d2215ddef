/*
 * Migration stream version 4: packets of pages, what is done with them
 *
 * Where a packet's data goes, what its pages' sums are, and how it is packed.
 * Pure: works on memory that the caller gives.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_PLACE_H
#define MIGRATION_RAM_PLACE_H

#include "migration/ram/packet.h"

/**
 * ram_place_check: does a packet lie in its block?
 *
 * @packet: of pages, as ram_packet_decode() gave it
 * @length: of the block, in bytes
 * @page_size: of the guest's pages, in bytes
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_place_check(const RamPacket *packet, uint64_t length,
                     size_t page_size, Error **errp);

/**
 * ram_place_data: where a packet's pages belong
 *
 * @host: the block's memory
 * @iov: room for one per entry; pages that follow one another share one
 *
 * Returns: how many were filled in.
 */
unsigned ram_place_data(const RamPacket *packet, uint8_t *host,
                        size_t page_size, struct iovec *iov);

/**
 * ram_place_zeros: clear the pages that a packet says are zero
 *
 * Memory that is zero is not written to, and so not allocated.
 */
void ram_place_zeros(const RamPacket *packet, uint8_t *host,
                     size_t page_size);

/**
 * ram_place_sum: which of a packet's pages are wrong in memory?
 *
 * @wrong: a bit per entry, filled in
 *
 * Returns: how many are.
 */
unsigned ram_place_sum(const RamPacket *packet, const uint8_t *host,
                       size_t page_size, unsigned long *wrong);

/**
 * ram_place_all_wrong: nothing came of a packet's pages
 *
 * As ram_place_sum(), but zeros are right.
 */
unsigned ram_place_all_wrong(const RamPacket *packet, unsigned long *wrong);

/**
 * ram_place_unpack: decompress a packet's data
 *
 * @compression: of %RamPacketCompression, not plain
 * @data: of @length bytes
 * @to: room for @wanted bytes, which is what has to come out
 *
 * Returns: %true, or %false if it is damaged.
 */
bool ram_place_unpack(unsigned compression, const uint8_t *data,
                      size_t length, uint8_t *to, size_t wanted);

/**
 * ram_place_can_unpack: does this QEMU know how to?
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_place_can_unpack(unsigned compression, Error **errp);

#endif
