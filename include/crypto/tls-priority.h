/*
 * Which ciphers TLS prefers where nobody says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CRYPTO_TLS_PRIORITY_H
#define CRYPTO_TLS_PRIORITY_H

/**
 * qcrypto_tls_default_priority: the priority of a credential that gives none
 *
 * It allows what the build's own default allows, and nothing else, but has
 * the ciphers that are slow on this processor behind those that are not; that
 * is measured, once.
 *
 * Returns: a string for gnutls_priority_set_direct(), which is static.
 */
const char *qcrypto_tls_default_priority(void);

#endif
