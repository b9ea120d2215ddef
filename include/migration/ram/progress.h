/*
 * How far a migration has come, and what holds it back
 *
 * The first part is pure: figures of the last second in, what follows from
 * them out.  The second collects these figures and shows what follows.
 * Implements "Progress" of docs/devel/migration-v4/progress.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_PROGRESS_H
#define MIGRATION_RAM_PROGRESS_H

#include "monitor/monitor.h"
#include "qapi/qapi-types-migration.h"
#include "qapi/qapi-types-migration-stream.h"

/* What a channel's thread did in a while, in nanoseconds */
typedef struct RamChannelFigures {
    uint64_t cpu;           /* on a CPU */
    uint64_t delay;         /* ready to run, and no CPU was free */
    uint64_t writing;       /* in writing, on a CPU or not */
    uint64_t receiver;      /* the receiver had no room for more */
} RamChannelFigures;

/* What a migration did in a while */
typedef struct RamProgressFigures {
    uint64_t interval;      /* how long that was, in nanoseconds */
    uint64_t bytes;         /* sent meanwhile */
    uint64_t memory;        /* bytes of the guest's, sent meanwhile or zero */
    uint64_t done;          /* likewise, since the beginning */
    uint64_t remaining;     /* bytes of the guest's memory, still to be sent */
    uint64_t dirty_rate;    /* bytes that the guest changes in a second */
    uint64_t limit;         /* bytes in a second that may be sent; 0: any */
    uint64_t downtime;      /* how long the guest may stand still, in ms */
    bool postcopy;          /* the guest runs at the destination already */
    const RamChannelFigures *channels;
    unsigned n_channels;    /* 0 if nothing is known of them */
} RamProgressFigures;

/* What follows from that */
typedef struct RamProgress {
    unsigned percent;       /* of what will have been sent in the end */
    uint64_t throughput;    /* bytes in a second */
    bool ends;              /* if it goes on like this */
    uint64_t left;          /* then: how long it will still take, in ms */
    bool stops;             /* the guest will still have to be stopped */
    uint64_t downtime;      /* then: for how long, in ms */
    bool held;              /* it is known what holds it back */
    MigrationBottleneck by; /* then: what that is */
} RamProgress;

/**
 * ram_channel_waiting: how long did a thread wait for its channel?
 *
 * @channel: what it did
 * @interval: in how many nanoseconds
 *
 * Returns: nanoseconds in which it could have written, and did not get to.
 */
uint64_t ram_channel_waiting(const RamChannelFigures *channel,
                             uint64_t interval);

/**
 * ram_progress_judge: what follows from a migration's figures
 */
RamProgress ram_progress_judge(const RamProgressFigures *figures);

/**
 * ram_progress_line: that as one line for a person
 *
 * Returns: at most 78 characters without a line's end; the caller frees them.
 */
char *ram_progress_line(const MigrationProgress *progress);

/**
 * ram_progress_sample: note what the migration has done so far
 *
 * To be called by the migration thread, every now and then.
 */
void ram_progress_sample(void);

/**
 * migration_progress_info: for query-migrate
 *
 * Returns: what is known of the outgoing migration that is under way, which
 * the caller frees; %NULL if none is, or nothing is known yet.
 */
MigrationProgress *migration_progress_info(void);

/* Prints that for HMP "info migrate"; @progress may be %NULL */
void hmp_info_migrate_progress(Monitor *mon,
                               const MigrationProgress *progress);

/* Draws the line of HMP "migrate" over the last one; may be %NULL likewise */
void hmp_migrate_progress(Monitor *mon, const MigrationProgress *progress);

/* Draws the last one: how it has ended */
void hmp_migrate_progress_end(Monitor *mon, const MigrationInfo *info);

#endif
