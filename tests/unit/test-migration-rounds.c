/*
 * Migration stream version 4: the cursor, and rounds in many threads
 *
 * "Rounds" and "Healing" of docs/devel/migration-v4/ram.rst without a machine:
 * a guest writes while senders take its pages at the cursor, and loaders put
 * them into another memory, each behind a sender, with nothing but the barrier
 * between them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/rcu.h"
#include "qemu/rcu_queue.h"
#include "exec/target_page.h"
#include "qapi/error.h"
#include "migration/ram.h"
#include "migration/ram/barrier.h"
#include "migration/ram/cursor.h"
#include "migration/ram/suspects.h"

#define PAGE_BITS 12
#define PAGE (1 << PAGE_BITS)

/* What the cursor has from QEMU */

RAMList ram_list;
static QemuMutex pages_lock;
static RAMBlock *ignored;

int qemu_target_page_bits(void)
{
    return PAGE_BITS;
}

bool ramblock_is_ignored(RAMBlock *block)
{
    return block == ignored;
}

void ram_pages_lock(void)
{
    qemu_mutex_lock(&pages_lock);
}

void ram_pages_unlock(void)
{
    qemu_mutex_unlock(&pages_lock);
}

void ram_pages_take(RAMBlock *block, unsigned long page, unsigned long number)
{
    bitmap_clear(block->bmap, page, number);
}

static RAMBlock *block_add(const char *name, unsigned long pages)
{
    RAMBlock *block = g_new0(RAMBlock, 1);

    pstrcpy(block->idstr, sizeof(block->idstr), name);
    block->used_length = (ram_addr_t)pages << PAGE_BITS;
    block->bmap = bitmap_new(pages);
    QLIST_INSERT_HEAD_RCU(&ram_list.blocks, block, next);
    qatomic_inc(&ram_list.version);
    return block;
}

/* While nobody else looks */
static void block_remove(RAMBlock *block)
{
    QLIST_REMOVE_RCU(block, next);
    qatomic_inc(&ram_list.version);
    g_free(block->bmap);
    g_free(block);
}

/* The cursor */

static void begin(RamCursor *cursor)
{
    *cursor = (RamCursor) { .version = ram_list.version, .round = 1 };
}

/* Takes up to @most pages; @words: "BLOCK ROUND: PAGE+NUMBER..." or "" */
static void expect_take(RamCursor *cursor, unsigned long most,
                        const char *words)
{
    g_autoptr(GString) got = g_string_new("");
    RamTake take;

    if (ram_cursor_take(cursor, most, &take)) {
        unsigned long pages = 0;

        g_string_printf(got, "%s %u:", take.block->idstr, take.round);
        for (unsigned i = 0; i < take.count; i++) {
            const RamRun *run = &take.runs[i];

            g_string_append_printf(got, " %lu+%lu", run->page, run->number);
            g_assert_cmpuint(find_next_bit(take.block->bmap,
                                           run->page + run->number, run->page),
                             ==, run->page + run->number);
            pages += run->number;
        }
        g_assert_cmpuint(take.pages, ==, pages);
        g_assert_cmpuint(pages, <=, most);
    }
    g_assert_cmpstr(got->str, ==, words);
}

static void test_take(void)
{
    RAMBlock *c = block_add("c", 1000000);
    RAMBlock *b = block_add("b", 10);
    RAMBlock *a = block_add("a", 100);
    RamCursor cursor;

    RCU_READ_LOCK_GUARD();
    begin(&cursor);
    expect_take(&cursor, 8, "");
    g_assert_cmpuint(cursor.round, ==, 1);

    ignored = b;
    bitmap_set(a->bmap, 3, 5);
    bitmap_set(a->bmap, 99, 1);
    bitmap_set(b->bmap, 0, 10);
    bitmap_set(c->bmap, 0, 1);
    bitmap_set(c->bmap, 999999, 1);
    expect_take(&cursor, 3, "a 1: 3+3");
    expect_take(&cursor, 3, "a 1: 6+2 99+1");
    expect_take(&cursor, 3, "c 1: 0+1");
    expect_take(&cursor, 3, "c 1: 999999+1");
    expect_take(&cursor, 3, "");
    g_assert_cmpuint(find_first_zero_bit(b->bmap, 10), ==, 10);

    /* No more runs than there is room for */
    for (unsigned i = 0; i < 2 * RAM_TAKE_RUNS + 2; i += 2) {
        bitmap_set(c->bmap, i, 1);
    }
    for (unsigned i = 0, left = RAM_TAKE_RUNS + 1; left; i++) {
        RamTake take;

        g_assert_true(ram_cursor_take(&cursor, 4096, &take));
        g_assert_cmpuint(take.count, <=, RAM_TAKE_RUNS);
        left -= take.count;
        g_assert_cmpuint(i, <, 2);
    }
    ignored = NULL;
    block_remove(a);
    block_remove(b);
    block_remove(c);
}

