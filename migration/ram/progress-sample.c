/*
 * How far a migration has come, and what holds it back: the figures
 *
 * What a migration has done is noted a few times in a second.  A question is
 * answered out of what it has done now, and what it had done a second ago.
 * Implements "Progress" of docs/devel/migration-v4/progress.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "exec/target_page.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "sysemu/runstate.h"
#include "migration/migration.h"
#include "migration/ram.h"
#include "migration/qemu-file.h"
#include "migration/ram/cost.h"
#include "migration/ram/progress.h"
#include "migration/ram/source.h"
#include "migration/stream/channel.h"

/* A second, in steps of a quarter */
#define STEP_NS (250 * SCALE_MS)
#define STEPS 5

/* multifd-channels is at most 255; and the main channel */
#define CHANNELS_MAX 256

/* What a channel has done since the migration began */
typedef struct ChannelSample {
    RamChannelStats stats;
    RamThreadCost thread;
    RamSocketCost socket;
} ChannelSample;

/* What the migration has done since it began */
typedef struct Sample {
    int64_t start_time;     /* of which migration it is, see MigrationState */
    int64_t when;           /* in nanoseconds */
    uint64_t bytes;
    uint64_t pages;
    unsigned n_channels;
    ChannelSample *channels;
} Sample;

/* Both are the migration thread's and the monitor's. */
static QemuMutex lock;
static Sample samples[STEPS];
static unsigned newest;
/* The migration thread's */
static int migration_tid;

static void __attribute__((constructor)) ram_progress_init(void)
{
    qemu_mutex_init(&lock);
}

/* The socket that a channel ends in, -1 if there is none */
static int ram_progress_socket(QIOChannel *ioc)
{
    Object *obj = OBJECT(ioc);

    if (object_dynamic_cast(obj, TYPE_STREAM_CHANNEL)) {
        return ram_progress_socket(STREAM_CHANNEL(ioc)->base);
    }
    if (object_dynamic_cast(obj, TYPE_QIO_CHANNEL_TLS)) {
        return ram_progress_socket(QIO_CHANNEL_TLS(ioc)->master);
    }
    return object_dynamic_cast(obj, TYPE_QIO_CHANNEL_SOCKET) ?
           QIO_CHANNEL_SOCKET(ioc)->fd : -1;
}

/*
 * Where memory is not sent in packets, without multifd, everything is sent by
 * the migration thread, and nobody measures for how long it writes.
 */
static unsigned ram_progress_main(MigrationState *s, RamChannelStats *stats)
{
    if (migrate_use_multifd() || !migration_tid) {
        return 0;
    }
    *stats = (RamChannelStats) {
        .name = "main", .fd = -1, .tid = migration_tid,
        .bytes = ram_counters.transferred,
        .pages = ram_counters.normal, .zeros = ram_counters.duplicate,
        .blocked_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME),
    };
    WITH_QEMU_LOCK_GUARD(&s->qemu_file_lock) {
        if (s->to_dst_file) {
            stats->fd = ram_progress_socket(qemu_file_get_ioc(s->to_dst_file));
        }
    }
    return 1;
}

static void ram_progress_take(MigrationState *s, Sample *sample)
{
    g_autofree RamChannelStats *stats = g_new0(RamChannelStats, CHANNELS_MAX);

    sample->start_time = s->start_time;
    sample->when = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    sample->bytes = sample->pages = 0;
    sample->n_channels = ram_channel_stats(stats, CHANNELS_MAX) ?:
                         ram_progress_main(s, stats);
    sample->channels = g_renew(ChannelSample, sample->channels,
                               sample->n_channels);
    for (unsigned i = 0; i < sample->n_channels; i++) {
        ChannelSample *one = &sample->channels[i];

        one->stats = stats[i];
        one->thread = ram_thread_cost(stats[i].tid);
        one->socket = ram_socket_cost(stats[i].fd);
        sample->bytes += stats[i].bytes;
        sample->pages += stats[i].pages + stats[i].zeros;
    }
    if (!sample->n_channels) {
        sample->bytes = ram_counters.transferred;
        sample->pages = ram_counters.normal + ram_counters.duplicate;
    }
}

void ram_progress_sample(void)
{
    MigrationState *s = migrate_get_current();

    QEMU_LOCK_GUARD(&lock);
    migration_tid = qemu_get_thread_id();
    if (samples[newest].start_time != s->start_time ||
        qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >=
        samples[newest].when + STEP_NS) {
        newest = (newest + 1) % STEPS;
        ram_progress_take(s, &samples[newest]);
    }
}

