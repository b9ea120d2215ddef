/*
 * Migration stream version 4: why loading failed
 *
 * A reason is kept where it arises.  On the way out each structure adds its
 * part of the path, and in the end section and offset are put before it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-last.h"
#include "migration/qemu-file.h"
#include "migration/stream/file.h"
#include "migration/stream/structs.h"
#include "migration/stream/vmstate.h"
#include "migration/vmstate.h"

void migration_stream_failed_in(QEMUFile *f, const char *name, int index)
{
    GString *path = stream_structs(stream_channel_of(f))->path;
    g_autofree char *element = NULL;

    if (index >= 0) {
        element = g_strdup_printf("%s[%d]", name, index);
    }
    if (path->len) {
        g_string_prepend_c(path, '.');
    }
    g_string_prepend(path, element ?: name);
}

static void G_GNUC_PRINTF(3, 0)
failed_for(QEMUFile *f, const char *hint, const char *fmt, va_list ap)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    /* What the file itself has to say is the cause, and comes first */
    if (sc && !qemu_file_get_error(f)) {
        g_autofree char *text = g_strdup_vprintf(fmt, ap);

        error_setg(&err, "%s", text);
        if (hint) {
            error_append_hint(&err, "%s\n", hint);
        }
        stream_structs_refuse(sc, err);
    }
}

bool migration_stream_failed(QEMUFile *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    failed_for(f, NULL, fmt, ap);
    va_end(ap);
    return migration_stream_is_v4(f);
}

bool migration_stream_failed_hint(QEMUFile *f, const char *hint,
                                  const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    failed_for(f, hint, fmt, ap);
    va_end(ap);
    return migration_stream_is_v4(f);
}

bool migration_stream_differs(QEMUFile *f, const VMStateField *field,
                              uint64_t expected, uint64_t got)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (sc && !qemu_file_get_error(f)) {
        error_setg(&err, "both sides must have the same value: expected "
                   "0x%" PRIx64 ", got 0x%" PRIx64, expected, got);
        if (field->err_hint) {
            error_append_hint(&err, "%s\n", field->err_hint);
        }
        stream_structs_refuse(sc, err);
    }
    return sc;
}

void migration_stream_get_error(QEMUFile *f, int ret, Error **errp)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamStructs *s = stream_structs(sc);
    g_autofree char *where = stream_reader_where(sc->reader);
    const char *path = s->path->str, *colon = s->path->len ? ": " : "";
    Error *err = NULL;
    int error = qemu_file_get_error_obj(f, &err);

    if (s->reason) {
        /* Devices that go on in spite of it may run into more */
        error_free(err);
        err = g_steal_pointer(&s->reason);
        error_prepend(&err, "%s, byte %" PRIu64 ": %s%s", where,
                      stream_structs_position(sc, f), path, colon);
    } else if (!err && error == -EIO) {
        error_setg(&err, "%s: %s%sthe section is shorter than its reader "
                   "expected: expected more, got its end", where, path, colon);
    } else if (!err) {
        error_setg(&err, "%s: %s%swhat it holds was refused: %s", where, path,
                   colon, error_report_last() ?: strerror(-ret));
    }
    error_propagate(errp, err);
}

bool migration_stream_explain(QEMUFile *f, int ret, Error **errp)
{
    Error *err = NULL;

    if (stream_channel_of(f)) {
        migration_stream_get_error(f, ret, &err);
    } else {
        qemu_file_get_error_obj(f, &err);
    }
    error_propagate(errp, err);
    return err;
}

void migration_stream_report_error(QEMUFile *f, int ret)
{
    Error *err = NULL;

    if (stream_channel_of(f)) {
        migration_stream_get_error(f, ret, &err);
        error_reportf_err(err, "migration stream: ");
    }
}

void migration_stream_report_pause(QEMUFile *f, QEMUFile *pages)
{
    Error *here = NULL, *there = NULL;

    if (!stream_channel_of(f)) {
        return;
    }
    qemu_file_get_error_obj(f, &here);
    if (pages) {
        qemu_file_get_error_obj(pages, &there);
    }
    if (here || !there) {
        migration_stream_report_error(f, -EIO);
    } else {
        error_reportf_err(g_steal_pointer(&there),
                          "migration stream, urgent pages: ");
    }
    error_free(here);
    error_free(there);
}
