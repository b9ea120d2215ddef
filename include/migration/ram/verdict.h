/*
 * Migration stream version 4: verdicts, which pages came wrong
 *
 * What the destination answers to a ROUND that asks, and what the source does
 * with it.  Implements "Verdicts" of docs/devel/migration-v4/wire-format.rst
 * and "Healing" of docs/devel/migration-v4/ram.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_VERDICT_H
#define MIGRATION_RAM_VERDICT_H

/* Most ranges of one verdict */
#define RAM_VERDICT_RANGES_MAX 1024

/* How often a page is sent again before the migration fails */
#define RAM_VERDICT_TRIES 3

/* A range as it stands on the wire, behind its name; big endian */
#define RAM_VERDICT_RANGE_SIZE 12

/* Round and number of ranges, as they stand on the wire; big endian */
#define RAM_VERDICT_HEADER_SIZE 8

/* Longest verdict, in bytes */
#define RAM_VERDICT_MAX (RAM_VERDICT_HEADER_SIZE + RAM_VERDICT_RANGES_MAX * \
                         (1 + 255 + RAM_VERDICT_RANGE_SIZE))

/* Pages that follow one another */
typedef struct RamVerdictRange {
    char block[256];
    uint64_t offset;            /* of the first page, in bytes */
    uint32_t pages;             /* at least 1 */
} RamVerdictRange;

/* What is to be sent again; zeros: nothing is */
typedef struct RamVerdict {
    uint32_t round;             /* which it answers */
    uint32_t count;             /* of ranges; 0: all is right */
    RamVerdictRange *ranges;    /* owned */
} RamVerdict;

void ram_verdict_clear(RamVerdict *verdict);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RamVerdict, ram_verdict_clear)

/* Of all of its ranges */
uint64_t ram_verdict_pages(const RamVerdict *verdict);

/* The codec, which is pure */

/**
 * ram_verdict_encode: write a verdict
 *
 * @payload: empty; what was written is appended
 */
void ram_verdict_encode(const RamVerdict *verdict, GByteArray *payload);

/**
 * ram_verdict_decode: check and read a verdict
 *
 * @wire: a VERDICT record's whole payload
 * @length: its length, in bytes
 * @page_size: of the guest's pages, in bytes; a power of 2
 * @verdict: empty, filled in on success; the caller clears it
 *
 * Offsets are held against @page_size and against overflow, not against blocks.
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_verdict_decode(const uint8_t *wire, size_t length, size_t page_size,
                        RamVerdict *verdict, Error **errp);

/* Pages that were asked for again, and came wrong again */
typedef struct RamStubborn {
    RamVerdict last;            /* what the last verdict asked for of them */
    unsigned tries;             /* how often they came since */
} RamStubborn;

/**
 * ram_stubborn_check: is there any use in sending pages again?
 *
 * @s: zeros before the first verdict; ram_verdict_clear() on @s->last in the
 * end
 * @now: another verdict, of a guest that has stopped
 * @page_size: of the guest's pages, in bytes
 *
 * Returns: %true; %false with @errp set, which names block and offset, if a
 * page came wrong %RAM_VERDICT_TRIES times after it was asked for.
 */
bool ram_stubborn_check(RamStubborn *s, const RamVerdict *now,
                        size_t page_size, Error **errp);

/* The source; only where migration_peer_answers() */

/**
 * ram_verdict_start: a migration begins
 *
 * Before the first ROUND is sent.
 */
void ram_verdict_start(void);

/**
 * ram_verdict_end: a migration ends
 *
 * Forgets what was asked and answered, so that no verdict is expected before
 * the next one asks for it.
 */
void ram_verdict_end(void);

/**
 * ram_verdict_ask: a ROUND that asks for a verdict is about to be sent
 *
 * @round: larger than that of any before
 */
void ram_verdict_ask(uint32_t round);

/**
 * ram_verdict_wait: wait for the answer
 *
 * @round: for which ram_verdict_ask() was called last
 * @stopped: the guest does not run, so that a page that is wrong is damage;
 * one that is sent again too often is an error then
 * @verdict: empty, filled in on success; blocks and ranges are there in this
 * guest.  The caller clears it.
 *
 * At most 'peer-timeout'; ends when the migration is cancelled, refused or
 * cut off.  For the migration thread, without the BQL.
 *
 * Returns: %true, or %false.  Then @errp is set, unless it was refused or
 * cancelled: that is known already, see migrate_set_error().
 */
bool ram_verdict_wait(uint32_t round, bool stopped, RamVerdict *verdict,
                      Error **errp);

/**
 * ram_verdict_heal: so many pages are sent again because they came wrong
 *
 * Pages that a verdict names and that are dirty all the same do not count.
 */
void ram_verdict_heal(uint64_t pages);

/**
 * ram_verdict_healed: how many that were in this migration, for query-migrate
 */
uint64_t ram_verdict_healed(void);

#endif
