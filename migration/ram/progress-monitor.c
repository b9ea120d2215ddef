/*
 * How far a migration has come, and what holds it back: what people see
 *
 * Implements "Progress" of docs/devel/migration-v4/progress.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "monitor/monitor.h"
#include "migration/ram/progress.h"

static void hmp_info_migrate_channel(Monitor *mon,
                                     const MigrationChannelInfo *channel)
{
    g_autofree char *bytes = size_to_str(channel->bytes);
    g_autofree char *rate = size_to_str(channel->throughput);

    monitor_printf(mon, "channel %s: %s, %s/s, %" PRIu64 " pages, %" PRIu64
                   " of zeros", channel->name, bytes, rate, channel->pages,
                   channel->zeros);
    if (channel->has_cpu && channel->has_waiting) {
        monitor_printf(mon, ", %u%% CPU, %u%% waiting", channel->cpu,
                       channel->waiting);
    }
    monitor_printf(mon, "\n");
}

void hmp_info_migrate_progress(Monitor *mon, const MigrationProgress *progress)
{
    g_autofree char *rate = NULL;
    g_autofree char *dirty = NULL;

    if (!progress) {
        return;
    }
    rate = size_to_str(progress->throughput);
    dirty = size_to_str(progress->dirty_rate);
    monitor_printf(mon, "progress: %u%%, round %" PRIu64 "\n",
                   progress->percent, progress->rounds);
    monitor_printf(mon, "sent now: %s/s\n", rate);
    monitor_printf(mon, "dirtied by the guest: %s/s\n", dirty);
    if (progress->has_expected_end) {
        monitor_printf(mon, "expected end: in %" PRIu64 " ms\n",
                       progress->expected_end);
    }
    if (progress->has_expected_downtime) {
        monitor_printf(mon, "guest would stand still: %" PRIu64 " ms\n",
                       progress->expected_downtime);
    }
    if (progress->has_bottleneck) {
        monitor_printf(mon, "bottleneck: %s\n",
                       MigrationBottleneck_str(progress->bottleneck));
    }
    for (MigrationChannelInfoList *one = progress->channels; one;
         one = one->next) {
        hmp_info_migrate_channel(mon, one->value);
    }
}

/* Spaces go over what is left of a longer line. */
static void hmp_draw(Monitor *mon, const char *line)
{
    monitor_printf(mon, "\r%-78s\r", line);
    monitor_flush(mon);
}

void hmp_migrate_progress(Monitor *mon, const MigrationProgress *progress)
{
    if (progress) {
        g_autofree char *line = ram_progress_line(progress);

        hmp_draw(mon, line);
    }
}

void hmp_migrate_progress_end(Monitor *mon, const MigrationInfo *info)
{
    g_autoptr(GString) line = g_string_new(MigrationStatus_str(info->status));

    if (info->has_ram && info->has_total_time) {
        g_autofree char *bytes = size_to_str(info->ram->transferred);

        g_string_append_printf(line, ": %s in %.1f s", bytes,
                               info->total_time / 1000.0);
    }
    if (info->has_downtime) {
        g_string_append_printf(line, ", downtime %" PRIu64 " ms",
                               info->downtime);
    }
    hmp_draw(mon, line->str);
    monitor_printf(mon, "\n");
}
