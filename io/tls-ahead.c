/*
 * What was read of a TLS session before it was asked for
 *
 * GnuTLS reads the header of each TLS record, then the rest of it, and each of
 * that would be a system call, for which TCP also tells the other side of the
 * room that it has made.  One call here reads what was asked for, to where it
 * belongs, and behind that whatever else is there.
 *
 * A session that has little to read, as most have, keeps little memory for it:
 * there is more when what there was has been filled.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "io/tls-ahead.h"

static void make_room(QIOTLSAhead *ahead)
{
    if (!ahead->data || ahead->size < ahead->next) {
        g_free(ahead->data);
        ahead->size = MAX(ahead->next, QIO_TLS_AHEAD_MIN);
        ahead->data = g_malloc(ahead->size);
    }
}

ssize_t qio_tls_ahead_read(QIOTLSAhead *ahead, QIOChannel *from, void *data,
                           size_t length)
{
    struct iovec iov[] = { { .iov_base = data, .iov_len = length }, { } };
    ssize_t n;

    if (qio_tls_ahead_left(ahead)) {
        n = MIN(length, qio_tls_ahead_left(ahead));
        memcpy(data, ahead->data + ahead->begin, n);
        ahead->begin += n;
        return n;
    }
    make_room(ahead);
    iov[1].iov_base = ahead->data;
    iov[1].iov_len = ahead->size;
    n = qio_channel_readv(from, iov, ARRAY_SIZE(iov), NULL);
    if (n <= (ssize_t)length) {
        return n;
    }
    ahead->begin = 0;
    ahead->end = n - length;
    if (ahead->end == ahead->size) {
        ahead->next = MIN(2 * ahead->size, QIO_TLS_AHEAD_MAX);
    }
    return length;
}

void qio_tls_ahead_free(QIOTLSAhead *ahead)
{
    g_free(ahead->data);
    *ahead = (QIOTLSAhead) { };
}
