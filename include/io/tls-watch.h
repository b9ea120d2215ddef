/*
 * Watches of TLS channels
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QIO_TLS_WATCH_H
#define QIO_TLS_WATCH_H

#include "io/channel-tls.h"

/**
 * qio_tls_create_watch: the source of a watch on a TLS channel
 *
 * There is something to read when the channel below @ioc says so, and when
 * bytes are left that were read from it before, encrypted or not.
 *
 * Returns: a source for a #QIOChannelFunc, which is the caller's to unref
 */
GSource *qio_tls_create_watch(QIOChannelTLS *ioc, GIOCondition condition);

#endif
