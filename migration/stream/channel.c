/*
 * Migration stream version 4: the channel
 *
 * Implements "Records" and "The return path" of
 * docs/devel/migration-v4/wire-format.rst on top of any transport.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "migration/stream/channel.h"
#include "migration/qemu-file.h"
#include "migration/stream/structs.h"

/* For stream_channel_of(), which every VMState structure asks */
static ObjectClass *stream_channel_class;

static bool stream_channel_send(void *opaque, const void *data, size_t length,
                                Error **errp)
{
    StreamChannel *sc = opaque;

    return qio_channel_write_all(sc->base, data, length, errp) == 0;
}

/* What was looked at and not read since */
static size_t stream_channel_again(StreamChannel *sc, void *data,
                                   size_t length)
{
    size_t n = MIN(length, sc->looked - sc->given);

    memcpy(data, sc->begin + sc->given, n);
    sc->given += n;
    return n;
}

/* A StreamReadvFunc; what was looked at is read by then */
static ssize_t stream_channel_waitv(void *opaque, const struct iovec *iov,
                                    size_t niov, Error **errp)
{
    StreamChannel *sc = opaque;

    for (;;) {
        ssize_t n;

        if (sc->interrupted) {
            sc->interrupted = false;
            error_setg(errp, "the stream is not read on: a channel beside it "
                       "has failed");
            return -1;
        }
        n = qio_channel_readv(sc->base, iov, niov, errp);
        if (n != QIO_CHANNEL_ERR_BLOCK) {
            return n;
        }
        if (qemu_in_coroutine()) {
            qio_channel_yield(sc->base, G_IO_IN);
        } else {
            qio_channel_wait(sc->base, G_IO_IN);
        }
    }
}

void stream_channel_interrupt(StreamChannel *sc)
{
    sc->interrupted = true;
    if (sc->base->read_coroutine) {
        qemu_coroutine_enter(sc->base->read_coroutine);
    }
}

static ssize_t stream_channel_wait(StreamChannel *sc, void *data,
                                   size_t length, Error **errp)
{
    struct iovec iov = { .iov_base = data, .iov_len = length };

    return stream_channel_waitv(sc, &iov, 1, errp);
}

ssize_t stream_channel_receive(void *opaque, void *data, size_t length,
                               Error **errp)
{
    StreamChannel *sc = opaque;

    return stream_channel_again(sc, data, length) ?:
           stream_channel_wait(sc, data, length, errp);
}

StreamChannel *stream_channel_new_passing(QIOChannel *base, bool outgoing)
{
    StreamChannel *sc = STREAM_CHANNEL(object_new(TYPE_STREAM_CHANNEL));

    sc->base = QIO_CHANNEL(object_ref(OBJECT(base)));
    sc->outgoing = outgoing;
    sc->passes = true;
    sc->origin = -1;
    sc->type = -1;
    sc->writer = stream_writer_new(stream_channel_send, sc);
    sc->reader = stream_reader_new(stream_channel_receive, sc);
    if (qio_channel_has_feature(base, QIO_CHANNEL_FEATURE_SHUTDOWN)) {
        qio_channel_set_feature(QIO_CHANNEL(sc), QIO_CHANNEL_FEATURE_SHUTDOWN);
    }
    return sc;
}

StreamChannel *stream_channel_new(QIOChannel *base, bool outgoing)
{
    StreamChannel *sc = stream_channel_new_passing(base, outgoing);

    stream_channel_start(sc);
    return sc;
}

void stream_channel_start(StreamChannel *sc)
{
    if (sc->passes) {
        sc->passes = false;
        /* Each write is a whole record: nothing is gained by holding it back */
        qio_channel_set_delay(sc->base, false);
    }
}

void stream_channel_follow(StreamChannel *sc, StreamChannel *lead)
{
    assert(!sc->lead && !lead->lead);
    sc->lead = STREAM_CHANNEL(object_ref(OBJECT(lead)));
}

static bool stream_channel_passes(const StreamChannel *sc)
{
    return sc->lead ? sc->lead->passes : sc->passes;
}

