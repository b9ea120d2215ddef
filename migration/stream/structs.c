/*
 * Migration stream version 4: where a channel is among structures
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/qemu-file.h"
#include "migration/stream/structs.h"

StreamStructs *stream_structs(StreamChannel *sc)
{
    if (!sc->structs) {
        sc->structs = g_new0(StreamStructs, 1);
        sc->structs->path = g_string_new(NULL);
    }
    return sc->structs;
}

void stream_structs_free(StreamStructs *s)
{
    if (s) {
        g_string_free(s->path, true);
        error_free(s->reason);
        g_free(s);
    }
}

uint64_t stream_structs_position(StreamChannel *sc, QEMUFile *f)
{
    return stream_reader_position(sc->reader) - qemu_file_buffered(f);
}

const char *stream_structs_section(StreamChannel *sc)
{
    const StreamIdent *ident = stream_reader_ident(sc->reader);

    return ident ? ident->name : "";
}

StreamPlace *stream_structs_top(StreamStructs *s)
{
    return s->depth ? &s->places[s->depth - 1] : NULL;
}

StreamPlace *stream_structs_push(StreamStructs *s, StreamPlaceKind kind,
                                 Error **errp)
{
    StreamPlace *place;

    if (s->depth >= STREAM_PLACES_MAX) {
        error_setg(errp, "structures are nested too deep: expected at most %d "
                   "around one another", STREAM_FRAME_DEPTH_MAX);
        return NULL;
    }
    place = &s->places[s->depth++];
    *place = (StreamPlace) {
        .kind = kind,
        .inside = s->depth > 1 ? place[-1].inside : s->inside,
    };
    return place;
}

int stream_structs_refuse(StreamChannel *sc, Error *err)
{
    StreamStructs *s = stream_structs(sc);

    if (s->reason) {
        error_free(err);
    } else {
        s->reason = err;
        g_string_truncate(s->path, 0);
    }
    return -EINVAL;
}
