/*
 * How far a migration has come, and what holds it back: the judgement
 *
 * Pure.  Implements "Progress" of docs/devel/migration-v4/progress.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "migration/ram/progress.h"

#define BAR 20          /* characters between the brackets */
#define LINE 78

uint64_t ram_channel_waiting(const RamChannelFigures *channel,
                             uint64_t interval)
{
    uint64_t running = channel->cpu + channel->delay;

    /* What is neither of these may also be the engine's gate. */
    return running < interval ? MIN(interval - running, channel->writing) : 0;
}

/*
 * What all threads together spent most of their time on.  Threads that hardly
 * had anything to do say nothing.
 */
static bool ram_progress_channels(const RamProgressFigures *f,
                                  MigrationBottleneck *by)
{
    double running = 0, waiting = 0, receiver = 0;

    for (unsigned i = 0; i < f->n_channels; i++) {
        const RamChannelFigures *one = &f->channels[i];
        uint64_t wait = ram_channel_waiting(one, f->interval);

        running += one->cpu + one->delay;
        waiting += wait;
        receiver += MIN(one->receiver, wait);
    }
    if (running + waiting < 0.1 * f->interval) {
        return false;
    }
    *by = running >= waiting ? MIGRATION_BOTTLENECK_SOURCE_CPU :
          receiver * 2 >= waiting ? MIGRATION_BOTTLENECK_DESTINATION_CPU :
          MIGRATION_BOTTLENECK_NETWORK;
    return true;
}

RamProgress ram_progress_judge(const RamProgressFigures *f)
{
    double seconds = f->interval / 1e9;
    double memory_rate = seconds > 0 ? f->memory / seconds : 0;
    double dirty_rate = f->postcopy ? 0 : f->dirty_rate;
    double gain = memory_rate - dirty_rate;
    /* Each pass leaves what the guest changes meanwhile: a geometric series */
    double rest = gain > 0 ? f->remaining * memory_rate / gain : f->remaining;
    RamProgress p = {
        .percent = f->done ? 100 * (f->done / (f->done + rest)) : 0,
        .throughput = seconds > 0 ? f->bytes / seconds : 0,
        /* 11 days, and more would not be believed anyhow */
        .ends = gain > 0 && f->remaining / gain < 1e6,
        .stops = !f->postcopy && memory_rate > 0,
        .held = true,
    };

    if (p.ends) {
        p.left = f->remaining / gain * 1000;
    }
    if (p.stops) {
        /* It is stopped once the rest takes no longer than is allowed. */
        p.downtime = MIN(f->remaining / memory_rate * 1000, 1e9);
        p.downtime = p.ends ? MIN(p.downtime, f->downtime) : p.downtime;
    }

    /* That of these for which most can be done comes first. */
    if (f->limit && p.throughput >= f->limit * 0.9) {
        p.by = MIGRATION_BOTTLENECK_BANDWIDTH_LIMIT;
    } else if (f->remaining && dirty_rate && gain <= 0) {
        p.by = MIGRATION_BOTTLENECK_DIRTY_RATE;
    } else {
        p.held = ram_progress_channels(f, &p.by);
    }
    return p;
}

static const char *const ram_progress_words[] = {
    [MIGRATION_BOTTLENECK_BANDWIDTH_LIMIT] = "its limit",
    [MIGRATION_BOTTLENECK_DIRTY_RATE] = "the guest's writes",
    [MIGRATION_BOTTLENECK_SOURCE_CPU] = "the source's CPU",
    [MIGRATION_BOTTLENECK_NETWORK] = "the network",
    [MIGRATION_BOTTLENECK_DESTINATION_CPU] = "the destination's CPU",
};

char *ram_progress_line(const MigrationProgress *progress)
{
    g_autoptr(GString) line = g_string_new("[");
    g_autofree char *rate = size_to_str(progress->throughput);
    unsigned done = MIN(progress->percent, 100) * BAR / 100;

    for (unsigned i = 0; i < BAR; i++) {
        g_string_append_c(line, i < done ? '#' : ' ');
    }
    g_string_append_printf(line, "] %3u%% %s/s", progress->percent, rate);
    if (progress->has_expected_end) {
        g_string_append_printf(line, ", %" PRIu64 " s left",
                               DIV_ROUND_UP(progress->expected_end, 1000));
    }
    if (progress->has_bottleneck) {
        g_string_append_printf(line, ", limited by %s",
                               ram_progress_words[progress->bottleneck]);
    }
    if (line->len > LINE) {
        g_string_truncate(line, LINE);
    }
    return g_string_free(g_steal_pointer(&line), false);
}
