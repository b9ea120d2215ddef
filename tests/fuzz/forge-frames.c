/*
 * Migration stream version 4: frames that are wrong in a chosen way
 *
 * Where frames stand inside of a body is known to the devices alone.  Here
 * they are found by their looks, which is wrong now and then and does no harm.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "forge.h"
#include "forge-frames.h"

/* "Frames" of docs/devel/migration-v4/wire-format.rst */
enum {
    FRAME_LENGTH = 0,
    FRAME_VERSION = 4,
    FRAME_COUNT = 8,
    FRAME_FLAGS = 12,
    FRAME_NAME_LENGTH = 14,
    FRAME_NAME = 15,
};

typedef struct Frame {
    size_t at;
    size_t body;
    size_t end;
} Frame;

static bool frame_at(const GByteArray *payload, size_t at, Frame *frame)
{
    const uint8_t *p = payload->data + at;
    size_t left = payload->len - at;

    if (left <= FRAME_NAME || p[FRAME_FLAGS] || p[FRAME_FLAGS + 1] > 7 ||
        !p[FRAME_NAME_LENGTH] || left < FRAME_NAME + p[FRAME_NAME_LENGTH]) {
        return false;
    }
    left -= FRAME_NAME + p[FRAME_NAME_LENGTH];
    if (ldl_be_p(p + FRAME_LENGTH) > left) {
        return false;
    }
    for (int i = 0; i < p[FRAME_NAME_LENGTH]; i++) {
        if (!g_ascii_isprint(p[FRAME_NAME + i])) {
            return false;
        }
    }
    frame->at = at;
    frame->body = at + FRAME_NAME + p[FRAME_NAME_LENGTH];
    frame->end = frame->body + ldl_be_p(p + FRAME_LENGTH);
    return true;
}

static GArray *find_frames(const GByteArray *payload, size_t from)
{
    GArray *frames = g_array_new(false, false, sizeof(Frame));
    Frame frame;

    for (size_t at = from; at < payload->len; at++) {
        if (frame_at(payload, at, &frame)) {
            g_array_append_val(frames, frame);
            /* Inside of a header there is none */
            at = frame.body - 1;
        }
    }
    return frames;
}

/* The innermost frame around another one, or NULL */
static Frame *frame_around(GArray *frames, const Frame *frame)
{
    Frame *found = NULL;

    for (int i = 0; i < frames->len; i++) {
        Frame *f = &g_array_index(frames, Frame, i);

        if (f->body <= frame->at && frame->end <= f->end) {
            found = f;
        }
    }
    return found;
}

static void add_be32(uint8_t *p, uint32_t n)
{
    stl_be_p(p, ldl_be_p(p) + n);
}

/* Replaces bytes, and makes all frames around them as much longer */
static void substitute(GByteArray *payload, GArray *frames, size_t at,
                       size_t old, const uint8_t *data, size_t length)
{
    g_autoptr(GByteArray) tail = g_byte_array_new();

    for (int i = 0; i < frames->len; i++) {
        Frame *f = &g_array_index(frames, Frame, i);

        if (f->body <= at && at + old <= f->end) {
            add_be32(payload->data + f->at + FRAME_LENGTH, length - old);
        }
    }
    g_byte_array_append(tail, payload->data + at + old,
                        payload->len - at - old);
    g_byte_array_set_size(payload, at);
    g_byte_array_append(payload, data, length);
    g_byte_array_append(payload, tail->data, tail->len);
}

/* A value that is little off, at a limit, or anything */
static uint32_t odd_value(uint32_t value, uint32_t *random)
{
    static const uint32_t limits[] = {
        0, 1, 2, 255, 256, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
        0xffffffff,
    };

    switch (forge_random(random, 4)) {
    case 0:
        return value + 1;
    case 1:
        return value - 1;
    case 2:
        return limits[forge_random(random, ARRAY_SIZE(limits))];
    default:
        return forge_random(random, 0);
    }
}

static uint8_t *odd_bytes(const uint8_t *data, size_t length, size_t extra,
                          size_t *new_length)
{
    uint8_t *copy = g_malloc0(length + extra + 1);

    memcpy(copy, data, length);
    *new_length = LLVMFuzzerMutate(copy, length, length + extra);
    return copy;
}

