/*
 * Migration stream version 4: verdicts, the source
 *
 * Implements docs/devel/migration-v4/ram.rst, "Healing".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "qemu/rcu.h"
#include "qemu/stats64.h"
#include "qapi/error.h"
#include "migration/compat/peer.h"
#include "migration/ram.h"
#include "migration/ram/verdict.h"
#include "trace.h"

/* What is asked and answered: for migration_peer_locked() */
static uint32_t asked;          /* the last round of which; 0: none */
static RamVerdict heard;        /* the last answer; round 0: none yet */

/* The migration thread's */
static RamStubborn stubborn;

static Stat64 healed;

/* Is what the destination speaks of there? */
static bool check_range(const RamVerdictRange *range, Error **errp)
{
    uint64_t length = (uint64_t)range->pages * qemu_target_page_size();
    RAMBlock *block;

    RCU_READ_LOCK_GUARD();
    block = qemu_ram_block_by_name(range->block);
    if (!block || ramblock_is_ignored(block)) {
        error_setg(errp, "the verdict is on block '%s', which %s", range->block,
                   block ? "is not migrated" : "is not there");
        return false;
    }
    if (range->offset > block->used_length ||
        length > block->used_length - range->offset) {
        error_setg(errp, "the verdict is on more than block '%s' has: expected "
                   "pages below 0x%" PRIx64 ", got %" PRIu32 " pages at offset "
                   "0x%" PRIx64, range->block, (uint64_t)block->used_length,
                   range->pages, range->offset);
        return false;
    }
    return true;
}

static bool hear_verdict(const GByteArray *payload, Error **errp)
{
    g_auto(RamVerdict) verdict = { };

    if (!ram_verdict_decode(payload->data, payload->len,
                            qemu_target_page_size(), &verdict, errp)) {
        return false;
    }
    if (verdict.round <= heard.round || verdict.round > asked) {
        error_setg(errp, "the verdict is on a round that nobody asked about: "
                   "expected one behind %" PRIu32 " and up to %" PRIu32
                   ", got %" PRIu32, heard.round, asked, verdict.round);
        return false;
    }
    for (uint32_t i = 0; i < verdict.count; i++) {
        if (!check_range(&verdict.ranges[i], errp)) {
            return false;
        }
    }
    trace_ram_verdict_heard(verdict.round, verdict.count);
    ram_verdict_clear(&heard);
    heard = verdict;
    verdict = (RamVerdict) { };
    return true;
}

static const MigrationPeerPages verdict_pages = {
    .verdict = hear_verdict,
};

static void __attribute__((constructor)) ram_verdict_init(void)
{
    migration_peer_set_pages(&verdict_pages);
}

static void forget(void *opaque)
{
    asked = 0;
    ram_verdict_clear(&heard);
}

void ram_verdict_start(void)
{
    stat64_init(&healed, 0);
}

void ram_verdict_end(void)
{
    migration_peer_locked(forget, NULL);
    ram_verdict_clear(&stubborn.last);
    stubborn.tries = 0;
}

static void ask(void *opaque)
{
    const uint32_t *round = opaque;

    assert(*round > asked);
    asked = *round;
}

void ram_verdict_ask(uint32_t round)
{
    migration_peer_locked(ask, &round);
}

static bool has_heard(void)
{
    return heard.round == asked;
}

/* Leaves the round, which is what the next answer is held against */
static void take(void *opaque)
{
    RamVerdict *verdict = opaque;

    *verdict = heard;
    heard.ranges = NULL;
    heard.count = 0;
}

bool ram_verdict_wait(uint32_t round, bool stopped, RamVerdict *verdict,
                      Error **errp)
{
    assert(round == asked);
    if (!migration_peer_wait(has_heard, "its verdict on the pages that it got",
                             errp)) {
        return false;
    }
    migration_peer_locked(take, verdict);
    return !stopped || ram_stubborn_check(&stubborn, verdict,
                                          qemu_target_page_size(), errp);
}

void ram_verdict_heal(uint64_t pages)
{
    stat64_add(&healed, pages);
}

uint64_t ram_verdict_healed(void)
{
    return stat64_get(&healed);
}
