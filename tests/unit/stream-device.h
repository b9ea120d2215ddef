/*
 * One device in a stream in memory, for tests of how its state is saved and
 * loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_STREAM_DEVICE_H
#define TESTS_STREAM_DEVICE_H

#include "io/channel-buffer.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/vmstate.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/stream/vmstate.h"
#include "stream-beginning.h"

typedef struct MemoryStream {
    QIOChannelBuffer *buffer;
    StreamChannel *sc;
    QEMUFile *f;
} MemoryStream;

/**
 * open_stream: a file of version 4 to save to, or to load from
 *
 * @buffer: what it is saved to or loaded from; the stream takes the reference
 *
 * Returns: what close_stream() frees.
 */
static inline MemoryStream open_stream(QIOChannelBuffer *buffer, bool output)
{
    StreamChannel *sc = stream_channel_new(QIO_CHANNEL(buffer), output);

    return (MemoryStream) {
        buffer, sc, output ? qemu_file_new_output(QIO_CHANNEL(sc))
                           : qemu_file_new_input(QIO_CHANNEL(sc)),
    };
}

/**
 * close_stream: and lose what is in its buffer, unless finish_saving() has it
 */
static inline void close_stream(MemoryStream *s)
{
    qemu_fclose(s->f);
    object_unref(OBJECT(s->sc));
    object_unref(OBJECT(s->buffer));
}

/* Frees @err; its text is the caller's to free */
static inline char *take_reason(Error *err)
{
    char *why = g_strdup(error_get_pretty(err));

    error_free(err);
    return why;
}

/**
 * put_device: save a device as savevm.c does, behind the stream's beginning
 *
 * @ident: of its section; the version is the newest
 * @json: gets its description, or NULL
 *
 * Returns: NULL, or why it was not saved, which the caller frees.
 */
static inline char *put_device(MemoryStream *s, StreamIdent ident,
                               const VMStateDescription *vmsd, void *opaque,
                               JSONWriter *json)
{
    int newest = ident.version_id, ret;
    Error *err = NULL;

    put_beginning(s->sc->writer);
    ident.version_id = migration_stream_choose_section(s->f, ident.name,
                                                       ident.instance_id,
                                                       newest);
    stream_writer_begin(s->sc->writer, STREAM_RECORD_SECTION_FULL, 0, 1,
                        &ident);
    ret = vmstate_save_state_v(s->f, vmsd, opaque, json,
                               migration_stream_section_version(s->f, newest));
    qemu_fflush(s->f);
    if (qemu_file_get_error_obj(s->f, &err)) {
        g_assert_cmpint(ret, <, 0);
        return take_reason(err);
    }
    g_assert_cmpint(ret, ==, 0);
    stream_writer_end(s->sc->writer, &error_abort);
    return NULL;
}

/**
 * get_device: load the device that put_device() saved, and all of it
 *
 * Returns: NULL, or why it was refused, which the caller frees.
 */
static inline char *get_device(MemoryStream *s, const VMStateDescription *vmsd,
                               void *opaque)
{
    StreamReader *r = s->sc->reader;
    Error *err = NULL;
    int ret;

    get_beginning(r);
    stream_reader_next(r, 0, &error_abort);
    ret = vmstate_load_state(s->f, vmsd, opaque,
                             stream_reader_ident(r)->version_id);
    if (ret) {
        migration_stream_get_error(s->f, ret, &err);
    } else {
        stream_reader_check_end(r, qemu_file_buffered(s->f), &err);
    }
    return err ? take_reason(err) : NULL;
}

/**
 * finish_saving: close a stream that was saved to
 *
 * Returns: what was saved, of which the caller has the only reference.
 */
static inline QIOChannelBuffer *finish_saving(MemoryStream *s)
{
    QIOChannelBuffer *saved = qio_channel_buffer_new(s->buffer->usage);

    memcpy(saved->data, s->buffer->data, s->buffer->usage);
    saved->usage = s->buffer->usage;
    close_stream(s);
    return saved;
}

/**
 * save_device: a stream with nothing in it but one device
 *
 * @why: is set if that failed; NULL if it must not fail
 *
 * As put_device() else.
 *
 * Returns: the stream, of which the caller has the only reference, or NULL
 * with @why set, which the caller frees.
 */
static inline QIOChannelBuffer *save_device(StreamIdent ident,
                                            const VMStateDescription *vmsd,
                                            void *opaque, JSONWriter *json,
                                            char **why)
{
    MemoryStream s = open_stream(qio_channel_buffer_new(1024), true);
    char *reason = put_device(&s, ident, vmsd, opaque, json);

    if (!why) {
        g_assert_cmpstr(reason, ==, NULL);
    }
    if (!reason) {
        return finish_saving(&s);
    }
    close_stream(&s);
    *why = reason;
    return NULL;
}

/**
 * load_device: load what save_device() saved
 *
 * @saved: the reference is taken
 *
 * Returns: NULL, or why it was refused, which the caller frees.
 */
static inline char *load_device(QIOChannelBuffer *saved,
                                const VMStateDescription *vmsd, void *opaque)
{
    MemoryStream s = open_stream(saved, false);
    char *why = get_device(&s, vmsd, opaque);

    close_stream(&s);
    return why;
}

/**
 * find_frame: where the frame of that name is; of an array, of its first
 */
static inline uint8_t *find_frame(const QIOChannelBuffer *saved,
                                  const char *name)
{
    g_autofree char *wire = g_strdup_printf("%c%s", (int)strlen(name), name);
    uint8_t *found = memmem(saved->data, saved->usage, wire, strlen(wire));

    g_assert_nonnull(found);
    return found + 1 - STREAM_FRAME_HEADER_SIZE;
}

/**
 * seal_device: make the section right again after its payload was changed
 *
 * Returns: the header of its record.
 */
static inline StreamRecord seal_device(QIOChannelBuffer *saved)
{
    uint8_t *wire = saved->data + BEGINNING_SIZE;
    StreamRecord record;

    stream_record_decode(wire, BEGINNING_SIZE, &record, &error_abort);
    record.payload_crc = stream_crc32c(wire + STREAM_HEADER_SIZE,
                                       record.length);
    stream_record_encode(&record, wire);
    return record;
}

/**
 * size_in_version_3: save a device as savevm.c does in version 3
 *
 * Returns: how long its state is, in bytes.
 */
static inline size_t size_in_version_3(const VMStateDescription *vmsd,
                                       void *opaque)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(1024);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(buffer));
    int version_id = migration_stream_section_version(f, vmsd->version_id);
    size_t size;

    g_assert_cmpint(version_id, ==, vmsd->version_id);
    g_assert_cmpint(vmstate_save_state_v(f, vmsd, opaque, NULL, version_id),
                    ==, 0);
    qemu_fflush(f);
    g_assert_cmpint(qemu_file_get_error(f), ==, 0);
    size = buffer->usage;
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
    return size;
}

#endif
