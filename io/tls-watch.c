/*
 * Watches of TLS channels
 *
 * The channel below a TLS session has nothing more to read when the session
 * has read it all, though not all of that has been read from the session: a
 * record has up to 16384 bytes, and its reader may take 4096 at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "io/tls-watch.h"

typedef struct TLSWatch {
    GSource parent;
    QIOChannelTLS *ioc;
    GIOCondition wanted;
    GIOCondition below;         /* what the channel below has shown */
} TLSWatch;

static bool has_left(QIOChannelTLS *ioc)
{
    return qio_tls_ahead_left(&ioc->ahead) ||
           qcrypto_tls_session_has_pending(ioc->session);
}

static GIOCondition left(TLSWatch *watch)
{
    return watch->wanted & G_IO_IN && has_left(watch->ioc) ? G_IO_IN : 0;
}

/*
 * It does not say that it is ready: GLib would not prepare the sources that it
 * is a child of, and a character device asks there if its reader takes more.
 */
static gboolean tls_watch_prepare(GSource *source, gint *timeout)
{
    *timeout = left((TLSWatch *)source) ? 0 : -1;
    return false;
}

static gboolean tls_watch_check(GSource *source)
{
    return left((TLSWatch *)source);
}

/* GLib runs it before the dispatch of the watch, which it makes ready */
static gboolean below_is_ready(QIOChannel *below, GIOCondition condition,
                               gpointer watch)
{
    ((TLSWatch *)watch)->below = condition;
    return G_SOURCE_CONTINUE;
}

static gboolean tls_watch_dispatch(GSource *source, GSourceFunc callback,
                                   gpointer opaque)
{
    TLSWatch *watch = (TLSWatch *)source;
    QIOChannelFunc func = (QIOChannelFunc)callback;
    GIOCondition condition = watch->below | left(watch);

    watch->below = 0;
    /* Somebody else may have read what was left */
    return condition ? func(QIO_CHANNEL(watch->ioc), condition, opaque)
                     : G_SOURCE_CONTINUE;
}

static void tls_watch_finalize(GSource *source)
{
    object_unref(OBJECT(((TLSWatch *)source)->ioc));
}

static GSourceFuncs tls_watch_funcs = {
    .prepare = tls_watch_prepare,
    .check = tls_watch_check,
    .dispatch = tls_watch_dispatch,
    .finalize = tls_watch_finalize,
};

GSource *qio_tls_create_watch(QIOChannelTLS *ioc, GIOCondition condition)
{
    GSource *source = g_source_new(&tls_watch_funcs, sizeof(TLSWatch));
    TLSWatch *watch = (TLSWatch *)source;
    g_autoptr(GSource) below = qio_channel_create_watch(ioc->master, condition);

    watch->ioc = QIO_CHANNEL_TLS(object_ref(OBJECT(ioc)));
    watch->wanted = condition;
    g_source_set_callback(below, (GSourceFunc)below_is_ready, watch, NULL);
    g_source_add_child_source(source, below);
    return source;
}
