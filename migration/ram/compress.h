/*
 * Migration stream version 4: packets that are compressed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_COMPRESS_H
#define MIGRATION_RAM_COMPRESS_H

#include "migration/ram/packet.h"

typedef struct RamCompressor RamCompressor;

/**
 * ram_compressor_new: what compresses the pages of packets
 *
 * @compression: not %RAM_PACKET_PLAIN
 * @level: as that method counts them
 *
 * Returns: what the caller frees with ram_compressor_free(), or %NULL with
 * @errp set.
 */
RamCompressor *ram_compressor_new(RamPacketCompression compression, int level,
                                  Error **errp);
void ram_compressor_free(RamCompressor *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RamCompressor, ram_compressor_free)

/**
 * ram_compressor_pages: where to put the pages of a packet, side by side
 *
 * Guest memory changes, and what compresses does not bear that.
 *
 * Returns: room for %RAM_PACKET_DATA_MAX bytes, which stays @c's.
 */
uint8_t *ram_compressor_pages(RamCompressor *c);

/**
 * ram_compressor_run: compress them
 *
 * @length: of the pages, in bytes
 * @out: what came out, which stays @c's; set only if it is shorter
 *
 * Returns: how many bytes that are, or 0 if it is not shorter than the pages.
 */
size_t ram_compressor_run(RamCompressor *c, size_t length, void **out);

/* Which method @c is */
RamPacketCompression ram_compressor_method(const RamCompressor *c);

#endif
