/*
 * Migration stream version 4: looking a file through before it is loaded
 *
 * Implements "Looking ahead" of docs/devel/migration-v4/snapshots.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/stream/lookahead.h"

/* Reads the present record, which is to come once, to the end of its chain */
static bool take_facts(StreamReader *r, GByteArray *facts, Error **errp)
{
    g_autofree char *where = stream_reader_where(r);
    uint8_t bytes[4096];
    ssize_t n;

    if (facts->len) {
        error_setg(errp, "%s: it comes twice: expected it once", where);
        return false;
    }
    while ((n = stream_reader_read(r, bytes, sizeof(bytes), errp)) > 0) {
        if (facts->len + n > STREAM_FACTS_MAX) {
            error_setg(errp, "%s: it is too long: expected at most %d bytes, "
                       "got more", where, (int)STREAM_FACTS_MAX);
            return false;
        }
        g_byte_array_append(facts, bytes, n);
    }
    return n == 0;
}

bool stream_look_ahead(StreamReadFunc *read, StreamHopFunc *hop, void *opaque,
                       uint32_t *version, GByteArray *facts, Error **errp)
{
    g_autoptr(StreamReader) r = stream_reader_new(read, opaque);
    int type;

    stream_reader_set_hop(r, hop);
    *version = stream_reader_preamble(r, errp);
    if (*version != STREAM_VERSION) {
        return *version;
    }
    while ((type = stream_reader_next(r, 0, errp)) > STREAM_RECORD_END) {
        if (!(type == STREAM_RECORD_FACTS ? take_facts(r, facts, errp)
                                          : stream_reader_discard(r, errp))) {
            return false;
        }
    }
    return type == STREAM_RECORD_END;
}