static void test_rounds(void)
{
    RAMBlock *b = block_add("b", 100);
    RAMBlock *a = block_add("a", 100);
    RamCursor cursor;

    RCU_READ_LOCK_GUARD();
    begin(&cursor);
    bitmap_set(a->bmap, 10, 2);
    bitmap_set(b->bmap, 50, 1);
    expect_take(&cursor, 1, "a 1: 10+1");
    /* Behind the cursor: of the next round, unlike what is ahead of it */
    bitmap_set(a->bmap, 10, 1);
    bitmap_set(a->bmap, 20, 1);
    expect_take(&cursor, 9, "a 1: 11+1 20+1");
    expect_take(&cursor, 9, "b 1: 50+1");
    expect_take(&cursor, 9, "a 2: 10+1");

    /* A round that somebody ends begins anew */
    bitmap_set(a->bmap, 5, 1);
    bitmap_set(b->bmap, 5, 1);
    g_assert_cmpuint(ram_cursor_end_round(&cursor), ==, 2);
    expect_take(&cursor, 9, "a 3: 5+1");
    expect_take(&cursor, 9, "b 3: 5+1");
    expect_take(&cursor, 9, "");
    /* Rounds without pages are no rounds */
    bitmap_set(b->bmap, 5, 1);
    expect_take(&cursor, 9, "b 4: 5+1");
    block_remove(a);
    block_remove(b);
}

/* Where the cursor was may be no more */
static void test_blocks(void)
{
    RAMBlock *b = block_add("b", 100), *a;
    RamCursor cursor;

    RCU_READ_LOCK_GUARD();
    begin(&cursor);
    bitmap_set(b->bmap, 10, 20);
    expect_take(&cursor, 4, "b 1: 10+4");
    a = block_add("a", 100);
    bitmap_set(a->bmap, 0, 1);
    expect_take(&cursor, 4, "a 2: 0+1");
    expect_take(&cursor, 4, "b 2: 14+4");
    block_remove(b);
    expect_take(&cursor, 4, "");
    block_remove(a);
    expect_take(&cursor, 4, "");
}

/* Many threads */

#define CHANNELS 3
#define PAGES 512           /* of each of two blocks */
#define WRITES 60000
#define BURST 4096          /* writes, before the guest waits for the senders */
#define QUEUE 16

/* What a sender puts into a channel */
typedef struct Item {
    enum { SEND_PAGE, SEND_ROUND, SEND_END } kind;
    uint32_t round;
    unsigned block;
    unsigned long page;
    uint32_t value;
    bool damaged;
} Item;

typedef struct Channel {
    unsigned number;
    QemuThread sender, loader;
    QemuMutex lock;         /* protects what is below */
    QemuCond changed;
    Item items[QUEUE];
    unsigned put, taken;
    GRand *luck;            /* the sender's */
} Channel;

static struct {
    RAMBlock *blocks[2];
    uint32_t memory[2][PAGES];      /* the guest's */
    uint32_t copy[2][PAGES];        /* the loaders', without a lock */
    QemuMutex lock;                 /* protects what is below */
    RamCursor cursor;
    uint32_t last[2][PAGES];        /* the round in which a page was taken */
    bool over;
    RamBarrier barrier;
    RamSuspects *suspects;
    Channel channels[CHANNELS];
} all;

