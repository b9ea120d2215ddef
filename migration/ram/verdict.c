/*
 * Migration stream version 4: verdicts, the codec
 *
 * Implements "Verdicts" of docs/devel/migration-v4/wire-format.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/ram/verdict.h"
#include "migration/stream/record.h"

/* A range as it stands on the wire, behind the name's length and the name */
typedef struct QEMU_PACKED RamVerdictWireRange {
    uint64_t offset;
    uint32_t pages;
} RamVerdictWireRange;

static_assert(sizeof(RamVerdictWireRange) == RAM_VERDICT_RANGE_SIZE, "a range");
static_assert(offsetof(RamVerdictWireRange, pages) == 8, "pages");

typedef struct QEMU_PACKED RamVerdictWireHeader {
    uint32_t round;
    uint32_t count;
} RamVerdictWireHeader;

static_assert(sizeof(RamVerdictWireHeader) == RAM_VERDICT_HEADER_SIZE,
              "a verdict's header");
static_assert(offsetof(RamVerdictWireHeader, count) == 4, "count");

void ram_verdict_clear(RamVerdict *verdict)
{
    g_free(verdict->ranges);
    *verdict = (RamVerdict) { };
}

uint64_t ram_verdict_pages(const RamVerdict *verdict)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < verdict->count; i++) {
        pages += verdict->ranges[i].pages;
    }
    return pages;
}

void ram_verdict_encode(const RamVerdict *verdict, GByteArray *payload)
{
    RamVerdictWireHeader header = {
        .round = cpu_to_be32(verdict->round),
        .count = cpu_to_be32(verdict->count),
    };

    assert(verdict->count <= RAM_VERDICT_RANGES_MAX);
    g_byte_array_append(payload, (uint8_t *)&header, sizeof(header));
    for (uint32_t i = 0; i < verdict->count; i++) {
        const RamVerdictRange *range = &verdict->ranges[i];
        uint8_t length = strlen(range->block);
        RamVerdictWireRange one = {
            .offset = cpu_to_be64(range->offset),
            .pages = cpu_to_be32(range->pages),
        };

        g_byte_array_append(payload, &length, 1);
        g_byte_array_append(payload, (uint8_t *)range->block, length);
        g_byte_array_append(payload, (uint8_t *)&one, sizeof(one));
    }
}

/*
 * Reads one range; returns how many bytes it takes, or 0 with @errp set.
 */
static size_t ram_verdict_decode_range(const uint8_t *wire, size_t length,
                                       size_t page_size,
                                       RamVerdictRange *range, Error **errp)
{
    size_t size = length ? 1 + wire[0] + sizeof(RamVerdictWireRange) : 1;
    RamVerdictWireRange one;

    if (size > length) {
        error_setg(errp, "a verdict is cut short: expected %zu bytes for a "
                   "range, got %zu", size, length);
        return 0;
    }
    if (!stream_name_is_proper(wire + 1, wire[0])) {
        error_setg(errp, "a verdict names no block: expected a proper name");
        return 0;
    }
    memcpy(range->block, wire + 1, wire[0]);
    range->block[wire[0]] = 0;
    memcpy(&one, wire + 1 + wire[0], sizeof(one));
    range->offset = be64_to_cpu(one.offset);
    range->pages = be32_to_cpu(one.pages);
    if (range->offset % page_size || !range->pages ||
        range->offset > INT64_MAX ||
        range->pages > (INT64_MAX - range->offset) / page_size) {
        error_setg(errp, "a verdict on block '%s' is about no pages: got "
                   "offset 0x%" PRIx64 ", %" PRIu32 " pages", range->block,
                   range->offset, range->pages);
        return 0;
    }
    return size;
}

bool ram_verdict_decode(const uint8_t *wire, size_t length, size_t page_size,
                        RamVerdict *verdict, Error **errp)
{
    g_auto(RamVerdict) read = { };
    RamVerdictWireHeader header;
    size_t at = sizeof(header);

    if (length < sizeof(header)) {
        error_setg(errp, "a verdict is cut short: expected at least %d bytes, "
                   "got %zu", RAM_VERDICT_HEADER_SIZE, length);
        return false;
    }
    memcpy(&header, wire, sizeof(header));
    read.round = be32_to_cpu(header.round);
    read.count = be32_to_cpu(header.count);
    if (read.count > RAM_VERDICT_RANGES_MAX) {
        error_setg(errp, "a verdict has too many ranges: expected at most %d, "
                   "got %" PRIu32, RAM_VERDICT_RANGES_MAX, read.count);
        return false;
    }
    read.ranges = g_new(RamVerdictRange, read.count);
    for (uint32_t i = 0; i < read.count; i++) {
        size_t size = ram_verdict_decode_range(wire + at, length - at,
                                               page_size, &read.ranges[i],
                                               errp);

        if (!size) {
            return false;
        }
        at += size;
    }
    if (at != length) {
        error_setg(errp, "a verdict has a wrong length: expected %zu bytes, "
                   "got %zu", at, length);
        return false;
    }
    *verdict = read;
    read = (RamVerdict) { };
    return true;
}

/* What two ranges have in common */
static bool ram_range_common(const RamVerdictRange *a,
                             const RamVerdictRange *b, size_t page_size,
                             RamVerdictRange *common)
{
    uint64_t begin = MAX(a->offset, b->offset);
    uint64_t end = MIN(a->offset + (uint64_t)a->pages * page_size,
                       b->offset + (uint64_t)b->pages * page_size);

    if (begin >= end || strcmp(a->block, b->block)) {
        return false;
    }
    *common = *a;
    common->offset = begin;
    common->pages = (end - begin) / page_size;
    return true;
}

/* Of what was asked for before, what @now asks for once more */
static void ram_stubborn_meet(RamStubborn *s, const RamVerdict *now,
                              size_t page_size)
{
    GArray *common = g_array_new(false, false, sizeof(RamVerdictRange));
    RamVerdictRange one;

    for (uint32_t i = 0; i < s->last.count; i++) {
        for (uint32_t k = 0; k < now->count; k++) {
            if (common->len < RAM_VERDICT_RANGES_MAX &&
                ram_range_common(&s->last.ranges[i], &now->ranges[k],
                                 page_size, &one)) {
                g_array_append_val(common, one);
            }
        }
    }
    g_free(s->last.ranges);
    s->last.count = common->len;
    s->last.ranges = (RamVerdictRange *)g_array_free(common, false);
}

bool ram_stubborn_check(RamStubborn *s, const RamVerdict *now,
                        size_t page_size, Error **errp)
{
    ram_stubborn_meet(s, now, page_size);
    if (!s->last.count) {
        /* A new beginning, with all that is wrong now */
        ram_verdict_clear(&s->last);
        s->tries = 0;
        s->last.count = now->count;
        s->last.ranges = g_memdup2(now->ranges,
                                   now->count * sizeof(*now->ranges));
        return true;
    }
    if (++s->tries < RAM_VERDICT_TRIES) {
        return true;
    }
    error_setg(errp, "block '%s', offset 0x%" PRIx64 ": the page came damaged "
               "%d times after it was asked for again",
               s->last.ranges[0].block, s->last.ranges[0].offset,
               RAM_VERDICT_TRIES);
    return false;
}
