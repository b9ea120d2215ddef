/*
 * Migration stream version 4: loading packets of pages
 *
 * Implements docs/devel/migration-v4/ram.rst, "The destination".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "migration/colo.h"
#include "migration/compat/incoming.h"
#include "migration/compat/peer.h"
#include "migration/migration.h"
#include "migration/postcopy-ram.h"
#include "migration/qemu-file.h"
#include "migration/ram.h"
#include "migration/ram/barrier.h"
#include "migration/ram/load.h"
#include "migration/ram/place.h"
#include "migration/ram/suspects.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "trace.h"

/* The main loop gets its turn after so many pages */
#define PAGES_AT_ONCE 32768

/* What one thread needs to load packets; the main stream has one too */
typedef struct RamLoader {
    int channel;                /* -1: the main stream */
    uint32_t round;             /* that was ended last */
    bool refused;               /* what came last, and not for want of more */
    uint64_t pages;             /* since the main loop had its turn */
    QIOChannel *ioc;            /* NULL: the main stream's */
    uint64_t given;             /* bytes that the reader got from there */
    uint8_t *packed;            /* of RAM_PACKET_DATA_MAX; NULL until needed */
    uint8_t *unpacked;          /* likewise */
    struct iovec iov[RAM_PACKET_ENTRIES_MAX];
    unsigned long wrong[BITS_TO_LONGS(RAM_PACKET_ENTRIES_MAX)];
    RamPacket packet;
} RamLoader;

typedef enum RamLoadState {
    RAM_LOAD_UNKNOWN,           /* the version, or what blocks there are */
    RAM_LOAD_LEGACY,            /* the stream is of version 3 */
    RAM_LOAD_OPEN,              /* pages may come */
    RAM_LOAD_CLOSED,            /* no more pages */
} RamLoadState;

static struct {
    QemuMutex lock;             /* protects what is below, up to @stubborn */
    QemuCond changed;
    RamLoadState state;
    bool stopped;
    unsigned busy;              /* channels in the middle of a packet */
    RamSuspects *suspects;      /* NULL when nothing is being loaded */
    RamStubborn stubborn;       /* the main stream's, as all below */
    RamBarrier barrier;         /* locks itself */
    unsigned channels;
    RamLoader *main;
    Coroutine *sleeper;         /* waits for the barrier; NULL: nobody does */
} load;

/* The barrier, from the main loop */

static void wake(void *opaque)
{
    Coroutine *co = load.sleeper;

    if (co) {
        load.sleeper = NULL;
        qemu_coroutine_enter(co);
    }
}

/* For any thread.  Not in a loop that somebody waits in: see wake() */
static void barrier_changed(void *opaque)
{
    aio_bh_schedule_oneshot(iohandler_get_aio_context(), wake, NULL);
}

