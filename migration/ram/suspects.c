/*
 * Migration stream version 4: pages that came wrong
 *
 * Implements "Healing" of docs/devel/migration-v4/ram.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "migration/ram/suspects.h"

/* A block of which a page was suspect once */
typedef struct RamSuspectBlock {
    char name[256];
    uint64_t pages;             /* that there are bits for */
    unsigned long *bits;
} RamSuspectBlock;

struct RamSuspects {
    QemuMutex lock;             /* protects what is below */
    size_t page_size;
    GPtrArray *blocks;          /* of RamSuspectBlock, as they came */
    uint64_t count;             /* of all bits; read without the lock */
};

static void ram_suspect_block_free(void *opaque)
{
    RamSuspectBlock *block = opaque;

    g_free(block->bits);
    g_free(block);
}

RamSuspects *ram_suspects_new(size_t page_size)
{
    RamSuspects *s = g_new0(RamSuspects, 1);

    qemu_mutex_init(&s->lock);
    s->page_size = page_size;
    s->blocks = g_ptr_array_new_with_free_func(ram_suspect_block_free);
    return s;
}

void ram_suspects_free(RamSuspects *s)
{
    if (s) {
        g_ptr_array_unref(s->blocks);
        qemu_mutex_destroy(&s->lock);
        g_free(s);
    }
}

/* With room for @pages; NULL if it is not there and not to be made */
static RamSuspectBlock *ram_suspects_block(RamSuspects *s, const char *name,
                                           uint64_t pages, bool make)
{
    RamSuspectBlock *block;
    guint n;

    for (n = 0; n < s->blocks->len; n++) {
        block = g_ptr_array_index(s->blocks, n);
        if (!strcmp(block->name, name)) {
            break;
        }
    }
    if (n == s->blocks->len) {
        if (!make) {
            return NULL;
        }
        block = g_new0(RamSuspectBlock, 1);
        pstrcpy(block->name, sizeof(block->name), name);
        g_ptr_array_add(s->blocks, block);
    }
    if (block->pages < pages) {
        block->bits = bitmap_zero_extend(block->bits, block->pages, pages);
        block->pages = pages;
    }
    return block;
}

static void ram_suspects_set(RamSuspects *s, RamSuspectBlock *block,
                             uint64_t page, uint64_t pages, bool wrong)
{
    uint64_t count = s->count;

    if (wrong) {
        count += !test_and_set_bit(page, block->bits);
    } else {
        uint64_t end = page + pages;

        for (page = find_next_bit(block->bits, end, page); page < end;
             page = find_next_bit(block->bits, end, page + 1)) {
            clear_bit(page, block->bits);
            count--;
        }
    }
    qatomic_set(&s->count, count);
}

void ram_suspects_note(RamSuspects *s, const RamPacket *packet,
                       uint64_t block_pages, const unsigned long *wrong)
{
    RamSuspectBlock *block;

    /*
     * Who could make a page suspect that this packet has right has done so
     * before a round's end, for which all channels wait.
     */
    if (!wrong && !qatomic_read(&s->count)) {
        return;
    }
    QEMU_LOCK_GUARD(&s->lock);
    block = ram_suspects_block(s, packet->name, block_pages, wrong);
    for (uint32_t i = 0; block && i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];

        ram_suspects_set(s, block, entry->offset / s->page_size,
                         MAX(entry->zeros, 1), wrong && test_bit(i, wrong));
    }
}

uint64_t ram_suspects_count(RamSuspects *s)
{
    return qatomic_read(&s->count);
}

/* The first ranges, with up to @gap right pages inside; are these all? */
static bool ram_suspects_ranges(RamSuspects *s, uint64_t gap, GArray *ranges)
{
    g_array_set_size(ranges, 0);
    for (guint n = 0; n < s->blocks->len; n++) {
        RamSuspectBlock *block = g_ptr_array_index(s->blocks, n);
        uint64_t next = find_first_bit(block->bits, block->pages);

        while (next < block->pages) {
            RamVerdictRange range = { .offset = next * s->page_size };
            uint64_t end = next + 1;

            while ((next = find_next_bit(block->bits, block->pages, end)) <
                   block->pages && next - end <= gap &&
                   next - range.offset / s->page_size < UINT32_MAX) {
                end = next + 1;
            }
            range.pages = end - range.offset / s->page_size;
            pstrcpy(range.block, sizeof(range.block), block->name);
            if (ranges->len == RAM_VERDICT_RANGES_MAX) {
                return false;
            }
            g_array_append_val(ranges, range);
        }
    }
    return true;
}

void ram_suspects_verdict(RamSuspects *s, uint32_t round, bool exact,
                          RamVerdict *verdict)
{
    GArray *ranges = g_array_new(false, false, sizeof(RamVerdictRange));
    uint64_t gap = 0;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        /*
         * No range has pages of two blocks: of those behind the first 1024 an
         * exact verdict speaks the next time, and another one does not
         */
        while (s->count && !ram_suspects_ranges(s, gap, ranges) && !exact &&
               gap < UINT32_MAX) {
            gap = gap * 16 + 1;
        }
    }
    verdict->round = round;
    verdict->count = ranges->len;
    verdict->ranges = (RamVerdictRange *)g_array_free(ranges, false);
}

bool ram_suspects_check(RamSuspects *s, Error **errp)
{
    QEMU_LOCK_GUARD(&s->lock);
    for (guint n = 0; s->count && n < s->blocks->len; n++) {
        RamSuspectBlock *block = g_ptr_array_index(s->blocks, n);
        uint64_t page = find_first_bit(block->bits, block->pages);

        if (page < block->pages) {
            error_setg(errp, "block '%s', offset 0x%" PRIx64 ": the page is "
                       "damaged: its checksum does not fit (pages in all that "
                       "are: %" PRIu64 ")", block->name, page * s->page_size,
                       s->count);
            return false;
        }
    }
    return true;
}
