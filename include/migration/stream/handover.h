/*
 * Migration stream version 4: what is said about the hand-over, the codec
 *
 * Implements "Hand-over" of docs/devel/migration-v4/wire-format.rst.  Pure:
 * knows neither machine nor channel.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_HANDOVER_H
#define MIGRATION_STREAM_HANDOVER_H

/* Longest text, in bytes */
#define STREAM_HANDOVER_TEXT_MAX 4096

typedef enum StreamHandoverMessage {
    STREAM_HANDOVER_LOADED = 1,     /* destination: I have everything */
    STREAM_HANDOVER_RUN = 2,        /* source: the guest is yours, run it */
    STREAM_HANDOVER_RUNNING = 3,    /* destination: it is mine */
    STREAM_HANDOVER_REFUSED = 4,    /* destination: I never ran it, nor will */
} StreamHandoverMessage;

/* How far the one got who refuses */
typedef enum StreamHandoverPhase {
    STREAM_PHASE_HELLO = 1,
    STREAM_PHASE_CONFIGURATION = 2,
    STREAM_PHASE_STATE = 3,
    STREAM_PHASE_COMPLETION = 4,
    STREAM_PHASE_ACTIVATION = 5,
    STREAM_PHASE_MACHINE = 6,           /* before the hello is answered */
} StreamHandoverPhase;

/* The beginning of the payload as it stands on the wire, all big endian */
typedef struct QEMU_PACKED StreamHandoverHeader {
    uint32_t message;
    uint32_t detail;
    uint64_t token;
} StreamHandoverHeader;

#define STREAM_HANDOVER_HEADER_SIZE 16
#define STREAM_HANDOVER_MAX \
    (STREAM_HANDOVER_HEADER_SIZE + STREAM_HANDOVER_TEXT_MAX)

typedef struct StreamHandover {
    StreamHandoverMessage message;
    /* REFUSED: StreamHandoverPhase; LOADED: stream_index_checksum(); else 0 */
    uint32_t detail;
    uint64_t token;             /* of this migration, chosen by the source */
    char text[STREAM_HANDOVER_TEXT_MAX + 1];    /* why it is refused, UTF-8 */
} StreamHandover;

/* What a message and a phase are called; a static string, NULL if unknown */
const char *stream_handover_message_name(uint32_t message);
const char *stream_handover_phase_name(uint32_t phase);

/**
 * stream_handover_encode: write a payload
 *
 * @wire: room for %STREAM_HANDOVER_MAX bytes
 *
 * Returns: the number of bytes written.
 */
size_t stream_handover_encode(const StreamHandover *handover, uint8_t *wire);

/**
 * stream_handover_decode: check and read a payload
 *
 * @wire: the payload, of @length bytes
 * @handover: filled in on success; the text is proper UTF-8 without control
 * characters but for newlines, whatever was sent
 * @errp: says what is wrong
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_handover_decode(const uint8_t *wire, size_t length,
                            StreamHandover *handover, Error **errp);

#endif
