/*
 * Migration stream version 4: what sends pages on a channel
 *
 * Implements the sending side of "Packets" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * A page is summed where it is, in guest memory, and sent from there: no copy
 * is made.  A guest that writes to it in between makes its sum wrong, and the
 * page dirty, so that it comes again: see "Healing" of
 * docs/devel/migration-v4/ram.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "exec/target_page.h"
#include "qapi/error.h"
#include "migration/ram.h"
#include "migration/stream/record.h"
#include "prefetch.h"
#include "sender.h"

/* The header and the head stand in front of the pages */
#define IOV_DATA 2

/* Bytes of pages that one packet has, unless it is for lack of more */
#define DATA_MOST (512 * KiB)
QEMU_BUILD_BUG_ON(DATA_MOST > RAM_PACKET_DATA_MAX);

/* Places that they come from; pages of the guest have at least 1 KiB */
#define PLACES_MOST (DATA_MOST / KiB)
QEMU_BUILD_BUG_ON(IOV_DATA + PLACES_MOST > IOV_MAX);

/* Pages that one packet tells of, if they are zeros: 16 MiB on most guests */
#define PAGES_MOST 4096

struct RamSender {
    StreamChannel *main;    /* where to; or, where that is NULL: */
    QIOChannel *ioc;
    StreamWriter *writer;   /* makes the records' headers for @ioc */
    bool zero_copy;
    RamCompressor *compressor;
    RamFigures *figures;
    size_t page_size;
    uint32_t ended;         /* the last round that was said to have */

    RamTake take;
    unsigned run;           /* of @take, up to which all is in packets */
    unsigned long page;     /* likewise, pages of that run */

    RamPacket packet;
    RAMBlock *block;        /* of the packet's pages */
    unsigned long pages;    /* that the packet tells of */
    size_t data;            /* bytes of pages */
    unsigned niov;
    struct iovec iov[IOV_DATA + PLACES_MOST];
    RamPacket mark;         /* the end of a round */
    uint8_t header[STREAM_HEADER_SIZE];
    uint8_t head[RAM_PACKET_HEAD_MAX];
};

static void sender_empty(RamSender *s)
{
    s->packet.kind = RAM_PACKET_PAGES;
    s->packet.compression = RAM_PACKET_PLAIN;
    s->packet.flags = 0;
    s->packet.count = 0;
    s->block = NULL;
    s->pages = 0;
    s->data = 0;
    s->niov = IOV_DATA;
}

static RamSender *sender_new(RamFigures *figures)
{
    RamSender *s = g_new0(RamSender, 1);

    s->figures = figures;
    s->page_size = qemu_target_page_size();
    sender_empty(s);
    return s;
}

RamSender *ram_sender_new_main(StreamChannel *sc, RamFigures *figures)
{
    RamSender *s = sender_new(figures);

    s->main = sc;
    return s;
}

/* The writer makes headers only */
static bool sender_write(void *opaque, const void *data, size_t length,
                         Error **errp)
{
    g_assert_not_reached();
}

RamSender *ram_sender_new_channel(QIOChannel *ioc, bool zero_copy,
                                  RamCompressor *compressor,
                                  RamFigures *figures)
{
    RamSender *s = sender_new(figures);

    s->ioc = ioc;
    s->writer = stream_writer_new(sender_write, s);
    s->zero_copy = zero_copy;
    s->compressor = compressor;
    return s;
}

void ram_sender_free(RamSender *s)
{
    if (s) {
        stream_writer_free(s->writer);
        ram_compressor_free(s->compressor);
        g_free(s);
    }
}

RamTake *ram_sender_take(RamSender *s)
{
    assert(!ram_sender_left(s));
    s->run = 0;
    s->page = 0;
    return &s->take;
}

bool ram_sender_left(const RamSender *s)
{
    return s->run < s->take.count;
}

static bool sender_has_room(const RamSender *s)
{
    return s->packet.count < RAM_PACKET_ENTRIES_MAX &&
           s->data < DATA_MOST && s->pages < PAGES_MOST;
}

bool ram_sender_wants(const RamSender *s)
{
    return !ram_sender_left(s) && sender_has_room(s);
}

uint32_t ram_sender_ended(const RamSender *s)
{
    return s->ended;
}

static void sender_add_zeros(RamSender *s, uint64_t offset)
{
    RamPacketEntry *last = &s->packet.entries[s->packet.count];

    if (s->packet.count && last[-1].zeros &&
        last[-1].offset + last[-1].zeros * s->page_size == offset) {
        last[-1].zeros++;
    } else {
        *last = (RamPacketEntry) { .offset = offset, .zeros = 1 };
        s->packet.count++;
    }
}

static void sender_add_page(RamSender *s, uint64_t offset, uint8_t *host)
{
    struct iovec *last = &s->iov[s->niov];

    if (s->compressor) {
        host = memcpy(ram_compressor_pages(s->compressor) + s->data, host,
                      s->page_size);
    }
    s->packet.entries[s->packet.count++] = (RamPacketEntry) {
        .offset = offset,
        .crc = stream_crc32c(host, s->page_size),
    };
    if (s->niov > IOV_DATA &&
        (uint8_t *)last[-1].iov_base + last[-1].iov_len == host) {
        last[-1].iov_len += s->page_size;
    } else {
        *last = (struct iovec) { .iov_base = host, .iov_len = s->page_size };
        s->niov++;
    }
    s->data += s->page_size;
}