static bool wait_for_channels(uint32_t round, Error **errp)
{
    int passed;

    if (!qemu_in_coroutine()) {
        return ram_barrier_wait(&load.barrier, round, errp);
    }
    while (!(passed = ram_barrier_passed(&load.barrier, round, errp))) {
        /* A change since then is only looked at when this has yielded */
        load.sleeper = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    return passed > 0;
}

/* One migration after the other */

static void __attribute__((constructor)) ram_load_init(void)
{
    qemu_mutex_init(&load.lock);
    qemu_cond_init(&load.changed);
    ram_barrier_init(&load.barrier, 0, NULL, NULL);
}

static void set_state(RamLoadState state)
{
    QEMU_LOCK_GUARD(&load.lock);
    load.state = state;
    qemu_cond_broadcast(&load.changed);
}

void ram_load_expect(unsigned channels)
{
    ram_barrier_destroy(&load.barrier);
    ram_barrier_init(&load.barrier, channels, barrier_changed, NULL);
    QEMU_LOCK_GUARD(&load.lock);
    load.channels = channels;
    load.stopped = false;
    load.state = RAM_LOAD_UNKNOWN;
}

static void loader_free(RamLoader *l)
{
    if (l) {
        g_free(l->packed);
        g_free(l->unpacked);
        g_free(l);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(RamLoader, loader_free)

void ram_load_end(void)
{
    RamSuspects *suspects;

    WITH_QEMU_LOCK_GUARD(&load.lock) {
        suspects = g_steal_pointer(&load.suspects);
        load.state = RAM_LOAD_CLOSED;
        qemu_cond_broadcast(&load.changed);
    }
    ram_suspects_free(suspects);
    ram_verdict_clear(&load.stubborn.last);
    load.stubborn.tries = 0;
    loader_free(g_steal_pointer(&load.main));
}

void ram_load_stop(const Error *err)
{
    Error *over = NULL;

    WITH_QEMU_LOCK_GUARD(&load.lock) {
        load.stopped = true;
        if (!err) {
            load.channels = 0;
        }
        qemu_cond_broadcast(&load.changed);
    }
    if (!err) {
        error_setg(&over, "the migration is over, and no pages are expected");
    }
    ram_barrier_break(&load.barrier, err ?: over);
    error_free(over);
}

/* Packets */

/* Where one has ended, a snapshot can be loaded all the same */
static bool in_postcopy(void)
{
    PostcopyState state = postcopy_state_get();

    return state > POSTCOPY_INCOMING_ADVISE && state < POSTCOPY_INCOMING_END;
}

static bool begin_packet(RamLoader *l, Error **errp)
{
    bool late = in_postcopy();

    QEMU_LOCK_GUARD(&load.lock);
    if (load.state != RAM_LOAD_OPEN || late) {
        error_setg(errp, "pages come %s: expected none",
                   load.state == RAM_LOAD_UNKNOWN
                   ? "before it is known what blocks there are"
                   : late ? "in packets in the course of a postcopy"
                   : "behind the end of the last round");
        return false;
    }
    if (l->channel < 0 && load.channels) {
        error_setg(errp, "pages come in the main stream: expected them on the "
                   "multifd channels");
        return false;
    }
    load.busy++;
    return true;
}

/* Notes what has come; @wrong is NULL if all of it is right */
static bool end_packet(const RamPacket *packet, RAMBlock *block,
                       const unsigned long *wrong, bool came, Error **errp)
{
    size_t page_size = qemu_target_page_size();

    QEMU_LOCK_GUARD(&load.lock);
    load.busy--;
    if (!came) {
        return false;
    }
    if (load.state != RAM_LOAD_OPEN) {
        error_setg(errp, "pages come while RAM is no longer being loaded: "
                   "expected none");
        return false;
    }
    ram_suspects_note(load.suspects, packet, block->used_length / page_size,
                      wrong);
    for (uint32_t i = 0; i < packet->count; i++) {
        const RamPacketEntry *entry = &packet->entries[i];

        ramblock_recv_bitmap_set_range(block, block->host + entry->offset,
                                       MAX(entry->zeros, 1));
    }
    return true;
}

static RAMBlock *find_block(const RamPacket *packet, Error **errp)
{
    RAMBlock *block = qemu_ram_block_by_name(packet->name);

    if (!block || ramblock_is_ignored(block)) {
        error_setg(errp, "block '%s' %s: expected pages of another one",
                   packet->name, block ? "is not migrated" : "is not there");
        return NULL;
    }
    if (!ram_place_check(packet, block->used_length, qemu_target_page_size(),
                         errp)) {
        return NULL;
    }
    return block;
}

/* Returns the number of pages that are wrong, -1 with @errp set */
static int get_plain(RamLoader *l, StreamReader *r, uint8_t *host,
                     Error **errp)
{
    size_t page_size = qemu_target_page_size();
    unsigned n = ram_place_data(&l->packet, host, page_size, l->iov);

    if (n && !stream_reader_get_data(r, l->iov, n, errp)) {
        return -1;
    }
    return n ? ram_place_sum(&l->packet, host, page_size, l->wrong) : 0;
}

static int get_packed(RamLoader *l, StreamReader *r, uint8_t *host,
                      size_t length, Error **errp)
{
    size_t page_size = qemu_target_page_size();
    size_t wanted = ram_packet_pages(&l->packet) * page_size;
    struct iovec iov;

    if (!ram_place_can_unpack(l->packet.compression, errp)) {
        return -1;
    }
    if (!l->packed) {
        l->packed = g_malloc(RAM_PACKET_DATA_MAX);
        l->unpacked = g_malloc(RAM_PACKET_DATA_MAX);
    }
    iov = (struct iovec) { l->packed, length };
    if (!stream_reader_get_data(r, &iov, 1, errp)) {
        return -1;
    }
    if (!ram_place_unpack(l->packet.compression, l->packed, length,
                          l->unpacked, wanted)) {
        return ram_place_all_wrong(&l->packet, l->wrong);
    }
    iov_from_buf(l->iov, ram_place_data(&l->packet, host, page_size, l->iov),
                 0, l->unpacked, wanted);
    return ram_place_sum(&l->packet, host, page_size, l->wrong);
}

static bool load_pages(RamLoader *l, StreamReader *r, size_t length,
                       Error **errp)
{
    RAMBlock *block;
    int wrong;

    if (l->packet.round != l->round + 1) {
        error_setg(errp, "pages come in a wrong round: expected round %" PRIu32
                   ", got %" PRIu32, l->round + 1, l->packet.round);
        return false;
    }
    RCU_READ_LOCK_GUARD();
    block = find_block(&l->packet, errp);
    if (!block || !begin_packet(l, errp)) {
        return false;
    }
    wrong = l->packet.compression
        ? get_packed(l, r, block->host, length, errp)
        : get_plain(l, r, block->host, errp);
    if (wrong >= 0) {
        ram_place_zeros(&l->packet, block->host, qemu_target_page_size());
    }
    if (wrong > 0) {
        trace_ram_load_wrong(l->channel, block->idstr, wrong);
    }
    return end_packet(&l->packet, block, wrong > 0 ? l->wrong : NULL,
                      wrong >= 0, errp);
}

/* Rounds */

/*
 * Asks for what came wrong; @stopped: it can't be wrong but by damage, and
 * nothing but that is asked for, until there is none: what is asked for too
 * often is a page that came wrong each time.
 */
static bool answer(uint32_t round, bool stopped, Error **errp)
{
    g_auto(RamVerdict) verdict = { };
    g_autoptr(GByteArray) payload = g_byte_array_new();

    ram_suspects_verdict(load.suspects, round, stopped, &verdict);
    trace_ram_load_verdict(round, ram_suspects_count(load.suspects),
                           verdict.count);
    if (stopped) {
        migration_stream_count_damaged(ram_verdict_pages(&verdict));
        if (!ram_stubborn_check(&load.stubborn, &verdict,
                                qemu_target_page_size(), errp)) {
            return false;
        }
    }
    ram_verdict_encode(&verdict, payload);
    return migration_peer_put_verdict(payload, errp);
}

static bool end_round(RamLoader *l, StreamReader *r, Error **errp)
{
    uint32_t round = l->packet.round;
    bool ok;

    if (round != l->round + 1) {
        l->refused = true;
        error_setg(errp, "a round ends out of order: expected the end of round "
                   "%" PRIu32 ", got that of round %" PRIu32, l->round + 1,
                   round);
        return false;
    }
    l->round = round;
    ok = l->channel >= 0
        ? ram_barrier_arrive(&load.barrier, l->channel, round, errp)
        : !load.channels || wait_for_channels(round, errp);
    trace_ram_load_round(l->channel, round, l->packet.flags, ok);
    if (!ok || l->channel >= 0 || !(l->packet.flags & RAM_PACKET_VERDICT)) {
        return ok;
    }
    return answer(round, stream_reader_type(r) == STREAM_RECORD_SECTION_END,
                  errp);
}

/* A packet without data can have much to clear, too */
static void turn_main_loop(RamLoader *l)
{
    for (uint32_t i = 0; i < l->packet.count; i++) {
        l->pages += MAX(l->packet.entries[i].zeros, 1);
    }
    if (l->pages >= PAGES_AT_ONCE && qemu_in_coroutine()) {
        l->pages = 0;
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

static bool load_packet(void *opaque, StreamReader *r, const uint8_t *head,
                        size_t head_length, size_t data_length, Error **errp)
{
    RamLoader *l = opaque;

    l->refused = !ram_packet_decode(head, head_length, data_length,
                                    qemu_target_page_size(), &l->packet, errp);
    if (l->refused) {
        return false;
    }
    turn_main_loop(l);
    if (l->packet.kind == RAM_PACKET_ROUND) {
        return end_round(l, r, errp);
    }
    l->refused = !load_pages(l, r, data_length, errp);
    return !l->refused;
}

/* The main stream */

static bool load_main_packet(void *opaque, StreamReader *r,
                             const uint8_t *head, size_t head_length,
                             size_t data_length, Error **errp)
{
    const StreamIdent *ident = stream_reader_ident(r);
    RamLoader *l = load.main;

    if (!l || !ident || strcmp(ident->name, "ram")) {
        error_setg(errp, "a packet comes where no RAM is loaded: expected it "
                   "in section 'ram'");
        return false;
    }
    return load_packet(l, r, head, head_length, data_length, errp);
}

void ram_load_begin(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);

    if (sc) {
        /* Those of a try that went no further than this */
        loader_free(load.main);
        ram_suspects_free(load.suspects);
        load.main = g_new0(RamLoader, 1);
        load.main->channel = -1;
        load.suspects = ram_suspects_new(qemu_target_page_size());
        stream_channel_set_packet(sc, load_main_packet, NULL);
        set_state(RAM_LOAD_UNKNOWN);
    }
}

/* Behind the last part of the section */
static bool check_end(Error **errp)
{
    WITH_QEMU_LOCK_GUARD(&load.lock) {
        load.state = RAM_LOAD_CLOSED;
        if (load.busy) {
            error_setg(errp, "a multifd channel still brings pages: expected "
                       "the end of the last round");
            return false;
        }
    }
    return ram_suspects_check(load.suspects, errp);
}

int ram_load_synced(void)
{
    QEMUFile *f;
    StreamChannel *sc;
    Error *err = NULL;

    /* Pages come over two channels then, and the main stream is one's alone */
    if (load.main && in_postcopy()) {
        return 1;
    }
    f = migration_incoming_get_current()->from_src_file;
    sc = f ? stream_channel_of(f) : NULL;
    if (!sc || !load.main) {
        set_state(RAM_LOAD_LEGACY);
        return 0;
    }
    switch (stream_reader_type(sc->reader)) {
    case STREAM_RECORD_SECTION_START:
        if (!migration_incoming_colo_enabled()) {
            set_state(RAM_LOAD_OPEN);
        }
        break;
    case STREAM_RECORD_SECTION_END:
        if (!check_end(&err)) {
            qemu_file_set_error_obj(f, -EINVAL, err);
            return -EINVAL;
        }
        break;
    default:
        break;
    }
    return 1;
}

/* Channels of their own */

static ssize_t channel_readv(void *opaque, const struct iovec *iov,
                             size_t niov, Error **errp)
{
    RamLoader *l = opaque;
    ssize_t n;

    while ((n = qio_channel_readv(l->ioc, iov, niov, errp)) ==
           QIO_CHANNEL_ERR_BLOCK) {
        qio_channel_wait(l->ioc, G_IO_IN);
    }
    l->given += MAX(n, 0);
    return n;
}

static ssize_t channel_read(void *opaque, void *data, size_t length,
                            Error **errp)
{
    struct iovec iov = { .iov_base = data, .iov_len = length };

    return channel_readv(opaque, &iov, 1, errp);
}

/* Returns false if there is nothing to read in packets */
static bool wait_for_version(bool *legacy)
{
    QEMU_LOCK_GUARD(&load.lock);
    while (load.state == RAM_LOAD_UNKNOWN && !load.stopped) {
        qemu_cond_wait(&load.changed, &load.lock);
    }
    *legacy = load.state == RAM_LOAD_LEGACY;
    return !*legacy && !load.stopped;
}

static bool is_stopped(void)
{
    QEMU_LOCK_GUARD(&load.lock);
    return load.stopped;
}

bool ram_load_channel(QIOChannel *ioc, unsigned channel, Error **errp)
{
    g_autoptr(RamLoader) l = g_new0(RamLoader, 1);
    g_autoptr(StreamReader) r = stream_reader_new(channel_read, l);
    Error *err = NULL;
    bool legacy;
    int type;

    l->channel = channel;
    l->ioc = ioc;
    stream_reader_set_packet(r, load_packet, l);
    stream_reader_set_readv(r, channel_readv);
    if (!wait_for_version(&legacy)) {
        return !legacy;
    }
    do {
        type = stream_reader_next(r, 0, &err);
        if (type >= 0 && type != STREAM_RECORD_PACKET) {
            l->refused = true;
            error_setg(&err, "expected a packet, got a %s record",
                       stream_record_type_name(type));
        }
    } while (!err);

    trace_ram_load_channel_end(channel, stream_reader_records(r),
                               error_get_pretty(err));
    if (is_stopped() || postcopy_state_get() > POSTCOPY_INCOMING_ADVISE ||
        (!l->refused && l->given == stream_reader_bytes(r))) {
        /* It has ended behind a packet: whoever needs more will say so */
        ram_barrier_end(&load.barrier, channel);
        error_free(err);
        return true;
    }
    error_propagate_prepend(errp, err, "multifd channel %u, record at offset "
                            "%" PRIu64 ": ", channel, stream_reader_bytes(r));
    ram_load_stop(*errp);
    return true;
}
