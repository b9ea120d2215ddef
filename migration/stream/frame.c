/*
 * Migration stream version 4: frames, the codec
 *
 * Implements "Frames" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/stream/frame.h"
#include "migration/stream/record.h"

static_assert(sizeof(StreamFrameHeader) == STREAM_FRAME_HEADER_SIZE,
              "a frame's header");
static_assert(offsetof(StreamFrameHeader, version_id) == 4, "version");
static_assert(offsetof(StreamFrameHeader, count) == 8, "count");
static_assert(offsetof(StreamFrameHeader, flags) == 12, "flags");
static_assert(offsetof(StreamFrameHeader, name_length) == 14, "name length");

size_t stream_frame_encode(const StreamFrame *frame, uint8_t *wire)
{
    size_t name_length = strlen(frame->name);
    StreamFrameHeader h = {
        .length = cpu_to_be32(frame->length),
        .version_id = cpu_to_be32(frame->version_id),
        .count = cpu_to_be32(frame->count),
        .flags = cpu_to_be16(frame->flags),
        .name_length = name_length,
    };

    assert(name_length > 0);
    memcpy(wire, &h, sizeof(h));
    memcpy(wire + sizeof(h), frame->name, name_length);
    return sizeof(h) + name_length;
}

size_t stream_frame_name_length(const uint8_t *wire)
{
    return wire[offsetof(StreamFrameHeader, name_length)];
}

size_t stream_frame_decode(const uint8_t *wire, size_t length,
                           StreamFrame *frame, Error **errp)
{
    StreamFrameHeader h;
    uint16_t flags;
    uint32_t body;

    if (length < sizeof(h) ||
        length < sizeof(h) + stream_frame_name_length(wire)) {
        error_setg(errp, "a frame's header is cut short: expected at least "
                   "%zu bytes, got %zu", sizeof(h) + 1, length);
        return 0;
    }
    memcpy(&h, wire, sizeof(h));
    if (!stream_name_is_proper(wire + sizeof(h), h.name_length)) {
        error_setg(errp, "a frame has no proper name: expected 1 to 255 bytes "
                   "without control characters");
        return 0;
    }
    memcpy(frame->name, wire + sizeof(h), h.name_length);
    frame->name[h.name_length] = '\0';

    flags = be16_to_cpu(h.flags);
    if ((flags & ~STREAM_FRAME_FLAGS_KNOWN) ||
        (flags & (STREAM_FRAME_ARRAY | STREAM_FRAME_FRAMES)) ==
        STREAM_FRAME_FRAMES) {
        error_setg(errp, "frame '%s' has unknown flags: expected a "
                   "combination of 0x%04x, got 0x%04x", frame->name,
                   STREAM_FRAME_FLAGS_KNOWN, flags);
        return 0;
    }
    body = be32_to_cpu(h.length);
    if (body > STREAM_FRAME_LENGTH_MAX) {
        error_setg(errp, "frame '%s' is too long: expected at most %u bytes, "
                   "got %" PRIu32, frame->name, STREAM_FRAME_LENGTH_MAX, body);
        return 0;
    }
    frame->flags = flags;
    frame->length = body;
    frame->version_id = be32_to_cpu(h.version_id);
    frame->count = be32_to_cpu(h.count);
    if ((flags & STREAM_FRAME_UNUSED) &&
        ((flags & STREAM_FRAME_ARRAY) || body || frame->count)) {
        error_setg(errp, "frame '%s' is said to be unused: expected a "
                   "structure with nothing in it, got %" PRIu32 " bytes and "
                   "a count of %" PRIu32 ", flags 0x%04x", frame->name, body,
                   frame->count, flags);
        return 0;
    }
    return sizeof(h) + h.name_length;
}

bool stream_frame_enter(StreamFrameStack *stack, const StreamFrame *frame,
                        uint64_t position, Error **errp)
{
    uint64_t left = stream_frame_left(stack, position);

    if (stack->depth >= STREAM_FRAME_DEPTH_MAX) {
        error_setg(errp, "frame '%s' is nested too deep: expected at most %d "
                   "frames around one another", frame->name,
                   STREAM_FRAME_DEPTH_MAX);
        return false;
    }
    if (frame->length > left) {
        error_setg(errp, "frame '%s' is longer than the frame around it: "
                   "expected at most %" PRIu64 " bytes, got %" PRIu32,
                   frame->name, left, frame->length);
        return false;
    }
    stack->frames[stack->depth].begin = position;
    stack->frames[stack->depth].end = position + frame->length;
    stack->depth++;
    return true;
}

bool stream_frame_leave(StreamFrameStack *stack, uint64_t position,
                        Error **errp)
{
    uint64_t begin, end;

    assert(stack->depth > 0);
    stack->depth--;
    begin = stack->frames[stack->depth].begin;
    end = stack->frames[stack->depth].end;
    if (position != end) {
        error_setg(errp, "its state is not as long as expected: expected %"
                   PRIu64 " bytes, got %" PRIu64, position - begin,
                   end - begin);
        return false;
    }
    return true;
}

uint64_t stream_frame_left(const StreamFrameStack *stack, uint64_t position)
{
    uint64_t end;

    if (!stack->depth) {
        return UINT64_MAX;
    }
    end = stack->frames[stack->depth - 1].end;
    return end > position ? end - position : 0;
}
