/*
 * Migration stream version 4: a channel that memory is sent on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "source-channel.h"

static uint64_t source_clock(clockid_t clock)
{
    struct timespec ts = { };

    clock_gettime(clock, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

static int source_fd(QIOChannel *ioc)
{
    QIOChannelTLS *tls = (QIOChannelTLS *)
        object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_TLS);
    QIOChannelSocket *socket = (QIOChannelSocket *)
        object_dynamic_cast(tls ? OBJECT(tls->master) : OBJECT(ioc),
                            TYPE_QIO_CHANNEL_SOCKET);

    return socket ? socket->fd : -1;
}

void source_channel_begin(SourceChannel *c, QIOChannel *ioc)
{
    c->fd = source_fd(ioc);
    c->tid = qemu_get_thread_id();
    if (pthread_getcpuclockid(pthread_self(), &c->clock) == 0) {
        c->clock_begin = source_clock(c->clock);
        c->runs = true;
    }
}

/* How long its thread was on a CPU, in nanoseconds */
static uint64_t source_channel_cpu(SourceChannel *c)
{
    uint64_t now = c->runs ? source_clock(c->clock) : 0;

    /* There is none any more when the thread has ended */
    if (now) {
        c->cpu_ns = now - c->clock_begin;
    }
    return c->cpu_ns;
}

void source_channel_end(SourceChannel *c)
{
    source_channel_cpu(c);
    c->fd = -1;
    c->runs = false;
}

/* A packet that is being written has not been counted yet */
static uint64_t source_channel_blocked(const SourceChannel *c)
{
    uint64_t since = stat64_get(&c->figures.since);
    uint64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    return stat64_get(&c->figures.blocked_ns) +
           (since && since < now ? now - since : 0);
}

void source_channel_look(SourceChannel *c, RamChannelStats *stats)
{
    *stats = (RamChannelStats) {
        .fd = c->fd,
        .tid = c->tid,
        .bytes = stat64_get(&c->figures.bytes),
        .pages = stat64_get(&c->figures.pages),
        .zeros = stat64_get(&c->figures.zeros),
        .blocked_ns = source_channel_blocked(c),
        .cpu_ns = source_channel_cpu(c),
    };
}
