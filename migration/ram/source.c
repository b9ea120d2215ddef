/*
 * Migration stream version 4: what sends the guest's memory
 *
 * Implements "Rounds" and "Healing" of docs/devel/migration-v4/ram.rst, the
 * source's part.
 *
 * The migration thread opens a gate, through which senders take pages: a thread
 * for each channel of multifd, or else the migration thread itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "exec/target_page.h"
#include "qapi/error.h"
#include "migration/compat/peer.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/multifd.h"
#include "migration/qemu-file.h"
#include "migration/ram.h"
#include "migration/ram/source.h"
#include "migration/ram/verdict.h"
#include "migration/stream/channel.h"
#include "sender.h"
#include "source-channel.h"
#include "trace.h"

/* How long the gate is open in one iteration, in milliseconds */
#define OPEN_MS 50

/* How often a wait looks at what nobody tells it, in milliseconds */
#define GLANCE 100

/* An allowance that is none */
#define UNLIMITED (INT64_MAX / 2)

/* Most pages that are taken at once */
#define TAKE_MOST 128

static struct {
    QemuMutex lock;
    QemuCond wake;          /* senders wait for the gate or a round's end */
    QemuCond told;          /* the migration thread waits for the gate */
    bool on;                /* memory is sent in packets */
    bool multifd;           /* by threads of channels */
    bool one_way;           /* nobody can ask for a page again */
    bool stopped;           /* senders are to end */
    bool failed;            /* a sender has */
    bool open;              /* the gate */
    bool drained;           /* it was closed because there was nothing left */
    int64_t allowance;      /* bytes that may still be taken */
    int64_t deadline;       /* when the gate closes, in milliseconds */
    RamCursor cursor;
    uint32_t asked;         /* the round of which a verdict was asked for */
    RamVerdict wrong;       /* what it was, when a postcopy begins */
    RamSender *main;        /* into the main stream */
    RamFigures rounds;      /* of what multifd sends there */
    SourceChannel *channels;
    unsigned count;         /* of channels */
    RamChannelStats accounted;  /* what QEMU's figures have already */
} source;

static void __attribute__((__constructor__)) source_init(void)
{
    qemu_mutex_init(&source.lock);
    qemu_cond_init(&source.wake);
    qemu_cond_init(&source.told);
}

/* What channels have done */

unsigned ram_channel_stats(RamChannelStats *stats, unsigned max)
{
    unsigned count;

    QEMU_LOCK_GUARD(&source.lock);
    count = ram_source_running() ? MIN(max, source.count) : 0;
    for (unsigned i = 0; i < count; i++) {
        source_channel_look(&source.channels[i], &stats[i]);
        if (source.multifd) {
            snprintf(stats[i].name, sizeof(stats[i].name), "multifd%u", i);
        } else {
            pstrcpy(stats[i].name, sizeof(stats[i].name), "main");
        }
    }
    return count;
}

uint32_t ram_source_round(void)
{
    QEMU_LOCK_GUARD(&source.lock);
    return source.on ? source.cursor.round : 0;
}

/*
 * Bytes as QEMU counts them: pages that are compressed count in full, as those
 * do that are still to be sent, which is what the end is foreseen from.
 */
static uint64_t source_counts(const RamFigures *figures)
{
    return stat64_get(&figures->bytes) + stat64_get(&figures->saved);
}

/* Tells QEMU of what was sent since the last time */
static void source_account(QEMUFile *f)
{
    RamChannelStats now = { }, *last = &source.accounted;
    uint64_t bytes;

    for (unsigned i = 0; i < source.count; i++) {
        const RamFigures *figures = &source.channels[i].figures;

        now.bytes += source_counts(figures);
        now.pages += stat64_get(&figures->pages);
        now.zeros += stat64_get(&figures->zeros);
    }
    bytes = now.bytes - last->bytes;
    ram_pages_sent(now.pages - last->pages, now.zeros - last->zeros, bytes);
    qemu_file_acct_rate_limit(f, bytes);
    if (source.multifd) {
        ram_counters.multifd_bytes += bytes;
    } else {
        qemu_file_credit_transfer(f, bytes);
    }
    *last = now;
}

/* The gate */

