/*
 * Migration stream version 4: the channel
 *
 * A QIOChannel that stands between a QEMUFile and the transport.  What the
 * file writes goes out as records; what it reads has come in as records and
 * has been checked.  In the other direction goes the return path, each of
 * whose flushes is one record.
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
