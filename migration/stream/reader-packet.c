/*
 * Migration stream version 4: the reader, records that have a head
 *
 * Implements the receiving side of flag HEAD, which packets have ("Records" and
 * "Packets" of docs/devel/migration-v4/wire-format.rst).
 *
 * A head is read whole and its checksum verified before it is given out.  The
 * data behind it is not kept: whoever takes it says where it goes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "reader-private.h"

/* How much is read in passing when a head is read, in bytes */
#define STREAM_AHEAD (4 * KiB)

/* Most places that are filled at once */
#define STREAM_PLACES_MAX 256

/*
 * Reads the present record's head.  What comes in passing is data of the same
 * record, and at most a header behind it.
 */
static bool stream_reader_head(StreamReader *r, size_t *head, Error **errp)
{
    const StreamRecord *record = &r->record;
    size_t all = record->length + STREAM_HEADER_SIZE;
    size_t have = 0, longest = MIN(record->length, STREAM_HEAD_MAX);

    if (longest < STREAM_HEAD_MIN) {
        error_setg(errp, "the record is too short for its head: expected at "
                   "least %d bytes, got %zu", STREAM_HEAD_MIN, longest);
        return false;
    }
    if (!stream_reader_fill(r, r->payload, &have, STREAM_HEAD_MIN,
                            MIN(all, STREAM_AHEAD) - STREAM_HEAD_MIN, errp)) {
        return false;
    }
    *head = ldl_be_p(r->payload);
    if (*head < STREAM_HEAD_MIN || *head > longest ||
        record->length - *head > STREAM_DATA_MAX) {
        error_setg(errp, "the record's head has an impossible length: expected "
                   "%d to %zu bytes, and at most %" PRIu64 " behind them, got "
                   "%zu of %" PRIu32, STREAM_HEAD_MIN, longest,
                   (uint64_t)STREAM_DATA_MAX, *head, record->length);
        return false;
    }
    if (!stream_reader_fill(r, r->payload, &have, *head,
                            MIN(all - *head, STREAM_AHEAD), errp) ||
        !stream_reader_check_payload(r, *head, errp)) {
        return false;
    }
    r->offset += *head;
    r->data = record->length - *head;
    r->data_at = r->payload + *head;
    r->data_ahead = MIN(have - *head, r->data);
    stream_reader_keep_ahead(r, r->data_at + r->data_ahead,
                             have - *head - r->data_ahead);
    return true;
}

bool stream_reader_get_data(StreamReader *r, struct iovec *iov, size_t niov,
                            Error **errp)
{
    size_t want = iov_size(iov, niov);
    size_t have = MIN(want, r->data_ahead);

    assert(want <= r->data);
    iov_from_buf(iov, niov, 0, r->data_at, have);
    r->data_at += have;
    r->data_ahead -= have;
    while (have < want) {
        struct iovec places[STREAM_PLACES_MAX + 1];
        unsigned n = iov_copy(places, STREAM_PLACES_MAX, iov, niov, have,
                              want - have);
        ssize_t got;

        /* The next header comes along, if it is next */
        if (want == r->data && iov_size(places, n) == want - have) {
            places[n].iov_base = r->next;
            places[n++].iov_len = STREAM_HEADER_SIZE;
        }
        got = r->readv ? r->readv(r->opaque, places, n, errp)
                       : r->read(r->opaque, places[0].iov_base,
                                 places[0].iov_len, errp);
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            stream_reader_cut_short(r, have, want, errp);
            return false;
        }
        if (got > want - have) {
            r->ahead = got - (want - have);
            got = want - have;
        }
        have += got;
    }
    r->data -= want;
    r->offset += want;
    return true;
}

/* Passes over the data of a packet that nobody wants */
static bool stream_reader_pass_data(StreamReader *r, Error **errp)
{
    uint8_t ignored[4 * KiB];

    while (r->data) {
        struct iovec iov = {
            .iov_base = ignored,
            .iov_len = MIN(sizeof(ignored), r->data),
        };

        if (!stream_reader_get_data(r, &iov, 1, errp)) {
            return false;
        }
    }
    return true;
}

bool stream_reader_packet(StreamReader *r, Error **errp)
{
    size_t head;

    if (!stream_reader_head(r, &head, errp)) {
        return false;
    }
    if (r->record.flags & STREAM_FLAG_OPTIONAL) {
        return stream_reader_pass_data(r, errp);
    }
    if (!stream_record_type_name(r->record.type)) {
        /* It is refused as such */
        return true;
    }
    if (!r->packet) {
        error_setg(errp, "a packet comes where nobody takes any: expected "
                   "none, got one of %" PRIu32 " bytes", r->record.length);
        return false;
    }
    if (!r->packet(r->packet_opaque, r, r->payload, head, r->data, errp)) {
        return false;
    }
    assert(!r->data);
    return true;
}