/* With the lock */
static void source_close(bool drained)
{
    if (source.open) {
        source.open = false;
        source.drained = drained;
        qemu_cond_broadcast(&source.told);
    }
}

/*
 * Takes pages for @s, if the gate is open; in an RCU read section.  Adds to
 * @taken how many bytes they have.
 */
static bool source_take(RamSender *s, int64_t *taken)
{
    size_t page_size = qemu_target_page_size();
    RamTake *take = ram_sender_take(s);

    QEMU_LOCK_GUARD(&source.lock);
    if (source.open &&
        (source.allowance <= 0 ||
         qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= source.deadline)) {
        source_close(false);
    }
    if (source.open &&
        !ram_cursor_take(&source.cursor,
                         MIN(TAKE_MOST,
                             DIV_ROUND_UP(source.allowance, page_size)),
                         take)) {
        source_close(true);
    }
    if (!source.open) {
        take->count = 0;
        return false;
    }
    source.allowance -= take->pages * page_size;
    *taken += take->pages * page_size;
    return true;
}

/* Zeros cost less than was thought */
static void source_refund(int64_t bytes)
{
    QEMU_LOCK_GUARD(&source.lock);
    source.allowance += bytes;
}

/* Sends what can be taken until the gate closes */
static bool source_run(RamSender *s, const RamFigures *figures, Error **errp)
{
    bool more = true;

    while (more) {
        RCU_READ_LOCK_GUARD();
        do {
            uint64_t sent = source_counts(figures);
            int64_t taken = 0;

            ram_sender_add(s);
            while (ram_sender_wants(s) && (more = source_take(s, &taken))) {
                ram_sender_add(s);
            }
            if (!ram_sender_send(s, errp)) {
                return false;
            }
            source_refund(taken - (source_counts(figures) - sent));
        } while (ram_sender_left(s));
    }
    return true;
}

/*
 * Opens the gate until @allowance bytes were sent, @ms milliseconds are over,
 * or nothing is left.  Returns false, with the error set in @f, when not all
 * that was taken can be sent.
 */
static bool source_work(QEMUFile *f, int64_t allowance, int64_t ms)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    Error *err = NULL;
    bool failed = false;

    WITH_QEMU_LOCK_GUARD(&source.lock) {
        source.open = !source.stopped;
        source.drained = false;
        source.allowance = MIN(allowance, UNLIMITED);
        source.deadline = ms < INT64_MAX - now ? now + ms : INT64_MAX;
        qemu_cond_broadcast(&source.wake);
        while (source.multifd && source.open && !failed) {
            qemu_cond_timedwait(&source.told, &source.lock, MIN(ms, GLANCE));
            failed = source.failed || multifd_send_failed() ||
                     qemu_file_get_error(f);
            if (failed ||
                qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= source.deadline) {
                source_close(false);
            }
        }
        failed = source.stopped || failed;
    }
    if (!source.multifd &&
        !source_run(source.main, &source.channels[0].figures, &err)) {
        failed = true;
    }
    source_account(f);
    if (failed || err) {
        qemu_file_set_error_obj(f, -EIO, err);
        return false;
    }
    return true;
}

static bool source_is_answered(void)
{
    return migration_peer_answers(migrate_get_current());
}

/*
 * Ends the round, in all channels and in the main stream, and asks for a
 * verdict; one who cannot answer has to judge by itself.  Returns false, with
 * the error set in @f, when that cannot be sent.
 */
static bool source_end_round(QEMUFile *f)
{
    Error *err = NULL;
    uint32_t round;

    WITH_QEMU_LOCK_GUARD(&source.lock) {
        round = ram_cursor_end_round(&source.cursor);
        qemu_cond_broadcast(&source.wake);
    }
    if (source_is_answered()) {
        ram_verdict_ask(round);
        source.asked = round;
    }
    trace_ram_source_end_round(round);
    if (!ram_sender_end_round(source.main, round, RAM_PACKET_VERDICT, &err)) {
        qemu_file_set_error_obj(f, -EIO, err);
        return false;
    }
    return true;
}

/* The threads of channels */

/* Waits for something to do.  Returns false when there is nothing any more. */
static bool source_wait(RamSender *s, uint32_t *ended)
{
    QEMU_LOCK_GUARD(&source.lock);
    while (!source.stopped && !source.open &&
           ram_sender_ended(s) >= source.cursor.round - 1) {
        qemu_cond_wait(&source.wake, &source.lock);
    }
    *ended = source.cursor.round - 1;
    return !source.stopped;
}

