/*
 * The dirty bitmaps, each allocated where and while somebody needs it
 *
 * ram_list.dirty_memory has a bitmap for each client, in blocks of
 * DIRTY_MEMORY_BLOCK_SIZE pages.  A block that nobody has asked for is a
 * spare one: the same for all, with all bits set, so that whoever reads or
 * sets bits need not know.  What is read of it means that a page is dirty,
 * and nothing else; bits that are set there are lost.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EXEC_DIRTY_MEMORY_H
#define EXEC_DIRTY_MEMORY_H

#include "exec/cpu-common.h"
#include "exec/ramlist.h"

/* All memory that there is, and that will be while it is wanted */
#define DIRTY_MEMORY_ALL RAM_ADDR_MAX

/**
 * dirty_memory_want: a client begins to track which pages are written
 *
 * @client: DIRTY_MEMORY_VGA, _CODE or _MIGRATION
 * @start: where the memory begins, in bytes
 * @length: in bytes, or %DIRTY_MEMORY_ALL with @start 0
 * @errp: set if there is no room for the bitmap
 *
 * Pages are dirty at first, unless somebody wanted them for this client
 * already.  In any thread; ends with dirty_memory_drop() of the same range.
 *
 * Returns: %true, or %false with @errp set, and nothing has changed.
 */
bool dirty_memory_want(unsigned client, ram_addr_t start, ram_addr_t length,
                       Error **errp);

/**
 * dirty_memory_drop: a client has no interest in a range any more
 *
 * What nobody wants is freed after an RCU grace period.
 */
void dirty_memory_drop(unsigned client, ram_addr_t start, ram_addr_t length);

/**
 * dirty_memory_want_code: TCG is about to translate code of a page
 *
 * @addr: in the page
 *
 * The bitmap of that block stays; it is where code is.
 */
void dirty_memory_want_code(ram_addr_t addr);

/* Is this the spare block, of which no bit may be cleared? */
bool dirty_memory_is_spare(const unsigned long *block);

/**
 * dirty_memory_add_blocks: memory grows
 *
 * @count: how many blocks there are then, which is more than before
 *
 * With the ramlist lock held.
 */
void dirty_memory_add_blocks(unsigned count);

#endif
