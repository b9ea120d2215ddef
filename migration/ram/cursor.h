/*
 * Migration stream version 4: the cursor over the dirty bitmaps
 *
 * Pages are taken in rounds: between two of them, no page is taken twice.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_CURSOR_H
#define MIGRATION_RAM_CURSOR_H

#include "exec/ramblock.h"

/* Most runs of pages that are taken at once */
#define RAM_TAKE_RUNS 128

/* Zeros: at the beginning, in round 0 */
typedef struct RamCursor {
    RAMBlock *block;        /* where it is; NULL: in front of the first */
    unsigned long page;
    unsigned version;       /* of the list of blocks */
    uint32_t round;
    bool begun;             /* pages of this round were taken */
} RamCursor;

typedef struct RamRun {
    unsigned long page;     /* in the block */
    unsigned long number;   /* of pages, at least 1 */
} RamRun;

/* Pages that were taken: clean now, and to be sent by who has taken them */
typedef struct RamTake {
    RAMBlock *block;
    uint32_t round;
    unsigned long pages;    /* in all runs */
    unsigned count;         /* of runs */
    RamRun runs[RAM_TAKE_RUNS];
} RamTake;

/**
 * ram_cursor_take: take the next dirty pages
 *
 * @most: so many pages, at least 1
 * @take: filled in; its pages are of one block and one round
 *
 * By one thread at a time, in an RCU read section, which lasts as long as
 * @take is used.
 *
 * Returns: %false if no page is dirty.
 */
bool ram_cursor_take(RamCursor *cursor, unsigned long most, RamTake *take);

/**
 * ram_cursor_end_round: pages that are taken from now on are of another round
 *
 * Returns: the round that has ended.
 */
uint32_t ram_cursor_end_round(RamCursor *cursor);

#endif
