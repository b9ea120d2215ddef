/*
 * The TLS session that a migration is in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_TLS_H
#define MIGRATION_STREAM_TLS_H

#include "io/channel.h"
#include "monitor/monitor.h"
#include "qapi/qapi-types-migration-stream.h"

/**
 * migration_tls_begin: a migration begins on a channel, with TLS or without
 *
 * @ioc: its main channel; a TLS handshake is through
 *
 * With the BQL held.
 */
void migration_tls_begin(QIOChannel *ioc);

/**
 * migration_tls_bye: a channel is about to be shut down, and all went well
 *
 * @ioc: the channel, with TLS or without; nobody writes to it any more
 *
 * Its session ends properly.
 */
void migration_tls_bye(QIOChannel *ioc);

/* Likewise, unless the outgoing migration has not been completed */
void migration_tls_end(QIOChannel *ioc);

/**
 * migration_tls_info: the session of the last migration, for query-migrate
 *
 * Returns: what the two sides have agreed on, which the caller frees; %NULL if
 * there was no TLS.
 */
MigrationTlsInfo *migration_tls_info(void);

/* Prints that for HMP "info migrate"; @info may be %NULL */
void hmp_info_migrate_tls(Monitor *mon, const MigrationTlsInfo *info);

#endif