uint32_t stream_channel_look(StreamChannel *sc)
{
    ssize_t n;

    assert(sc->passes && !sc->looked);
    do {
        n = stream_channel_wait(sc, sc->begin + sc->looked,
                                sizeof(sc->begin) - sc->looked, NULL);
        sc->looked += MAX(n, 0);
    } while (n > 0 && sc->looked < sizeof(sc->begin));

    return n > 0 && ldl_be_p(sc->begin) == STREAM_MAGIC
        ? ldl_be_p(sc->begin + 4) : 0;
}

void stream_channel_set_index(StreamChannel *sc, StreamIndex *index)
{
    if (sc->outgoing) {
        stream_writer_set_index(sc->writer, index);
    } else {
        stream_reader_set_index(sc->reader, index);
    }
}

void stream_channel_set_stored(StreamChannel *sc, GPtrArray *stored)
{
    if (sc->stored) {
        g_ptr_array_unref(sc->stored);
    }
    sc->stored = stored;
}

void stream_channel_set_reader(StreamChannel *sc, StreamReader *reader)
{
    stream_reader_free(sc->reader);
    sc->reader = reader;
    sc->type = -1;
    sc->records = 0;
}

void stream_channel_set_notice(StreamChannel *sc, StreamNoticeFunc *notice,
                               void *opaque)
{
    sc->notice = notice;
    sc->notice_opaque = opaque;
}

/* A verdict is an answer: only the side that sends the stream gets one */
static bool stream_channel_is_notice(const StreamChannel *sc, int type)
{
    return type == STREAM_RECORD_HELLO || type == STREAM_RECORD_HANDOVER ||
           (type == STREAM_RECORD_VERDICT && sc->outgoing);
}

/* Reads the present record to the end of its chain */
static bool stream_channel_take(StreamChannel *sc, GByteArray *payload,
                                Error **errp)
{
    uint8_t bytes[4096];
    ssize_t n;

    while ((n = stream_reader_read(sc->reader, bytes, sizeof(bytes),
                                   errp)) > 0) {
        if (payload->len + n > STREAM_NOTICE_MAX) {
            g_autofree char *where = stream_reader_where(sc->reader);

            error_setg(errp, "%s: it is too long: expected at most %d bytes, "
                       "got more", where, (int)STREAM_NOTICE_MAX);
            return false;
        }
        g_byte_array_append(payload, bytes, n);
    }
    return n == 0;
}

/* Gives the present record to the one who listens */
static bool stream_channel_notice(StreamChannel *sc, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autofree char *where = NULL;

    if (!sc->notice && sc->type == STREAM_RECORD_HELLO) {
        return stream_reader_discard(sc->reader, errp);
    }
    if (!stream_channel_take(sc, payload, errp)) {
        return false;
    }
    where = stream_reader_where(sc->reader);
    if (!sc->notice) {
        error_setg(errp, "%s: expected something of the stream itself, got a "
                   "%s record", where, stream_record_type_name(sc->type));
        return false;
    }
    if (!sc->notice(sc->notice_opaque, sc->type, payload, errp)) {
        error_prepend(errp, "%s: ", where);
        return false;
    }
    return true;
}

int stream_channel_next(StreamChannel *sc, size_t unread, Error **errp)
{
    if (sc->type == STREAM_RECORD_END && sc->message) {
        stream_reader_restart(sc->reader);
    }
    do {
        sc->type = stream_reader_next(sc->reader, unread, errp);
        if (!stream_channel_is_notice(sc, sc->type)) {
            return sc->type;
        }
    } while (stream_channel_notice(sc, errp));
    return sc->type = -1;
}

bool stream_channel_get_notice(StreamChannel *sc, Error **errp)
{
    g_autofree char *where = NULL;

    sc->type = stream_reader_next(sc->reader, 0, errp);
    if (sc->type < 0 || stream_channel_is_notice(sc, sc->type)) {
        return sc->type >= 0 && stream_channel_notice(sc, errp);
    }
    where = stream_reader_where(sc->reader);
    error_setg(errp, "%s: expected a hand-over record, got a %s record", where,
               stream_record_type_name(sc->type));
    return false;
}