/* The oldest of this migration; what was a moment ago says nothing */
static const Sample *ram_progress_before(const Sample *now)
{
    for (unsigned i = 1; i <= STEPS; i++) {
        const Sample *one = &samples[(newest + i) % STEPS];

        if (one->start_time == now->start_time && one->when &&
            one->when + STEP_NS <= now->when) {
            return one;
        }
    }
    return NULL;
}

/* Counters that are read one after the other may seem to run backwards. */
static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static RamChannelFigures ram_progress_channel(const ChannelSample *now,
                                              const ChannelSample *before)
{
    RamChannelFigures f = {
        .cpu = now->thread.known ?
               more(now->thread.cpu_ns, before->thread.cpu_ns) :
               more(now->stats.cpu_ns, before->stats.cpu_ns),
        .delay = more(now->thread.delay_ns, before->thread.delay_ns),
        .writing = more(now->stats.blocked_ns, before->stats.blocked_ns),
        .receiver = more(now->socket.receiver_ns, before->socket.receiver_ns),
    };

    if (now->socket.local) {
        /* There is no network that could be slow. */
        f.receiver = f.writing;
    }
    return f;
}

static uint8_t percent(uint64_t part, uint64_t whole)
{
    return whole ? MIN(part * 100 / whole, 100) : 0;
}

static MigrationChannelInfo *
ram_progress_channel_info(const ChannelSample *now, const ChannelSample *before,
                          const RamChannelFigures *f, uint64_t interval)
{
    MigrationChannelInfo *info = g_new0(MigrationChannelInfo, 1);

    info->name = g_strdup(now->stats.name);
    info->bytes = now->stats.bytes;
    info->pages = now->stats.pages;
    info->zeros = now->stats.zeros;
    info->throughput = more(now->stats.bytes, before->stats.bytes) * 1e9 /
                       interval;
    info->has_cpu = info->has_waiting = true;
    info->cpu = percent(f->cpu, interval);
    info->waiting = percent(ram_channel_waiting(f, interval), interval);
    return info;
}

static MigrationProgress *ram_progress_info(MigrationState *s,
                                            const Sample *now,
                                            const Sample *before)
{
    uint64_t interval = MAX(more(now->when, before->when), 1);
    bool postcopy = migration_in_postcopy();
    unsigned n = MIN(now->n_channels, before->n_channels);
    g_autofree RamChannelFigures *channels = g_new0(RamChannelFigures, n);
    MigrationProgress *info = g_new0(MigrationProgress, 1);
    MigrationChannelInfoList **tail = &info->channels;
    RamProgressFigures f = {
        .interval = interval,
        .bytes = more(now->bytes, before->bytes),
        .memory = more(now->pages, before->pages) * qemu_target_page_size(),
        .done = (ram_counters.normal + ram_counters.duplicate) *
                qemu_target_page_size(),
        .remaining = ram_bytes_remaining(),
        .dirty_rate = runstate_is_running() ?
            ram_counters.dirty_pages_rate * qemu_target_page_size() : 0,
        .limit = postcopy ? s->parameters.max_postcopy_bandwidth
                          : s->parameters.max_bandwidth,
        .downtime = s->parameters.downtime_limit,
        .postcopy = postcopy,
        .channels = channels,
        .n_channels = n,
    };
    RamProgress p;

    for (unsigned i = 0; i < n; i++) {
        channels[i] = ram_progress_channel(&now->channels[i],
                                           &before->channels[i]);
        info->has_channels = true;
        QAPI_LIST_APPEND(tail, ram_progress_channel_info(
                             &now->channels[i], &before->channels[i],
                             &channels[i], interval));
    }
    p = ram_progress_judge(&f);
    info->percent = p.percent;
    info->rounds = ram_source_round() ?: ram_counters.dirty_sync_count;
    info->throughput = p.throughput;
    info->dirty_rate = f.dirty_rate;
    info->has_expected_end = p.ends;
    info->expected_end = p.left;
    info->has_expected_downtime = p.stops;
    info->expected_downtime = p.downtime;
    info->has_bottleneck = p.held;
    info->bottleneck = p.by;
    return info;
}

MigrationProgress *migration_progress_info(void)
{
    MigrationState *s = migrate_get_current();
    MigrationProgress *info = NULL;
    const Sample *before;
    Sample now = { 0 };

    if (!migration_is_running(s->state) ||
        s->state == MIGRATION_STATUS_SETUP) {
        return NULL;
    }
    QEMU_LOCK_GUARD(&lock);
    ram_progress_take(s, &now);
    before = ram_progress_before(&now);
    if (before) {
        info = ram_progress_info(s, &now, before);
    }
    g_free(now.channels);
    return info;
}
