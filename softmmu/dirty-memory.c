/*
 * The dirty bitmaps, each allocated where and while somebody needs it
 *
 * Readers and writers of bits are under RCU and take no lock.  Whoever changes
 * which blocks there are makes a new array of them and publishes it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/lockable.h"
#include "exec/dirty-memory.h"
#include "exec/target_page.h"

/* A block that is freed when nobody can be looking at it any more */
typedef struct DroppedBlock {
    struct rcu_head rcu;
    unsigned long *bitmap;
} DroppedBlock;

/* Who wants blocks of one bitmap */
typedef struct DirtyMemoryUsers {
    unsigned of_all;
    unsigned *of_block;
} DirtyMemoryUsers;

static QemuMutex lock;
static DirtyMemoryUsers users[DIRTY_MEMORY_NUM];
static unsigned long *spare;

static void __attribute__((constructor)) dirty_memory_init(void)
{
    qemu_mutex_init(&lock);
}

bool dirty_memory_is_spare(const unsigned long *block)
{
    return block == spare;
}

static unsigned long *block_new(void)
{
    unsigned long *bitmap = bitmap_try_new(DIRTY_MEMORY_BLOCK_SIZE);

    if (bitmap) {
        bitmap_set(bitmap, 0, DIRTY_MEMORY_BLOCK_SIZE);
    }
    return bitmap;
}

/*
 * Is there room for so many?  Asked for as one, or a want that fails would
 * leave nothing to those who cannot do without.
 */
static bool has_room(unsigned count)
{
    unsigned long *probe = bitmap_try_new(count * DIRTY_MEMORY_BLOCK_SIZE);

    g_free(probe);
    return probe || !count;
}

static void free_dropped(DroppedBlock *dropped)
{
    g_free(dropped->bitmap);
    g_free(dropped);
}

static void block_drop(unsigned long *bitmap)
{
    DroppedBlock *dropped = g_new(DroppedBlock, 1);

    dropped->bitmap = bitmap;
    call_rcu(dropped, free_dropped, rcu);
}

static DirtyMemoryBlocks *blocks_new(unsigned count)
{
    return g_malloc(sizeof(DirtyMemoryBlocks) +
                    count * sizeof(unsigned long *));
}

static void publish(unsigned client, DirtyMemoryBlocks *blocks)
{
    DirtyMemoryBlocks *old = ram_list.dirty_memory[client];

    qatomic_rcu_set(&ram_list.dirty_memory[client], blocks);
    if (old) {
        g_free_rcu(old, rcu);
    }
}

static bool is_wanted(const DirtyMemoryUsers *u, unsigned i)
{
    return u->of_all || u->of_block[i];
}

/*
 * Makes the blocks of a client what its users want.  If there is no memory for
 * one, nothing changes.
 */
static bool follow_users(unsigned client, Error **errp)
{
    const DirtyMemoryUsers *u = &users[client];
    DirtyMemoryBlocks *old = ram_list.dirty_memory[client];
    unsigned count = ram_list.num_dirty_blocks, missing = 0;
    DirtyMemoryBlocks *new = blocks_new(count);
    bool ok;

    for (unsigned i = 0; i < count; i++) {
        new->blocks[i] = is_wanted(u, i) ? old->blocks[i] : spare;
        missing += is_wanted(u, i) && old->blocks[i] == spare;
    }
    ok = has_room(missing);
    for (unsigned i = 0; i < count && ok; i++) {
        if (is_wanted(u, i) && old->blocks[i] == spare) {
            new->blocks[i] = block_new();
            ok = new->blocks[i];
        }
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned long *gone = ok ? old->blocks[i] : new->blocks[i];

        if (new->blocks[i] != old->blocks[i] && gone != spare) {
            block_drop(gone);
        }
    }
    if (!ok) {
        g_free(new);
        error_setg(errp, "there is no memory to track which pages are "
                   "written: expected %zu bytes", missing *
                   BITS_TO_LONGS(DIRTY_MEMORY_BLOCK_SIZE) *
                   sizeof(unsigned long));
        return false;
    }
    publish(client, new);
    return true;
}

/* One more user, or one less */
static void count_user(unsigned client, ram_addr_t start, ram_addr_t length,
                       int by)
{
    DirtyMemoryUsers *u = &users[client];
    ram_addr_t size = DIRTY_MEMORY_BLOCK_SIZE * qemu_target_page_size();

    if (length == DIRTY_MEMORY_ALL) {
        u->of_all += by;
        return;
    }
    for (ram_addr_t i = start / size; i <= (start + length - 1) / size; i++) {
        assert(i < ram_list.num_dirty_blocks);
        u->of_block[i] += by;
    }
}

bool dirty_memory_want(unsigned client, ram_addr_t start, ram_addr_t length,
                       Error **errp)
{
    QEMU_LOCK_GUARD(&lock);
    count_user(client, start, length, 1);
    if (!follow_users(client, errp)) {
        count_user(client, start, length, -1);
        return false;
    }
    return true;
}

void dirty_memory_drop(unsigned client, ram_addr_t start, ram_addr_t length)
{
    QEMU_LOCK_GUARD(&lock);
    count_user(client, start, length, -1);
    /* Takes no memory for bitmaps: it cannot fail */
    follow_users(client, &error_abort);
}

void dirty_memory_want_code(ram_addr_t addr)
{
    unsigned i = addr / qemu_target_page_size() / DIRTY_MEMORY_BLOCK_SIZE;
    bool there;

    WITH_RCU_READ_LOCK_GUARD() {
        DirtyMemoryBlocks *blocks =
            qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_CODE]);

        there = blocks->blocks[i] != spare;
    }
    if (!there) {
        dirty_memory_want(DIRTY_MEMORY_CODE, addr, 1, &error_abort);
    }
}

void dirty_memory_add_blocks(unsigned count)
{
    unsigned before = ram_list.num_dirty_blocks;

    QEMU_LOCK_GUARD(&lock);
    if (!spare) {
        spare = bitmap_new(DIRTY_MEMORY_BLOCK_SIZE);
        bitmap_set(spare, 0, DIRTY_MEMORY_BLOCK_SIZE);
    }
    for (int client = 0; client < DIRTY_MEMORY_NUM; client++) {
        DirtyMemoryUsers *u = &users[client];
        DirtyMemoryBlocks *old = ram_list.dirty_memory[client];
        DirtyMemoryBlocks *new = blocks_new(count);

        u->of_block = g_renew(unsigned, u->of_block, count);
        for (unsigned i = 0; i < count; i++) {
            new->blocks[i] = i < before ? old->blocks[i] : spare;
            u->of_block[i] = i < before ? u->of_block[i] : 0;
        }
        publish(client, new);
    }
    ram_list.num_dirty_blocks = count;
    for (int client = 0; client < DIRTY_MEMORY_NUM; client++) {
        if (users[client].of_all) {
            follow_users(client, &error_abort);
        }
    }
}
