/*
 * What was read of a TLS session before it was asked for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QIO_TLS_AHEAD_H
#define QIO_TLS_AHEAD_H

#include "qemu/units.h"
#include "io/channel.h"

/* The least and the most that a session has for it, in bytes */
#define QIO_TLS_AHEAD_MIN (4 * KiB)
#define QIO_TLS_AHEAD_MAX (4 * MiB)

/**
 * QIOTLSAhead: encrypted bytes between a channel and the session that reads
 * it; all zero at first.  Used by the thread that reads the session.
 */
typedef struct QIOTLSAhead {
    uint8_t *data;              /* allocated when it is first needed */
    size_t size, next;          /* of @data, in bytes: now, when it is empty */
    size_t begin, end;          /* what is there */
} QIOTLSAhead;

/**
 * qio_tls_ahead_left: how many bytes were read, but not asked for so far
 */
static inline size_t qio_tls_ahead_left(const QIOTLSAhead *ahead)
{
    return ahead->end - ahead->begin;
}

/**
 * qio_tls_ahead_read: read what comes next, and ahead
 *
 * @ahead: filled when it is empty
 * @from: the channel below the session
 * @data: gets at most @length bytes, at least one
 *
 * Never waits for more than one byte of @length.  What was read ahead comes
 * before the end or an error of @from, which come after it.
 *
 * Returns: how many bytes there are in @data, 0 at the end, -1 for an error,
 * #QIO_CHANNEL_ERR_BLOCK if @from does not block and has nothing
 */
ssize_t qio_tls_ahead_read(QIOTLSAhead *ahead, QIOChannel *from, void *data,
                           size_t length);

/**
 * qio_tls_ahead_free: drop what is there, and the memory
 */
void qio_tls_ahead_free(QIOTLSAhead *ahead);

#endif