/* Changes bytes of @from to @end, which is not as far as the payload goes */
static void odd_part(GByteArray *payload, GArray *frames, size_t from,
                     size_t end, uint32_t *random)
{
    size_t at = from + forge_random(random, end - from);
    size_t length = MIN(end - at, 1 + forge_random(random, 32));
    bool resize = !length || forge_random(random, 8) == 0;
    size_t n;
    g_autofree uint8_t *data = odd_bytes(payload->data + at, length,
                                         resize ? 16 : 0, &n);

    if (resize) {
        substitute(payload, frames, at, length, data, n);
    } else {
        memcpy(payload->data + at, data, n);
    }
}

void forge_bytes(GByteArray *payload, size_t from, uint32_t *random)
{
    g_autoptr(GArray) none = g_array_new(false, false, sizeof(Frame));

    odd_part(payload, none, MIN(from, payload->len), payload->len, random);
}

/* A subsection that nobody knows, at the end of a frame */
static void add_unknown(GByteArray *payload, GArray *frames, const Frame *frame,
                        uint32_t *random)
{
    uint8_t wire[FRAME_NAME + 7 + 4] = {
        [FRAME_LENGTH + 3] = 4,
        [FRAME_VERSION + 3] = 1,
        [FRAME_FLAGS + 1] = forge_random(random, 2),
        [FRAME_NAME_LENGTH] = 7,
    };

    memcpy(wire + FRAME_NAME, "unknown", 7);
    add_be32(payload->data + frame->at + FRAME_COUNT, 1);
    substitute(payload, frames, frame->end, 0, wire, sizeof(wire));
}

/* All of a frame once more behind it, or not at all */
static void repeat(GByteArray *payload, GArray *frames, const Frame *frame,
                   bool twice)
{
    const Frame *around = frame_around(frames, frame);
    size_t length = frame->end - frame->at;
    g_autofree uint8_t *copy = g_memdup2(payload->data + frame->at, length);

    if (around) {
        add_be32(payload->data + around->at + FRAME_COUNT, twice ? 1 : -1);
    }
    if (twice) {
        substitute(payload, frames, frame->end, 0, copy, length);
    } else {
        substitute(payload, frames, frame->at, length, NULL, 0);
    }
}

static void rename_frame(GByteArray *payload, GArray *frames,
                         const Frame *frame, const Frame *other,
                         uint32_t *random)
{
    g_autofree uint8_t *name = NULL;
    size_t length = other->body - other->at - FRAME_NAME;
    const uint8_t *from = payload->data + other->at + FRAME_NAME;

    if (frame == other) {
        name = odd_bytes(from, length, 8, &length);
        length = MIN(length, 255);
    } else {
        name = g_memdup2(from, length);
    }
    payload->data[frame->at + FRAME_NAME_LENGTH] = length;
    substitute(payload, frames, frame->at + FRAME_NAME,
               frame->body - frame->at - FRAME_NAME, name, length);
}

/* A frame of another place in this one's */
static void replace(GByteArray *payload, GArray *frames, const Frame *frame,
                    const Frame *other)
{
    size_t length = other->end - other->at;
    g_autofree uint8_t *copy = g_memdup2(payload->data + other->at, length);

    substitute(payload, frames, frame->at, frame->end - frame->at, copy,
               length);
}

bool forge_frames(GByteArray *payload, size_t from, uint32_t *random)
{
    g_autoptr(GArray) frames = find_frames(payload, from);
    const Frame *frame, *other;
    uint8_t *p;

    if (!frames->len) {
        return false;
    }
    frame = &g_array_index(frames, Frame, forge_random(random, frames->len));
    other = &g_array_index(frames, Frame, forge_random(random, frames->len));
    p = payload->data + frame->at;

    switch (forge_random(random, 16)) {
    case 0:
        repeat(payload, frames, frame, true);
        break;
    case 1:
        repeat(payload, frames, frame, false);
        break;
    case 2:
        rename_frame(payload, frames, frame, other, random);
        break;
    case 3:
        replace(payload, frames, frame, other);
        break;
    case 4:
        add_unknown(payload, frames, frame, random);
        break;
    case 5:
        stl_be_p(p + FRAME_VERSION, odd_value(ldl_be_p(p + FRAME_VERSION),
                                              random));
        break;
    case 6:
        stl_be_p(p + FRAME_COUNT, odd_value(ldl_be_p(p + FRAME_COUNT), random));
        break;
    case 7:
        stl_be_p(p + FRAME_LENGTH, odd_value(ldl_be_p(p + FRAME_LENGTH),
                                             random));
        break;
    case 8:
        p[FRAME_FLAGS + 1] ^= 1 << forge_random(random, 4);
        break;
    default:
        odd_part(payload, frames, frame->body, frame->end, random);
    }
    return true;
}