/* Goes on to the next page of the take, which is wanted soon */
static void sender_step(RamSender *s)
{
    if (++s->page == s->take.runs[s->run].number) {
        s->run++;
        s->page = 0;
    }
    if (ram_sender_left(s)) {
        ram_prefetch(s->take.block->host +
                     (uint64_t)(s->take.runs[s->run].page + s->page) *
                     s->page_size, s->page_size);
    }
}

void ram_sender_add(RamSender *s)
{
    if (!s->pages && ram_sender_left(s)) {
        s->block = s->take.block;
        s->packet.round = s->take.round;
        pstrcpy(s->packet.name, sizeof(s->packet.name), s->block->idstr);
    }
    while (ram_sender_left(s) && sender_has_room(s) &&
           s->take.block == s->block && s->take.round == s->packet.round) {
        const RamRun *run = &s->take.runs[s->run];
        uint64_t offset = (uint64_t)(run->page + s->page) * s->page_size;
        uint8_t *host = s->block->host + offset;

        sender_step(s);
        if (buffer_is_zero(host, s->page_size)) {
            sender_add_zeros(s, offset);
        } else {
            sender_add_page(s, offset, host);
        }
        s->pages++;
    }
}

/* Writes @head bytes of s->head and @data bytes that the places have */
static bool sender_write_channel(RamSender *s, size_t head, size_t data,
                                 unsigned niov, Error **errp)
{
    unsigned at_once = s->zero_copy ? IOV_DATA : niov;

    if (!stream_writer_put_packet(s->writer, STREAM_RECORD_PACKET, s->head,
                                  head, data, s->header, errp)) {
        return false;
    }
    s->iov[0] = (struct iovec) { s->header, sizeof(s->header) };
    s->iov[1] = (struct iovec) { s->head, head };
    /* These two change before the kernel might send them */
    return qio_channel_writev_all(s->ioc, s->iov, at_once, errp) == 0 &&
           (at_once == niov ||
            qio_channel_writev_full_all(s->ioc, s->iov + at_once,
                                        niov - at_once, NULL, 0,
                                        QIO_CHANNEL_WRITE_FLAG_ZERO_COPY,
                                        errp) == 0);
}

/* Writes a packet, of which @data bytes are in @niov places */
static bool sender_put(RamSender *s, const RamPacket *packet, size_t data,
                       unsigned niov, Error **errp)
{
    size_t head = ram_packet_encode(packet, s->head);
    int64_t begin = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    bool ok;

    stat64_add(&s->figures->since, begin);
    ok = s->main
        ? stream_channel_put_packet(s->main, s->head, head, s->iov + IOV_DATA,
                                    niov - IOV_DATA, errp)
        : sender_write_channel(s, head, data, niov, errp);
    stat64_add(&s->figures->since, -begin);
    stat64_add(&s->figures->blocked_ns,
               qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - begin);
    stat64_add(&s->figures->bytes, STREAM_HEADER_SIZE + head + data);
    return ok;
}

/* What the kernel was to send out of guest memory has to be sent by now */
static bool sender_flush(RamSender *s, Error **errp)
{
    int ret = s->zero_copy ? qio_channel_flush(s->ioc, errp) : 0;

    if (ret > 0) {
        dirty_sync_missed_zero_copy();
    }
    return ret >= 0;
}

bool ram_sender_end_round(RamSender *s, uint32_t round, uint16_t flags,
                          Error **errp)
{
    bool ok = s->ended >= round || sender_flush(s, errp);

    /* Each one, so that a reader can see that none is missing */
    while (ok && s->ended < round) {
        s->ended++;
        s->mark.kind = RAM_PACKET_ROUND;
        s->mark.round = s->ended;
        s->mark.flags = s->ended == round ? flags : 0;
        ok = sender_put(s, &s->mark, 0, IOV_DATA, errp);
    }
    return ok;
}

static void sender_compress(RamSender *s)
{
    void *out;
    size_t n = ram_compressor_run(s->compressor, s->data, &out);

    if (n) {
        stat64_add(&s->figures->saved, s->data - n);
        s->packet.compression = ram_compressor_method(s->compressor);
        s->data = n;
        s->iov[IOV_DATA] = (struct iovec) { out, n };
        s->niov = IOV_DATA + 1;
    }
}

bool ram_sender_send(RamSender *s, Error **errp)
{
    unsigned pages = ram_packet_pages(&s->packet);
    bool ok;

    if (!s->pages) {
        return true;
    }
    if (s->compressor && s->data) {
        sender_compress(s);
    }
    ok = ram_sender_end_round(s, s->packet.round - 1, 0, errp) &&
         sender_put(s, &s->packet, s->data, s->niov, errp);
    stat64_add(&s->figures->pages, pages);
    stat64_add(&s->figures->zeros, s->pages - pages);
    sender_empty(s);
    return ok;
}
