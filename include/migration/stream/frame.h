/*
 * Migration stream version 4: frames, the codec
 *
 * A frame holds one structure inside of a section.  Implements "Frames" of
 * docs/devel/migration-v4/wire-format.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_FRAME_H
#define MIGRATION_STREAM_FRAME_H

#include "qemu/units.h"

/* Most frames around one another */
#define STREAM_FRAME_DEPTH_MAX 32

/* Longest body of a frame, in bytes */
#define STREAM_FRAME_LENGTH_MAX 0x7fffffffU

/* Most memory that a length in a frame can ask for, in bytes */
#define STREAM_ALLOC_MAX (16 * MiB)

/* Who does not know the frame skips it */
#define STREAM_FRAME_OPTIONAL 0x0001
/* An array: the count is that of its elements, not of subsections */
#define STREAM_FRAME_ARRAY 0x0002
/* An array whose elements are frames each */
#define STREAM_FRAME_FRAMES 0x0004
/* A structure that is as after a reset: its body is empty */
#define STREAM_FRAME_UNUSED 0x0008
/* A subsection that is stored, and that the guest does not need */
#define STREAM_FRAME_SPARE 0x0010
#define STREAM_FRAME_FLAGS_KNOWN \
    (STREAM_FRAME_OPTIONAL | STREAM_FRAME_ARRAY | STREAM_FRAME_FRAMES | \
     STREAM_FRAME_UNUSED | STREAM_FRAME_SPARE)

/* A frame's header as it stands on the wire, without the name; big endian */
typedef struct QEMU_PACKED StreamFrameHeader {
    uint32_t length;
    uint32_t version_id;
    uint32_t count;
    uint16_t flags;
    uint8_t name_length;
} StreamFrameHeader;

#define STREAM_FRAME_HEADER_SIZE 15
#define STREAM_FRAME_HEADER_MAX (STREAM_FRAME_HEADER_SIZE + 255)

/* A frame's header in host terms */
typedef struct StreamFrame {
    uint32_t length;        /* of the body, in bytes */
    uint32_t version_id;
    uint32_t count;         /* of elements, or of subsections */
    uint16_t flags;
    char name[256];
} StreamFrame;

/* The frames around a place, as a reader goes through them */
typedef struct StreamFrameStack {
    unsigned depth;
    struct {
        uint64_t begin;     /* of the body; any unit of place will do that */
        uint64_t end;       /* counts bytes, and is the same for all calls */
    } frames[STREAM_FRAME_DEPTH_MAX];
} StreamFrameStack;

/**
 * stream_frame_encode: write a frame's header
 *
 * @frame: the name has 1 to 255 bytes
 * @wire: room for %STREAM_FRAME_HEADER_MAX bytes
 *
 * Returns: the number of bytes written.
 */
size_t stream_frame_encode(const StreamFrame *frame, uint8_t *wire);

/**
 * stream_frame_name_length: how long the name behind a header is
 *
 * @wire: %STREAM_FRAME_HEADER_SIZE bytes
 *
 * Returns: 0 to 255 bytes; 0 is refused by stream_frame_decode().
 */
size_t stream_frame_name_length(const uint8_t *wire);

/**
 * stream_frame_decode: check and read a frame's header
 *
 * @wire: the header and the name
 * @length: how many bytes there are
 * @frame: filled in on success, its name terminated with a NUL
 * @errp: says what is wrong
 *
 * Returns: the number of bytes that it takes, or 0 with @errp set.
 */
size_t stream_frame_decode(const uint8_t *wire, size_t length,
                           StreamFrame *frame, Error **errp);

/**
 * stream_frame_enter: go into a frame
 *
 * @position: of the first byte of its body
 *
 * Returns: %false, with @errp set, when it is longer than what is left of the
 * frame around it, or there are too many around it.
 */
bool stream_frame_enter(StreamFrameStack *stack, const StreamFrame *frame,
                        uint64_t position, Error **errp);

/**
 * stream_frame_leave: go out of the innermost frame
 *
 * @position: behind the last byte that was taken
 *
 * Returns: %false, with @errp set, when that is not the frame's end.
 */
bool stream_frame_leave(StreamFrameStack *stack, uint64_t position,
                        Error **errp);

/**
 * stream_frame_left: bytes from @position to the innermost frame's end
 *
 * Returns: 0 if @position is behind it; UINT64_MAX outside of all frames.
 */
uint64_t stream_frame_left(const StreamFrameStack *stack, uint64_t position);

#endif