/* Returns whether that matters; @err stays the caller's */
static bool source_sender_failed(const Error *err)
{
    QEMU_LOCK_GUARD(&source.lock);
    if (source.stopped) {
        return false;
    }
    migrate_set_error(migrate_get_current(), err);
    source.failed = true;
    qemu_cond_broadcast(&source.told);
    return true;
}

static RamCompressor *source_compressor(Error **errp)
{
    switch (migrate_multifd_compression()) {
    case MULTIFD_COMPRESSION_ZLIB:
        return ram_compressor_new(RAM_PACKET_ZLIB, migrate_multifd_zlib_level(),
                                  errp);
#ifdef CONFIG_ZSTD
    case MULTIFD_COMPRESSION_ZSTD:
        return ram_compressor_new(RAM_PACKET_ZSTD, migrate_multifd_zstd_level(),
                                  errp);
#endif
    default:
        return NULL;
    }
}

bool ram_source_send(QIOChannel *ioc, unsigned id, Error **errp)
{
    ERRP_GUARD();
    SourceChannel *c = &source.channels[id];
    RamCompressor *compressor = source_compressor(errp);
    g_autoptr(RamSender) s = NULL;
    uint32_t ended;

    assert(id < source.count);
    WITH_QEMU_LOCK_GUARD(&source.lock) {
        source_channel_begin(c, ioc);
    }
    s = ram_sender_new_channel(ioc, migrate_use_zero_copy_send(), compressor,
                               &c->figures);
    while (!*errp && source_wait(s, &ended)) {
        if (ram_sender_end_round(s, ended, 0, errp)) {
            source_run(s, &c->figures, errp);
        }
    }
    WITH_QEMU_LOCK_GUARD(&source.lock) {
        source_channel_end(c);
    }
    if (*errp && !source_sender_failed(*errp)) {
        error_free(*errp);
        *errp = NULL;
    }
    return !*errp;
}

/* The migration thread */

static bool source_check(bool multifd, Error **errp)
{
    const char *other = migrate_colo_enabled() ? "x-colo" :
                        migrate_use_compression() ? "compress" : NULL;

    if (multifd && other) {
        error_setg(errp, "in version 4 of the stream, memory cannot be sent "
                   "with multifd and with %s: expected only one of these "
                   "capabilities, got both", other);
        error_append_hint(errp, "Switch one of them off with "
                          "migrate_set_capability; multifd-compression "
                          "compresses what multifd sends.\n");
        return false;
    }
    return true;
}

bool ram_source_start(QEMUFile *f, Error **errp)
{
    StreamChannel *sc = stream_channel_of(f);
    bool multifd = multifd_send_is_set_up();

    ram_source_end();
    ram_verdict_start();
    if (!sc) {
        return true;
    }
    if (!source_check(multifd, errp)) {
        return false;
    }
    if (!multifd && (migrate_colo_enabled() || migrate_background_snapshot() ||
                     migrate_use_xbzrle() || migrate_use_compression())) {
        return true;
    }
    WITH_QEMU_LOCK_GUARD(&source.lock) {
        g_free(source.channels);
        source.count = multifd ? migrate_multifd_channels() : 1;
        source.channels = g_new0(SourceChannel, source.count);
        for (unsigned i = 0; i < source.count; i++) {
            source.channels[i].fd = -1;
        }
        source.cursor = (RamCursor) {
            .version = qatomic_read(&ram_list.version),
            .round = 1,
        };
        source.accounted = (RamChannelStats) { };
        source.multifd = multifd;
        source.one_way = !source_is_answered();
        source.stopped = false;
        source.failed = false;
        source.asked = 0;
        qatomic_set(&source.on, true);
    }
    source.main = ram_sender_new_main(sc, multifd
                                      ? &source.rounds
                                      : &source.channels[0].figures);
    if (multifd) {
        multifd_send_start();
    } else {
        QEMU_LOCK_GUARD(&source.lock);
        source_channel_begin(&source.channels[0],
                             migration_stream_transport(f));
    }
    trace_ram_source_start(source.count, multifd);
    return true;
}

