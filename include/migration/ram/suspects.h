/*
 * Migration stream version 4: pages that came wrong
 *
 * A page whose checksum did not fit is suspect until it comes right.  Pure:
 * blocks are names, and nobody looks at memory.  Every function may be called
 * by any thread.  See "Healing" of docs/devel/migration-v4/ram.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_SUSPECTS_H
#define MIGRATION_RAM_SUSPECTS_H

#include "migration/ram/packet.h"
#include "migration/ram/verdict.h"

typedef struct RamSuspects RamSuspects;

/**
 * ram_suspects_new: no page is suspect
 *
 * @page_size: of the guest's pages, in bytes; a power of 2
 *
 * The caller frees it with ram_suspects_free(), which takes %NULL.
 */
RamSuspects *ram_suspects_new(size_t page_size);
void ram_suspects_free(RamSuspects *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RamSuspects, ram_suspects_free)

/**
 * ram_suspects_note: a packet's pages have come
 *
 * @packet: of pages, all of which lie in the block's first @block_pages
 * @block_pages: how long the block is
 * @wrong: which of the packet's entries came wrong; NULL if none did
 *
 * Its other pages are right from now on.
 */
void ram_suspects_note(RamSuspects *s, const RamPacket *packet,
                       uint64_t block_pages, const unsigned long *wrong);

/* How many pages are suspect now */
uint64_t ram_suspects_count(RamSuspects *s);

/**
 * ram_suspects_verdict: what has to come again
 *
 * @round: which the verdict answers
 * @exact: name suspects alone, which another verdict follows; else all of them
 * @verdict: empty, filled in; the caller clears it
 *
 * Where it would take too many ranges to name all suspects: an exact one names
 * the first of them.  Another one has pages between them that are right: better
 * sent once more than not at all.
 */
void ram_suspects_verdict(RamSuspects *s, uint32_t round, bool exact,
                          RamVerdict *verdict);

/**
 * ram_suspects_check: have all pages come right?
 *
 * Returns: %true; %false with @errp set, which names the first that has not.
 */
bool ram_suspects_check(RamSuspects *s, Error **errp);

#endif
