/*
 * Migration stream version 4: what is said about the hand-over, the codec
 *
 * Implements "Hand-over" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/stream/handover.h"
#include "migration/stream/record.h"

static_assert(sizeof(StreamHandoverHeader) == STREAM_HANDOVER_HEADER_SIZE,
              "a hand-over's header");
static_assert(offsetof(StreamHandoverHeader, detail) == 4, "detail");
static_assert(offsetof(StreamHandoverHeader, token) == 8, "token");

const char *stream_handover_message_name(uint32_t message)
{
    static const char *const names[] = {
        [STREAM_HANDOVER_LOADED] = "loaded",
        [STREAM_HANDOVER_RUN] = "run",
        [STREAM_HANDOVER_RUNNING] = "running",
        [STREAM_HANDOVER_REFUSED] = "refused",
    };

    return message < ARRAY_SIZE(names) ? names[message] : NULL;
}

const char *stream_handover_phase_name(uint32_t phase)
{
    static const char *const names[] = {
        [STREAM_PHASE_HELLO] = "hello",
        [STREAM_PHASE_CONFIGURATION] = "configuration",
        [STREAM_PHASE_STATE] = "state",
        [STREAM_PHASE_COMPLETION] = "completion",
        [STREAM_PHASE_ACTIVATION] = "activation",
        [STREAM_PHASE_MACHINE] = "machine",
    };

    return phase < ARRAY_SIZE(names) ? names[phase] : NULL;
}

size_t stream_handover_encode(const StreamHandover *handover, uint8_t *wire)
{
    size_t length = strlen(handover->text);
    StreamHandoverHeader h = {
        .message = cpu_to_be32(handover->message),
        .detail = cpu_to_be32(handover->detail),
        .token = cpu_to_be64(handover->token),
    };

    memcpy(wire, &h, sizeof(h));
    memcpy(wire + sizeof(h), handover->text, length);
    return sizeof(h) + length;
}

bool stream_handover_decode(const uint8_t *wire, size_t length,
                            StreamHandover *handover, Error **errp)
{
    g_autofree char *text = NULL;
    StreamHandoverHeader h;
    bool good;

    if (length < sizeof(h) || length > STREAM_HANDOVER_MAX) {
        error_setg(errp, "it has a wrong length: expected %d to %d bytes, got "
                   "%zu", STREAM_HANDOVER_HEADER_SIZE, STREAM_HANDOVER_MAX,
                   length);
        return false;
    }
    memcpy(&h, wire, sizeof(h));
    handover->message = be32_to_cpu(h.message);
    handover->detail = be32_to_cpu(h.detail);
    handover->token = be64_to_cpu(h.token);
    switch (handover->message) {
    case STREAM_HANDOVER_LOADED:
        good = length == sizeof(h);
        break;
    case STREAM_HANDOVER_RUN:
    case STREAM_HANDOVER_RUNNING:
        good = length == sizeof(h) && !handover->detail;
        break;
    case STREAM_HANDOVER_REFUSED:
        good = stream_handover_phase_name(handover->detail);
        break;
    default:
        error_setg(errp, "it says something unknown: expected message 1 to %d, "
                   "got %" PRIu32, STREAM_HANDOVER_REFUSED,
                   be32_to_cpu(h.message));
        return false;
    }
    if (!good) {
        error_setg(errp, "'%s' has what does not belong to it: got detail "
                   "0x%" PRIx32 " and %zu bytes of text",
                   stream_handover_message_name(handover->message),
                   handover->detail, length - sizeof(h));
        return false;
    }
    text = stream_text_mend(wire + sizeof(h), length - sizeof(h),
                            STREAM_HANDOVER_TEXT_MAX);
    pstrcpy(handover->text, sizeof(handover->text), text);
    return true;
}
