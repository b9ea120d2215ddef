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
 * As long as it is not known which version the two sides speak, and where that
 * turns out to be version 3, it stands there and passes bytes through.
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

/**
 * StreamNoticeFunc: takes what the other side says of the migration itself
 *
 * @opaque: what was given to stream_channel_set_notice()
 * @type: %STREAM_RECORD_HELLO, %STREAM_RECORD_HANDOVER or, on the side that
 * sends the stream, %STREAM_RECORD_VERDICT
 * @payload: of the whole chain, the caller's; not yet looked at
 *
 * Called by whoever reads the channel, between two sections or messages.
 *
 * Returns: %true, or %false with @errp set, which ends the reading.
 */
typedef bool StreamNoticeFunc(void *opaque, uint16_t type,
                              const GByteArray *payload, Error **errp);

struct StreamChannel {
    QIOChannel parent;
    QIOChannel *base;       /* the transport, of which this holds a reference */
    bool outgoing;          /* the stream is written; else it is read */
    bool passes;            /* bytes go through as they are, as in version 3 */
    StreamChannel *lead;    /* whose state that is; NULL: its own */
    uint8_t begin[STREAM_PREAMBLE_SIZE];    /* looked at before it is read */
    size_t looked;          /* bytes that came of that */
    size_t given;           /* bytes of those that were read since */
    bool broken;            /* reading has failed, and is over */
    bool interrupted;       /* the next read fails */
    bool package;           /* over memory: for records of another channel */
    bool prompt;            /* what is written goes out at once */
    uint64_t package_end;   /* where in the stream the package ends */
    uint16_t message;       /* type of the stream's messages, or 0 */
    int type;               /* of the record that is being read, or -1 */
    uint64_t records;       /* that are in the figures already */
    uint64_t bytes;         /* that are in the figures already */
    StreamWriter *writer;   /* of the stream, or of the return path */
    StreamReader *reader;   /* of the return path, or of the stream */
    int64_t origin;         /* in the file that it is in; -1: it is in none */
    GPtrArray *stored;      /* of StreamStoredSection: what the file has */
    StreamStructs *structs; /* where among structures, NULL until asked for */
    StreamNoticeFunc *notice;   /* NULL: nobody listens */
    void *notice_opaque;
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
 * stream_channel_new_passing: bytes over @base, as they are
 *
 * Until stream_channel_start().
 */
StreamChannel *stream_channel_new_passing(QIOChannel *base, bool outgoing);

/**
 * stream_channel_start: from here on records, in both directions
 *
 * Nobody else may use the channel meanwhile, and what the files over it have
 * buffered must have been read or written.  Does nothing if it is one of
 * records.
 */
void stream_channel_start(StreamChannel *sc);

/**
 * stream_channel_follow: carry records if another channel does
 *
 * @sc: was never used, and is not until @lead is what it will be
 * @lead: which has no lead itself; @sc takes a reference
 */
void stream_channel_follow(StreamChannel *sc, StreamChannel *lead);

/**
 * stream_channel_look: which version does the stream begin with?
 *
 * @sc: passes bytes through, of which none was read
 *
 * The preamble can be read after that all the same, in either state.
 *
 * Returns: the version; 0 if this is no migration stream or not all of a
 * preamble came.
 */
uint32_t stream_channel_look(StreamChannel *sc);

/**
 * stream_channel_set_index: share a table of sections with other channels
 */
void stream_channel_set_index(StreamChannel *sc, StreamIndex *index);

/**
 * stream_channel_set_stored: the stream is in a file
 *
 * @stored: of StreamStoredSection.  When it is written, empty, and gets what is
 * stored; when it is read, that which was.  Taken; %NULL if the file does not
 * say.
 */
void stream_channel_set_stored(StreamChannel *sc, GPtrArray *stored);

/**
 * stream_channel_set_notice: listen to what the other side says
 *
 * @notice: who is told; without anybody hellos are passed over, because nobody
 * waits for an answer, and all else is refused
 */
void stream_channel_set_notice(StreamChannel *sc, StreamNoticeFunc *notice,
                               void *opaque);

/**
 * stream_channel_get_notice: wait for the next thing that the other side says
 *
 * It goes to the one who listens.  Anything but a notice is refused.  Also
 * behind the end of a stream.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_channel_get_notice(StreamChannel *sc, Error **errp);

/**
 * stream_channel_put_notice: say something of the migration itself
 *
 * @type: %STREAM_RECORD_HELLO, %STREAM_RECORD_HANDOVER, or, on the side that
 * loads the stream, %STREAM_RECORD_VERDICT
 *
 * Goes out at once, in the direction in which this side writes.  Only between
 * sections, and by one thread at a time.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_channel_put_notice(StreamChannel *sc, uint16_t type,
                               const void *payload, size_t length,
                               Error **errp);

/**
 * stream_channel_put_packet: send a record that has a head
 *
 * @head, @head_length: as of stream_writer_put_packet()
 * @data: what is behind it, which may change meanwhile: it is written from
 * where it is
 * @niov: how many places that are; 0 if there is no data
 *
 * In the open section, before anything else of it, and past the buffers of the
 * file over the channel: by whoever writes to that.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_channel_put_packet(StreamChannel *sc, const void *head,
                               size_t head_length, const struct iovec *data,
                               size_t niov, Error **errp);

/**
 * stream_channel_set_packet: say who takes such records
 *
 * On the side that loads the stream; as of stream_reader_set_packet().  They
 * come to it while the file over the channel is being read.
 */
void stream_channel_set_packet(StreamChannel *sc, StreamPacketFunc *packet,
                               void *opaque);

/**
 * stream_channel_interrupt: the next read fails
 *
 * A coroutine that waits for one goes on with that at once: for the thread
 * that it belongs to.  What is read behind that comes as if nothing had been.
 */
void stream_channel_interrupt(StreamChannel *sc);

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
 * Like stream_reader_next(); notices on the way go to the one who listens.
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
 * stream_channel_under: likewise, also while it passes bytes through
 */
StreamChannel *stream_channel_under(QEMUFile *f);

/**
 * migration_stream_transport: the transport under a file
 *
 * Returns: the channel that bytes go to in the end, which is the file's.
 */
QIOChannel *migration_stream_transport(QEMUFile *f);

#endif
