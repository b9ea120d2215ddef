/*
 * Migration stream version 4: VMState structures on a QEMUFile
 *
 * Implements "Structures" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/stream/channel.h"
#include "migration/stream/vmstate.h"
#include "migration/qemu-file.h"

bool migration_stream_is_v4(QEMUFile *f)
{
    return stream_channel_of(f);
}

void migration_stream_put_subsections_end(QEMUFile *f)
{
    if (migration_stream_is_v4(f)) {
        qemu_put_byte(f, 0);
    }
}

int migration_stream_get_subsections_end(QEMUFile *f, const char *name,
                                         int ret)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    int byte;

    if (!sc || ret) {
        return ret;
    }
    byte = qemu_get_byte(f);
    if (byte && !qemu_file_get_error(f)) {
        g_autofree char *where = stream_reader_where(sc->reader);

        error_setg(&err, "%s: after the subsections of '%s': expected their "
                   "end, got 0x%02x", where, name, byte);
        qemu_file_set_error_obj(f, -EINVAL, err);
    }
    return qemu_file_get_error(f);
}
