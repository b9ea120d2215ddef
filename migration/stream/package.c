/*
 * Migration stream version 4: packages
 *
 * Device state that is saved aside, or has to be read before it is loaded:
 * for postcopy, background snapshots and COLO.  Implements "Packages" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/qemu-file.h"
#include "migration/stream/figures.h"
#include "migration/stream/file.h"

static StreamChannel *stream_package_new(StreamChannel *sc,
                                         QIOChannelBuffer *bioc)
{
    StreamChannel *package = stream_channel_new(QIO_CHANNEL(bioc),
                                                sc->outgoing);

    package->package = true;
    if (sc->stored) {
        stream_channel_set_stored(package, g_ptr_array_ref(sc->stored));
    }
    stream_channel_set_index(package, sc->outgoing ?
                             stream_writer_index(sc->writer) :
                             stream_reader_index(sc->reader));
    return package;
}

/* Opens @bioc with @open, in version 4 as a package of the stream */
static QEMUFile *stream_package_open(QEMUFile *f, QIOChannelBuffer *bioc,
                                     QEMUFile *(*open)(QIOChannel *ioc))
{
    StreamChannel *sc = stream_channel_of(f);
    g_autoptr(StreamChannel) package = NULL;

    if (!sc) {
        return open(QIO_CHANNEL(bioc));
    }
    package = stream_package_new(sc, bioc);
    return open(QIO_CHANNEL(package));
}

QEMUFile *migration_stream_package_output(QEMUFile *f, QIOChannelBuffer *bioc)
{
    return stream_package_open(f, bioc, qemu_file_new_output);
}

QEMUFile *migration_stream_package_input(QEMUFile *f, QIOChannelBuffer *bioc)
{
    return stream_package_open(f, bioc, qemu_file_new_input);
}

void migration_stream_put_package(QEMUFile *f, const uint8_t *data,
                                  size_t length)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        qemu_put_buffer(f, data, length);
        return;
    }
    if (qemu_file_get_error(f)) {
        return;
    }
    if (!stream_writer_put_records(sc->writer, data, length, &err)) {
        qemu_file_set_error_obj(f, -EIO, err);
        return;
    }
    qemu_file_acct_rate_limit(f, length);
    stream_figures_written(f, sc);
}

/* As version 3 has always done it: memory for all of it before it comes */
static size_t get_package_v3(QEMUFile *f, QIOChannelBuffer *bioc,
                             size_t length)
{
    if (length > bioc->capacity) {
        bioc->capacity = length;
        bioc->data = g_realloc(bioc->data, length);
    }
    bioc->usage = qemu_get_buffer(f, bioc->data, length);
    bioc->offset = 0;
    return bioc->usage;
}

/* The end of a checkpoint, which is checked before the package is loaded */
static bool stream_package_get_end(QEMUFile *f, StreamChannel *sc)
{
    g_autofree char *where = NULL;
    Error *err = NULL;
    int type = stream_channel_next(sc, 0, &err);

    if (type == STREAM_RECORD_END) {
        return true;
    }
    if (type >= 0) {
        where = stream_reader_where(sc->reader);
        error_setg(&err, "%s: expected an end record, got a %s record", where,
                   stream_record_type_name(type));
    }
    qemu_file_set_error_obj(f, -EINVAL, err);
    return false;
}

size_t migration_stream_get_package(QEMUFile *f, QEMUFile *package,
                                    size_t length)
{
    QIOChannelBuffer *bioc =
        QIO_CHANNEL_BUFFER(migration_stream_transport(package));
    StreamChannel *sc = stream_channel_of(f), *inner;
    g_autoptr(GByteArray) bytes = NULL;
    StreamIndex *index;
    uint64_t offset;
    Error *err = NULL;

    if (!sc) {
        return get_package_v3(f, bioc, length);
    }
    if (qemu_file_get_error(f)) {
        return 0;
    }
    index = stream_reader_index(sc->reader);
    offset = stream_reader_bytes(sc->reader);
    bytes = g_byte_array_new();
    if (!stream_reader_check_end(sc->reader, qemu_file_buffered(f), &err) ||
        !stream_reader_take(sc->reader, length, index, bytes, &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return 0;
    }
    if (sc->message == STREAM_RECORD_COLO && !stream_package_get_end(f, sc)) {
        return 0;
    }

    g_free(bioc->data);
    bioc->usage = bioc->capacity = bytes->len;
    bioc->offset = 0;
    bioc->data = g_byte_array_free(g_steal_pointer(&bytes), false);

    inner = stream_channel_of(package);
    inner->package_end = offset + length;
    stream_channel_set_reader(inner,
                              stream_reader_new_checked(stream_channel_receive,
                                                        inner, offset, index));
    return length;
}

void migration_stream_fail_package(QEMUFile *f, QEMUFile *package, int ret)
{
    Error *err = NULL;

    if (stream_channel_of(package)) {
        migration_stream_get_error(package, ret, &err);
        qemu_file_set_error_obj(f, ret, err);
    }
}
