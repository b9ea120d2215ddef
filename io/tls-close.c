/*
 * The proper end of a TLS session
 *
 * A session that ends without a word cannot be told from one that somebody on
 * the way has cut short, and its reader gets an error.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "io/channel-socket.h"
#include "io/tls-close.h"

/*
 * A word that would have to wait is not said.  Another thread may be closing
 * the channel as well.
 */
static bool takes_more(QIOChannel *ioc)
{
    QIOChannelSocket *sioc = (QIOChannelSocket *)
        object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_SOCKET);
    GPollFD poll = { .fd = sioc ? sioc->fd : -1, .events = G_IO_OUT };

    return g_poll(&poll, 1, 0) == 1 && poll.revents == G_IO_OUT;
}

void qio_tls_say_bye(QIOChannelTLS *ioc)
{
    QIOChannelShutdown before = qatomic_fetch_or(&ioc->shutdown,
                                                 QIO_CHANNEL_SHUTDOWN_WRITE);

    if (!(before & QIO_CHANNEL_SHUTDOWN_WRITE) && ioc->session &&
        qcrypto_tls_session_get_handshake_status(ioc->session) ==
        QCRYPTO_TLS_HANDSHAKE_COMPLETE && takes_more(ioc->master)) {
        qcrypto_tls_session_bye(ioc->session);
    }
}
