/*
 * The TLS session that a migration is in
 *
 * Implements "What is in use" of docs/devel/migration-v4/tls.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "io/channel-tls.h"
#include "io/tls-close.h"
#include "migration/migration.h"
#include "migration/stream/tls.h"

/* Names that GnuTLS has forever; NULL without TLS */
static const char *protocol, *cipher;

static QIOChannelTLS *tls_channel(QIOChannel *ioc)
{
    return (QIOChannelTLS *)object_dynamic_cast(OBJECT(ioc),
                                                TYPE_QIO_CHANNEL_TLS);
}

void migration_tls_begin(QIOChannel *ioc)
{
    QIOChannelTLS *tioc = tls_channel(ioc);
    QCryptoTLSSession *session = tioc ? qio_channel_tls_get_session(tioc)
                                      : NULL;

    protocol = session ? qcrypto_tls_session_get_protocol(session) : NULL;
    cipher = session ? qcrypto_tls_session_get_cipher(session) : NULL;
}

void migration_tls_bye(QIOChannel *ioc)
{
    QIOChannelTLS *tioc = tls_channel(ioc);

    if (tioc) {
        qio_tls_say_bye(tioc);
    }
}

void migration_tls_end(QIOChannel *ioc)
{
    if (migrate_get_current()->state == MIGRATION_STATUS_COMPLETED) {
        migration_tls_bye(ioc);
    }
}

MigrationTlsInfo *migration_tls_info(void)
{
    MigrationTlsInfo *info;

    if (!protocol || !cipher) {
        return NULL;
    }
    info = g_new0(MigrationTlsInfo, 1);
    info->protocol = g_strdup(protocol);
    info->cipher = g_strdup(cipher);
    return info;
}

void hmp_info_migrate_tls(Monitor *mon, const MigrationTlsInfo *info)
{
    if (info) {
        monitor_printf(mon, "TLS: %s, %s\n", info->protocol, info->cipher);
    }
}