bool stream_channel_put_notice(StreamChannel *sc, uint16_t type,
                               const void *payload, size_t length,
                               Error **errp)
{
    assert(length <= STREAM_NOTICE_MAX);
    stream_writer_begin(sc->writer, type, 0, 0, NULL);
    return stream_writer_append(sc->writer, payload, length, errp) &&
           stream_writer_end(sc->writer, errp);
}

void stream_channel_set_packet(StreamChannel *sc, StreamPacketFunc *packet,
                               void *opaque)
{
    assert(!sc->outgoing && !sc->package);
    stream_reader_set_packet(sc->reader, packet, opaque);
    stream_reader_set_readv(sc->reader, stream_channel_waitv);
}

bool stream_channel_put_packet(StreamChannel *sc, const void *head,
                               size_t head_length, const struct iovec *data,
                               size_t niov, Error **errp)
{
    uint8_t header[STREAM_HEADER_SIZE];
    g_autofree struct iovec *iov = g_new(struct iovec, niov + 2);

    assert(sc->outgoing && stream_writer_in_section(sc->writer));
    if (!stream_writer_put_packet(sc->writer, STREAM_RECORD_PACKET, head,
                                  head_length, iov_size(data, niov), header,
                                  errp)) {
        return false;
    }
    iov[0] = (struct iovec) { header, sizeof(header) };
    iov[1] = (struct iovec) { (void *)head, head_length };
    iov_copy(iov + 2, niov, data, niov, 0, SIZE_MAX);
    return qio_channel_writev_all(sc->base, iov, niov + 2, errp) == 0;
}

StreamChannel *stream_channel_under(QEMUFile *f)
{
    QIOChannel *ioc = qemu_file_get_ioc(f);

    if (object_get_class(OBJECT(ioc)) != stream_channel_class) {
        return NULL;
    }
    return (StreamChannel *)ioc;
}

StreamChannel *stream_channel_of(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_under(f);

    return sc && !stream_channel_passes(sc) ? sc : NULL;
}

QIOChannel *migration_stream_transport(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_under(f);

    return sc ? sc->base : qemu_file_get_ioc(f);
}

static ssize_t stream_channel_writev(QIOChannel *ioc, const struct iovec *iov,
                                     size_t niov, int *fds, size_t nfds,
                                     int flags, Error **errp)
{
    StreamChannel *sc = STREAM_CHANNEL(ioc);
    uint16_t message = sc->outgoing ? sc->message : STREAM_RECORD_RETURN_PATH;
    bool in_section = stream_writer_in_section(sc->writer);
    ssize_t done = 0;

    if (stream_channel_passes(sc)) {
        return qio_channel_writev_full(sc->base, iov, niov, fds, nfds, flags,
                                       errp);
    }
    if (!in_section && !message) {
        error_setg(errp, "Cannot write to a migration stream outside of its "
                   "sections");
        return -1;
    }
    if (!in_section) {
        stream_writer_begin(sc->writer, message, 0, 0, NULL);
    }
    for (size_t i = 0; i < niov; i++) {
        if (!stream_writer_append(sc->writer, iov[i].iov_base, iov[i].iov_len,
                                  errp)) {
            return -1;
        }
        done += iov[i].iov_len;
    }
    if (in_section ? sc->prompt && !stream_writer_push(sc->writer, errp)
                   : !stream_writer_end(sc->writer, errp)) {
        return -1;
    }
    return done;
}

/* Goes on to the next message, if the present record is not a section */
static bool stream_channel_next_message(StreamChannel *sc, Error **errp)
{
    uint16_t message = sc->outgoing ? STREAM_RECORD_RETURN_PATH : sc->message;
    g_autofree char *where = NULL;
    int type;

    if (!message || !(sc->type == -1 || sc->type == message ||
                      sc->type == STREAM_RECORD_END)) {
        where = stream_reader_where(sc->reader);
        error_setg(errp, "%s: the section is shorter than its reader "
                   "expected", where);
        return false;
    }
    type = stream_channel_next(sc, 0, errp);
    if (type >= 0 && type != message) {
        where = stream_reader_where(sc->reader);
        error_setg(errp, "%s: expected a %s record, got a %s record", where,
                   stream_record_type_name(message),
                   stream_record_type_name(type));
        return false;
    }
    return type >= 0;
}

