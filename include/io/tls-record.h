/*
 * What goes into one TLS record
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QIO_TLS_RECORD_H
#define QIO_TLS_RECORD_H

/* The most that fits into a TLS record, in bytes (RFC 8446, section 5.1) */
#define QIO_TLS_RECORD_MAX 16384

/**
 * qio_tls_record_next: what the next record is made of
 *
 * @iov: what has to be written
 * @niov: how many elements it has
 * @skip: how much of it is written already, in bytes; less than all of it
 * @buffer: where elements are put together.  It points to %NULL at first;
 *          what is allocated there is the caller's, to be freed with g_free()
 * @length: filled in with the record's length, in bytes, at least 1
 *
 * Elements that are shorter than a record are put together.  What fills one by
 * itself, and the end, is not copied.  The same arguments give the same record,
 * so that a write which would have blocked can be repeated.
 *
 * Returns: the record's data, which are in @iov or in @buffer.
 */
const void *qio_tls_record_next(const struct iovec *iov, size_t niov,
                                size_t skip, uint8_t **buffer,
                                size_t *length);

#endif
