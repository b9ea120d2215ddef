/*
 * What the two sides of a migration say to each other: after the last word
 *
 * The destination has said that it runs the guest, and does not know whether
 * the source has heard it.  Until that one has hung up, or has no time left to
 * ask again, it can.  Implements "The destination" of
 * docs/devel/migration-v4/conversation.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "conversation.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/stream/file.h"
#include "migration/yank_functions.h"

static struct {
    void (*end_listening)(void *data);  /* NULL if nothing lingers */
    void *data;
    QEMUFile *from_source, *to_source;  /* NULL without a connection */
    guint watch;
    QEMUTimer *timer;
} linger;

bool conversation_lingers(void)
{
    return linger.end_listening;
}

void conversation_linger_end(void)
{
    if (!linger.end_listening) {
        return;
    }
    linger.end_listening(linger.data);
    linger.end_listening = NULL;
    timer_free(linger.timer);
    if (linger.from_source) {
        g_source_remove(linger.watch);
        qemu_fclose(linger.to_source);
        qemu_fclose(linger.from_source);
        linger.from_source = linger.to_source = NULL;
    }
}

static void linger_over(void *opaque)
{
    conversation_linger_end();
}

/* The source says nothing any more, so this is its end */
static gboolean linger_hung_up(QIOChannel *ioc, GIOCondition condition,
                               void *opaque)
{
    conversation_linger_end();
    return G_SOURCE_REMOVE;
}

void conversation_linger(MigrationIncomingState *mis)
{
    /* The source waits that long for the word, and as long for another one */
    int64_t time = 2 * (int64_t)migrate_get_current()->parameters.peer_timeout;

    if (!mis->transport_cleanup) {
        return;
    }
    linger.end_listening = mis->transport_cleanup;
    linger.data = mis->transport_data;
    mis->transport_cleanup = NULL;
    mis->transport_data = NULL;
    linger.timer = timer_new_ms(QEMU_CLOCK_REALTIME, linger_over, NULL);
    timer_mod(linger.timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + time);

    if (mis->from_src_file) {
        migrate_send_rp_shut(mis, 0);
        migration_ioc_unregister_yank_from_file(mis->from_src_file);
        linger.from_source = g_steal_pointer(&mis->from_src_file);
        linger.to_source = g_steal_pointer(&mis->to_src_file);
        linger.watch = qio_channel_add_watch(
            stream_channel_of(linger.from_source)->base,
            G_IO_IN | G_IO_HUP | G_IO_ERR, linger_hung_up, NULL, NULL);
    }
}
