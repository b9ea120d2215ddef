/*
 * Migration stream version 4: figures for query-migrate
 *
 * They are of a stream, not of a channel: a stream may come over several
 * connections, and in packages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/stats64.h"
#include "monitor/monitor.h"
#include "migration/qemu-file.h"
#include "migration/stream/figures.h"
#include "migration/stream/map.h"
#include "migration/stream/file.h"
#include "trace.h"

/* Figures that outlive the channel, and that the monitor reads meanwhile */
typedef struct StreamFigures {
    Stat64 sections;
    Stat64 records;
    Stat64 bytes;
    Stat64 damaged;
    StreamIndex *index;         /* knows what was skipped */
} StreamFigures;

static StreamFigures stream_figures;

void migration_stream_start(StreamIndex *index)
{
    stream_map_start();
    stat64_init(&stream_figures.sections, 0);
    stat64_init(&stream_figures.records, 0);
    stat64_init(&stream_figures.bytes, 0);
    stat64_init(&stream_figures.damaged, 0);
    stream_index_unref(stream_figures.index);
    stream_figures.index = index ? stream_index_ref(index) : NULL;
}


MigrationStreamInfo *migration_stream_info(void)
{
    StreamIndex *index = stream_figures.index;
    MigrationStreamInfo *info;
    strList **tail, **dropped;
    char *name;

    if (!index || !stat64_get(&stream_figures.bytes)) {
        return NULL;
    }
    info = g_new0(MigrationStreamInfo, 1);
    info->version = STREAM_VERSION;
    info->sections = stat64_get(&stream_figures.sections);
    info->records = stat64_get(&stream_figures.records);
    info->bytes = stat64_get(&stream_figures.bytes);
    info->skipped = stream_index_skipped(index);
    tail = &info->skipped_names;
    for (int n = 0; (name = stream_index_skipped_name(index, n)); n++) {
        info->has_skipped_names = true;
        QAPI_LIST_APPEND(tail, name);
    }
    info->dropped = stream_index_dropped(index);
    dropped = &info->dropped_names;
    for (int n = 0; (name = stream_index_dropped_name(index, n)); n++) {
        info->has_dropped_names = true;
        QAPI_LIST_APPEND(dropped, name);
    }
    info->damaged = stat64_get(&stream_figures.damaged);
    return info;
}

void migration_stream_count_damaged(uint64_t pages)
{
    stat64_add(&stream_figures.damaged, pages);
}

void hmp_info_migrate_stream(Monitor *mon, const MigrationStreamInfo *info)
{
    monitor_printf(mon, "stream version: %" PRIu32 "\n", info->version);
    monitor_printf(mon, "stream sections: %" PRIu64 "\n", info->sections);
    monitor_printf(mon, "stream records: %" PRIu64 "\n", info->records);
    monitor_printf(mon, "stream skipped: %" PRIu64 "\n", info->skipped);
    for (strList *name = info->skipped_names; name; name = name->next) {
        monitor_printf(mon, "  %s\n", name->value);
    }
    monitor_printf(mon, "stream dropped: %" PRIu64 "\n", info->dropped);
    for (strList *name = info->dropped_names; name; name = name->next) {
        monitor_printf(mon, "  %s\n", name->value);
    }
    monitor_printf(mon, "stream damaged pages: %" PRIu64 "\n", info->damaged);
    monitor_printf(mon, "stream bytes: %" PRIu64 "\n", info->bytes);
}

void stream_figures_add_section(void)
{
    stat64_add(&stream_figures.sections, 1);
}

static void stream_figures_count(StreamChannel *sc, uint64_t records,
                                 uint64_t bytes)
{
    /* What is in a package counts where the package is sent or taken */
    if (sc->package) {
        return;
    }
    stat64_add(&stream_figures.records, records - sc->records);
    stat64_add(&stream_figures.bytes, bytes - sc->bytes);
    sc->records = records;
    sc->bytes = bytes;
}

void stream_figures_written(QEMUFile *f, StreamChannel *sc)
{
    uint64_t bytes = stream_writer_bytes(sc->writer);
    uint64_t records = stream_writer_records(sc->writer);

    stream_figures_count(sc, records, bytes);
    /* The file has counted what it wrote; headers come on top */
    qemu_file_credit_transfer(f, bytes - qemu_file_total_transferred_fast(f));
    trace_migration_stream_end(records, bytes);
}

void stream_figures_read(StreamChannel *sc)
{
    stream_figures_count(sc, stream_reader_records(sc->reader),
                         stream_reader_bytes(sc->reader));
}
