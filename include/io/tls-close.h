/*
 * The proper end of a TLS session
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QIO_TLS_CLOSE_H
#define QIO_TLS_CLOSE_H

#include "io/channel-tls.h"

/**
 * qio_tls_say_bye: tell the other side that nothing more will be sent
 *
 * Before the channel under @ioc is closed, in any thread that may close it;
 * once, unless it was shut down for writing before.  Never waits: to a peer
 * that takes nothing nothing is said.
 */
void qio_tls_say_bye(QIOChannelTLS *ioc);

#endif
