/*
 * What goes into one TLS record
 *
 * A record has a header, a tag and a run of the cipher of its own, whatever
 * its length.  A migration writes a header of 8 bytes, a page of 4096, and so
 * on; a record for each costs several times what the cipher does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "io/tls-record.h"

const void *qio_tls_record_next(const struct iovec *iov, size_t niov,
                                size_t skip, uint8_t **buffer,
                                size_t *length)
{
    size_t left;

    while (skip >= iov->iov_len) {
        skip -= iov->iov_len;
        iov++;
        niov--;
    }
    left = iov->iov_len - skip;
    if (left >= QIO_TLS_RECORD_MAX || niov == 1) {
        *length = MIN(left, QIO_TLS_RECORD_MAX);
        return (const uint8_t *)iov->iov_base + skip;
    }
    if (!*buffer) {
        *buffer = g_malloc(QIO_TLS_RECORD_MAX);
    }
    *length = iov_to_buf(iov, niov, skip, *buffer, QIO_TLS_RECORD_MAX);
    return *buffer;
}
