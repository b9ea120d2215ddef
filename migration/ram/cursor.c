/*
 * Migration stream version 4: the cursor over the dirty bitmaps
 *
 * Implements the source's part of "Rounds" of docs/devel/migration-v4/ram.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/rcu_queue.h"
#include "exec/ramlist.h"
#include "exec/target_page.h"
#include "migration/ram.h"
#include "cursor.h"

/* Most clean pages that are looked at while others wait for the bitmaps */
#define SCAN_MOST (1UL << 18)

static RAMBlock *cursor_block(RAMBlock *block)
{
    while (block && ramblock_is_ignored(block)) {
        block = QLIST_NEXT_RCU(block, next);
    }
    return block;
}

uint32_t ram_cursor_end_round(RamCursor *cursor)
{
    cursor->begun = false;
    cursor->block = NULL;
    return cursor->round++;
}

/* Blocks came or went: where the cursor was may be no more */
static void cursor_follow(RamCursor *cursor)
{
    unsigned version = qatomic_read(&ram_list.version);

    if (cursor->version != version) {
        cursor->version = version;
        cursor->block = NULL;
        if (cursor->begun) {
            ram_cursor_end_round(cursor);
        }
    }
    /* The version is read before the blocks */
    smp_rmb();
}

/*
 * Goes on to the next block.  Returns whether there is one, in this round or
 * in the next.
 */
static bool cursor_next_block(RamCursor *cursor, unsigned *passes)
{
    if (cursor->block) {
        cursor->block = cursor_block(QLIST_NEXT_RCU(cursor->block, next));
    }
    if (!cursor->block) {
        if (cursor->begun) {
            ram_cursor_end_round(cursor);
        }
        cursor->block = cursor_block(QLIST_FIRST_RCU(&ram_list.blocks));
        ++*passes;
    }
    cursor->page = 0;
    /* From where it was to the end, and then all */
    return cursor->block && *passes < 2;
}

bool ram_cursor_take(RamCursor *cursor, unsigned long most, RamTake *take)
{
    unsigned passes = 0;
    bool more;

    take->pages = 0;
    take->count = 0;
    ram_pages_lock();
    cursor_follow(cursor);
    more = cursor->block || cursor_next_block(cursor, &passes);
    while (more && take->pages < most && take->count < RAM_TAKE_RUNS) {
        RAMBlock *block = cursor->block;
        unsigned long size = block->used_length >> qemu_target_page_bits();
        unsigned long end = MIN(size, cursor->page + SCAN_MOST);
        unsigned long first = find_next_bit(block->bmap, end, cursor->page);
        RamRun *run = &take->runs[take->count];

        cursor->page = first;
        if (first < end) {
            end = MIN(end, first + most - take->pages);
            run->page = first;
            run->number = find_next_zero_bit(block->bmap, end, first + 1) -
                          first;
            ram_pages_take(block, first, run->number);
            cursor->page += run->number;
            cursor->begun = true;
            take->block = block;
            take->round = cursor->round;
            take->pages += run->number;
            take->count++;
        } else if (take->count) {
            /* Of the next block, or after a long way: the next time */
            break;
        } else if (end < size) {
            ram_pages_unlock();
            ram_pages_lock();
        } else {
            more = cursor_next_block(cursor, &passes);
        }
    }
    ram_pages_unlock();
    return take->count;
}
