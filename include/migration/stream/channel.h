/*
 * Migration stream version 4: the channel
 *
 * A QIOChannel that stands between a QEMUFile and the transport.  What the
 * file writes goes out as records; what it reads has come in as records and
 * has been checked.  In the other direction goes the return path.
 *
 * Records are sections of the stream, which somebody has to begin and to end,
 * or messages, of which each write makes one and which are read without a look
 * at where one ends: the return path, urgent pages, and what COLO says between
 * the stream's ends.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_CHANNEL_H
#define MIGRATION_STREAM_CHANNEL_H

#include "io/channel.h"
#include "qom/object.h"
#include "migration/qemu-file-types.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#define TYPE_STREAM_CHANNEL "migration-stream-channel"
OBJECT_DECLARE_SIMPLE_TYPE(StreamChannel, STREAM_CHANNEL)

typedef struct StreamStructs StreamStructs;

struct StreamChannel {
    QIOChannel parent;
    QIOChannel *base;       /* the transport, of which this holds a reference */
    bool outgoing;          /* the stream is written; else it is read */
    bool broken;            /* reading has failed, and is over */
    bool package;           /* over memory: for records of another channel */
    bool prompt;            /* what is written goes out at once */
    uint64_t package_end;   /* where in the stream the package ends */
    uint16_t message;       /* type of the stream's messages, or 0 */
    int type;               /* of the record that is being read, or -1 */
    uint64_t records;       /* that are in the figures already */
    uint64_t bytes;         /* that are in the figures already */
    StreamWriter *writer;   /* of the stream, or of the return path */
    StreamReader *reader;   /* of the return path, or of the stream */
    StreamStructs *structs; /* where among structures, NULL until asked for */
};

/**
 * stream_channel_new: records over @base
 *
 * @base: the transport; the new channel takes a reference of its own
 * @outgoing: %true on the side that sends the stream
 *
 * Returns: the channel, which the caller owns.
 */
StreamChannel *stream_channel_new(QIOChannel *base, bool outgoing);

/**
 * stream_channel_set_index: share a table of sections with other channels
 */
void stream_channel_set_index(StreamChannel *sc, StreamIndex *index);

/**
 * stream_channel_set_reader: read from another place
 *
 * @reader: of what @base gives; taken
 */
void stream_channel_set_reader(StreamChannel *sc, StreamReader *reader);

/**
 * stream_channel_receive: a StreamReadFunc, for such a reader
 */
ssize_t stream_channel_receive(void *opaque, void *data, size_t length,
                               Error **errp);

/**
 * stream_channel_next: go to the next record that begins something
 *
 * Like stream_reader_next().
 */
int stream_channel_next(StreamChannel *sc, size_t unread, Error **errp);

/**
 * stream_channel_of: the channel under a file
 *
 * Returns: the channel, which is the file's, or NULL when @f does not carry
 * records, as in version 3.
 */
StreamChannel *stream_channel_of(QEMUFile *f);

/**
 * migration_stream_transport: the transport under a file
 *
 * Returns: the channel that bytes go to in the end, which is the file's.
 */
QIOChannel *migration_stream_transport(QEMUFile *f);

#endif