static void channel_put(Channel *c, Item item)
{
    QEMU_LOCK_GUARD(&c->lock);
    while (c->put - c->taken == QUEUE) {
        qemu_cond_wait(&c->changed, &c->lock);
    }
    c->items[c->put++ % QUEUE] = item;
    qemu_cond_broadcast(&c->changed);
}

static Item channel_take(Channel *c)
{
    QEMU_LOCK_GUARD(&c->lock);
    while (c->put == c->taken) {
        qemu_cond_wait(&c->changed, &c->lock);
    }
    qemu_cond_broadcast(&c->changed);
    return c->items[c->taken++ % QUEUE];
}

static void send_pages(Channel *c, const RamTake *take)
{
    unsigned block = take->block == all.blocks[1];

    for (unsigned i = 0; i < take->count; i++) {
        const RamRun *run = &take->runs[i];

        for (unsigned n = 0; n < run->number; n++) {
            Item item = { SEND_PAGE, take->round, block, run->page + n };

            item.damaged = g_rand_int_range(c->luck, 0, 40) == 0;
            item.value = qatomic_read(&all.memory[block][item.page]) +
                         item.damaged;
            channel_put(c, item);
        }
    }
}

/* Returns the round that it belongs to, taken or not */
static uint32_t take_pages(RamTake *take, bool *over)
{
    QEMU_LOCK_GUARD(&all.lock);
    *over = all.over;
    if (!ram_cursor_take(&all.cursor, 16, take)) {
        return all.cursor.round;
    }
    for (unsigned i = 0; i < take->count; i++) {
        const RamRun *run = &take->runs[i];
        uint32_t *last = all.last[take->block == all.blocks[1]];

        /* No page is taken twice in a round */
        for (unsigned n = 0; n < run->number; n++) {
            g_assert_cmpuint(last[run->page + n], <, take->round);
            last[run->page + n] = take->round;
        }
    }
    return take->round;
}

static void *sender_run(void *opaque)
{
    Channel *c = opaque;
    uint32_t ended = 0;
    bool over = false;

    rcu_register_thread();
    while (!over) {
        RamTake take;
        uint32_t round;

        WITH_RCU_READ_LOCK_GUARD() {
            round = take_pages(&take, &over);
            while (ended < round - 1) {
                channel_put(c, (Item) { SEND_ROUND, ++ended });
            }
            send_pages(c, &take);
        }
        g_usleep(take.count ? 0 : 100);
    }
    channel_put(c, (Item) { SEND_END });
    rcu_unregister_thread();
    return NULL;
}

static void *loader_run(void *opaque)
{
    g_autofree RamPacket *packet = g_new0(RamPacket, 1);
    Channel *c = opaque;
    Item item;

    while ((item = channel_take(c)).kind != SEND_END) {
        if (item.kind == SEND_ROUND) {
            g_assert_true(ram_barrier_arrive(&all.barrier, c->number,
                                             item.round, &error_abort));
        } else {
            unsigned long wrong = item.damaged;

            all.copy[item.block][item.page] = item.value;
            packet->count = 1;
            packet->entries[0].offset = item.page * PAGE;
            pstrcpy(packet->name, sizeof(packet->name),
                    all.blocks[item.block]->idstr);
            ram_suspects_note(all.suspects, packet, PAGES,
                              item.damaged ? &wrong : NULL);
        }
    }
    ram_barrier_end(&all.barrier, c->number);
    return NULL;
}

static bool all_clean(void)
{
    QEMU_LOCK_GUARD(&pages_lock);
    return bitmap_empty(all.blocks[0]->bmap, PAGES) &&
           bitmap_empty(all.blocks[1]->bmap, PAGES);
}

static void wait_until_clean(void)
{
    while (!all_clean()) {
        g_usleep(100);
    }
}