static ssize_t stream_channel_readv(QIOChannel *ioc, const struct iovec *iov,
                                    size_t niov, int **fds, size_t *nfds,
                                    Error **errp)
{
    StreamChannel *sc = STREAM_CHANNEL(ioc);
    size_t length = iov[0].iov_len;

    if (stream_channel_passes(sc)) {
        return stream_channel_again(sc, iov[0].iov_base, length) ?:
               qio_channel_readv_full(sc->base, iov, niov, fds, nfds, errp);
    }
    /* Files are read on after an error; the first one is what counts */
    while (length && !sc->broken) {
        ssize_t n = stream_reader_read(sc->reader, iov[0].iov_base, length,
                                       errp);

        if (n > 0) {
            return n;
        }
        if (n < 0 || !stream_channel_next_message(sc, errp)) {
            sc->broken = true;
            return -1;
        }
    }
    return 0;
}

static int stream_channel_close(QIOChannel *ioc, Error **errp)
{
    return qio_channel_close(STREAM_CHANNEL(ioc)->base, errp);
}

static int stream_channel_shutdown(QIOChannel *ioc, QIOChannelShutdown how,
                                   Error **errp)
{
    return qio_channel_shutdown(STREAM_CHANNEL(ioc)->base, how, errp);
}

static int stream_channel_set_blocking(QIOChannel *ioc, bool enabled,
                                       Error **errp)
{
    return qio_channel_set_blocking(STREAM_CHANNEL(ioc)->base, enabled, errp);
}

static void stream_channel_set_delay(QIOChannel *ioc, bool enabled)
{
    qio_channel_set_delay(STREAM_CHANNEL(ioc)->base, enabled);
}

static void stream_channel_set_cork(QIOChannel *ioc, bool enabled)
{
    qio_channel_set_cork(STREAM_CHANNEL(ioc)->base, enabled);
}

static GSource *stream_channel_create_watch(QIOChannel *ioc,
                                            GIOCondition condition)
{
    return qio_channel_create_watch(STREAM_CHANNEL(ioc)->base, condition);
}

static void stream_channel_set_aio_fd_handler(QIOChannel *ioc, AioContext *ctx,
                                              IOHandler *io_read,
                                              IOHandler *io_write,
                                              void *opaque)
{
    qio_channel_set_aio_fd_handler(STREAM_CHANNEL(ioc)->base, ctx, io_read,
                                   io_write, opaque);
}

static void stream_channel_finalize(Object *obj)
{
    StreamChannel *sc = STREAM_CHANNEL(obj);

    stream_channel_set_stored(sc, NULL);
    stream_structs_free(sc->structs);
    stream_writer_free(sc->writer);
    stream_reader_free(sc->reader);
    object_unref(OBJECT(sc->lead));
    object_unref(OBJECT(sc->base));
}

static void stream_channel_class_init(ObjectClass *klass, void *data)
{
    QIOChannelClass *ioc_klass = QIO_CHANNEL_CLASS(klass);

    ioc_klass->io_writev = stream_channel_writev;
    ioc_klass->io_readv = stream_channel_readv;
    ioc_klass->io_close = stream_channel_close;
    ioc_klass->io_shutdown = stream_channel_shutdown;
    ioc_klass->io_set_blocking = stream_channel_set_blocking;
    ioc_klass->io_set_delay = stream_channel_set_delay;
    ioc_klass->io_set_cork = stream_channel_set_cork;
    ioc_klass->io_create_watch = stream_channel_create_watch;
    ioc_klass->io_set_aio_fd_handler = stream_channel_set_aio_fd_handler;
    stream_channel_class = klass;
}

static const TypeInfo stream_channel_info = {
    .parent = TYPE_QIO_CHANNEL,
    .name = TYPE_STREAM_CHANNEL,
    .instance_size = sizeof(StreamChannel),
    .instance_finalize = stream_channel_finalize,
    .class_init = stream_channel_class_init,
};

static void stream_channel_register_types(void)
{
    type_register_static(&stream_channel_info);
}

type_init(stream_channel_register_types);
