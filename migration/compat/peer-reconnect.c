/*
 * What the two sides of a migration say to each other: over a new connection
 *
 * Where the connection broke in the one moment in which neither side may run
 * the guest, the source says once more that it gave it up.  Implements the
 * state in-doubt of docs/devel/migration-v4/conversation.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "io/channel-socket.h"
#include "conversation.h"
#include "migration/migration.h"
#include "migration/tls.h"

static void reconnect_handshaken(QIOTask *task, gpointer opaque)
{
    Error **errp = opaque;

    qio_task_propagate_error(task, errp);
}

/* Returns a reference to the connection, or NULL with @errp set */
static QIOChannel *reconnect_transport(const char *uri, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();
    g_autoptr(QIOChannelTLS) tioc = NULL;
    g_autoptr(SocketAddress) address = NULL;
    MigrationState *s = migrate_get_current();
    const char *host = NULL;

    strstart(uri, "tcp:", &uri);
    address = socket_parse(uri, errp);
    if (!address ||
        qio_channel_socket_connect_sync(sioc, address, errp) < 0) {
        return NULL;
    }
    if (!migrate_use_tls()) {
        return QIO_CHANNEL(g_steal_pointer(&sioc));
    }
    if (address->type == SOCKET_ADDRESS_TYPE_INET) {
        host = address->u.inet.host;
    }
    tioc = migration_tls_client_create(s, QIO_CHANNEL(sioc), host, errp);
    if (!tioc) {
        return NULL;
    }
    /* The socket blocks, so this is over when it returns */
    qio_channel_tls_handshake(tioc, reconnect_handshaken, errp, NULL, NULL);
    return *errp ? NULL : QIO_CHANNEL(g_steal_pointer(&tioc));
}

bool source_reconnect(MigrationConversation *c, const char *uri, Error **errp)
{
    g_autoptr(QIOChannel) ioc = NULL;
    g_autoptr(StreamChannel) sc = NULL;
    MigrationPatience patience;
    bool ok;

    if (!strstart(uri, "tcp:", NULL) && !strstart(uri, "unix:", NULL) &&
        !strstart(uri, "vsock:", NULL)) {
        error_setg(errp, "'%s' cannot be connected to again", uri);
        return false;
    }
    ioc = reconnect_transport(uri, errp);
    if (!ioc) {
        return false;
    }
    sc = stream_channel_new(ioc, true);
    conversation_listen(sc);
    migration_patience_begin(&patience, ioc, NULL, "the destination's word that it "
                             "has taken the guest");
    ok = stream_writer_preamble(sc->writer, errp) &&
         conversation_put(sc, STREAM_HANDOVER_RUN, 0, NULL, errp) &&
         stream_channel_get_notice(sc, errp);
    migration_patience_end(&patience, errp);
    qio_channel_close(ioc, NULL);
    return ok;
}