void ram_source_stop(void)
{
    QEMU_LOCK_GUARD(&source.lock);
    source.stopped = true;
    source_close(false);
    qemu_cond_broadcast(&source.wake);
}

void ram_source_cancel(void)
{
    if (ram_source_has_channels()) {
        ram_source_stop();
        multifd_send_shutdown();
    }
}

void ram_source_end(void)
{
    ram_source_stop();
    ram_verdict_end();
    if (source.on) {
        qatomic_set(&source.on, false);
        if (!source.multifd) {
            QEMU_LOCK_GUARD(&source.lock);
            source_channel_end(&source.channels[0]);
        }
        ram_sender_free(source.main);
        source.main = NULL;
        ram_verdict_clear(&source.wrong);
    }
}

bool ram_source_has_channels(void)
{
    return qatomic_read(&source.on) && source.multifd;
}

bool ram_source_running(void)
{
    /* Where only dirty bitmaps go in a postcopy, memory does not */
    return qatomic_read(&source.on) &&
           !(migration_in_postcopy() && migrate_postcopy_ram());
}

bool ram_source_may_leave_out(void)
{
    return !qatomic_read(&source.on) || !source.one_way ||
           ram_counters.dirty_sync_count <= 1;
}

bool ram_source_iterate(QEMUFile *f)
{
    int64_t left = qemu_file_rate_left(f);

    qemu_fflush(f);
    if (!left || !source_work(f, left, OPEN_MS)) {
        return false;
    }
    if (migrate_postcopy_ram()) {
        source_end_round(f);
    }
    return source.drained;
}

/*
 * Waits for the verdict that was asked for last; the BQL is released meanwhile.
 * Returns false, with the error set in @f, if there is none.
 */
static bool source_hear(QEMUFile *f, bool stopped, RamVerdict *verdict)
{
    bool locked = qemu_mutex_iothread_locked();
    Error *err = NULL;
    bool ok;

    if (locked) {
        qemu_mutex_unlock_iothread();
    }
    ok = ram_verdict_wait(source.asked, stopped, verdict, &err);
    if (locked) {
        qemu_mutex_lock_iothread();
    }
    if (err) {
        /* In the end of a migration nobody asks the file for a reason */
        migrate_set_error(migrate_get_current(), err);
    }
    if (!ok) {
        qemu_file_set_error_obj(f, -EIO, err);
    }
    return ok;
}

/* Marks the pages that came wrong */
static void source_put_back(const RamVerdict *verdict)
{
    uint64_t pages = 0;

    RCU_READ_LOCK_GUARD();
    for (uint32_t i = 0; i < verdict->count; i++) {
        const RamVerdictRange *range = &verdict->ranges[i];
        RAMBlock *block = qemu_ram_block_by_name(range->block);

        if (block) {
            pages += ram_pages_put_back(block, range->offset >>
                                        qemu_target_page_bits(), range->pages);
        }
    }
    ram_verdict_heal(pages);
    trace_ram_source_heal(source.asked, verdict->count, pages);
}

/*
 * Hears what came wrong, and looks what has changed meanwhile: the guest stands
 * still, but devices write to its memory when something comes in.  Returns
 * whether there is more to send, 0 if not; negative, with the error set in @f,
 * if there is no verdict.
 */
static int source_heal(QEMUFile *f)
{
    g_auto(RamVerdict) verdict = { };
    bool changed;

    if (!source_is_answered()) {
        return 0;
    }
    if (!source_hear(f, true, &verdict)) {
        return -EIO;
    }
    changed = ram_pages_sync();
    source_put_back(&verdict);
    return changed || verdict.count;
}

bool ram_source_complete(QEMUFile *f)
{
    int left;

    qemu_fflush(f);
    do {
        if (!source_work(f, UNLIMITED, INT64_MAX) || !source_end_round(f)) {
            return false;
        }
        left = source_heal(f);
    } while (left > 0);
    source_account(f);
    return left == 0;
}

void ram_source_before_postcopy(QEMUFile *f)
{
    if (source.on && source.asked) {
        source_hear(f, false, &source.wrong);
    }
}

void ram_source_put_back(void)
{
    source_put_back(&source.wrong);
    ram_verdict_clear(&source.wrong);
}