static void *guest_run(void *opaque)
{
    g_autoptr(GRand) luck = g_rand_new_with_seed(7);

    for (unsigned i = 0; i < WRITES; i++) {
        unsigned block = g_rand_boolean(luck);
        unsigned long page = g_rand_int_range(luck, 0, PAGES);

        qatomic_inc(&all.memory[block][page]);
        WITH_QEMU_LOCK_GUARD(&pages_lock) {
            set_bit(page, all.blocks[block]->bmap);
        }
        if (i % 1024 == 0) {
            /* As if blocks came or went */
            qatomic_inc(&ram_list.version);
        }
        if (i % BURST == 0) {
            wait_until_clean();
        }
    }
    return NULL;
}

/* Asks what is still wrong, and marks it; returns whether anything is */
static bool heal(void)
{
    g_auto(RamVerdict) verdict = { };
    uint32_t round;

    wait_until_clean();
    WITH_QEMU_LOCK_GUARD(&all.lock) {
        round = ram_cursor_end_round(&all.cursor);
    }
    g_assert_true(ram_barrier_wait(&all.barrier, round, &error_abort));
    ram_suspects_verdict(all.suspects, round, true, &verdict);
    QEMU_LOCK_GUARD(&pages_lock);
    for (unsigned i = 0; i < verdict.count; i++) {
        const RamVerdictRange *range = &verdict.ranges[i];
        unsigned block = !strcmp(range->block, all.blocks[1]->idstr);

        bitmap_set(all.blocks[block]->bmap, range->offset / PAGE,
                   range->pages);
    }
    return verdict.count;
}

static void channels_begin(void)
{
    for (unsigned n = 0; n < CHANNELS; n++) {
        Channel *c = &all.channels[n];

        *c = (Channel) { .number = n, .luck = g_rand_new_with_seed(n) };
        qemu_mutex_init(&c->lock);
        qemu_cond_init(&c->changed);
        qemu_thread_create(&c->loader, "loader", loader_run, c,
                           QEMU_THREAD_JOINABLE);
        qemu_thread_create(&c->sender, "sender", sender_run, c,
                           QEMU_THREAD_JOINABLE);
    }
}

static void channels_end(void)
{
    WITH_QEMU_LOCK_GUARD(&all.lock) {
        all.over = true;
    }
    for (unsigned n = 0; n < CHANNELS; n++) {
        Channel *c = &all.channels[n];

        qemu_thread_join(&c->sender);
        qemu_thread_join(&c->loader);
        g_rand_free(c->luck);
        qemu_cond_destroy(&c->changed);
        qemu_mutex_destroy(&c->lock);
    }
}

static void test_threads(void)
{
    QemuThread guest;

    for (unsigned i = 0; i < 2; i++) {
        all.blocks[i] = block_add(i ? "one" : "zero", PAGES);
        bitmap_set(all.blocks[i]->bmap, 0, PAGES);
    }
    qemu_mutex_init(&all.lock);
    begin(&all.cursor);
    ram_barrier_init(&all.barrier, CHANNELS, NULL, NULL);
    all.suspects = ram_suspects_new(PAGE);
    qemu_thread_create(&guest, "guest", guest_run, NULL, QEMU_THREAD_JOINABLE);
    channels_begin();
    qemu_thread_join(&guest);
    while (heal()) {
        continue;
    }
    /* Nobody has to end for what came to be all there */
    g_assert_cmpmem(all.copy, sizeof(all.copy), all.memory, sizeof(all.memory));
    g_assert_true(ram_suspects_check(all.suspects, &error_abort));
    g_assert_cmpuint(ram_suspects_count(all.suspects), ==, 0);
    /* As pages of one burst have to come again in the next */
    g_test_message("%u rounds", all.cursor.round - 1);
    g_assert_cmpuint(all.cursor.round, >, WRITES / BURST);
    channels_end();
    ram_suspects_free(all.suspects);
    ram_barrier_destroy(&all.barrier);
    qemu_mutex_destroy(&all.lock);
    block_remove(all.blocks[0]);
    block_remove(all.blocks[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_mutex_init(&pages_lock);
    g_test_add_func("/migration/rounds/take", test_take);
    g_test_add_func("/migration/rounds/cursor", test_rounds);
    g_test_add_func("/migration/rounds/blocks", test_blocks);
    g_test_add_func("/migration/rounds/threads", test_threads);
    return g_test_run();
}
