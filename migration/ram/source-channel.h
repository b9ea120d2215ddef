/*
 * Migration stream version 4: a channel that memory is sent on, and the thread
 * that does it, as "Progress" looks at them
 *
 * The caller sees to it that one at a time is in here, but for the figures,
 * which are the thread's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_SOURCE_CHANNEL_H
#define MIGRATION_RAM_SOURCE_CHANNEL_H

#include "migration/ram/source.h"
#include "sender.h"

typedef struct SourceChannel {
    RamFigures figures;
    int fd;                 /* -1: no socket, or not any more */
    int tid;                /* 0: did not run yet */
    clockid_t clock;        /* of the thread's time on a CPU */
    uint64_t clock_begin;   /* what it showed at first, in nanoseconds */
    uint64_t cpu_ns;        /* what it showed in the end, since then */
    bool runs;
} SourceChannel;

/* The thread that calls this sends on the channel */
void source_channel_begin(SourceChannel *c, QIOChannel *ioc);

/* It does not any more; the thread itself */
void source_channel_end(SourceChannel *c);

/* What it has done up to now; the name is left to the caller */
void source_channel_look(SourceChannel *c, RamChannelStats *stats);

#endif
